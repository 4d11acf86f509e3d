"""Whole networks in RTL: every byte and every cycle."""

import numpy as np
import pytest

from smartdeal.compiler import CompileError, compile_network
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import INSTRUCTION_WORDS
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.networks import draw_network
from smartdeal.sim.simulate_network import simulate_network
from smartdeal.sim.workload import default_images, load_model

#: Small memories: several segments, layers cut by channels.
CONFIG = AcceleratorConfig(rows=6, cols=5, activation_words=8192, weight_steps=300,
                           basis_entries=200, channel_entries=40, program_words=128, acc_bits=32,
                           max_slices=64, host_bits=32)
#: Smaller ones, with system memory: strips, rings that turn, pages that are loaded over the first.
MEMORY = CONFIG.replace(activation_words=200, program_words=100, memory=True)


def drawn(seed: int, config: AcceleratorConfig = CONFIG) -> IntegerNetwork:
    """Draw networks until one fits, is not long, and takes more than one image or page."""
    rng = np.random.default_rng(seed)
    while True:
        network = draw_network(rng, config, 4)
        try:
            program = compile_network(network, config, keep_all=not config.memory)
        except CompileError:
            continue
        pages = program.instruction_count * INSTRUCTION_WORDS // config.program_words
        if program.steps < 30_000 and (len(program.segments) > 1 or pages > 3):
            return network


def images(network: IntegerNetwork, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    shape = network.nodes[0].layer.input_shape
    return [rng.integers(-128, 128, shape).astype(np.int8) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("keep_all", [True, False])
def test_drawn_networks(seed: int, keep_all: bool) -> None:
    network = drawn(seed)
    program = compile_network(network, CONFIG, keep_all=keep_all)
    for report in simulate_network(program, images(network, 2), network=network,
                                   idle=0.3 * seed, seed=seed):
        assert report.failure == ""
        assert report.bytes_wrong == 0
        assert report.bytes_compared == program.used_words * CONFIG.cols
        assert not any(report.wrong.values())
        assert list(report.wrong) == list(program.outputs)
        assert [s.measured for s in report.segments] == [s.predicted for s in report.segments]
        assert report.cycle_exact


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_drawn_networks_with_memory(seed: int) -> None:
    """Image after image, behind AXI, against memories of several speeds."""
    network = drawn(seed, MEMORY)
    program = compile_network(network, MEMORY)
    timing = MemoryTiming(latency_cycles=(1, 20, 60, 150)[seed], bytes_per_cycle=(4, 4, 2, 1)[seed])
    for report in simulate_network(program, images(network, 2), network=network, timing=timing,
                                   seed=seed):
        assert report.failure == ""
        assert report.bytes_wrong == 0
        assert report.bytes_compared == program.used_words * MEMORY.cols + program.memory_bytes
        assert not any(report.wrong.values())
        assert [s.measured for s in report.segments] == [s.predicted for s in report.segments]
        assert report.cycle_exact
        assert report.bytes_loaded > program.memory_bytes // 2


def test_interpreter_alone() -> None:
    network = drawn(3)
    program = compile_network(network, CONFIG)
    report, = simulate_network(program, images(network, 1), network=network, engine="interpreter")
    assert report.bit_exact
    assert report.cycle_exact
    assert report.segments[0].measured is None
    assert report.predicted.busy == program.steps
    assert report.output.shape == program.layers[-1].output_shape


@pytest.mark.slow
@pytest.mark.parametrize(("name", "config"), [
    ("resnet8", AcceleratorConfig()),
    ("resnet20", AcceleratorConfig()),
    ("resnet8", AcceleratorConfig(activation_words=1000, weight_steps=1024, memory=True)),
])
def test_residual_networks(name: str, config: AcceleratorConfig) -> None:
    """On one accelerator of the usual size, every tensor and every cycle."""
    model, _ = load_model(name, None, 0)
    calibration = default_images(model, 0)
    options = FormOptions(exponents=config.exponents, group=config.filters_per_group)
    network = quantise_network(model, calibration, "smartdeal", options, config.sum_bits)
    program = compile_network(network, config, keep_all=not config.memory)
    assert len(program.outputs) == (1 if config.memory else len(network.nodes))
    image = network.input_scale.quantise(calibration[0].numpy())
    report, = simulate_network(program, [image], network=network)
    assert report.bit_exact
    assert report.cycle_exact
