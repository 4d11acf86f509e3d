"""Batches in floating point against the integer network, tensor by tensor."""

import dataclasses
import re
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smartdeal.golden.batch import run_batch
from smartdeal.golden.checkpoints import noise_images, seeded_weights
from smartdeal.golden.decompose import FORMS
from smartdeal.golden.forms import TermWeights
from smartdeal.golden.integer import run_network
from smartdeal.golden.layers import IntegerLayer, IntegerNetwork, IntegerNode, Requantisation
from smartdeal.golden.networks import build_network
from smartdeal.golden.quantise import quantise_network


def check(network: IntegerNetwork, images: np.ndarray) -> None:
    names = [network.IMAGE, *(node.layer.name for node in network.nodes)]
    got = run_batch(network, images, names)
    for i, image in enumerate(images):
        for name, tensor in run_network(network, image).items():
            np.testing.assert_array_equal(got[name][i], tensor, err_msg=name)


@pytest.mark.parametrize(("name", "size", "form"), [
    *(("resnet20", 32, form) for form in FORMS), ("resnet18", 33, "int8"),
])
def test_every_tensor_is_equal(name: str, size: int, form: str) -> None:
    model = build_network(name)
    seeded_weights(model, 1)
    images = noise_images((3, size, size), 10, 2)
    network = quantise_network(model, images[:2], form)
    check(network, network.input_scale.quantise(images.numpy()))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_chunks_in_threads_stay_in_order(threads: None) -> None:
    model = build_network("resnet8")
    seeded_weights(model, 1)
    images = noise_images((1, 28, 28), 50, 2)
    network = quantise_network(model, images[:2], "deepshift")
    check(network, network.input_scale.quantise(images.numpy()))
    assert torch.get_num_threads() == 3


def single(layer: IntegerLayer) -> IntegerNetwork:
    return IntegerNetwork("single", (IntegerNode(layer, IntegerNetwork.IMAGE),), {})


@given(bits=st.integers(1, 40), bias=st.integers(-(1 << 38), 1 << 38), shift=st.integers(1, 63),
       zero_point=st.integers(-128, 127), seed=st.integers(0, 1 << 20))
def test_large_weights_are_exact(
    bits: int, bias: int, shift: int, zero_point: int, seed: int,
) -> None:
    """Up to 40 bits per weight, beyond what float64 holds: split, or left to integers."""
    rng = np.random.default_rng(seed)
    sign = rng.integers(-1, 2, (3, 3, 2, 3, 3)).astype(np.int8)
    exponent = rng.integers(0, bits, sign.shape).astype(np.int8)
    layer = IntegerLayer(
        name="layer", kind="conv", weights=TermWeights(sign, exponent, np.ones(3)),
        kernel=(3, 3), stride=2, padding=(1, 0, 0, 1), input_shape=(2, 6, 5),
        output_shape=(3, 3, 2), input_zero_point=zero_point, output_zero_point=-5,
        requantisation=Requantisation(
            bias=np.full(3, bias), multiplier=np.array([1, 77, 65535]) >> max(0, bits - 34),
            residual_multiplier=np.zeros(3, np.int64), shift=np.full(3, shift),
            residual_shift=np.zeros(3, np.int64)))
    check(single(layer), rng.integers(-128, 128, (2, 2, 6, 5)).astype(np.int8))


def test_only_wanted_tensors_are_returned() -> None:
    model = build_network("resnet8")
    seeded_weights(model, 1)
    images = noise_images((1, 28, 28), 2, 2)
    network = quantise_network(model, images, "int8")
    quantised = network.input_scale.quantise(images.numpy())
    assert set(run_batch(network, quantised)) == {"fc"}
    assert set(run_batch(network, quantised, ["conv1", "avgpool"])) == {"conv1", "avgpool"}


def test_wrong_images_are_refused() -> None:
    one = np.ones((1, 1, 1, 1, 1), np.int8)
    layer = IntegerLayer(
        name="fc", kind="linear", weights=TermWeights(one, 0 * one, np.ones(1)), kernel=(1, 1),
        stride=1, padding=(0, 0, 0, 0), input_shape=(1, 1, 1), output_shape=(1, 1, 1),
        requantisation=Requantisation(*(np.array([v]) for v in (0, 1, 0, 1, 0))))
    message = ("single: images must be int8 of shape ('B', 1, 1, 1), "
               "not float64 of shape (2, 1, 1, 1)")
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run_batch(single(layer), np.zeros((2, 1, 1, 1)))  # pyright: ignore[reportArgumentType]
    overflowing = dataclasses.replace(
        layer, requantisation=Requantisation(
            *(np.array([v]) for v in (1 << 50, 1 << 15, 0, 1, 0))))
    with pytest.raises(OverflowError, match=r"^fc: the requantised sum must be less than 2\^62"):
        run_batch(single(overflowing), np.zeros((1, 1, 1, 1), np.int8))
