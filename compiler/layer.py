"""From one integer layer to a program: :func:`compile_layer` runs the passes in their order."""

import numpy as np

from smartdeal.compiler.accumulate import cut_slices, prove_sums
from smartdeal.compiler.coding import code_steps
from smartdeal.compiler.errors import CompileError
from smartdeal.compiler.image import Section, write_image
from smartdeal.compiler.instructions import (
    END_WORDS,
    check_fields,
    layer_words,
    program_section,
    stream_fields,
)
from smartdeal.compiler.program import Part, Program
from smartdeal.compiler.steps import Lowering, lower
from smartdeal.compiler.tables import (
    pack_basis,
    pack_channels,
    pack_steps,
    requantisation,
    unit_steps,
)
from smartdeal.compiler.tiling import Tiling, plan
from smartdeal.golden.formats import ACT_MAX, ACT_MIN
from smartdeal.golden.layers import IntegerLayer, Requantisation
from smartdeal.golden.packed import pad_byte
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import LayerFlag, SectionKind

__all__ = ["compile_layer", "lower_layer"]

_FEATURES = {LayerFlag.MAX_POOL: "max_pool", LayerFlag.RESIDUAL: "residual",
             LayerFlag.REDUCE: "reduce"}


def compile_layer(layer: IntegerLayer, config: AcceleratorConfig) -> Program:
    """Compile a layer for an accelerator.

    Parameters
    ----------
    layer : IntegerLayer
    config : AcceleratorConfig

    Returns
    -------
    Program
        Depends on nothing but the arguments: the same bytes every time.

    Raises
    ------
    CompileError
        If the layer does not fit the accelerator; one line that says what to change.
    """
    lowering, parameters = lower_layer(layer, config)
    tiling = plan(layer, lowering, config)
    parts: list[Part] = []
    total = layer.input_shape[1] if LayerFlag.REDUCE in lowering.flags else layer.output_shape[1]
    for first, end in tiling.group_ranges:
        memories = _memories(lowering, parameters, tiling, (first, end), config)
        for row in range(0, total, tiling.layout.rows):
            rows = min(tiling.layout.rows, total - row)
            parts.append(_part(layer, lowering, tiling, (first, end), (row, rows), memories,
                               config))
    return Program(name=layer.name, config=config, output_shape=layer.output_shape,
                   parts=tuple(parts))


def lower_layer(
    layer: IntegerLayer, config: AcceleratorConfig,
) -> tuple[Lowering, Requantisation]:
    """Return a layer's steps and requantisation: all that does not depend on where tensors lie.

    Raises
    ------
    CompileError
        If the layer is not one that the accelerator computes, or a number may overflow.
    """
    _check_layer(layer)
    lowering = lower(layer, config)
    _check_features(layer, lowering.flags, config)
    lowering = cut_slices(layer.name, lowering, config)
    _, height, width = layer.input_shape
    positions = height * width if LayerFlag.REDUCE in lowering.flags else 1
    prove_sums(layer.name, lowering, positions, config)
    return lowering, requantisation(layer, config)


