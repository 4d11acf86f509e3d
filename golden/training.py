"""Train a network in floating point or in a weight form.

The loop knows nothing of forms: drop-in layers (:mod:`smartdeal.golden.convert`) round their
weights themselves, and are told when a step or an epoch is over. The seed fixes everything; results
are equal bit for bit on one machine with one version of torch.
"""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from smartdeal.golden.datasets import Samples
from smartdeal.golden.form_layers import form_layers
from smartdeal.golden.shift_layers import shift_penalty
from smartdeal.golden.smartdeal_layers import BucketSwitch, SmartDealConv2d, SmartDealLinear
from smartdeal.golden.train_options import EpochReport, TrainingError, TrainOptions

__all__ = ["Trainer", "accuracy", "settle", "train"]

_SHIFT_SHARE = 14  # an image is moved by at most this part of its height
_EVALUATION_BATCH = 500
#: Parameters that weight decay would push to another power of two, or that have a penalty.
_UNDECAYED = ("ce", "shift", "sign")
#: Images that the running statistics are taken from, at the end.
_SETTLING_BATCH, _SETTLING_BATCHES = 500, 20


@torch.no_grad()
def accuracy(model: Callable[[Tensor], Tensor], samples: Samples) -> float:
    """Return the fraction of images whose largest logit is at the label."""
    right = [int((model(x).argmax(1) == y).sum()) for x, y in zip(
        samples.images.split(_EVALUATION_BATCH), samples.labels.split(_EVALUATION_BATCH),
        strict=True)]
    return sum(right) / len(samples)


def _augment(images: Tensor, mirror: bool, generator: torch.Generator) -> Tensor:
    """Move a batch by up to a fourteenth of its height, and mirror half of it."""
    shift = images.shape[2] // _SHIFT_SHARE
    if shift:
        padded = nn.functional.pad(images, (shift,) * 4, value=float(images.min()))
        dy, dx = torch.randint(0, 2 * shift + 1, (2,), generator=generator).tolist()
        height, width = images.shape[2:]
        images = padded[:, :, dy:dy + height, dx:dx + width]
    if mirror:
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


@torch.no_grad()
def settle(model: nn.Module, images: Tensor) -> None:
    """Set the running statistics of all normalisations to those of images.

    Parameters
    ----------
    images : float32 tensor, (B, C, H, W)
        As the network will see them; only the first ten thousand count.
    """
    norms: list[Any] = [module for module in model.modules() if hasattr(module, "running_mean")]
    before = [(norm, norm.momentum) for norm in norms]
    model.train()
    for number, batch in enumerate(images.split(_SETTLING_BATCH)[:_SETTLING_BATCHES]):
        for norm in norms:
            norm.momentum = 1 / (number + 1)  # the mean of all batches
        model(batch)
    model.eval()
    for norm, momentum in before:
        norm.momentum = momentum


