"""Whole networks: every tensor that the interpreter leaves is the integer network's."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from smartdeal.compiler import (
    CompileError,
    NetworkProgram,
    compile_network,
)
from smartdeal.golden.batch import run_batch
from smartdeal.golden.integer import run_network
from smartdeal.golden.interpreter import Interpreter
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.timing import END_CYCLES
from smartdeal.sim.latency import predict, predict_layers
from smartdeal.sim.networks import draw_network


def drawn_config(rng: np.random.Generator, *, binary: bool = False) -> AcceleratorConfig:
    """Draw an accelerator with odd sizes, memories that hold any drawn network, or hardly."""
    rows, cols = int(rng.integers(8 if binary else 2, 14)), int(rng.integers(2, 18))
    return AcceleratorConfig(
        rows=rows, cols=cols, exponents=8, binary=binary,
        acc_bits=int(rng.choice([20, 24, 32])), max_slices=64, activation_words=1 << 15,
        weight_steps=int(rng.choice([400, 20000])), channel_entries=int(rng.choice([20, 500])),
        basis_entries=int(rng.choice([300, 4000])), program_words=int(rng.choice([32, 100, 4096])),
        host_bits=int(rng.choice([32, 128])), drain_lanes=int(rng.choice([0, 1])))


def drawn(
    rng: np.random.Generator, config: AcceleratorConfig, *, keep_all: bool = True,
) -> tuple[IntegerNetwork, NetworkProgram]:
    """Draw networks until one fits."""
    while True:
        network = draw_network(rng, config, int(rng.integers(1, 6)))
        try:
            return network, compile_network(network, config, keep_all=keep_all)
        except CompileError as error:
            if "mistake" in str(error):
                raise


def image_of(rng: np.random.Generator, network: IntegerNetwork) -> NDArray[np.int8]:
    return rng.integers(-128, 128, network.nodes[0].layer.input_shape).astype(np.int8)


def run(program: NetworkProgram, image: NDArray[np.int8]) -> Interpreter:
    interpreter = Interpreter(program.config)
    interpreter.activations[:] = 99  # nothing may depend on what was there before
    interpreter.load(program.input_image(image))
    for segment in program.segments:
        interpreter.load(segment)
        interpreter.run()
    return interpreter


def check(network: IntegerNetwork, program: NetworkProgram, image: NDArray[np.int8]) -> None:
    interpreter = run(program, image)
    expected = run_network(network, image)
    for name in program.outputs:
        found = program.tensor(name, interpreter.read(*program.words(name)))
        np.testing.assert_array_equal(found, expected[name], err_msg=name)


@settings(derandomize=True, print_blob=True, database=None, deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1))
def test_drawn_networks(seed: int) -> None:
    check_drawn(seed)


@settings(derandomize=True, print_blob=True, database=None, deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_drawn_networks_with_binary_activations(seed: int) -> None:
    check_drawn(seed, binary=True)


def check_drawn(seed: int, *, binary: bool = False) -> None:
    rng = np.random.default_rng(seed)
    config = drawn_config(rng, binary=binary)
    network, program = drawn(rng, config)
    assert list(program.outputs) == [node.layer.name for node in network.nodes]
    image = image_of(rng, network)
    check(network, program, image)
    expected = run_network(network, image)
    for name, tensor in run_batch(network, image[None], list(expected)).items():
        np.testing.assert_array_equal(tensor[0], expected[name], err_msg=name)
    reusing = compile_network(network, config)
    assert reusing.used_words <= program.used_words
    check(network, reusing, image)


CONFIG = AcceleratorConfig()


@pytest.mark.parametrize("form", ["smartdeal", "deepshift", "shift2", "shift3", "int8"])
def test_trained_network(
    form: str, resnet8: Callable[[str], IntegerNetwork], image: NDArray[np.int8],
) -> None:
    network = resnet8(form)
    check(network, compile_network(network, CONFIG, keep_all=True), image)
    check(network, compile_network(network, CONFIG), image)


@pytest.mark.parametrize(("memory", "size"), [
    ("weight_steps", 900), ("channel_entries", 50), ("basis_entries", 100), ("program_words", 64)])
def test_full_memories_cut_the_network(
    network: IntegerNetwork, image: NDArray[np.int8], memory: str, size: int,
) -> None:
    program = compile_network(network, CONFIG.replace(**{memory: size}), keep_all=True)
    assert len(program.segments) > 3
    check(network, program, image)


def test_large_layers_are_cut_by_channels(
    network: IntegerNetwork, image: NDArray[np.int8],
) -> None:
    whole = compile_network(network, CONFIG, keep_all=True)
    program = compile_network(network, CONFIG.replace(weight_steps=300), keep_all=True)
    names = [name for segment in program.instructions for name in segment]
    assert names.count("layer3.0.conv2") > 3
    assert {layer.name: layer.stored_steps for layer in program.layers} == {
        layer.name: layer.stored_steps for layer in whole.layers}
    check(network, program, image)


def test_cycles_add_up(network: IntegerNetwork) -> None:
    program = compile_network(network, CONFIG.replace(weight_steps=900))
    layers = predict_layers(program)
    predicted = [predict(segment, program.config) for segment in program.segments]
    assert list(layers) == [node.layer.name for node in network.nodes]
    assert (sum(cycles.total for cycles in layers.values()) + END_CYCLES * len(predicted)
            == sum(cycles.total for cycles in predicted))
    for info in program.layers:
        assert layers[info.name].busy == info.executed_steps


def test_stride_2_shares_one_copy(network: IntegerNetwork) -> None:
    """Per block of stride 2: fill and four phases, and gaps of the two outputs that are padded."""
    program = compile_network(network, CONFIG)
    names = [name for segment in program.instructions for name in segment]
    assert names.count("layer2.0.conv1") == 7
    assert names.count("layer2.0.downsample.0") == 1
