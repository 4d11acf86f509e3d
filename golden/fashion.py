"""The data that come with the package: networks trained on Fashion-MNIST, and a few images.

Fashion-MNIST is © 2017 Zalando SE under the MIT licence (``DATA_LICENCE.txt``). The files are made
by ``smartdeal train`` and ``smartdeal compress --retrain`` (docs/training.md).
"""

import gzip
import math
import zlib
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "CHECKPOINTS", "CLASSES", "FASHION", "IMAGES", "RETRAINED", "calibration_images",
    "normalise", "read_idx", "read_split", "sample_images",
]

#: Name of the data set.
FASHION = "fashion-mnist"
#: Files of the package: weights by the network's name, and images.
CHECKPOINTS = {"resnet8": "resnet8_fashion.npz", "resnet20_fashion": "resnet20_fashion.npz"}
IMAGES = "fashion_images.npz"
#: Files of weights that were retrained in a form, by network and form; "sparse" is SmartDeal with
#: half of its vectors zero, in groups of four filters.
RETRAINED: dict[str, dict[str, str]] = {
    "resnet8": {
        "sparse": "resnet8_fashion_smartdeal.npz", "deepshift-q": "resnet8_fashion_deepshift.npz",
        "shift2": "resnet8_fashion_shift2.npz", "binary": "resnet8_fashion_binary.npz",
        "deepshift-ps": "resnet8_fashion_deepshift-ps.npz", "bnn": "resnet8_fashion_bnn.npz",
    },
    "resnet20_fashion": {
        "sparse": "resnet20_fashion_smartdeal.npz",
        "deepshift-q": "resnet20_fashion_deepshift.npz",
        "shift2": "resnet20_fashion_shift2.npz", "binary": "resnet20_fashion_binary.npz",
    },
}
#: What the labels 0…9 mean.
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat",
           "sandal", "shirt", "sneaker", "bag", "ankle boot")

_GZIP_MAGIC = b"\x1f\x8b"
# Mean and standard deviation of the training pixels, scaled to 0…1.
_MEAN, _DEVIATION = 0.2860, 0.3530


def normalise(images: NDArray[np.uint8]) -> Tensor:
    """Return grey images (B, 28, 28), 0…255, as the network's input: float32 (B, 1, 28, 28)."""
    return ((torch.from_numpy(images).float() / 255 - _MEAN) / _DEVIATION)[:, None]


def _images(name: str) -> NDArray[np.generic]:
    with as_file(files("smartdeal.golden") / IMAGES) as path, np.load(path) as arrays:
        return arrays[name]


def sample_images() -> tuple[Tensor, list[int]]:
    """Return the first images of the test set, normalised, and their labels."""
    return normalise(_images("test").astype(np.uint8)), _images("labels").tolist()


def calibration_images() -> Tensor:
    """Return the first images of the training set, normalised."""
    return normalise(_images("calibration").astype(np.uint8))


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of bytes, gzip-compressed or not.

    Raises
    ------
    ValueError
        If the file is not IDX of unsigned bytes, or is cut short.
    OSError
        If it cannot be read.
    """
    content = path.read_bytes()
    if content[:2] == _GZIP_MAGIC:
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is cut short or damaged: {error}") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} must be an IDX file of unsigned bytes, "
                         f"but starts with {content[:4].hex()!r}")
    header = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:header], ">u4").astype(int)
    if len(content) != header + math.prod(shape):
        raise ValueError(f"{path} must hold {math.prod(shape)} values, "
                         f"not {len(content) - header}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def read_split(
    folder: Path, split: Literal["train", "t10k"],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read one half of the data set as published: images (B, 28, 28) and labels (B,)."""
    return (read_idx(folder / f"{split}-images-idx3-ubyte.gz"),
            read_idx(folder / f"{split}-labels-idx1-ubyte.gz"))
