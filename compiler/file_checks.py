"""Whether what a network program's file says fits together, checksum or not."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from smartdeal.compiler.network_info import LayerInfo, SpilledBlock
from smartdeal.compiler.views import View
from smartdeal.golden.layers import IntegerNetwork, TensorScale
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind, section_format

__all__ = ["check_about", "check_memory", "check_scales", "check_segments", "check_views", "typed"]

Record = TypeVar("Record", View, LayerInfo, SpilledBlock, TensorScale)


def typed(record: Record) -> Record:
    """Return a record as it is.

    Raises
    ------
    TypeError
        If a field that should be an integer or a text is not.
    """
    for field in fields(record):
        value = getattr(record, field.name)
        if field.type in (int, str) and type(value) is not field.type:
            what = "an integer" if field.type is int else "a text"
            raise TypeError(f"{field.name} must be {what}, not {value!r}")
    return record


def check_segments(instructions: Sequence[Sequence[str]], layers: Sequence[LayerInfo]) -> None:
    """Raise :exc:`ValueError` unless there are segments, with instructions for known layers."""
    if not instructions or not all(instructions):
        raise ValueError("every segment must have instructions")
    unknown = {name for names in instructions for name in names} - {one.name for one in layers}
    if unknown:
        raise ValueError(f"instructions are for {min(unknown)!r}, which is no layer")


def check_views(
    inputs: Sequence[View], outputs: Mapping[str, View], layers: Sequence[LayerInfo],
    spilled: Mapping[str, Any], words: int, config: AcceleratorConfig,
) -> None:
    """Raise :exc:`ValueError` unless the views have their tensors' shapes and hold all pixels.

    Parameters
    ----------
    words : int
        Words of the activation buffer that the program uses.
    """
    if not 0 < words <= config.activation_words:
        raise ValueError(f"used_words must be from 1 to {config.activation_words}, not {words}")
    if not inputs:
        raise ValueError("there is no input")
    shapes = {layer.name: layer.output_shape for layer in layers}
    for view in inputs:
        _check_view(view, layers[0].input_shape, config)
    for name, view in outputs.items():
        if name not in shapes:
            raise ValueError(f"output {name!r} is no layer's")
        _check_view(view, shapes[name], config)
    on_chip = [view for name, view in outputs.items() if name not in spilled]
    for view in on_chip if config.memory else (*inputs, *on_chip):
        if view.base < 0 or view.stop > words:
            raise ValueError(f"{view.tensor} must lie in the {words} words that are used, not in "
                             f"words {view.base} to {view.stop - 1}")


def _check_view(view: View, shape: tuple[int, int, int], config: AcceleratorConfig) -> None:
    if view.shape != shape or min(shape) < 1:
        raise ValueError(f"{view.tensor} must have shape {shape}, each at least 1, not "
                         f"{view.shape}")
    if view.cols != config.cols:
        raise ValueError(f"{view.tensor} must have words of {config.cols} bytes, not {view.cols}")
    if view.stride not in (1, 2) or not view.phases or any(
            not 0 <= place < view.stride for phase in view.phases for place in phase):
        raise ValueError(f"{view.tensor} must have phases of stride 1 or 2, not {view.phases} of "
                         f"stride {view.stride}")
    if not -128 <= view.fill <= 127:
        raise ValueError(f"{view.tensor} must be filled with -128…127, not {view.fill}")
    if min(view.pitch, view.skip, view.gap, view.stream) < 0:
        raise ValueError(f"{view.tensor} must have no negative distances")
    for phase in view.phases:
        rows, columns = view.size(phase)
        last = (view.origin(phase) + (view.planes - 1) * view.channel_words * view.cols
                + (rows - 1) * view.pitch + columns - 1)
        if rows and columns and last >= view.words * view.cols:
            raise ValueError(f"{view.tensor} must hold its pixels in {view.words} words, but the "
                             f"last is byte {last}")


def check_memory(
    size: int, constants: bytes, inputs: Sequence[View], offsets: Sequence[int],
    outputs: Mapping[str, View], spilled: Mapping[str, Sequence[SpilledBlock]],
    config: AcceleratorConfig,
) -> None:
    """Raise :exc:`ValueError` unless all that is in system memory lies in the program's region.

    Parameters
    ----------
    size : int
        Bytes of the region.
    """
    if (size > 0) != config.memory or not len(constants) <= size < 1 << 32:
        raise ValueError(f"a region of {size} bytes, {len(constants)} of them constants, cannot be "
                         f"with memory = {str(config.memory).lower()}")
    if len(offsets) != (len(inputs) if config.memory else 0):
        raise ValueError(f"{len(inputs)} inputs have {len(offsets)} places in system memory")
    unit = section_format(SectionKind.ACTIVATIONS, config).unit_bytes(config.host_bits)
    for view, offset in zip(inputs, offsets, strict=False):
        if not 0 <= offset <= size - view.words * unit:
            raise ValueError(f"{view.tensor} must lie in the region of {size} bytes, not at "
                             f"{offset}")
    for name, blocks in spilled.items():
        if name not in outputs:
            raise ValueError(f"{name!r} lies in system memory, but is no output")
        for block in blocks:
            _check_block(block, outputs[name], size, unit)


def _check_block(block: SpilledBlock, view: View, size: int, unit: int) -> None:
    end = block.offset + block.channels * (block.stop - block.first) * unit
    last = (block.channel + block.channels - 1) * view.channel_words + view.gap + block.stop
    if not (0 <= block.first <= block.valid <= block.stop and block.group > 0
            and block.channel >= 0 and block.channels > 0 and last <= view.words
            and 0 <= block.offset <= end <= size):
        raise ValueError(f"a block of {view.tensor} must lie in the region of {size} bytes and in "
                         f"the tensor, not {block}")


def check_scales(scales: Mapping[str, TensorScale], output: str) -> None:
    """Raise :exc:`ValueError` unless image and output have scales, and all are possible."""
    for name in (IntegerNetwork.IMAGE, output):
        if name not in scales:
            raise ValueError(f"scales lack {name!r}")
    for name, scale in scales.items():
        if not _is_number(scale.scale) or scale.scale <= 0:
            raise ValueError(f"the scale of {name} must be a positive number, not {scale.scale!r}")
        if not -128 <= scale.zero_point <= 127:
            raise ValueError(f"the zero point of {name} must be from -128 to 127, not "
                             f"{scale.zero_point}")


def check_about(about: Mapping[str, Any], channels: int) -> None:
    """Raise :exc:`ValueError` unless preprocessing and classes, if they are told, can be used."""
    from smartdeal.golden.pictures import Preprocessing

    told = [about.get(name) for name in ("mean", "deviation")]
    if told != [None, None]:
        for name, numbers in zip(("mean", "deviation"), told, strict=True):
            if not isinstance(numbers, list) or not all(map(_is_number, numbers)):
                raise ValueError(f"{name} must be a list of numbers, not {numbers!r}")
        mean, deviation = (tuple(numbers or ()) for numbers in told)
        Preprocessing(mean, deviation).check(channels)
    classes = about.get("classes") or []
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"classes must be a list of texts, not {classes!r}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
