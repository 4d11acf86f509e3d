"""Images from files: what a network is calibrated with, and run on."""

import glob
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.fashion import read_idx

if TYPE_CHECKING:  # most networks are run on arrays
    from PIL.Image import Image

__all__ = ["PREPROCESSING", "PRESETS", "SUFFIXES", "PictureError", "Pictures", "Preprocessing",
           "expand", "idx_files", "preprocessing_of", "read_array", "read_pictures"]

_ARRAYS = (".npy", ".npz")
#: What the names of pictures end in.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
#: What the names of the MNIST family's files of images have in them.
_IDX = "-images-idx3-ubyte"
#: Pillow's modes that are pixels of at most 8 bits a channel.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
#: Largest value of a pixel.
_WHITE = 255.0

Shape = tuple[int, int, int]


class PictureError(ValueError):
    """An image that cannot be used; the message names the file and what is wanted."""


@dataclass(frozen=True)
class Preprocessing:
    """From pixels, 0…255, to a network's input: (pixel / 255 - mean) / deviation.

    Parameters
    ----------
    mean, deviation : tuple of float
        One of each per channel, or one for all.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the input, (C, H, W), of pixels of that shape."""
        mean, deviation = (np.array(v)[:, None, None] for v in (self.mean, self.deviation))
        return ((pixels / _WHITE - mean) / deviation).astype(np.float32)

    def check(self, channels: int) -> None:
        """Raise unless it is for images of so many channels.

        Raises
        ------
        PictureError
            If there are too many or too few numbers, or such that no input results.
        """
        for what, numbers in (("mean", self.mean), ("deviation", self.deviation)):
            if len(numbers) not in (1, channels):
                wanted = "1 number" if channels == 1 else f"1 or {channels} numbers"
                raise PictureError(f"{what} must have {wanted} for an image of {channels} "
                                   f"channel{'s' if channels > 1 else ''}, not {len(numbers)}")
            if not np.isfinite(numbers).all():
                raise PictureError(f"{what} must be finite, not {numbers}")
        if min(self.deviation) <= 0:
            raise PictureError(f"deviation must be positive, not {min(self.deviation)}")


