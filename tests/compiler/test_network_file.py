"""Files of compiled networks: they come back, and what contradicts itself is named."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from smartdeal.compiler import (
    CompileError,
    NetworkProgram,
    Program,
    ProgramFormatError,
    compile_layer,
    compile_network,
    container,
)
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.networks import draw_network

CONFIG = AcceleratorConfig()


@pytest.fixture(scope="module")
def trained(network: IntegerNetwork) -> NetworkProgram:
    return compile_network(network, CONFIG, about={
        "mean": [0.5], "deviation": [0.5], "classes": ["shirt", "shoe"]})


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


def spilling(rng: np.random.Generator, config: AcceleratorConfig) -> NetworkProgram:
    """Draw networks until one fits, and an output of it lies in system memory."""
    while True:
        network = draw_network(rng, config, int(rng.integers(1, 6)))
        try:
            program = compile_network(network, config, keep_all=True)
        except CompileError:
            continue
        if program.spilled:
            return program


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
    program = spilling(rng, config)
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