def _check_layer(layer: IntegerLayer) -> None:
    """Refuse what the array does not compute, and shapes that contradict each other."""
    name = layer.name
    pool = layer.kind in ("max_pool", "average_pool")
    if (layer.weights is None) != pool:
        raise CompileError(name, f"a layer of kind {layer.kind!r} must have "
                                 f"{'no ' if pool else ''}weights")
    if layer.requantisation is None and layer.kind != "max_pool":
        raise CompileError(name, f"a layer of kind {layer.kind!r} must have a requantisation")
    if layer.stride not in (1, 2):
        raise CompileError(name, f"stride must be 1 or 2, not {layer.stride}")
    if min(*layer.padding, 0) < 0:
        raise CompileError(name, f"padding must not be negative, not {layer.padding}")
    if layer.lo > layer.hi:
        raise CompileError(name, f"lo must not be above hi, not {layer.lo} and {layer.hi}")
    channels, height, width = layer.input_shape
    if layer.kind == "average_pool":
        expected = (channels, 1, 1)
    else:
        top, left, bottom, right = layer.padding
        kh, kw = layer.kernel
        m = layer.weights.shape[0] if layer.weights is not None else channels
        expected = (m, (height + top + bottom - kh) // layer.stride + 1,
                    (width + left + right - kw) // layer.stride + 1)
    if min(expected) < 1 or layer.output_shape != expected:
        raise CompileError(name, f"output shape must be {expected}, not {layer.output_shape}")
    if pool and layer.residual:
        raise CompileError(name, f"a layer of kind {layer.kind!r} must not have a residual")
    if layer.weights is not None:
        weights = (layer.weights.shape[1], *layer.weights.shape[2:])
        if weights != (channels, *layer.kernel):
            raise CompileError(name, f"weights must have input channels and kernel "
                                     f"{(channels, *layer.kernel)}, not {weights}")


def _check_features(layer: IntegerLayer, flags: LayerFlag, config: AcceleratorConfig) -> None:
    if layer.residual:
        flags |= LayerFlag.RESIDUAL
    for flag, feature in _FEATURES.items():
        if flag in flags and not getattr(config, feature):
            raise CompileError(layer.name, f"it needs the feature {feature}, which the "
                                           f"configuration leaves out; set {feature} = true")


def _channels(lowering: Lowering, groups: tuple[int, int], layer: IntegerLayer) -> range:
    """Return the output channels of a range of groups."""
    return range(groups[0] * lowering.group,
                 min(groups[1] * lowering.group, layer.array_channels))


def _memories(
    lowering: Lowering, parameters: Requantisation, tiling: Tiling, groups: tuple[int, int],
    config: AcceleratorConfig,
) -> list[Section]:
    """Return the sections that all strips of a range of groups share: all but the program."""
    channels = slice(groups[0] * lowering.group, groups[1] * lowering.group)
    steps = pack_steps(lowering.blocks[groups[0]:groups[1]],
                       tiling.layout.taps().ravel(), config)
    sections = [
        Section(SectionKind.STEPS, 0, steps, coded=code_steps(steps, config)),
        Section(SectionKind.CHANNELS, 0, pack_channels(parameters, channels, config)),
    ]
    if lowering.basis is not None:
        basis = pack_basis(lowering.basis, channels, lowering.group, config)
        sections.append(Section(SectionKind.BASIS, 0, basis))
    return sections


def _part(
    layer: IntegerLayer, lowering: Lowering, tiling: Tiling, groups: tuple[int, int],
    strip: tuple[int, int], memories: list[Section], config: AcceleratorConfig,
) -> Part:
    """Return the part for some groups and a strip (first row, rows)."""
    first_row, rows = strip
    layout, skip = tiling.layout, tiling.skip
    channels = _channels(lowering, groups, layer)
    stream = stream_fields((rows, layout.out_width), layout.pitch, skip, config)
    flags = lowering.flags | (LayerFlag.RESIDUAL if layer.residual else LayerFlag(0))
    residual_words = len(channels) * tiling.out_words
    fields = {
        "flags": flags, "slices": len(lowering.blocks[0]), "channels": len(channels), **stream,
        "output_base": tiling.input_words + (residual_words if layer.residual else 0),
        "output_stride": tiling.out_words, "lo": layer.lo, "hi": layer.hi,
        "zp_out": (pad_byte(layer.output_zero_point) if layer.binary_output
                   else layer.output_zero_point),
    }
    if layer.kind == "max_pool":
        fields |= {"lo": ACT_MIN, "hi": ACT_MAX, "zp_out": 0}
    if layer.residual:
        fields |= {"residual_base": tiling.input_words, "residual_stride": tiling.out_words,
                   "zp_res": layer.residual_zero_point}
    instruction = layer_words(fields)
    check_fields(layer.name, instruction, config)
    program = program_section(np.append(instruction, END_WORDS), config)
    image = write_image(config, [program, *memories], program=True)
    stored = sum(unit_steps(block) for group in lowering.blocks[groups[0]:groups[1]]
                 for block in group)
    reduce = LayerFlag.REDUCE in flags
    return Part(
        image=image, config=config, layout=layout, first_row=0 if reduce else first_row,
        rows=1 if reduce else rows, first_channel=channels.start, channels=len(channels),
        width=1 if reduce else layout.out_width, skip=0 if reduce else skip,
        input_words=tiling.input_words, channel_words=tiling.out_words, residual=layer.residual,
        residual_fill=layer.residual_zero_point, output_shape=layer.output_shape,
        input_bits=layer.input_shape[0] if layer.binary_input else 0,
        packed=layer.binary_output,
        stored_steps=stored, executed_steps=stored * stream["tiles"])