_FASHION = Preprocessing((0.2860,), (0.3530,))
_CIFAR10 = Preprocessing((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
_IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

#: Usual preprocessing by name: the ranges 0…1, -1…1 and 0…255, and what training sets have.
PRESETS = {
    "unit": Preprocessing((0.0,), (1.0,)),
    "signed": Preprocessing((0.5,), (0.5,)),
    "raw": Preprocessing((0.0,), (1 / _WHITE,)),
    "imagenet": _IMAGENET,
    "cifar10": _CIFAR10,
    "fashion": _FASHION,
}

#: How the built-in networks' usual training sets are normalised: Fashion-MNIST, CIFAR-10, ImageNet.
PREPROCESSING = {
    "resnet8": _FASHION,
    "resnet20_fashion": _FASHION,
    "resnet20": _CIFAR10,
    "resnet18": _IMAGENET,
    "resnet34": _IMAGENET,
    "resnet50": _IMAGENET,
}


def preprocessing_of(
    preset: str | None, mean: Sequence[float] | None, deviation: Sequence[float] | None,
    channels: int,
) -> Preprocessing | None:
    """Return the preprocessing that a user asks for; None if for none.

    ``mean`` and ``deviation`` change those of the preset, which is ``unit`` if only they are given.

    Raises
    ------
    PictureError
        If there is no such preset, or the numbers do not suit the channels.
    """
    if preset is None and mean is None and deviation is None:
        return None
    name = preset or "unit"
    if name not in PRESETS:
        raise PictureError(f"preprocessing must be one of {', '.join(PRESETS)}, not {name!r}")
    base = PRESETS[name]
    chosen = Preprocessing(tuple(mean) if mean is not None else base.mean,
                           tuple(deviation) if deviation is not None else base.deviation)
    chosen.check(channels)
    return chosen


def expand(paths: Sequence[Path]) -> list[Path]:
    """Return the paths with a pattern, as ``photos/*.png``, replaced by what it matches.

    Raises
    ------
    PictureError
        If a pattern matches nothing.
    """
    expanded: list[Path] = []
    for path in paths:
        if path.exists() or not glob.has_magic(str(path)):
            expanded.append(path)
            continue
        matches = sorted(map(Path, glob.glob(str(path))))
        if not matches:
            raise PictureError(f"no file matches {path}")
        expanded += matches
    return expanded


def idx_files(folder: Path) -> dict[str, Path]:
    """Return a folder's files of images in the format of MNIST, by split: ``train``, ``t10k``."""
    files = sorted(p for p in folder.iterdir() if _IDX in p.name)
    return {path.name.partition(_IDX)[0]: path for path in files}


class Pictures(Sequence[tuple[str, NDArray[np.float32]]]):
    """Images of files as a network's input, (name, float32 array), read when they are asked for.

    A picture must have the network's size; it becomes grey if the network has one channel. An
    .npy holds one image or several, an .npz such an array as ``images`` or as its only
    one: bytes are pixels, floating-point numbers are the network's input as they are. Files of
    images in the format of MNIST are pixels. A folder stands for the files in it; of one in the
    format of MNIST the training images count. A pattern stands for what it matches.

    Parameters
    ----------
    paths : sequence of Path
    shape : (channels, height, width)
    preprocessing : Preprocessing or None
        Without it only floating-point numbers can be read.

    Raises
    ------
    PictureError
        If a file cannot be used; that of a picture comes when it is asked for.
    """

    def __init__(
        self, paths: Sequence[Path], shape: Shape, preprocessing: Preprocessing | None,
    ) -> None:
        self.shape = shape
        self._preprocessing = preprocessing
        self._entries: list[tuple[Path, int]] = []
        self._arrays: dict[Path, NDArray[np.generic]] = {}
        for path in expand(paths):
            self._enter(path)

    def _enter(self, path: Path) -> None:
        suffix = path.suffix.lower()
        if path.is_dir():
            self._enter_folder(path)
        elif suffix in _ARRAYS or _IDX in path.name:
            array = _images(path, self.shape)
            self._arrays[path] = array
            self._entries += [(path, i) for i in range(len(array))]
        elif suffix in SUFFIXES:
            self._entries.append((path, 0))
        else:
            raise PictureError(f"image {path} must be a file {', '.join(SUFFIXES + _ARRAYS)}")

    def _enter_folder(self, folder: Path) -> None:
        inside = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in
                  (*_ARRAYS, *SUFFIXES)]
        if not inside and "train" in idx_files(folder):
            inside = [idx_files(folder)["train"]]
        if not inside:
            raise PictureError(f"{folder} must hold images ({', '.join(SUFFIXES + _ARRAYS)}), "
                               "but has none")
        for path in inside:
            self._enter(path)

    def __len__(self) -> int:
        return len(self._entries)

    def name(self, index: int) -> str:
        """Return an image's file, and its number there if it is not the only one."""
        path, number = self._entries[index]
        alone = path not in self._arrays or len(self._arrays[path]) == 1
        return str(path) if alone else f"{path}[{number}]"

    @overload
    def __getitem__(self, index: int) -> tuple[str, NDArray[np.float32]]: ...

    @overload
    def __getitem__(self, index: slice) -> list[tuple[str, NDArray[np.float32]]]: ...

    def __getitem__(
        self, index: int | slice,
    ) -> tuple[str, NDArray[np.float32]] | list[tuple[str, NDArray[np.float32]]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        path, number = self._entries[index]
        if path not in self._arrays:
            return str(path), self._prepared(path, _read_picture(path, self.shape))
        image = self._arrays[path][number]
        if image.dtype == np.uint8:
            return self.name(index), self._prepared(path, image.astype(np.uint8))
        real = image.astype(np.float32)
        if not np.isfinite(real).all():
            raise PictureError(f"{path}: image {number} must be finite, but "
                               f"{int((~np.isfinite(real)).sum())} of {real.size} values are "
                               "not; leave out or repair the image")
        return self.name(index), real

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        return (self[i] for i in range(len(self)))

    def spread(self, most: int) -> list[tuple[str, NDArray[np.float32]]]:
        """Return at most so many images, evenly spaced over all."""
        count = min(most, len(self))
        return [self[i * len(self) // count] for i in range(count)]

    def _prepared(self, path: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._preprocessing is None:
            raise PictureError(
                f"{path} holds pixels, and nothing says how they become the network's input; give "
                f"smartdeal compile a --preprocessing ({', '.join(PRESETS)}), or --mean and "
                "--deviation")
        # Sums depend on the order in memory: the same pixels are to give the same program.
        return np.ascontiguousarray(self._preprocessing(pixels))


def read_pictures(
    paths: Sequence[Path], shape: Shape, preprocessing: Preprocessing | None,
) -> list[tuple[str, NDArray[np.float32]]]:
    """Read all images at once, as :class:`Pictures` takes them."""
    return list(Pictures(paths, shape, preprocessing))


def _of_bytes(picture: "Image", path: Path) -> "Image":
    """Return a picture with channels of 8 bits.

    Pillow would clip larger numbers. Those of 16 bits lose their lower half, as it does itself to
    coloured pictures of 16 bits.
    """
    from PIL import Image as images

    if picture.mode.startswith("I;16"):
        return images.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode not in _MODES:
        raise PictureError(f"{path} must have pixels of 8 or 16 bits, not of Pillow's mode "
                           f"{picture.mode}; give it as .npy, or save it with 8 bits")
    return picture


def _read_picture(path: Path, shape: Shape) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    channels, height, width = shape
    if channels not in (1, 3):
        raise PictureError(f"{path}: the network's input has {channels} channels, a picture 1 or "
                           "3; give it as .npy")
    try:
        with Image.open(path) as picture:
            size = picture.size
            pixels = np.asarray(_of_bytes(picture, path).convert("L" if channels == 1 else "RGB"))
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(f"{path} is not a picture that can be read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise PictureError(f"cannot read picture {path}: {reason}") from None
    if size != (width, height):
        raise PictureError(f"{path} must have {width}×{height} pixels, not {size[0]}×{size[1]}; "
                           "scale it first")
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)


def _images(path: Path, shape: Shape) -> NDArray[np.generic]:
    """Return a file's images, (B, *shape), of bytes or floating-point numbers."""
    array = read_array(path, "images", alone=True)
    found = array.shape
    if shape[0] == 1 and found[-2:] == shape[1:] and array.ndim < 4 and found != shape:
        array = array[..., None, :, :]  # grey images without an axis for the channel
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[1:] != shape or not len(array):
        raise PictureError(f"{path} must hold images of shape {shape}, not an array of shape "
                           f"{found}")
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise PictureError(f"{path} must hold bytes or floating-point numbers, not {array.dtype}")
    return array


def read_array(path: Path, name: str, *, alone: bool = False) -> NDArray[np.generic]:
    """Return the array of an .npy or IDX file, or that of an .npz with the name.

    With ``alone`` the only array of an .npz may have any name.

    Raises
    ------
    PictureError
        If there is none.
    """
    try:
        if path.suffix.lower() not in _ARRAYS:
            return read_idx(path)
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if not isinstance(content, np.lib.npyio.NpzFile):
                return np.asarray(content)
            names = content.files
            wanted = names[0] if alone and len(names) == 1 else name
            if wanted not in names:
                raise PictureError(f"{path} must hold an array {name!r}, not {', '.join(names)}")
            return content[wanted]
    except PictureError:
        raise
    except OSError as error:
        raise PictureError(f"cannot read image {path}: {error.strerror or error}") from None
    except (ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise PictureError(f"{path} is not a file of arrays: "
                           f"{(str(error) or 'cut short').splitlines()[0]}") from None
