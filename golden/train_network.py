"""Train or retrain a built-in network in a form, from data set to file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from smartdeal.golden.accuracy import integer_accuracy
from smartdeal.golden.checkpoints import load_trained, load_weights
from smartdeal.golden.convert import convert
from smartdeal.golden.datasets import DataSet, split_off
from smartdeal.golden.fashion import CHECKPOINTS, FASHION
from smartdeal.golden.files import check_target
from smartdeal.golden.forms import BasisWeights, Weights
from smartdeal.golden.graph import float_graph
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.network_files import SUFFIXES, write_network
from smartdeal.golden.networks import ImageKind, NetworkError, ResNet, build_network
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.golden.train_options import EpochReport, TrainOptions
from smartdeal.golden.train_state import load_state, save_state
from smartdeal.golden.training import Trainer, accuracy

__all__ = ["PACKAGE", "Job", "Result", "Watcher", "integer_network", "run_job", "state_file",
           "zero_vectors"]

#: Start from the trained weights that come with the package.
PACKAGE = "package"
_CALIBRATION_IMAGES = 64


class Watcher(Protocol):
    """Whoever wants to see a training go on."""

    def progress(self, epoch: int, share: float, loss: float) -> None:
        """Take the share of an epoch that is done, and its mean loss so far."""

    def epoch(self, report: EpochReport) -> None:
        """Take what an epoch brought; its checkpoint is on disk."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to train.

    Parameters
    ----------
    network : str
        A key of :data:`smartdeal.golden.networks.NETWORKS`.
    form : str or mapping of str to str
        As :func:`smartdeal.golden.convert.convert` takes it.
    form_options : FormOptions
    zero_fractions : mapping of str to float
        By layer, instead of ``form_options.zero_fraction``.
    options : TrainOptions or None
        None brings the weights into the form and trains nothing.
    start : str or None
        A checkpoint's path, or :data:`PACKAGE`; None starts from random weights.
    held : float
        Share of the training images that is held back to judge epochs.
    output : Path
        ``.safetensors`` or ``.npz``.
    resume : bool
        Go on from the state file beside ``output``.
    """

    network: str
    form: str | Mapping[str, str]
    form_options: FormOptions = field(default_factory=FormOptions)
    zero_fractions: Mapping[str, float] = field(default_factory=dict)
    options: TrainOptions | None
    start: str | None = None
    held: float = 0.05
    output: Path
    resume: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Result:
    """What came out.

    Parameters
    ----------
    model : ResNet
    averaged : bool
        Whether the weights are averages (SWA).
    accuracy, integer_accuracy : float or None
        On all test images, of the floating-point evaluation and of the integer network; None
        without data.
    zero_vectors : float
        Share of zero vectors in the layers that have them (SmartDeal).
    """

    model: ResNet
    averaged: bool
    accuracy: float | None
    integer_accuracy: float | None
    zero_vectors: float


def state_file(output: Path) -> Path:
    """Return where the state of a training stands that writes ``output``."""
    return output.with_suffix(".state.safetensors")


def _initial(job: Job, data: DataSet | None) -> ResNet:
    """Return the network that training starts from."""
    torch.manual_seed(job.options.seed if job.options is not None else 0)
    model = build_network(job.network)
    if data is not None:
        wanted = model.spec.classes, model.spec.input_shape[0]
        for what, needs, has in zip(("classes", "channels"), wanted, (
                len(data.classes), data.train.images.shape[1]), strict=True):
            if needs != has:
                raise NetworkError(f"{job.network} takes {needs} {what}, {data.name} has {has}; "
                                   "resnet8 and resnet20_fashion are for grey images of 10 classes")
    if job.start == PACKAGE:
        load_trained(model)
    elif job.start is not None:
        load_weights(model, Path(job.start))
    return model


def _about(job: Job, data: DataSet | ImageKind | None) -> dict[str, Any]:
    form = job.form if isinstance(job.form, str) else dict(job.form)
    about: dict[str, Any] = {
        "network": job.network, "form": form, "start": job.start,
        "exponents": job.form_options.exponents, "group": job.form_options.group,
        "zero_fraction": job.form_options.zero_fraction,
        "zero_fractions": dict(job.zero_fractions), "held": job.held,
    }
    if data is not None:
        about |= {"data": data.name, "mean": data.mean, "deviation": data.deviation,
                  "classes": list(data.classes)}
    return about


def _own_calibration(job: Job, data: DataSet | None, model: ResNet) -> Tensor | None:
    """Return pixels 0…255 to write beside the weights, unless the package has the same.

    They are the first training images; without data those that the checkpoint brought.
    """
    kind = model.data if data is None else data
    images = model.calibration if data is None else data.train.images[:_CALIBRATION_IMAGES]
    if kind is None or images is None or (
            kind.name == FASHION and job.network in CHECKPOINTS):
        return None
    return ((images * kind.deviation + kind.mean) * 255).round().to(torch.uint8)


def _check(job: Job, data: DataSet | None) -> None:
    if job.output.suffix not in SUFFIXES:
        raise NetworkError(f"a trained network must be written to a file {' or '.join(SUFFIXES)}, "
                           f"not {str(job.output)!r}")
    if not 0 <= job.held < 1:
        raise NetworkError(f"held must be at least 0 and less than 1, not {job.held!r}")
    if job.options is not None and data is None:
        raise NetworkError("training needs a data set")
    check_target(job.output)


def run_job(job: Job, data: DataSet | None, watcher: Watcher) -> Result:
    """Train, write the network after each epoch, and measure it in the end.

    Parameters
    ----------
    data : DataSet or None
        None only if nothing is trained.

    Raises
    ------
    NetworkError, FormError, TrainingError
        If the job makes no sense, or training cannot go on: the file of the last good epoch stays.
    OSError
        If a file cannot be written; the old one stays.
    """
    _check(job, data)
    model = convert(_initial(job, data), job.form, job.form_options,
                    zero_fractions=job.zero_fractions)
    assert isinstance(model, ResNet)
    averaged = False
    about = _about(job, model.data if data is None else data)
    calibration = _own_calibration(job, data, model)
    if job.options is not None and data is not None:
        model.calibration = None
        averaged = _train(job, data, model, watcher, about, calibration)
    model.eval()
    write_network(job.output, model, about, calibration)
    return _measure(model, data, averaged)


def _train(
    job: Job, data: DataSet, model: ResNet, watcher: Watcher, about: dict[str, Any],
    calibration: Tensor | None,
) -> bool:
    """Train in place; return whether the weights are averages."""
    assert job.options is not None
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    kept, held = split_off(data.train, job.held, seed=0)
    trainer = Trainer(model, kept, held if len(held) else None, job.options)
    state = state_file(job.output)
    if job.resume:
        load_state(state, trainer, about)
    while not trainer.finished:
        epoch = trainer.epoch
        report = trainer.run_epoch(
            lambda share, loss, epoch=epoch: watcher.progress(epoch, share, loss))
        save_state(state, trainer, about)
        write_network(job.output, model, about, calibration)
        watcher.epoch(report)
    return trainer.finish()


def _measure(model: ResNet, data: DataSet | None, averaged: bool) -> Result:
    vectors = zero_vectors(w for node in float_graph(model).nodes
                           if (w := node.trained) is not None)
    if data is None:
        return Result(model=model, averaged=averaged, accuracy=None, integer_accuracy=None,
                      zero_vectors=vectors)
    integer = integer_network(model, data)
    return Result(
        model=model, averaged=averaged, accuracy=accuracy(model, data.test),
        integer_accuracy=integer_accuracy(integer, data.test.images, data.test.labels),
        zero_vectors=vectors)


def integer_network(
    model: ResNet, data: DataSet, form: str | Mapping[str, str] = "int8",
) -> IntegerNetwork:
    """Return the integers of a trained network, calibrated on the first training images.

    Parameters
    ----------
    form : str or mapping
        Of the layers that were trained in floating point.
    """
    return quantise_network(model, data.train.images[:_CALIBRATION_IMAGES], form)


def zero_vectors(weights: Iterable[Weights]) -> float:
    """Return the share of zero vectors in those of some weights that have a basis; 0 if none."""
    bases = [w.sign.any(axis=2).ravel() for w in weights if isinstance(w, BasisWeights)]
    return float(1 - np.concatenate(bases).mean()) if bases else 0.0
