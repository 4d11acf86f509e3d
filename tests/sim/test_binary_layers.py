"""Layers in the XNOR mode beside the same layers with one-term weights: cycles, and every byte."""

import numpy as np
import pytest

from smartdeal.compiler import compile_layer
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.binary_pairs import binary_pair
from smartdeal.sim.cases import draw_operands
from smartdeal.sim.latency import predict
from smartdeal.sim.simulate import LayerWork, simulate_layers

#: What a binary layer must gain, of the eight channels that share a byte.
TIMES_FEWER = 6


@pytest.mark.parametrize(("channels", "size"), [(64, 56), (128, 28), (256, 14), (512, 7)])
def test_six_times_fewer_cycles_in_the_shapes_of_resnet18(channels: int, size: int) -> None:
    config = AcceleratorConfig(rows=16, cols=16, binary=True)
    binary, one_term = (
        sum(predict(part.image, config).total for part in compile_layer(layer, config).parts)
        for layer in binary_pair(channels, channels, size, config))
    assert one_term >= TIMES_FEWER * binary


@pytest.mark.slow
def test_six_times_fewer_cycles_in_rtl() -> None:
    """Both layers bit for bit and cycle for cycle, and the cycles that the counters measured."""
    config = AcceleratorConfig(rows=8, cols=8, activation_words=1024, weight_steps=2048,
                               channel_entries=32, program_words=64, basis=False, binary=True)
    rng = np.random.default_rng(1)
    reports = simulate_layers([LayerWork(layer, *draw_operands(rng, layer))
                               for layer in binary_pair(64, 16, 7, config)], config)
    for report in reports:
        assert (report.failure, report.bytes_wrong) == ("", 0)
        assert report.cycle_exact
    binary, one_term = (report.measured for report in reports)
    assert binary is not None
    assert one_term is not None
    assert one_term.total >= TIMES_FEWER * binary.total
