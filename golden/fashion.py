"""The data that come with the package: a ResNet-8 trained on Fashion-MNIST, and a few images.

Fashion-MNIST is © 2017 Zalando SE under the MIT licence (``DATA_LICENCE.txt``). The files are made
by :mod:`smartdeal.golden.training`.
"""

from importlib.resources import as_file, files

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["CHECKPOINT", "CLASSES", "IMAGES", "calibration_images", "normalise", "sample_images"]

#: Files of the package.
CHECKPOINT, IMAGES = "resnet8_fashion.npz", "fashion_images.npz"
#: What the labels 0…9 mean.
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat",
           "sandal", "shirt", "sneaker", "bag", "ankle boot")

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
