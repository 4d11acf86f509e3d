"""Ranges of activations, of ordinary tensors and of degenerate ones."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smartdeal.golden.calibrate import tensor_scale
from smartdeal.golden.graph import FloatGraph, FloatNode
from smartdeal.golden.integer import run_network
from smartdeal.golden.networks import NetworkError
from smartdeal.golden.options import QuantiseOptions, Ranges
from smartdeal.golden.quantise import quantise_network

EVERY: tuple[Ranges, ...] = ("min_max", "percentile", "mse")
#: What a float32 may be, from its smallest to its largest.
VALUES = st.floats(-(2.0**126), 2.0**126, width=32)


@given(st.lists(VALUES, min_size=1, max_size=40), st.sampled_from(EVERY), st.integers(0, 3))
def test_every_scale_is_usable(values: list[float], ranges: Ranges, zeros: int) -> None:
    tensor = torch.tensor(values + [0.0] * (zeros * 100))
    scale = tensor_scale("x", tensor, QuantiseOptions(ranges=ranges, percentile=99))
    assert 0 < scale.scale < np.inf
    assert -128 <= scale.zero_point <= 127
    assert scale.real(np.array([scale.zero_point], np.int8))[0] == 0
    if ranges == "min_max" and np.abs(values).max() > 1e-30:
        error = np.abs(scale.real(scale.quantise(tensor.numpy())) - tensor.numpy())
        assert error.max() <= scale.scale * 1.001


@pytest.mark.parametrize("ranges", EVERY)
@pytest.mark.parametrize(("values", "low", "high"), [
    ([3.0] * 50, 0, 3), ([-2.0] * 50, -2, 0), ([0.0] * 50, 0, 0),
    ([1.0, 1.0000001] * 50, 0, 1), ([0.0] * 100_000 + [5.0], 0, 5),
])
def test_ranges_that_collapse(ranges: Ranges, values: list[float], low: float, high: float) -> None:
    """Equal values, hardly different ones, and zeros with one exception keep their meaning."""
    scale = tensor_scale("x", torch.tensor(values), QuantiseOptions(ranges=ranges))
    lowest, highest = scale.real(np.array([-128, 127], np.int8))
    if low == high:
        assert scale.scale == 1
    else:
        assert lowest == pytest.approx(low, abs=scale.scale)
        assert highest == pytest.approx(high, abs=scale.scale)


def test_outliers_are_clipped() -> None:
    values = torch.cat([torch.linspace(-1, 1, 100_000), torch.tensor([40.0])])
    scales = {ranges: tensor_scale("x", values, QuantiseOptions(ranges=ranges)).scale
              for ranges in EVERY}
    assert scales["percentile"] < 0.01 < scales["mse"] < scales["min_max"] == 41 / 255


def test_not_finite_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"^fc: activations must be finite, not from -?\d"):
        tensor_scale("fc", torch.tensor([1.0, torch.inf]), QuantiseOptions())


@pytest.mark.parametrize("ranges", EVERY)
@pytest.mark.parametrize("form", ["int8", "smartdeal", "shift3"])
def test_a_layer_of_constants(form: str, ranges: Ranges) -> None:
    """All weights alike, a bias that ReLU kills, and one far beyond what its range can hold."""
    first = FloatNode(name="a", kind="conv", input="image", relu=True, kernel=(3, 3),
                      padding=(1, 1, 1, 1), weights=torch.full((4, 2, 3, 3), 0.01),
                      bias=torch.tensor([0.0, -1e9, 1.0, 0.0]))
    second = FloatNode(name="b", kind="conv", input="a", weights=torch.zeros(3, 4, 1, 1),
                       bias=torch.tensor([-1e12, 2.0, 0.0]), relu=True)
    third = FloatNode(name="c", kind="conv", input="b", weights=torch.ones(2, 3, 1, 1))
    graph = FloatGraph("constant", (first, second, third), (2, 5, 5))
    images = torch.rand(3, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    network = quantise_network(graph, images, form, quantise=QuantiseOptions(ranges=ranges))
    for node in network.nodes:
        assert node.layer.requantisation is not None
        assert np.abs(node.layer.requantisation.bias).max() < 1 << 39
    out = run_network(network, network.input_scale.quantise(images[0].numpy()))["c"]
    real = network.output_scale.real(out)
    np.testing.assert_allclose(real, graph(images[:1]).reshape(2, 5, 5), rtol=0.02)
