"""Labelled images from files: what accuracy is measured on."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.pictures import (
    SUFFIXES,
    PictureError,
    Pictures,
    Preprocessing,
    expand,
    idx_files,
    read_array,
)

__all__ = ["SPLITS", "Labelled", "read_labelled"]

#: Halves of a data set in the format of MNIST, by the names of its files.
SPLITS = ("t10k", "train")
#: What comes before a label in a picture's name: cifar10_07_3.png is number 7, of class 3.
_NAMED = re.compile(r"_\d+_(\d+)$")

_WANTED = ("IDX files in the format of MNIST, an .npz with images and labels, a folder for each "
           "class, or pictures named …_NUMBER_LABEL.png")


class Labelled:
    """Images with labels, read when they are asked for.

    Parameters
    ----------
    images : Pictures
    labels : int64 array, (B,)
        Indices of classes.
    """

    def __init__(self, images: Pictures, labels: NDArray[np.int64]) -> None:
        self.images, self.labels = images, labels
        self._chosen = np.arange(len(labels))

    def __len__(self) -> int:
        return len(self._chosen)

    def spread(self, most: int) -> "Labelled":
        """Return at most so many of the images, evenly spaced over all."""
        count = min(most, len(self))
        part = Labelled(self.images, self.labels)
        part._chosen = self._chosen[np.arange(count) * len(self) // count]
        return part

    def batches(self, size: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Return images, (B, C, H, W), and labels, (B,), in their order.

        Raises
        ------
        PictureError
            If an image cannot be used.
        """
        for start in range(0, len(self), size):
            part = self._chosen[start:start + size]
            yield np.stack([self.images[int(i)][1] for i in part]), self.labels[part]


def _from_names(paths: Sequence[Path]) -> NDArray[np.int64] | None:
    """Return the labels in the names of pictures, or None if any has none."""
    found = [_NAMED.search(path.stem) for path in paths]
    if not found or not all(found):
        return None
    return np.array([int(match[1]) for match in found if match], np.int64)


def _numbers(folders: Sequence[Path], classes: Sequence[str], outputs: int) -> list[int]:
    """Return the class of each folder: by its name, its number, or its place in the alphabet."""
    names = [folder.name for folder in folders]
    if set(names) <= set(classes):
        return [list(classes).index(name) for name in names]
    if all(name.isdecimal() for name in names):
        return [int(name) for name in names]
    if len(names) != outputs:
        raise PictureError(f"{folders[0].parent} has {len(names)} folders, and the network "
                           f"{outputs} classes: name the folders as the classes "
                           "(smartdeal compile --labels) or by their numbers")
    return list(range(len(names)))


def _from_folder(
    folder: Path, shape: tuple[int, int, int], preprocessing: Preprocessing | None,
    classes: Sequence[str], outputs: int, split: str,
) -> tuple[Pictures, NDArray[np.int64]]:
    files = idx_files(folder)
    if files:
        if split not in files:
            raise PictureError(f"{folder} must hold the images of {split}, but has only those of "
                               f"{', '.join(files)}")
        return _from_idx(files[split], shape, preprocessing)
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    folders = [path for path in inside if path.is_dir()]
    if not folders:
        pictures = [path for path in inside if path.suffix.lower() in SUFFIXES]
        return _from_pictures(folder, pictures, shape, preprocessing)
    paths: list[Path] = []
    labels: list[int] = []
    for path, label in zip(folders, _numbers(folders, classes, outputs), strict=True):
        count = len(Pictures([path], shape, preprocessing))
        paths.append(path)
        labels += [label] * count
    return Pictures(paths, shape, preprocessing), np.array(labels, np.int64)


def _from_pictures(
    given: Path, paths: Sequence[Path], shape: tuple[int, int, int],
    preprocessing: Preprocessing | None,
) -> tuple[Pictures, NDArray[np.int64]]:
    labels = _from_names(paths)
    if labels is None:
        raise PictureError(f"{given} must hold labelled images: {_WANTED}")
    return Pictures(paths, shape, preprocessing), labels


def _from_idx(
    path: Path, shape: tuple[int, int, int], preprocessing: Preprocessing | None,
) -> tuple[Pictures, NDArray[np.int64]]:
    labels = path.with_name(path.name.replace("-images-idx3-", "-labels-idx1-"))
    return (Pictures([path], shape, preprocessing),
            read_array(labels, "labels").astype(np.int64))


def read_labelled(
    path: Path, shape: tuple[int, int, int], preprocessing: Preprocessing | None, *,
    classes: Sequence[str] = (), outputs: int, split: str = SPLITS[0],
) -> Labelled:
    """Read labelled images.

    These are a folder of IDX files in the format of MNIST, an .npz with ``images`` and ``labels``,
    a folder with one for each class (named as the class, by its number, or in alphabetical order
    if there are as many as classes), or pictures whose name ends in their number and label,
    as ``cifar10_07_3.png``.

    Parameters
    ----------
    shape : (channels, height, width)
    classes : sequence of str
        Names of the classes, if they are known.
    outputs : int
        Number of classes.
    split : "t10k" or "train"
        Which half of a data set in the format of MNIST.

    Raises
    ------
    PictureError
        If images or labels cannot be used.
    """
    paths = expand([path])
    if path.is_dir():
        images, labels = _from_folder(path, shape, preprocessing, classes, outputs, split)
    elif "-images-idx3-ubyte" in path.name:
        images, labels = _from_idx(path, shape, preprocessing)
    elif path.suffix.lower() == ".npz":
        images = Pictures([path], shape, preprocessing)
        labels = _labels(path, read_array(path, "labels"))
    elif len(paths) > 1 or paths[0] != path:
        images, labels = _from_pictures(path, paths, shape, preprocessing)
    elif not path.exists():
        raise PictureError(f"cannot read {path}: No such file or directory")
    else:
        raise PictureError(f"{path} must hold labelled images: {_WANTED}")
    if len(labels) != len(images):
        raise PictureError(f"{path} must have a label for each image, but has {len(images)} images "
                           f"and {len(labels)} labels")
    wrong = np.flatnonzero((labels < 0) | (labels >= outputs))
    if len(wrong):
        raise PictureError(f"{images.name(int(wrong[0]))}: label must be from 0 to {outputs - 1}, "
                           f"as the network has {outputs} outputs, not {labels[wrong[0]]}")
    return Labelled(images, labels)


def _labels(path: Path, array: NDArray[np.generic]) -> NDArray[np.int64]:
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise PictureError(f"{path}: labels must be integers of shape (B,), not {array.dtype} of "
                           f"shape {array.shape}")
    return array.astype(np.int64)
