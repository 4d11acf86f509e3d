"""Labelled images: every layout that is taken, every mistake that is named."""

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from smartdeal.golden.accuracy import Score, ranks, scores
from smartdeal.golden.labelled import Labelled, read_labelled
from smartdeal.golden.pictures import SUFFIXES, PictureError, Preprocessing

SHAPE = (1, 4, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (7, 4, 3), np.uint8)
LABELS = np.array([2, 0, 1, 1, 2, 0, 2])
RAW = Preprocessing((0.0,), (1 / 255,))
NAMES = ("ant", "bee", "cow")


def idx(array: NDArray[np.uint8]) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the same images in every layout."""
    (tmp_path / "idx").mkdir()
    for split, part in (("train", slice(None)), ("t10k", slice(0, 5))):
        images, labels = (f"{split}-{what}-ubyte" for what in ("images-idx3", "labels-idx1"))
        (tmp_path / "idx" / f"{images}.gz").write_bytes(gzip.compress(idx(PIXELS[part])))
        (tmp_path / "idx" / f"{labels}.gz").write_bytes(
            gzip.compress(idx(LABELS[part].astype(np.uint8))))
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "t10k-images-idx3-ubyte").write_bytes(idx(PIXELS))
    (tmp_path / "plain" / "t10k-labels-idx1-ubyte").write_bytes(idx(LABELS.astype(np.uint8)))
    np.savez(tmp_path / "both.npz", images=PIXELS, labels=LABELS)
    for kind in ("named", "numbered", "classes", "other"):
        (tmp_path / kind).mkdir()
    for number, (image, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        picture = Image.fromarray(image)
        picture.save(tmp_path / "named" / f"set_{number:02}_{label}.png")
        for kind, name in (("numbered", str(label)), ("classes", NAMES[label]),
                           ("other", "xyz"[label])):
            (tmp_path / kind / name).mkdir(exist_ok=True)
            picture.save(tmp_path / kind / name / f"{number}.png")
    (tmp_path / "named" / "notes.txt").write_text("left out")
    return tmp_path


def read(path: Path, split: str = "t10k") -> Labelled:
    return read_labelled(path, SHAPE, RAW, classes=NAMES, outputs=3, split=split)


def found(data: Labelled) -> list[tuple[tuple[int, ...], int]]:
    return sorted((tuple(image.astype(int).ravel().tolist()), int(label))
                  for images, labels in data.batches(3)
                  for image, label in zip(images, labels, strict=True))


EVERY = sorted((tuple(image.astype(int).ravel().tolist()), int(label))
               for image, label in zip(PIXELS, LABELS, strict=True))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_of_picture_has_labels(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(PIXELS[0]).save(tmp_path / f"set_0_1{suffix.upper()}")
    (_, label), = found(read(tmp_path))
    assert label == 1


@pytest.mark.parametrize("name", [
    "plain", "plain/t10k-images-idx3-ubyte", "both.npz", "named", "named/set_*.png", "numbered",
    "classes", "other",
])
def test_layouts(folder: Path, name: str) -> None:
    assert found(read(folder / name)) == EVERY


def test_splits(folder: Path) -> None:
    assert found(read(folder / "idx", "train")) == EVERY
    assert len(read(folder / "idx")) == 5
    with pytest.raises(PictureError, match=r"plain must hold the images of train, but has only "
                                           r"those of t10k$"):
        read(folder / "plain", "train")


def test_spread(folder: Path) -> None:
    data = read(folder / "both.npz")
    labels = [label for _, part in data.spread(3).batches(2) for label in part]
    assert labels == LABELS[[0, 2, 4]].tolist()
    assert len(data.spread(100)) == 7
    assert len(data.spread(3).spread(2)) == 2


def test_order_is_that_of_the_labels(folder: Path) -> None:
    """Folders are read in their order, whatever that of the images is."""
    data = read(folder / "classes")
    images, labels = next(data.batches(7))
    for image, label in zip(images, labels, strict=True):
        assert LABELS[(PIXELS == image[0]).all(axis=(1, 2))].tolist() == [label]


@pytest.mark.parametrize(("change", "message"), [
    ("labels of another number", "{} must have a label for each image, but has 7 images and 6 "
                                 "labels"),
    ("no labels", "{} must hold an array 'labels', not images"),
    ("float labels", "{}: labels must be integers of shape (B,), not float64 of shape (7,)"),
    ("large label", "{}[3]: label must be from 0 to 2, as the network has 3 outputs, not 3"),
    ("negative label", "{}[3]: label must be from 0 to 2, as the network has 3 outputs, not -1"),
])
def test_wrong_arrays(tmp_path: Path, change: str, message: str) -> None:
    labels: NDArray[np.generic] = LABELS.copy()
    if change == "labels of another number":
        labels = labels[:6]
    elif change == "float labels":
        labels = labels.astype(np.float64)
    elif change in ("large label", "negative label"):
        labels[3] = 3 if change == "large label" else -1  # pyright: ignore
    if change == "no labels":
        np.savez(tmp_path / "x.npz", images=PIXELS)
    else:
        np.savez(tmp_path / "x.npz", images=PIXELS, labels=labels)
    with pytest.raises(PictureError, match=f"^{re.escape(message.format(tmp_path / 'x.npz'))}$"):
        read(tmp_path / "x.npz")


def test_wrong_folders(folder: Path) -> None:
    wanted = (r"must hold labelled images: IDX files in the format of MNIST, an \.npz with images "
              r"and labels, a folder for each class, or pictures named …_NUMBER_LABEL\.png$")
    Image.fromarray(PIXELS[0]).save(folder / "named" / "photo_1.png")
    for name in ("named", "classes/ant", "both.npy"):
        np.save(folder / "both.npy", PIXELS)
        with pytest.raises(PictureError, match=wanted):
            read(folder / name)
    (folder / "other" / "more").mkdir()
    with pytest.raises(PictureError, match=r"other has 4 folders, and the network 3 classes: name "
                                           r"the folders as the classes"):
        read(folder / "other")
    with pytest.raises(PictureError, match=r"^cannot read .*none: No such file or directory$"):
        read(folder / "none")
    with pytest.raises(PictureError, match=r"^no file matches .*none\*\.png$"):
        read(folder / "none*.png")
    (folder / "plain" / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01")
    with pytest.raises(PictureError, match=r"t10k-labels-idx1-ubyte is not a file of arrays: "):
        read(folder / "plain")


def test_ranks() -> None:
    logits = np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 1.0], [0.0, 5.0, 5.0]])
    assert ranks(logits, np.array([0, 2, 2])).tolist() == [0, 2, 1]
    assert ranks(logits, np.array([1, 0, 1])).tolist() == [2, 0, 0]


def test_scores(folder: Path) -> None:
    """Known answers: a function that knows the labels, and one that is always wrong by one."""
    data = read(folder / "both.npz")
    lookup = {PIXELS[i].tobytes(): int(LABELS[i]) for i in range(7)}

    def logits(shift: int) -> object:
        def answer(images: NDArray[np.float32]) -> NDArray[np.float64]:
            labels = [lookup[np.rint(image[0]).astype(np.uint8).tobytes()] for image in images]
            return np.eye(9)[[(label + shift) % 9 for label in labels]]
        return answer

    done: list[float] = []
    result = scores({"right": logits(0), "wrong": logits(6)}, data, done.append)  # pyright: ignore
    assert done == [1.0]
    assert (result["right"].top1, result["right"].top5) == (1, 1)
    assert result["right"].interval == pytest.approx((0.6457, 1), abs=1e-4)  # 7 of 7
    assert result["right"].classes.tolist() == LABELS.tolist()
    # Of equal logits the first counts: labels 0, 1 and 2 stand behind one larger logit.
    assert (result["wrong"].top1, result["wrong"].top5) == (0, 1)
    assert result["wrong"].same(result["right"]) == 0
    assert result["wrong"].same(result["wrong"]) == 1


def test_interval() -> None:
    score = Score(classes=np.zeros(100, np.int64), top1=0.1, top5=0.5, seconds=1)
    assert score.interval == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert score.rate == 100
