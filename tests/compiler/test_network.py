"""Whole networks: every tensor that the interpreter leaves is the integer network's."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from smartdeal.compiler import (
    CompileError,
    NetworkProgram,
    Program,
    ProgramFormatError,
    compile_layer,
    compile_network,
    container,
    segments,
)
from smartdeal.compiler import network as compilation
from smartdeal.compiler.emit import Instruction
from smartdeal.compiler.schedule import Schedule
from smartdeal.compiler.views import View, ViewKey
from smartdeal.golden.batch import run_batch
from smartdeal.golden.checkpoints import load_trained
from smartdeal.golden.fashion import calibration_images, sample_images
from smartdeal.golden.integer import run_network
from smartdeal.golden.interpreter import Interpreter
from smartdeal.golden.layers import IntegerNetwork, IntegerNode
from smartdeal.golden.networks import build_network
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
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


def resnet8(form: str, config: AcceleratorConfig = CONFIG) -> IntegerNetwork:
    model = build_network("resnet8")
    load_trained(model)
    options = FormOptions(exponents=config.exponents, group=config.filters_per_group)
    return quantise_network(model, calibration_images(), form, options, config.sum_bits)


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return resnet8("smartdeal")


@pytest.fixture(scope="module")
def image(network: IntegerNetwork) -> NDArray[np.int8]:
    return network.input_scale.quantise(sample_images()[0][0].numpy())


@pytest.fixture(scope="module")
def trained(network: IntegerNetwork) -> NetworkProgram:
    return compile_network(network, CONFIG, about={
        "mean": [0.5], "deviation": [0.5], "classes": ["shirt", "shoe"]})


@pytest.mark.parametrize("form", ["smartdeal", "deepshift", "shift2", "shift3", "int8"])
def test_trained_network(form: str, image: NDArray[np.int8]) -> None:
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
    segments = [predict(segment, program.config) for segment in program.segments]
    assert list(layers) == [node.layer.name for node in network.nodes]
    assert (sum(cycles.total for cycles in layers.values()) + END_CYCLES * len(segments)
            == sum(cycles.total for cycles in segments))
    for info in program.layers:
        assert layers[info.name].busy == info.executed_steps


def test_stride_2_shares_one_copy(network: IntegerNetwork) -> None:
    """Per block of stride 2: fill and four phases, and gaps of the two outputs that are padded."""
    program = compile_network(network, CONFIG)
    names = [name for segment in program.instructions for name in segment]
    assert names.count("layer2.0.conv1") == 7
    assert names.count("layer2.0.downsample.0") == 1


@pytest.mark.parametrize("moved", range(11))
def test_proof_catches_overlap(
    network: IntegerNetwork, monkeypatch: pytest.MonkeyPatch, moved: int,
) -> None:
    """Each tensor in turn is put where its layer's input stands."""
    honest = compilation.place

    def broken(plan: Schedule, *arguments: object, **options: bool) -> dict[ViewKey, View]:
        views = honest(plan, CONFIG, keep_all=True)
        stage = plan.stages[moved]
        target = views[stage.target]
        source = views[stage.source]
        return {**views, stage.target: replace(target, base=source.stop - 1)}

    monkeypatch.setattr(compilation, "place", broken)
    with pytest.raises(CompileError, match=(
            r"^layer '.*': words \d+ to \d+ of \('.*', 1, -?\d+\) are not free but hold \('.*', "
            r"\d, -?\d+\); this is a mistake of the compiler$")):
        compile_network(network, CONFIG)


@pytest.mark.parametrize(("field", "change"), [
    ("input_base", -1), ("input_base", 1), ("output_base", -9), ("output_base", 1 << 15),
    ("output_stride", 1)])
def test_proof_catches_wrong_addresses(
    network: IntegerNetwork, monkeypatch: pytest.MonkeyPatch, field: str, change: int,
) -> None:
    """Views that lie apart do not help an instruction that misses them."""
    honest = segments.layer_instruction

    def broken(*arguments: Any) -> Instruction:
        instruction = honest(*arguments)
        fields = {**instruction.fields, field: instruction.fields[field] + change}
        return replace(instruction, fields=fields)

    monkeypatch.setattr(segments, "layer_instruction", broken)
    with pytest.raises(CompileError, match=r"^layer '.*': words -?\d+ to \d+ do not hold "
                                           r"\('.*', 1, -?\d+\); this is a mistake"):
        compile_network(network, CONFIG)