class Trainer:
    """A training that can be stopped after any epoch and taken up again.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place; maps (B, C, H, W) to logits.
    samples : Samples
    held : Samples or None
        Images for judging an epoch, not trained on.
    options : TrainOptions
    """

    def __init__(
        self, model: nn.Module, samples: Samples, held: Samples | None, options: TrainOptions,
    ) -> None:
        if len(samples) < options.batch:
            raise TrainingError(f"batch must be at most the {len(samples)} images, "
                                f"not {options.batch}")
        self.model, self.options = model, options
        self.samples, self.held = samples, held
        self.epoch = 0
        self.generator = torch.Generator().manual_seed(options.seed)
        self._layers = list(form_layers(model).values())
        self.switch: BucketSwitch | None = None
        switched: set[int] = set()
        if options.switch_bar:
            chosen = [layer for layer in self._layers
                      if isinstance(layer, SmartDealConv2d | SmartDealLinear)]
            if not chosen:
                raise TrainingError("switch_bar needs layers of form smartdeal-train")
            self.switch = BucketSwitch(list(chosen), options.switch_bar)
            switched = {id(layer.ce) for layer in chosen}
        self.optimiser = _optimiser(model, options, switched)
        self.average: AveragedModel | None = None

    @property
    def _batches(self) -> int:
        return len(self.samples) // self.options.batch

    def _set_rate(self, step: int) -> None:
        """One warm-up, then a cosine."""
        options = self.options
        total = options.epochs * self._batches
        rising = max(1, round(options.warm_up * total))
        if step < rising:
            share = (step + 1) / rising
        else:
            share = (1 + math.cos(math.pi * (step - rising) / max(1, total - rising))) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = max(options.rate * share, options.rate * 1e-4)

    def _step(self, index: Tensor) -> float:
        """Take one step with the images ``index``; return the loss."""
        options, model = self.options, self.model
        model.zero_grad()
        images = _augment(self.samples.images[index], options.mirror, self.generator)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.half):
            logits = model(images)
        loss = nn.functional.cross_entropy(logits.float(), self.samples.labels[index])
        value = loss.item()
        if not math.isfinite(value):
            raise self._diverged(f"the loss became {value}")
        (loss + shift_penalty(model, options.weight_decay)).backward()
        self.optimiser.step()
        if self.switch is not None:
            self.switch.step()
        for layer in self._layers:
            layer.constrain()
        self._check_finite(model.named_parameters())
        return value

    def _diverged(self, what: str) -> TrainingError:
        """Return the error of a training that cannot go on, with what is left on disk."""
        left = (f"the checkpoint of epoch {self.epoch} stays" if self.epoch
                else "no checkpoint was written")
        return TrainingError(f"{what} in epoch {self.epoch + 1} of {self.options.epochs}; {left}. "
                             f"Lower the rate ({self.options.rate})")

    def _check_finite(self, tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Raise before a tensor that is not finite reaches a checkpoint.

        A finite loss can have gradients that are not.
        """
        for name, value in tensors:
            if not torch.isfinite(value).all():
                raise self._diverged(f"{name} became infinite or not a number")

    def run_epoch(self, progress: Callable[[float, float], None] | None = None) -> EpochReport:
        """Train for one epoch.

        Parameters
        ----------
        progress : callable, optional
            Called with the share of the epoch that is done and the mean loss so far.

        Raises
        ------
        TrainingError
            If the loss, or what a checkpoint would hold, is not finite any more.
        """
        start = time.perf_counter()
        self.model.train()
        order = torch.randperm(len(self.samples), generator=self.generator)
        total = 0.0
        for number in range(self._batches):
            self._set_rate(self.epoch * self._batches + number)
            index = order[number * self.options.batch:(number + 1) * self.options.batch]
            total += self._step(index)
            if progress is not None:
                progress((number + 1) / self._batches, total / (number + 1))
        self._check_finite(self.model.state_dict().items())  # running statistics too
        self.epoch += 1
        self._average()
        for layer in self._layers:
            layer.refit()
        self.model.eval()
        return EpochReport(
            self.epoch, self.options.epochs, total / self._batches,
            None if self.held is None else accuracy(self.model, self.held),
            time.perf_counter() - start)

    def _average(self) -> None:
        if self.epoch > self.options.average_from * self.options.epochs:
            if self.average is None:
                self.average = AveragedModel(self.model)
            self.average.update_parameters(self.model)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.options.epochs

    def finish(self) -> bool:
        """Settle the running statistics, and take the averaged weights if they are no worse.

        Returns
        -------
        bool
            Whether the model has the averaged weights now.
        """
        settle(self.model, self.samples.images)
        if self.average is None or self.held is None:
            return False
        averaged = self.average.module
        for layer in form_layers(averaged).values():
            layer.constrain()
            layer.refit()
        settle(averaged, self.samples.images)
        if accuracy(averaged, self.held) < accuracy(self.model, self.held):
            return False
        self.model.load_state_dict(averaged.state_dict())
        return True


def _optimiser(
    model: nn.Module, options: TrainOptions, without: set[int],
) -> torch.optim.Optimizer:
    named = [(name, p) for name, p in model.named_parameters() if id(p) not in without]
    decayed = [p for name, p in named if name.rpartition(".")[2] not in _UNDECAYED]
    others = [p for name, p in named if name.rpartition(".")[2] in _UNDECAYED]
    groups = [{"params": decayed, "weight_decay": options.weight_decay},
              {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if options.optimiser == "sgd":
        return torch.optim.SGD(groups, options.rate, momentum=0.9, nesterov=True)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "radam": torch.optim.RAdam}
    return kinds[options.optimiser](groups, options.rate)


def train(
    model: nn.Module, images: Tensor, labels: Tensor, epochs: int, seed: int, *,
    mirror: bool = True,
) -> None:
    """Train in place with the standard options, and print each epoch's loss.

    Parameters
    ----------
    images : float32 tensor, (B, C, H, W)
    labels : int64 tensor, (B,)
    """
    trainer = Trainer(model, Samples(images, labels), None,
                      TrainOptions(epochs=epochs, seed=seed, mirror=mirror))
    while not trainer.finished:
        report = trainer.run_epoch()
        print(f"epoch {report.epoch} of {epochs}: loss {report.loss:.3f}", flush=True)
    trainer.finish()
