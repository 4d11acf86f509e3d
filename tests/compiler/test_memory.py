"""Networks in system memory: every tensor is the integer network's, early or late the transfers."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from smartdeal.compiler import CompileError, NetworkProgram, compile_network
from smartdeal.golden.checkpoints import load_trained
from smartdeal.golden.fashion import calibration_images, sample_images
from smartdeal.golden.integer import run_network
from smartdeal.golden.interpreter import Interpreter
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import build_network
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.late import LateInterpreter
from smartdeal.sim.latency_memory import predict_memory
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.networks import draw_network


def drawn_config(rng: np.random.Generator) -> AcceleratorConfig:
    """Draw an accelerator whose memories hold little: strips, rings that turn, many pages."""
    cols = int(rng.integers(5, 18))
    lanes = [lanes for lanes in range(1, cols) if cols % lanes == 0]
    return AcceleratorConfig(
        rows=int(rng.integers(2, 14)), cols=cols, acc_bits=int(rng.choice([20, 24, 32])),
        max_slices=64, activation_words=int(rng.choice([40, 100, 250, 700])),
        weight_steps=int(rng.choice([60, 200, 1000])), channel_entries=int(rng.choice([16, 50])),
        basis_entries=int(rng.choice([40, 300])), program_words=int(rng.choice([68, 100, 2048])),
        host_bits=32, drain_lanes=int(rng.choice([0, *lanes])), memory=True)


def drawn(
    rng: np.random.Generator, config: AcceleratorConfig, *, keep_all: bool,
) -> tuple[IntegerNetwork, NetworkProgram]:
    """Draw networks until one fits."""
    while True:
        network = draw_network(rng, config, int(rng.integers(1, 6)))
        try:
            return network, compile_network(network, config, keep_all=keep_all)
        except CompileError as error:
            if "mistake" in str(error):
                raise


def check(
    network: IntegerNetwork, program: NetworkProgram, image: NDArray[np.int8], seed: int = 0,
) -> None:
    """Compare the outputs, with memories full of noise and transfers at both extremes."""
    expected = run_network(network, image)
    for machine in (Interpreter, LateInterpreter):
        rng = np.random.default_rng(seed)
        region = program.region(image, noise=rng)
        interpreter = machine(program.config, region)
        interpreter.activations[:] = rng.integers(-128, 128, interpreter.activations.shape)
        interpreter.load(program.segments[0])
        interpreter.run()
        activations = interpreter.read(0, program.used_words)
        for name in program.outputs:
            np.testing.assert_array_equal(program.read(name, activations, region), expected[name],
                                          err_msg=f"{name} in {machine.__name__}")


@settings(derandomize=True, print_blob=True, database=None, deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_drawn_networks(seed: int, keep_all: bool) -> None:
    rng = np.random.default_rng(seed)
    config = drawn_config(rng)
    network, program = drawn(rng, config, keep_all=keep_all)
    names = [node.layer.name for node in network.nodes]
    assert list(program.outputs) == (names if keep_all else names[-1:])
    image = rng.integers(-128, 128, network.nodes[0].layer.input_shape).astype(np.int8)
    check(network, program, image, seed)
    prediction = predict_memory(program.segments[0], program.memory, config,
                                MemoryTiming(bytes_per_cycle=4))
    assert prediction.cycles.busy == program.steps
    assert len(prediction.instructions) == program.instruction_count


CONFIG = AcceleratorConfig(memory=True)


def resnet8(form: str) -> IntegerNetwork:
    model = build_network("resnet8")
    load_trained(model)
    options = FormOptions(exponents=CONFIG.exponents, group=CONFIG.filters_per_group)
    return quantise_network(model, calibration_images(), form, options, CONFIG.sum_bits)


@pytest.fixture(scope="module")
def networks() -> dict[str, IntegerNetwork]:
    return {form: resnet8(form) for form in ("smartdeal", "deepshift")}


@pytest.fixture(scope="module")
def image(networks: dict[str, IntegerNetwork]) -> NDArray[np.int8]:
    return networks["smartdeal"].input_scale.quantise(sample_images()[0][0].numpy())


def opcodes(program: NetworkProgram) -> Counter[str]:
    prediction = predict_memory(program.segments[0], program.memory, program.config,
                                MemoryTiming())
    return Counter(executed.opcode.name for executed in prediction.instructions)


@pytest.mark.parametrize(("form", "changes", "keep_all"), [
    ("smartdeal", {}, False),
    ("smartdeal", {"activation_words": 2000}, True),
    ("smartdeal", {"activation_words": 1000, "weight_steps": 900}, False),
    ("smartdeal", {"activation_words": 2000, "weight_steps": 400, "program_words": 128}, True),
    ("deepshift", {"activation_words": 1000}, True),
    ("deepshift", {"activation_words": 1000, "weight_steps": 900, "program_words": 68}, False),
])
def test_trained_network(
    networks: dict[str, IntegerNetwork], image: NDArray[np.int8], form: str,
    changes: dict[str, Any], keep_all: bool,
) -> None:
    program = compile_network(networks[form], CONFIG.replace(**changes), keep_all=keep_all)
    assert program.used_words <= program.config.activation_words
    check(networks[form], program, image)
