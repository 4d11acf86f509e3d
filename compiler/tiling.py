"""How a layer is cut in parts that fit the buffers: strips of output rows × ranges of groups.

A part's activation buffer holds, from word 0, the input window, the residual strip and the output
strip. All strips of a layer have the same layout; the last may use fewer rows of it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

from smartdeal.compiler.errors import CompileError, advice
from smartdeal.compiler.layout import InputLayout
from smartdeal.compiler.steps import Lowering
from smartdeal.compiler.tables import unit_steps
from smartdeal.golden.formats import ACT_MIN
from smartdeal.golden.layers import IntegerLayer
from smartdeal.golden.packed import pad_byte, planes
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import INSTRUCTION, LayerFlag

__all__ = ["Tiling", "plan"]

_MAX_FIELD = (1 << next(f.bits for f in INSTRUCTION.fields if f.name == "tiles")) - 1


@dataclass(frozen=True)
class Tiling:
    """How a layer is cut.

    Parameters
    ----------
    layout : InputLayout
        Of one strip's input window.
    skip : int
        Leading stream positions without output.
    tiles : int
        Tiles of a whole strip.
    input_words : int
        Words of the input window, what the last tile reads behind it included.
    out_words : int
        Words of one output channel of a strip.
    group_ranges : tuple of (first group, end)
    """

    layout: InputLayout
    skip: int
    tiles: int
    input_words: int
    out_words: int
    group_ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Plan:
    """What the cut depends on."""

    layer: IntegerLayer
    lowering: Lowering
    config: AcceleratorConfig

    @cached_property
    def reduce(self) -> bool:
        return LayerFlag.REDUCE in self.lowering.flags

    @cached_property
    def steps(self) -> list[int]:
        """Steps of each group in the weight buffer."""
        return [sum(map(unit_steps, group)) for group in self.lowering.blocks]

    @cached_property
    def basis_entries(self) -> int:
        """Basis entries of a group."""
        return 0 if self.lowering.basis is None else (
            len(self.lowering.blocks[0]) * self.lowering.group)

    def strip(self, rows: int) -> Tiling:
        """Return the layout for strips of so many output rows, without group ranges."""
        layer, cols = self.layer, self.config.cols
        if layer.kind == "average_pool":  # every input position is an output position to add up
            kernel, stride, top, left, width = (1, 1), 1, 0, 0, layer.input_shape[2]
        else:
            kernel, stride, width = layer.kernel, layer.stride, layer.output_shape[2]
            top, left, _, _ = layer.padding
        fill = ACT_MIN if layer.kind == "max_pool" else layer.input_zero_point
        if layer.binary_input:
            fill = pad_byte(fill)
        layout = InputLayout(layer.input_planes, *layer.input_shape[1:], kernel, stride, top, left,
                             width, rows, fill)
        skip = self.lowering.lag
        tiles = -(-(skip + (rows - 1) * layout.pitch + width) // cols)
        first = int(layout.taps().max())
        return Tiling(layout, skip, tiles, -(-(first + tiles * cols) // cols),
                      1 if self.reduce else tiles, ())

    def channel_words(self, tiling: Tiling, channels: int) -> int:
        """Return the words of so many output channels, residual included."""
        stored = planes(channels) if self.layer.binary_output else channels
        return tiling.out_words * (stored + (channels if self.layer.residual else 0))

    def ranges(self, tiling: Tiling) -> tuple[tuple[int, int], ...] | None:
        """Return the fewest group ranges that fit, or None if a group does not."""
        config, group = self.config, self.lowering.group
        room = config.activation_words - tiling.input_words
        channels = self.layer.array_channels

        def fits(count: int) -> bool:
            return (count <= config.channel_entries
                    and self.channel_words(tiling, count) <= room)

        ranges: list[tuple[int, int]] = []
        start = 0
        while start < len(self.steps):
            end, steps = start, 0
            while (end < len(self.steps)
                   and steps + self.steps[end] <= config.weight_steps
                   and fits(min((end + 1) * group, channels) - start * group)
                   and (end + 1 - start) * self.basis_entries <= config.basis_entries):
                steps += self.steps[end]
                end += 1
            if end == start:
                return None
            ranges.append((start, end))
            start = end
        return tuple(ranges)


def plan(layer: IntegerLayer, lowering: Lowering, config: AcceleratorConfig) -> Tiling:
    """Choose the cut with the fewest parts, and of those the one with the fewest strips.

    Raises
    ------
    CompileError
        If not even one row of one group fits; the message names the buffer.
    """
    work = _Plan(layer, lowering, config)
    _check_group(work)
    total = layer.input_shape[1] if work.reduce else layer.output_shape[1]
    best: Tiling | None = None
    best_parts = 0
    tried = 0
    for wanted in range(1, 2 if work.reduce else total + 1):
        if best is not None and wanted >= best_parts:
            break  # every strip is at least one part
        rows = -(-total // wanted)
        if rows == tried:
            continue
        tried = rows
        tiling = work.strip(rows)
        if max(tiling.tiles, tiling.layout.pitch) > _MAX_FIELD:
            continue
        ranges = work.ranges(tiling)
        parts = -(-total // rows) * len(ranges or ())
        if ranges is not None and (best is None or parts < best_parts):
            best = Tiling(tiling.layout, tiling.skip, tiling.tiles, tiling.input_words,
                          tiling.out_words, ranges)
            best_parts = parts
    if best is None:
        _refuse(work, total if work.reduce else 1)
    return best


def _check_group(work: _Plan) -> None:
    """Refuse a group that does not fit the memories that strips do not make smaller."""
    config, name = work.config, work.layer.name
    channels = min(work.lowering.group, work.layer.array_channels)
    needs = (("weight_steps", max(work.steps), "steps"),
             ("channel_entries", channels, "channel entries"),
             ("basis_entries", work.basis_entries, "basis entries"))
    for parameter, needed, what in needs:
        if needed > getattr(config, parameter):
            raise CompileError(name, f"one group of {work.lowering.group} output channels takes "
                               f"{needed} {what}, the accelerator has {parameter} = "
                               f"{getattr(config, parameter)}; {advice(config, parameter, needed)}")


def _refuse(work: _Plan, rows: int) -> NoReturn:
    """Raise the error for a layer whose smallest part does not fit."""
    tiling = work.strip(rows)
    for what, value in (("tiles", tiling.tiles), ("stream positions per row",
                                                  tiling.layout.pitch)):
        if value > _MAX_FIELD:
            raise CompileError(work.layer.name, f"its map takes {value} {what}, an instruction "
                               f"holds {_MAX_FIELD}; make the map smaller")
    channels = min(work.lowering.group, work.layer.array_channels)
    needed = tiling.input_words + work.channel_words(tiling, channels)
    raise CompileError(
        work.layer.name, f"{rows} output row(s) of {channels} channels take {needed} words of the "
        f"activation buffer, the accelerator has activation_words = "
        f"{work.config.activation_words}; {advice(work.config, 'activation_words', needed)}")
