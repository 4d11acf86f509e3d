"""Network programs as files: what the manifest says, and how it is read."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from smartdeal.compiler import container
from smartdeal.compiler.errors import ProgramFormatError
from smartdeal.compiler.file_checks import (
    check_about,
    check_memory,
    check_scales,
    check_segments,
    check_views,
    typed,
)
from smartdeal.compiler.image import check_header
from smartdeal.compiler.network_info import LayerInfo, SpilledBlock
from smartdeal.compiler.occupancy import Occupancy
from smartdeal.compiler.views import View
from smartdeal.golden.layers import TensorScale
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["KIND", "manifest", "read_fields"]

#: What the manifest of such a file says.
KIND = "network"


def manifest(program: Any) -> dict[str, Any]:
    """Return the manifest of a NetworkProgram: all but the images and constants."""
    return {
        "kind": KIND, "name": program.name, "config": program.config.as_dict(),
        "instructions": [list(names) for names in program.instructions],
        "inputs": [asdict(view) for view in program.inputs],
        "outputs": [asdict(view) for view in program.outputs.values()],
        "layers": [asdict(layer) for layer in program.layers],
        "used_words": program.used_words,
        "memory": {
            "bytes": program.memory_bytes, "image_offsets": list(program.image_offsets),
            "spilled": {name: [asdict(block) for block in blocks]
                        for name, blocks in program.spilled.items()}},
        "scales": {name: asdict(scale) for name, scale in program.scales.items()},
        "occupancy": [asdict(piece) for piece in program.occupancy],
        "about": dict(program.about),
    }


def read_fields(data: bytes) -> dict[str, Any]:
    """Return the fields of the network program in a file.

    Raises
    ------
    ProgramFormatError
        If the file is not a network program, is damaged, or of another version.
    """
    found, images = container.unpack(data)
    if found.get("kind") != KIND:
        raise ProgramFormatError("holds a single layer; make a network with smartdeal compile")
    with container.reading("manifest"):
        names = tuple(tuple(map(str, names)) for names in found["instructions"])
        *images, constants = images
        memory = found["memory"]
        if len(names) != len(images):
            raise ValueError(f"{len(names)} segments have {len(images)} images")
        outputs = [_view(values) for values in found["outputs"]]
        layers = tuple(_layer(values) for values in found["layers"])
        if not layers or layers[-1].name not in {view.tensor for view in outputs}:
            raise ValueError("there is no output")
        config = AcceleratorConfig(**found["config"])
    for number, image in enumerate(images):
        with container.reading(f"segment {number}"):
            check_header(image, config)
    with container.reading("manifest"):
        inputs = tuple(_view(values) for values in found["inputs"])
        spilled = {name: tuple(typed(SpilledBlock(**values)) for values in blocks)
                   for name, blocks in memory["spilled"].items()}
        result: dict[str, Any] = dict(
            name=str(found["name"]), config=config, segments=tuple(images), instructions=names,
            inputs=inputs, outputs={view.tensor: view for view in outputs}, layers=layers,
            used_words=int(found["used_words"]), memory=constants,
            memory_bytes=int(memory["bytes"]),
            image_offsets=tuple(map(int, memory["image_offsets"])), spilled=spilled,
            scales={name: typed(TensorScale(**values))
                    for name, values in found["scales"].items()},
            occupancy=tuple(Occupancy(**values) for values in found["occupancy"]),
            about=dict(found["about"]))
        _check(**result)
    return result


def _check(
    *, config: AcceleratorConfig, instructions: Any, inputs: Any, outputs: Any, layers: Any,
    used_words: int, memory: bytes, memory_bytes: int, image_offsets: Any, spilled: Any,
    scales: Any, about: Any, **_: Any,
) -> None:
    """Raise :exc:`ValueError` if fields, each possible for itself, contradict each other."""
    check_segments(instructions, layers)
    check_views(inputs, outputs, layers, spilled, used_words, config)
    check_memory(memory_bytes, memory, inputs, image_offsets, outputs, spilled, config)
    check_scales(scales, layers[-1].name)
    check_about(about, layers[0].input_shape[0])


def _view(values: Mapping[str, Any]) -> View:
    channels, height, width = map(int, values["shape"])
    phases = tuple((int(p), int(q)) for p, q in values["phases"])
    return typed(View(**{**values, "shape": (channels, height, width), "phases": phases}))


def _layer(values: Mapping[str, Any]) -> LayerInfo:
    shapes: dict[str, tuple[int, int, int]] = {}
    for name in ("input_shape", "output_shape"):
        channels, height, width = map(int, values[name])
        shapes[name] = (channels, height, width)
    return typed(LayerInfo(**{**values, **shapes}))
