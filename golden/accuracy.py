"""How often networks are right: top-1 and top-5 on labelled images."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smartdeal.golden.batch import BatchNetwork
from smartdeal.golden.graph import Network
from smartdeal.golden.labelled import Labelled
from smartdeal.golden.layers import IntegerNetwork

__all__ = ["Score", "float_accuracy", "float_logits", "integer_accuracy", "integer_logits",
           "ranks", "scores"]

_BATCH = 500
#: Images that are read and evaluated at a time: a batch of 224 × 224 ones stays below 40 MB.
_READ = 64

#: From images, float32 (B, C, H, W), to logits, (B, classes).
Logits = Callable[[NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Score:
    """What a network makes of labelled images.

    Parameters
    ----------
    classes : int64 array, (B,)
        The class of each image; of equal logits the first counts.
    top1, top5 : float
        Fraction of the images whose label has the largest logit, or is among the five largest.
    seconds : float
        For evaluating them, reading not counted.
    """

    classes: NDArray[np.int64]
    top1: float
    top5: float
    seconds: float

    @property
    def margin(self) -> float:
        """Half the 95 % interval of :attr:`top1`, as far as the choice of images goes."""
        return 1.96 * math.sqrt(self.top1 * (1 - self.top1) / len(self.classes))

    @property
    def rate(self) -> float:
        """Images per second."""
        return len(self.classes) / max(self.seconds, 1e-9)

    def same(self, other: "Score") -> float:
        """Return the fraction of images that both put in the same class."""
        return float((self.classes == other.classes).mean())


def ranks(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at which place each label stands, (B,): 0 is first; of equals the first counts.

    Parameters
    ----------
    logits : array, (B, classes)
    labels : int64 array, (B,)
    """
    own = logits[np.arange(len(labels)), labels][:, None]
    before = np.arange(logits.shape[1]) < labels[:, None]
    return ((logits > own) | ((logits == own) & before)).sum(axis=1)


def float_logits(model: Network) -> Logits:
    """Return a network in floating point as a function of arrays."""
    @torch.no_grad()
    def logits(images: NDArray[np.float32]) -> NDArray[np.float64]:
        return model(torch.from_numpy(images)).double().numpy()
    return logits


def integer_logits(network: IntegerNetwork) -> Logits:
    """Return an integer network as a function of arrays."""
    return BatchNetwork(network).logits


def scores(
    models: Mapping[str, Logits], data: Labelled, progress: Callable[[float], None] | None = None,
) -> dict[str, Score]:
    """Evaluate networks on the same images.

    Parameters
    ----------
    models : mapping of str to function
    progress : callable, optional
        Called with the share that is done.

    Raises
    ------
    PictureError
        If an image cannot be used.
    """
    places: dict[str, list[NDArray[np.int64]]] = {name: [] for name in models}
    classes: dict[str, list[NDArray[np.int64]]] = {name: [] for name in models}
    seconds = dict.fromkeys(models, 0.0)
    done = 0
    for images, labels in data.batches(_READ):
        for name, model in models.items():
            start = time.perf_counter()
            logits = model(images)
            seconds[name] += time.perf_counter() - start
            places[name].append(ranks(logits, labels))
            classes[name].append(logits.argmax(axis=1))
        done += len(labels)
        if progress is not None:
            progress(done / len(data))
    return {name: Score(
        classes=np.concatenate(classes[name]), seconds=seconds[name],
        top1=float((np.concatenate(places[name]) == 0).mean()),
        top5=float((np.concatenate(places[name]) < 5).mean())) for name in models}


@torch.no_grad()
def float_accuracy(model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> float:
    """Return the fraction of images (B, C, H, W) whose largest logit is at the label, (B,)."""
    right = [int((model(x).argmax(1) == y).sum())
             for x, y in zip(images.split(_BATCH), labels.split(_BATCH), strict=True)]
    return sum(right) / len(images)


def integer_accuracy(network: IntegerNetwork, images: Tensor, labels: Tensor) -> float:
    """Return the same of an integer network; of equal logits the first counts."""
    logits = BatchNetwork(network).logits(images.numpy())
    return float((logits.argmax(axis=1) == labels.numpy()).mean())
