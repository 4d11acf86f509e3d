"""From operations on placed views to instructions."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.errors import CompileError
from smartdeal.compiler.instructions import layer_words, move_words, stream_fields
from smartdeal.compiler.schedule import Copy, Fill, Operation, Run, Stage
from smartdeal.compiler.views import View, ViewKey
from smartdeal.golden.formats import ACT_MAX, ACT_MIN, PACKED
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import MOVE_INSTRUCTION, LayerFlag, MoveFlag

__all__ = ["Instruction", "layer_instruction", "move_instructions"]

#: The largest count of channels, rows or columns of a MOVE.
_MOST = (1 << next(f.bits for f in MOVE_INSTRUCTION.fields if f.name == "columns")) - 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Instruction:
    """One instruction and what it is meant to touch.

    Parameters
    ----------
    layer : str
        The layer that it belongs to.
    fields : dict of int
    target : ViewKey
        The view that it writes.
    source, residual : ViewKey or None
        The views that it reads.
    taps : int64 array or None
        Addresses in the steps of a LAYER: bytes behind ``input_base``. None for a MOVE.
    stage : Stage or None
        Of a LAYER.
    groups : (first, end)
        Groups of output channels of a LAYER.
    """

    layer: str
    fields: dict[str, int]
    target: ViewKey
    source: ViewKey | None = None
    residual: ViewKey | None = None
    taps: NDArray[np.int64] | None = None
    stage: Stage | None = None
    groups: tuple[int, int] = (0, 0)

    @cached_property
    def words(self) -> NDArray[np.uint32]:
        """The instruction's words."""
        return move_words(self.fields) if self.stage is None else layer_words(self.fields)


def move_instructions(
    layer: str, operation: Operation, views: dict[ViewKey, View], config: AcceleratorConfig,
) -> Iterator[Instruction]:
    """Yield the instructions that fill or copy.

    Raises
    ------
    CompileError
        If the accelerator has no MOVE, or a map is too large for one.
    """
    if not config.move:
        raise CompileError(layer, "it needs the feature move, which the configuration leaves out; "
                                  "set move = true")
    match operation:
        case Fill(target, whole):
            fills = _fill_whole if whole else _fill_gaps
            for fields in fills(views[target]):
                yield Instruction(layer=layer, target=target, fields={
                    "flags": MoveFlag.FILL, "value": views[target].fill, **fields})
        case Copy(source, target):
            for fields in _copies(views[source], views[target]):
                if max(fields["channels"], fields["rows"], fields["columns"]) > _MOST:
                    raise CompileError(layer, f"its input of shape {views[source].shape} has more "
                                              f"than {_MOST} channels, rows or columns")
                yield Instruction(layer=layer, fields=fields, source=source, target=target)
        case Run():
            raise ValueError(f"{layer} must be a Fill or Copy, not a Run")


def _place(name: str, flat: int, cols: int) -> dict[str, int]:
    return {f"{name}_word": flat // cols, f"{name}_lane": flat % cols}


def _fill_whole(view: View) -> Iterator[dict[str, int]]:
    """Yield MOVE fields that fill all words of a region."""
    for start in range(0, view.words, _MOST):
        yield {"channels": 1, "rows": min(_MOST, view.words - start), "columns": view.cols,
               "target_word": view.base + start, "target_row_word": 1}


def _fill_gaps(view: View) -> Iterator[dict[str, int]]:
    """Yield MOVE fields that fill the words before, between and behind the planes."""
    planes = view.planes * len(view.phases) + 1
    for start in range(0, planes, _MOST):
        yield {"channels": min(_MOST, planes - start), "rows": view.gap, "columns": view.cols,
               "target_word": view.base + start * view.plane_words,
               "target_row_word": 1, "target_channel_word": view.plane_words}


def _copies(source: View, target: View) -> Iterator[dict[str, int]]:
    """Yield MOVE fields that make the phases of a view from the tensor's base view."""
    cols, step = source.cols, target.stride
    first = source.base * cols + source.origin(source.phases[0])
    for p, q in target.phases:
        rows, columns = target.size((p, q))
        if rows < 1 or columns < 1:
            continue
        yield {
            "flags": MoveFlag.DECIMATE if step == 2 else MoveFlag(0),
            "channels": source.planes, "rows": rows, "columns": columns,
            **_place("source", first + p * source.pitch + q, cols),
            **_place("source_row", step * source.pitch, cols),
            "source_channel_word": source.channel_words,
            **_place("target", target.base * cols + target.origin((p, q)), cols),
            **_place("target_row", target.pitch, cols),
            "target_channel_word": target.channel_words,
        }


def layer_instruction(
    stage: Stage, groups: tuple[int, int], bases: dict[str, int], views: dict[ViewKey, View],
    config: AcceleratorConfig,
) -> Instruction:
    """Return the LAYER for a range of groups of output channels.

    Parameters
    ----------
    bases : dict of int
        ``steps_base``, ``channel_base`` and ``basis_base``.
    """
    layer, lowering = stage.layer, stage.lowering
    source, target = views[stage.source], views[stage.target]
    first = groups[0] * lowering.group
    channels = min(groups[1] * lowering.group, layer.array_channels) - first
    pool = layer.kind == "max_pool"
    stream = target.gap + (first // PACKED if target.binary else first) * target.channel_words
    fields = {
        "flags": lowering.flags, "slices": len(lowering.blocks[0]), "channels": channels,
        **stream_fields(stage.size, source.pitch, lowering.lag, config), **bases,
        "input_base": source.base, "output_base": target.base + stream,
        "output_stride": target.channel_words, "zp_out": target.fill,
        "lo": ACT_MIN if pool else layer.lo, "hi": ACT_MAX if pool else layer.hi,
    }
    if stage.residual is not None:
        view = views[stage.residual]
        # The operand of stream position i stands `lag` bytes before that of output position i.
        flat = (view.base + first * view.channel_words) * config.cols \
            + view.origin(view.phases[0]) - lowering.lag
        fields |= {"flags": lowering.flags | LayerFlag.RESIDUAL,
                   **{f"residual_{name}": value for name, value in
                      (("base", flat // config.cols), ("lane", flat % config.cols),
                       ("stride", view.channel_words))},
                   "zp_res": layer.residual_zero_point}
    taps = source.taps(stage.kernel, stage.top, stage.left).ravel()
    used = [taps[block.taps] for group in lowering.blocks[groups[0]:groups[1]] for block in group]
    # An empty unit of work is filled up with steps that read the first byte of the region.
    return Instruction(layer=layer.name, fields=fields, source=stage.source, target=stage.target,
                       residual=stage.residual, taps=np.unique(np.concatenate([[0], *used])),
                       stage=stage, groups=groups)