def test_proof_catches_the_end_of_the_buffer(
    network: IntegerNetwork, monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = compilation.place

    def broken(plan: Schedule, *arguments: object, **options: bool) -> dict[ViewKey, View]:
        views = honest(plan, CONFIG)
        key = plan.stages[3].target
        return {**views, key: replace(views[key], base=CONFIG.activation_words - 5)}

    monkeypatch.setattr(compilation, "place", broken)
    with pytest.raises(CompileError, match=r"are not in the activation buffer; this is a mistake"):
        compile_network(network, CONFIG)


def test_too_small(network: IntegerNetwork) -> None:
    with pytest.raises(CompileError, match=(
            r"^layer 'layer\d.0.\w+': with it the tensors on chip take \d+ bytes, (\d+) words of "
            r"the activation buffer, the accelerator has activation_words = 1000; set "
            r"activation_words = \1, or memory = true$")):
        compile_network(network, CONFIG.replace(activation_words=1000))


def test_needs_move(network: IntegerNetwork) -> None:
    with pytest.raises(CompileError, match=r"^layer 'conv1': it needs the feature move, which the "
                                           r"configuration leaves out; set move = true$"):
        compile_network(network, CONFIG.replace(move=False))


def changed(network: IntegerNetwork, index: int, node: IntegerNode) -> IntegerNetwork:
    nodes = [*network.nodes[:index], node, *network.nodes[index + 1:]]
    return IntegerNetwork(network.name, tuple(nodes), network.scales)


def test_contradictions(network: IntegerNetwork) -> None:
    nodes = network.nodes
    cases = [
        (changed(network, 1, replace(nodes[1], input="conv9")),
         r"^layer 'layer1.0.conv1': operand 'conv9' must come from a layer before$"),
        (changed(network, 1, replace(nodes[1], input="image")),
         r"^layer 'layer1.0.conv1': operand 'image' must have shape \(16, 28, 28\), not "
         r"\(1, 28, 28\)$"),
        (changed(network, 2, replace(nodes[2], residual=None)),
         r"^layer 'layer1.0.conv2': a residual operand must be named exactly if the layer adds "
         r"one, not None$"),
        (changed(network, 1, IntegerNode(replace(nodes[1].layer, name="conv1"), "conv1")),
         r"^layer 'conv1': two tensors of the network have this name$"),
        (IntegerNetwork("none", (), {}), r"^layer 'none': a network must have layers, not none$"),
    ]
    for wrong, message in cases:
        with pytest.raises(CompileError, match=message):
            compile_network(wrong, CONFIG)
    with pytest.raises(CompileError, match=r"^layer 'layer1.0.conv1': one group of 4 output "
                                           r"channels takes \d+ words of the STEPS memory, the "
                                           r"accelerator has weight_steps = 40; set weight_steps"):
        compile_network(network, CONFIG.replace(weight_steps=40))


def test_file(network: IntegerNetwork, image: NDArray[np.int8]) -> None:
    program = compile_network(network, CONFIG, about={"labels": ["a", "b"]})
    again = NetworkProgram.from_bytes(program.to_bytes())
    assert again == program
    assert again.input_image(image) == program.input_image(image)
    assert again.quantise(np.zeros((1, 28, 28))).dtype == np.int8
    with pytest.raises(ProgramFormatError, match=r"^holds a whole network, not a single layer$"):
        Program.from_bytes(program.to_bytes())
    layer = compile_layer(network.nodes[-1].layer, CONFIG)
    with pytest.raises(ProgramFormatError, match=r"^holds a single layer; make a network with "
                                                 r"smartdeal compile$"):
        NetworkProgram.from_bytes(layer.to_bytes())


def test_damaged_manifest(network: IntegerNetwork) -> None:
    program = compile_network(network, CONFIG)
    manifest, images = container.unpack(program.to_bytes())
    for key in manifest:
        for change in ({}, {key: None}):
            wrong = {**{k: v for k, v in manifest.items() if k != key}, **change}
            if key == "name" and change:
                continue  # any value is a name
            with pytest.raises(ProgramFormatError, match=r"^(manifest |holds a single layer)"):
                NetworkProgram.from_bytes(container.pack(wrong, images))
    with pytest.raises(ProgramFormatError, match=r"^manifest is wrong: 1 segments have 3 images"):
        NetworkProgram.from_bytes(container.pack(manifest, images * 2))


@pytest.mark.parametrize(("path", "value", "message"), [
    ("inputs.0.shape", [3, 28, 28], r"image must have shape \(1, 28, 28\), each at least 1, not "),
    ("layers.0.input_shape", [1, 28, 27], r"image must have shape \(1, 28, 27\)"),
    ("layers.0.input_shape", [1, 28], r"not enough values to unpack"),
    ("layers.0.macs", "many", r"macs must be an integer, not 'many'"),
    ("inputs", [], r"there is no input"),
    ("inputs.0.base", -1, r"image must lie in the \d+ words that are used, not in words -1 to "),
    ("outputs.0.base", 1 << 14, r"fc must lie in the \d+ words that are used, not in words 16384"),
    ("outputs.0.base", "0", r"base must be an integer, not '0'"),
    ("outputs.0.cols", 8, r"fc must have words of 16 bytes, not 8"),
    ("outputs.0.stride", 1 << 40, r"fc must have phases of stride 1 or 2, not \(\(0, 0\),\) of "),
    ("outputs.0.phases", [[0, 1]], r"fc must have phases of stride 1 or 2, not \(\(0, 1\),\) of "),
    ("outputs.0.words", 1, r"fc must hold its pixels in 1 words, but the last is byte \d+"),
    ("outputs.0.skip", -1, r"fc must have no negative distances"),
    ("outputs.0.fill", 128, r"fc must be filled with -128…127, not 128"),
    ("used_words", 1 << 20, r"used_words must be from 1 to 32768, not 1048576"),
    ("instructions.0", [], r"every segment must have instructions"),
    ("instructions.0.3", "conv9", r"instructions are for 'conv9', which is no layer"),
    ("memory.bytes", 4096, r"a region of 4096 bytes, 0 of them constants, cannot be with memory = "
                           r"false"),
    ("memory.image_offsets", [0], r"1 inputs have 1 places in system memory"),
    ("memory.spilled", {"conv1": []}, r"'conv1' lies in system memory, but is no output"),
    ("scales", {}, r"scales lack 'image'"),
    ("scales", {"image": {"scale": 1.0, "zero_point": 0}}, r"scales lack 'fc'"),
    ("scales.fc.scale", 0, r"the scale of fc must be a positive number, not 0"),
    ("scales.fc.scale", float("nan"), r"the scale of fc must be a positive number, not nan"),
    ("scales.image.zero_point", 200, r"the zero point of image must be from -128 to 127, not 200"),
    ("about.mean", ["0.5"], r"mean must be a list of numbers, not \['0.5'\]"),
    ("about.mean", 0.5, r"mean must be a list of numbers, not 0.5"),
    ("about.mean", None, r"mean must be a list of numbers, not None"),
    ("about.mean", [0.5, 0.5], r"mean must have 1 number for an image of 1 channel, not 2"),
    ("about.deviation", [0], r"deviation must be positive, not 0"),
    ("about.classes", [1, 2], r"classes must be a list of texts, not \[1, 2\]"),
])
def test_contradicting_manifest(
    trained: NetworkProgram, path: str, value: Any, message: str,
) -> None:
    """The checksum is right, what it is of is not."""
    manifest, images = container.unpack(trained.to_bytes())
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = manifest
    for step in steps:
        place = place[step]
    place[last] = value
    with pytest.raises(ProgramFormatError,
                       match=rf"^manifest is wrong: {message}.*; compile it again$"):
        NetworkProgram.from_bytes(container.pack(manifest, images))


@pytest.mark.parametrize(("field", "change", "message"), [
    ("memory_bytes", -1, r"must lie in the region of"),
    ("memory_bytes", 1 << 32, r"a region of \d+ bytes, \d+ of them constants, cannot be with"),
    ("image_offsets", -(1 << 30), r"image must lie in the region of \d+ bytes, not at -\d+"),
    ("offset", 1 << 30, r"a block of \w+ must lie in the region of \d+ bytes and in the tensor"),
    ("channel", 1 << 20, r"a block of \w+ must lie in the region of \d+ bytes and in the tensor"),
    ("group", -(1 << 20), r"a block of \w+ must lie in the region of \d+ bytes and in the tensor"),
])
def test_contradicting_memory(field: str, change: int, message: str) -> None:
    config = AcceleratorConfig(rows=4, cols=8, activation_words=60, weight_steps=200,
                               channel_entries=50, basis_entries=300, host_bits=32, memory=True)
    rng = np.random.default_rng(1)
    while not (program := drawn(rng, config)[1]).spilled:
        pass
    assert NetworkProgram.from_bytes(program.to_bytes()) == program
    if field == "memory_bytes":
        wrong = replace(program, memory_bytes=program.memory_bytes + change)
    elif field == "image_offsets":
        wrong = replace(program, image_offsets=tuple(
            offset + change for offset in program.image_offsets))
    else:
        name, (block, *rest) = next(iter(program.spilled.items()))
        block = replace(block, **{field: getattr(block, field) + change})
        wrong = replace(program, spilled={**program.spilled, name: (block, *rest)})
    with pytest.raises(ProgramFormatError, match=rf"^manifest is wrong: .*{message}"):
        NetworkProgram.from_bytes(wrong.to_bytes())


def test_wrong_operands(network: IntegerNetwork, image: NDArray[np.int8]) -> None:
    program = compile_network(network, CONFIG)
    with pytest.raises(ValueError, match=r"^Image must be int8 of shape \(1, 28, 28\), not int8 "
                                         r"of shape \(28, 28\)$"):
        program.input_image(image[0])
    with pytest.raises(ValueError, match=r"^Tensor must be one of fc, not 'conv1'; compile with "
                                         r"keep_all to read every tensor$"):
        program.words("conv1")
    with pytest.raises(ValueError, match=r"^Region of fc must have \d+ bytes, not 3$"):
        program.tensor("fc", b"abc")
