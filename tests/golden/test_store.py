"""Integer networks as files: the same numbers come back, and damage is named."""

import re
from pathlib import Path

import numpy as np
import pytest

from smartdeal.golden.batch import run_batch
from smartdeal.golden.checkpoints import noise_images, seeded_weights
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import build_network
from smartdeal.golden.quantise import quantise_network
from smartdeal.golden.store import (
    StoreError,
    beside,
    load_network,
    network_bytes,
    save_network,
)


@pytest.fixture(scope="module")
def network() -> tuple[IntegerNetwork, np.ndarray]:
    """Return a network of both kinds of weights, and images for it."""
    model = build_network("resnet8")
    seeded_weights(model, 1)
    images = noise_images((1, 28, 28), 3, 2)
    made = quantise_network(model, images, {"*": "smartdeal", "fc": "int8"})
    return made, made.input_scale.quantise(images.numpy())


def test_every_tensor_comes_back(
    network: tuple[IntegerNetwork, np.ndarray], tmp_path: Path,
) -> None:
    written, images = network
    sha = save_network(written, tmp_path / "net.npz")
    read = load_network(tmp_path / "net.npz", sha)
    assert (read.name, read.scales) == (written.name, written.scales)
    names = [node.layer.name for node in written.nodes]
    expected, got = run_batch(written, images, names), run_batch(read, images, names)
    for name in names:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    assert network_bytes(read) == network_bytes(written)
    for one, other in zip(written.nodes, read.nodes, strict=True):
        assert (one.input, one.residual) == (other.input, other.residual)
        assert one.layer.nonzero_terms == other.layer.nonzero_terms


def test_damage_is_named(network: tuple[IntegerNetwork, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    sha = save_network(network[0], path)
    good = path.read_bytes()
    with pytest.raises(StoreError, match=(
            rf"^cannot read {re.escape(str(tmp_path / 'none.npz'))}: No such file or directory; "
            r"smartdeal compile writes it beside the program$")):
        load_network(tmp_path / "none.npz")
    for content in (good[:1000], b"", b"no archive", good[:200] + b"x" + good[201:]):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=(
                rf"^{re.escape(str(path))} is not the network that was written with the program; "
                r"compile it again$")):
            load_network(path, sha)
    for content in (good[:1000], b"", b"no archive"):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"net.npz is not a whole file of an integer network"):
            load_network(path)
    path.write_bytes(good.replace(b'{"version": 1', b'{"version": 9'))
    with pytest.raises(StoreError, match=r"not a whole file|version must be 1, not 9"):
        load_network(path)


def test_beside() -> None:
    for program, expected in (("a/net.sdp", "a/net.integer.npz"), ("net.v1", "net.v1.integer.npz")):
        assert beside(Path(program)) == Path(expected)
