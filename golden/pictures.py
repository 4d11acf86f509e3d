"""Images from files: what a network is calibrated with, and run on."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["PREPROCESSING", "PictureError", "Preprocessing", "read_pictures"]

_ARRAYS = (".npy", ".npz")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
#: Largest value of a pixel.
_WHITE = 255.0


class PictureError(ValueError):
    """An image that cannot be used; the message names the file and what is wanted."""


@dataclass(frozen=True)
class Preprocessing:
    """From pixels, 0…255, to a network's input: (pixel / 255 - mean) / deviation.

    Parameters
    ----------
    mean, deviation : tuple of float
        One of each per channel.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the input, (C, H, W), of pixels of that shape."""
        mean, deviation = (np.array(v)[:, None, None] for v in (self.mean, self.deviation))
        return ((pixels / _WHITE - mean) / deviation).astype(np.float32)


_FASHION = Preprocessing((0.2860,), (0.3530,))
_IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

#: How the built-in networks' usual training sets are normalised: Fashion-MNIST, CIFAR-10, ImageNet.
PREPROCESSING = {
    "resnet8": _FASHION,
    "resnet20_fashion": _FASHION,
    "resnet20": Preprocessing((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "resnet18": _IMAGENET,
    "resnet34": _IMAGENET,
    "resnet50": _IMAGENET,
}


def read_pictures(
    paths: Sequence[Path], shape: tuple[int, int, int], preprocessing: Preprocessing,
) -> list[tuple[str, NDArray[np.float32]]]:
    """Read images as a network's input.

    A picture must have the network's size; it becomes grey if the network has one channel. An
    .npy holds one image or several, an .npz such an array as ``images`` or as its only
    one: bytes are pixels, floating-point numbers are the network's input as they are.
    A folder stands for the files in it.

    Parameters
    ----------
    shape : (channels, height, width)

    Returns
    -------
    list of (name, float32 array of that shape)

    Raises
    ------
    PictureError
        If a file cannot be used.
    """
    images: list[tuple[str, NDArray[np.float32]]] = []
    for path in paths:
        if path.is_dir():
            inside = [p for p in sorted(path.iterdir()) if p.suffix.lower() in
                      (*_ARRAYS, *_PICTURES)]
            if not inside:
                raise PictureError(f"{path} must hold images ({', '.join(_PICTURES + _ARRAYS)}), "
                                   "but has none")
            images += read_pictures(inside, shape, preprocessing)
        elif path.suffix.lower() in _ARRAYS:
            images += _from_array(path, shape, preprocessing)
        elif path.suffix.lower() in _PICTURES:
            images.append((str(path), preprocessing(_read_picture(path, shape))))
        else:
            raise PictureError(f"image {path} must be a file {', '.join(_PICTURES + _ARRAYS)}")
    return images


def _read_picture(path: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    channels, height, width = shape
    if channels not in (1, 3):
        raise PictureError(f"{path}: the network's input has {channels} channels, a picture 1 or "
                           "3; give it as .npy")
    try:
        with Image.open(path) as picture:
            size = picture.size
            pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    except UnidentifiedImageError:
        raise PictureError(f"{path} is not a picture that can be read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise PictureError(f"cannot read picture {path}: {reason}") from None
    if size != (width, height):
        raise PictureError(f"{path} must have {width}×{height} pixels, not {size[0]}×{size[1]}; "
                           "scale it first")
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)


def _from_array(
    path: Path, shape: tuple[int, int, int], preprocessing: Preprocessing,
) -> list[tuple[str, NDArray[np.float32]]]:
    array = _read_array(path)
    found = array.shape
    if shape[0] == 1 and found[-2:] == shape[1:] and array.ndim < 4 and found != shape:
        array = array[..., None, :, :]  # grey images without an axis for the channel
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[1:] != shape or not len(array):
        raise PictureError(f"{path} must hold images of shape {shape}, not an array of shape "
                           f"{found}")
    if array.dtype == np.uint8:
        images = [preprocessing(image) for image in array]
    elif np.issubdtype(array.dtype, np.floating):
        images = list(array.astype(np.float32))
    else:
        raise PictureError(f"{path} must hold bytes or floating-point numbers, not {array.dtype}")
    for number, image in enumerate(images):
        if not np.isfinite(image).all():
            raise PictureError(f"{path}: image {number} must be finite, but "
                               f"{int((~np.isfinite(image)).sum())} of {image.size} values are "
                               "not; leave out or repair the image")
    names = [str(path)] if len(images) == 1 else [f"{path}[{i}]" for i in range(len(images))]
    return list(zip(names, images, strict=True))


def _read_array(path: Path) -> NDArray[np.generic]:
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if not isinstance(content, np.lib.npyio.NpzFile):
                return np.asarray(content)
            names = content.files
            name = "images" if "images" in names else names[0] if len(names) == 1 else ""
            if not name:
                raise PictureError(f"{path} must hold an array 'images', not {', '.join(names)}")
            return content[name]
    except PictureError:
        raise
    except OSError as error:
        raise PictureError(f"cannot read image {path}: {error.strerror or error}") from None
    except (ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise PictureError(f"{path} is not a file of arrays: "
                           f"{(str(error) or 'cut short').splitlines()[0]}") from None
