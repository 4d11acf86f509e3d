"""Whole networks in RTL: every byte and every cycle."""

import numpy as np
import pytest

from smartdeal.compiler import CompileError, compile_network
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.networks import draw_network
from smartdeal.sim.simulate_network import simulate_network
from smartdeal.sim.workload import default_images, load_model

#: Small memories: several segments, layers cut by channels.
CONFIG = AcceleratorConfig(rows=6, cols=5, activation_words=8192, weight_steps=300,
                           basis_entries=200, channel_entries=40, program_words=128, acc_bits=32,
                           max_slices=64, host_bits=32)


#: Eight of nine rows are used where the output is binary.
BINARY = CONFIG.replace(rows=9, binary=True)
#: Memories for a few tiles: maps come and go in strips, instructions in pages.
MEMORY = AcceleratorConfig(rows=6, cols=8, activation_words=250, weight_steps=200,
                           basis_entries=200, channel_entries=40, program_words=100, acc_bits=32,
                           max_slices=64, host_bits=32, memory=True)


def drawn(seed: int, config: AcceleratorConfig = CONFIG) -> IntegerNetwork:
    """Draw networks until one fits and is not long."""
    rng = np.random.default_rng(seed)
    while True:
        network = draw_network(rng, config, 4)
        try:
            program = compile_network(network, config, keep_all=True)
        except CompileError:
            continue
        if program.steps < 30_000 and (config.memory or len(program.segments) > 1):
            return network


def images(network: IntegerNetwork, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    shape = network.nodes[0].layer.input_shape
    return [rng.integers(-128, 128, shape).astype(np.int8) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("keep_all", [True, False])
def test_drawn_networks(seed: int, keep_all: bool) -> None:
    check(drawn(seed), CONFIG, keep_all, idle=0.3 * seed, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 14, 17])
def test_drawn_networks_with_binary_activations(seed: int) -> None:
    network = drawn(seed, BINARY)
    layers = [node.layer for node in network.nodes]
    assert any(layer.binary_input and layer.binary_output for layer in layers)
    check(network, BINARY, seed == 2, idle=0.3 * (seed == 14), seed=seed)


def check(
    network: IntegerNetwork, config: AcceleratorConfig, keep_all: bool, idle: float, seed: int,
) -> None:
    program = compile_network(network, config, keep_all=keep_all)
    for report in simulate_network(program, images(network, 2), network=network,
                                   idle=idle, seed=seed):
        assert report.failure == ""
        assert report.bytes_wrong == 0
        assert report.bytes_compared == program.used_words * config.cols
        assert not any(report.wrong.values())
        assert list(report.wrong) == list(program.outputs)
        assert [s.measured for s in report.segments] == [s.predicted for s in report.segments]
        assert report.cycle_exact


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "keep_all", "timing"), [
    (0, True, MemoryTiming(latency_cycles=1, bytes_per_cycle=4)),
    (1, False, MemoryTiming(latency_cycles=60, bytes_per_cycle=4)),
    (2, True, MemoryTiming(latency_cycles=200, bytes_per_cycle=1)),
    (3, False, None),
])
def test_networks_in_system_memory(
    seed: int, keep_all: bool, timing: MemoryTiming | None,
) -> None:
    """The whole region, its canaries, every counter and all traffic."""
    network = drawn(seed, MEMORY)
    program = compile_network(network, MEMORY, keep_all=keep_all)
    for report in simulate_network(program, images(network, 2), network=network, timing=timing,
                                   seed=seed):
        assert report.failure == ""
        assert report.bytes_wrong == 0
        assert report.bytes_compared == program.used_words * MEMORY.cols + program.memory_bytes
        assert not any(report.wrong.values())
        assert [s.measured for s in report.segments] == [s.predicted for s in report.segments]
        assert report.traffic_as_predicted
        assert report.cycle_exact
        assert report.bytes_loaded > 0


def test_no_idle_cycles_in_system_memory() -> None:
    program = compile_network(drawn(0, MEMORY), MEMORY)
    with pytest.raises(ValueError, match=r"^Idle cycles must be 0 for a program with system "
                                         r"memory, not 0\.5$"):
        simulate_network(program, [], idle=0.5)


def test_interpreter_alone_in_system_memory() -> None:
    network = drawn(4, MEMORY)
    program = compile_network(network, MEMORY)
    one, other = simulate_network(program, images(network, 2), network=network,
                                  engine="interpreter")
    assert one.bit_exact
    assert other.bit_exact
    assert one.segments[0].measured is None
    assert one.predicted.busy == program.steps
    assert one.bytes_loaded >= len(program.memory) / 2


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
    ("resnet20_fashion", AcceleratorConfig()),
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
