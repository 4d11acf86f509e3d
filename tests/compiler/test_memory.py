"""Networks in system memory: every tensor is the integer network's, early or late the transfers."""

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from smartdeal.compiler import CompileError, NetworkProgram, compile_network
from smartdeal.compiler.disasm_memory import disassemble_network
from smartdeal.golden.checkpoints import load_trained
from smartdeal.golden.fashion import calibration_images, sample_images
from smartdeal.golden.integer import run_network
from smartdeal.golden.interpreter import Interpreter
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import build_network
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import LayerFlag, Opcode
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


@settings(derandomize=True, print_blob=True, database=None, deadline=None, max_examples=40)
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


def test_what_a_small_accelerator_does(networks: dict[str, IntegerNetwork]) -> None:
    """Everything happens: strips, tables that go round, pages, sums over their operands."""
    program = compile_network(networks["deepshift"], CONFIG.replace(
        activation_words=1000, weight_steps=900, program_words=128))
    counts = opcodes(program)
    assert counts["JUMP"] > 50
    assert counts["WAIT"] > 2 * counts["LAYER"]
    names = Counter(program.instructions[0])
    assert min(names.values()) >= 3  # at least one load, one wait and one layer
    assert len(program.segments) == 1
    assert program.memory_bytes > len(program.memory) > sum(
        layer.table_bytes for layer in program.layers)


def test_sums_take_the_words_of_their_operands(networks: dict[str, IntegerNetwork]) -> None:
    """With both in the buffer at once, conv1, its block's inner tensor and the sum need 2610."""
    program = compile_network(networks["deepshift"], CONFIG)
    fields = [e.fields for e in predict_memory(
        program.segments[0], program.memory, program.config, MemoryTiming()).instructions
        if e.opcode.name == "LAYER"]
    assert fields[2]["residual_base"] == fields[2]["output_base"]
    assert program.used_words < 2000


def test_refusals(networks: dict[str, IntegerNetwork], image: NDArray[np.int8]) -> None:
    network = networks["deepshift"]
    with pytest.raises(CompileError, match=(
            r"^layer 'avgpool': what it needs on chip at once takes (\d+) words of the activation "
            r"buffer, the accelerator has activation_words = 300; set activation_words = \1 or "
            r"more$")):
        compile_network(network, CONFIG.replace(activation_words=300))
    with pytest.raises(CompileError, match=(
            r"^layer 'layer1.0.conv1': one group of 12 output channels takes \d+ words of the "
            r"STEPS memory, the accelerator has weight_steps = 100; set weight_steps = \d+$")):
        compile_network(network, CONFIG.replace(weight_steps=100))
    with pytest.raises(CompileError, match=(
            r"^layer 'conv1': half of the instruction memory must hold two instructions and a "
            r"jump, the accelerator has program_words = 67; set program_words = 68$")):
        compile_network(network, CONFIG.replace(program_words=67))
    program = compile_network(network, CONFIG)
    with pytest.raises(ValueError, match=r"^Image of a program with system memory must be put in"):
        program.input_image(image)
    with pytest.raises(ValueError, match=r"^Image must be int8 of shape \(1, 28, 28\), not int8"):
        program.region(image[0])
    with pytest.raises(ValueError, match=r"^Tensor must be one of fc, not 'conv1'"):
        program.read("conv1", b"", b"")
    small = compile_network(network, CONFIG.replace(activation_words=2000), keep_all=True)
    with pytest.raises(ValueError, match=r"^Tensor must lie in the activation buffer, but '.*' "
                                         r"lies in system memory; use read$"):
        small.words(next(iter(small.spilled)))
    on_chip = compile_network(network, AcceleratorConfig())
    with pytest.raises(ValueError, match=r"^Program must have a region of system memory"):
        on_chip.region(image)


def test_file(networks: dict[str, IntegerNetwork], image: NDArray[np.int8]) -> None:
    program = compile_network(networks["smartdeal"], CONFIG.replace(activation_words=2000),
                              keep_all=True)
    again = NetworkProgram.from_bytes(program.to_bytes())
    assert program.spilled
    assert again == program
    assert again.region(image) == program.region(image)


def test_listing(networks: dict[str, IntegerNetwork]) -> None:
    program = compile_network(networks["deepshift"], CONFIG.replace(
        activation_words=1000, program_words=128))
    text = disassemble_network(program)
    counts = opcodes(program)
    for opcode, count in counts.items():
        assert len(re.findall(rf"^ +\d+  {opcode}\b", text, re.MULTILINE)) == count, opcode
    assert text.count("\npage ") == counts["JUMP"]
    assert "not all in this image" not in text
    assert re.search(r"^section STEPS at offset \d+: \d+ words from \d+$", text, re.MULTILINE)
    assert re.search(r"^ +\d+  LAYER EXTERNAL$", text, re.MULTILINE)
    assert re.search(r"^ +\d+  WAIT loads 8 STORES$", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "spilled"), [("resnet18", {"conv1"}), ("resnet50", None)])
def test_whole_networks(name: str, spilled: set[str] | None) -> None:
    """At 224×224, with seeded weights, and the output of one image."""
    torch.manual_seed(0)
    model = build_network(name).eval()
    config = AcceleratorConfig(rows=16, cols=16, memory=True)
    network = quantise_network(model, torch.randn(2, 3, 224, 224), "deepshift", FormOptions(),
                               config.sum_bits)
    program = compile_network(network, config)
    prediction = predict_memory(program.segments[0], program.memory, config, MemoryTiming())
    assert prediction.cycles.busy == program.steps
    external = {layer for layer, executed in zip(program.instructions[0], prediction.instructions,
                                                 strict=False)
                if executed.fields.get("flags", 0) & LayerFlag.EXTERNAL
                and executed.opcode == Opcode.LAYER}
    assert spilled is None or external == spilled
    if name == "resnet18":
        assert prediction.cycles.busy > 0.92 * prediction.cycles.total
    rng = np.random.default_rng(0)
    image = rng.integers(-128, 128, (3, 224, 224)).astype(np.int8)
    region = program.region(image, noise=rng)
    interpreter = Interpreter(config, region)
    interpreter.load(program.segments[0])
    interpreter.run()
    found = program.read(program.output, interpreter.read(0, program.used_words), region)
    np.testing.assert_array_equal(found, run_network(network, image)[program.output])
