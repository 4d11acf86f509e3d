"""Reading Fashion-MNIST's format, and training on a toy set."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from smartdeal.golden.accuracy import float_accuracy, integer_accuracy
from smartdeal.golden.fashion import normalise, read_idx, read_split
from smartdeal.golden.networks import ResNet, build_network
from smartdeal.golden.quantise import quantise_network
from smartdeal.golden.training import train


def idx(values: np.ndarray) -> bytes:
    header = b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return gzip.compress(header + values.astype(np.uint8).tobytes())


def test_idx_files_are_read(tmp_path: Path) -> None:
    images, labels = np.arange(24).reshape(2, 3, 4), np.array([7, 9])
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(idx(images))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    got, got_labels = read_split(tmp_path, "t10k")
    np.testing.assert_array_equal(got, images)
    np.testing.assert_array_equal(got_labels, labels)


@pytest.mark.parametrize(("content", "message"), [
    (b"\0\0\x0d\1\0\0\0\0", "FILE must be an IDX file of unsigned bytes, "
                            "but starts with '00000d01'"),
    (b"", "FILE must be an IDX file of unsigned bytes, but starts with ''"),
    (b"\0\0\x08\1\0\0\0\3ab", "FILE must hold 3 values, not 2"),
])
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=f"^{re.escape(message.replace('FILE', str(path)))}$"):
        read_idx(path)


def trained(images: torch.Tensor, labels: torch.Tensor) -> ResNet:
    torch.manual_seed(0)
    model = build_network("resnet8")
    train(model, images, labels, epochs=2, seed=0)
    return model


def test_training_learns_and_repeats() -> None:
    """Bright and dark images are told apart after a few batches, in integers too."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1280)
    images = normalise((rng.integers(0, 100, (1280, 8, 8)) + 120 * labels[:, None, None])
                       .astype(np.uint8))
    truth = torch.from_numpy(labels)
    model = trained(images, truth)
    assert float_accuracy(model, images, truth) > 0.95
    network = quantise_network(model, images[:64], "int8")
    assert integer_accuracy(network, images[:100], truth[:100]) > 0.9
    for name, value in trained(images, truth).state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
