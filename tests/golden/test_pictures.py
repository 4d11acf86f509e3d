"""Images from files: every shape that is taken, every one that is not."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smartdeal.golden.fashion import normalise
from smartdeal.golden.pictures import (
    PREPROCESSING,
    PRESETS,
    PictureError,
    Pictures,
    Preprocessing,
    preprocessing_of,
    read_pictures,
)

GREY, COLOUR = (1, 4, 6), (3, 4, 6)
PLAIN = {1: Preprocessing((0.0,), (1.0,)), 3: Preprocessing((0.0,) * 3, (1.0,) * 3)}
PIXELS = np.arange(72, dtype=np.uint8).reshape(COLOUR) * 3


def read(path: Path, shape: tuple[int, int, int]) -> list[np.ndarray]:
    return [image for _, image in read_pictures([path], shape, PLAIN[shape[0]])]


@pytest.mark.parametrize(("array", "shape", "count"), [
    (PIXELS[0], GREY, 1),
    (PIXELS[:1], GREY, 1),
    (PIXELS, GREY, 3),
    (PIXELS[:, None], GREY, 3),
    (PIXELS, COLOUR, 1),
    (PIXELS[None], COLOUR, 1),
    (np.stack([PIXELS, PIXELS]), COLOUR, 2),
])
def test_arrays(tmp_path: Path, array: np.ndarray, shape: tuple[int, int, int], count: int) -> None:
    expected = array.reshape(count, *shape)
    np.save(tmp_path / "pixels.npy", array)
    np.savez(tmp_path / "inputs.npz", array.astype(np.float64))
    np.savez(tmp_path / "named.npz", images=array, labels=np.arange(count))
    for name, scale in (("pixels.npy", 255), ("named.npz", 255), ("inputs.npz", 1)):
        found = read(tmp_path / name, shape)
        assert all(image.dtype == np.float32 for image in found)
        np.testing.assert_allclose(np.stack(found) * scale, expected, rtol=1e-6)


def test_pictures(tmp_path: Path) -> None:
    Image.fromarray(PIXELS.transpose(1, 2, 0)).save(tmp_path / "b.png")
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("left out")
    first, second = read_pictures([tmp_path], COLOUR, PLAIN[3])
    assert [Path(name).name for name, _ in (first, second)] == ["a.png", "b.png"]
    np.testing.assert_allclose(second[1] * 255, PIXELS, rtol=1e-6)
    np.testing.assert_allclose(first[1] * 255, np.stack([PIXELS[0]] * 3), rtol=1e-6)
    grey, = read(tmp_path / "a.png", GREY)
    np.testing.assert_allclose(grey * 255, PIXELS[:1], rtol=1e-6)


def test_pictures_of_16_bits(tmp_path: Path) -> None:
    """A channel of 16 bits keeps its upper half; numbers without a known range are refused."""
    lower = np.arange(24, dtype=np.uint16).reshape(4, 6)
    for suffix in ("png", "tiff"):  # little-endian and big-endian in memory
        for kind in ("<u2", ">u2"):
            Image.fromarray((PIXELS[0] * np.uint16(256) + lower).astype(kind)).save(
                tmp_path / f"deep.{suffix}")
            (tmp_path / f"deep.{suffix}").rename(tmp_path / "deep.png")
            grey, = read(tmp_path / "deep.png", GREY)
            np.testing.assert_allclose(grey * 255, PIXELS[:1], rtol=1e-6)
            colour, = read(tmp_path / "deep.png", COLOUR)
            np.testing.assert_allclose(colour * 255, np.stack([PIXELS[0]] * 3), rtol=1e-6)
    for kind, mode in ((np.int32, "I"), (np.float32, "F")):
        Image.fromarray(PIXELS[0].astype(kind)).save(tmp_path / "x.tiff")
        (tmp_path / "x.tiff").rename(tmp_path / "x.png")
        with pytest.raises(PictureError, match=rf"x\.png must have pixels of 8 or 16 bits, not of "
                                               rf"Pillow's mode {mode}; give it as \.npy, or save "
                                               r"it with 8 bits$"):
            read(tmp_path / "x.png", GREY)


def test_idx_files(tmp_path: Path) -> None:
    """Of a data set in the format of MNIST the training images count, compressed or not."""
    header = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in PIXELS.shape)
    content = header + PIXELS.tobytes()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(header + bytes(PIXELS.size))
    for path, expected in ((tmp_path, PIXELS), (tmp_path / "t10k-images-idx3-ubyte", 0 * PIXELS)):
        found = Pictures([path], GREY, PLAIN[1])
        np.testing.assert_allclose(np.stack([x for _, x in found]) * 255, expected[:, None],
                                   rtol=1e-6)
    cut = gzip.compress(content)[:30]
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(cut)
    with pytest.raises(PictureError, match=r"train-images-idx3-ubyte\.gz is not a file of arrays"):
        Pictures([tmp_path], GREY, PLAIN[1])


def test_images_are_read_when_asked_for(tmp_path: Path) -> None:
    for number in range(7):
        Image.fromarray(PIXELS[0] + np.uint8(number)).save(tmp_path / f"{number}.png")
    (tmp_path / "5.png").write_bytes(b"no picture")
    pictures = Pictures([tmp_path], GREY, PLAIN[1])
    assert len(pictures) == 7
    names = [Path(name).stem for name, _ in pictures.spread(3)]
    assert names == ["0", "2", "4"]
    assert [Path(name).stem for name, _ in pictures[1:3]] == ["1", "2"]
    with pytest.raises(PictureError, match=r"5\.png is not a picture that can be read$"):
        pictures[5]


@pytest.mark.parametrize(("preset", "mean", "deviation", "channels", "expected"), [
    (None, None, None, 3, None),
    ("signed", None, None, 3, Preprocessing((0.5,), (0.5,))),
    (None, (0.1, 0.2, 0.3), None, 3, Preprocessing((0.1, 0.2, 0.3), (1.0,))),
    ("imagenet", None, (1.0,), 3, Preprocessing((0.485, 0.456, 0.406), (1.0,))),
])
def test_preprocessing_of(
    preset: str | None, mean: tuple[float, ...] | None, deviation: tuple[float, ...] | None,
    channels: int, expected: Preprocessing | None,
) -> None:
    assert preprocessing_of(preset, mean, deviation, channels) == expected


@pytest.mark.parametrize(("preset", "mean", "deviation", "channels", "message"), [
    ("imagenet", None, None, 1, "mean must have 1 number for an image of 1 channel, not 3"),
    (None, (0.0, 0.0), None, 3, "mean must have 1 or 3 numbers for an image of 3 channels, not 2"),
    (None, None, (1.0, 0.0, 1.0), 3, "deviation must be positive, not 0.0"),
    (None, (np.nan,), None, 3, r"mean must be finite, not \(nan,\)"),
])
def test_wrong_preprocessing(
    preset: str | None, mean: tuple[float, ...] | None, deviation: tuple[float, ...] | None,
    channels: int, message: str,
) -> None:
    with pytest.raises(PictureError, match=f"^{message}$"):
        preprocessing_of(preset, mean, deviation, channels)


def test_ranges_of_presets() -> None:
    pixels = np.array([0, 255], np.uint8).reshape(1, 1, 2)
    for name, ends in (("unit", (0, 1)), ("signed", (-1, 1)), ("raw", (0, 255))):
        np.testing.assert_allclose(PRESETS[name](pixels).ravel(), ends, rtol=1e-6)


def test_preprocessing_is_that_of_training() -> None:
    pixels = np.arange(784, dtype=np.uint8).reshape(1, 28, 28)
    np.testing.assert_allclose(PREPROCESSING["resnet8"](pixels), normalise(pixels)[0].numpy(),
                               atol=1e-6)


@pytest.mark.parametrize(("array", "message"), [
    (PIXELS[0, :3], r"must hold images of shape \(1, 4, 6\), not an array of shape \(3, 6\)$"),
    (PIXELS[None, None], r"must hold images of shape \(1, 4, 6\), not an array of shape "
                         r"\(1, 1, 3, 4, 6\)$"),
    (np.zeros((0, 1, 4, 6)), r"must hold images of shape \(1, 4, 6\), not an array of shape "
                             r"\(0, 1, 4, 6\)$"),
    (np.array(3.0), r"must hold images of shape \(1, 4, 6\), not an array of shape \(\)$"),
    (PIXELS[:1].astype(np.int64), r"must hold bytes or floating-point numbers, not int64$"),
    (np.full(GREY, np.inf), r"image 0 must be finite, but 24 of 24 values are not; leave out or "
                            r"repair the image$"),
])
def test_wrong_arrays(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(PictureError, match=message):
        read(tmp_path / "x.npy", GREY)


def test_wrong_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=PIXELS, b=PIXELS)
    with pytest.raises(PictureError, match=r"two.npz must hold an array 'images', not a, b$"):
        read(tmp_path / "two.npz", GREY)
    good = (tmp_path / "two.npz").read_bytes()
    for name, content in (("cut.npz", good[:100]), ("empty.npy", b""), ("text.npy", b"no array")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PictureError, match=rf"{name} is not a file of arrays: "):
            read(tmp_path / name, GREY)
    with pytest.raises(PictureError, match=r"the network's input has 2 channels, a picture 1 or 3; "
                                           r"give it as .npy$"):
        read_pictures([tmp_path / "x.png"], (2, 4, 6), PLAIN[1])
