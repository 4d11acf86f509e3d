"""A layer as parts: LAYER instructions for a strip and a range of groups of output channels."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.emit import layer_instruction
from smartdeal.compiler.external.actions import Action, Actions
from smartdeal.compiler.external.areas import Area, Block, unit_bytes
from smartdeal.compiler.external.feeds import Feed, feeds
from smartdeal.compiler.external.loads import Load
from smartdeal.compiler.external.strips import Copies, Strips, cut, window_taps
from smartdeal.compiler.occupancy import Span
from smartdeal.compiler.schedule import Stage
from smartdeal.compiler.tables import pack_basis, pack_channels, pack_steps
from smartdeal.compiler.weights import BASES, TABLES, Need, group_needs, refuse_group
from smartdeal.hw.isa import LayerFlag, SectionKind

__all__ = ["append_layer"]

#: First and end of a range of groups.
Groups = tuple[int, int]


def append_layer(program: Actions, stage: Stage, image: dict[tuple[str, int, int], Area]) -> None:
    """Append the parts of a layer.

    Parameters
    ----------
    image : dict of Area
        The views of the image in system memory.

    Raises
    ------
    CompileError
        If one group of output channels does not fit an empty weight buffer.
    """
    _Layer(program, stage, image).append()


@dataclass(eq=False)
class _Layer:
    """A layer while its parts are appended."""

    program: Actions
    stage: Stage
    image: dict[tuple[str, int, int], Area]
    strips: Strips = field(init=False)
    chunks: list[Groups] = field(init=False)

    def __post_init__(self) -> None:
        program, stage = self.program, self.stage
        self.config = program.config
        residency = program.residency
        self.views, self.name = residency.views, stage.layer.name
        self.external = stage.target[0] in residency.spilled
        operands = residency.operands.get(self.name)
        tiles = stage.tiles(self.views[stage.source].pitch, self.config)
        self.strips = operands.strips if operands else cut(tiles, 1, stage.lowering.lag)
        self.source: Feed | None = None
        self.residual: Feed | None = None
        if operands is not None:
            self.source, self.residual = feeds(program, stage, operands, self.image)
        self.needs = group_needs(stage)
        self.chunks = _chunks(stage, self.needs, program)
        made = operands.source if operands else None
        if isinstance(made, Copies):
            made = made.made
        self.taps = (self.views[stage.source].taps(stage.kernel, stage.top, stage.left)
                     if made is None else window_taps(stage, made, self.config)).ravel()

    def append(self) -> None:
        """Append all parts."""
        for strip, groups in self._order():
            self._part(strip, groups)

    def _order(self) -> Iterator[tuple[int, Groups]]:
        """Yield strips and ranges of groups in the order that moves fewer bytes."""
        numbers = range(len(self.strips))
        if self.stage.lowering.lag and not self.external:
            # The wrong tile in front of a strip is overwritten by the strip before it.
            numbers = numbers[::-1]
        if _by_groups(self):
            yield from ((strip, groups) for groups in self.chunks for strip in numbers)
        else:
            yield from ((strip, groups) for strip in numbers for groups in self.chunks)

    def _part(self, strip: int, groups: Groups) -> None:
        program, stage, strips = self.program, self.stage, self.strips
        first, stop = int(strips.first[strip]), int(strips.stop[strip])
        spans: list[Span] = []
        changes = self._stream(first, stop)
        source, residual = self.views[stage.source], stage.residual
        if self.source is None:
            changes["input_base"] = source.base + first
            spans.append(source.span)
        else:  # made by MOVE, perhaps: before the tables, which are loaded beside it
            changes["input_base"] = self.source.fetch(strip)
            spans.append(self.source.span(strip))
        bases = {BASES[kind]: self._table(kind, groups) for kind in TABLES}
        instruction = layer_instruction(stage, groups, bases, self.views, self.config)
        fields = instruction.fields
        if residual is not None and self.residual is None:
            changes["residual_base"] = fields["residual_base"] + first
            spans.append(self.views[residual].span)
        elif self.residual is not None:
            changes |= self._residual_fields(strip, groups)
            spans.append(self.residual.span(strip))
        output: Area | None = None
        if self.external:
            output = self._block(strip, groups, fields["channels"])
            changes |= {"flags": fields["flags"] | LayerFlag.EXTERNAL, "output_stride": 0}
        else:
            target = self.views[stage.target]
            changes["output_base"] = fields["output_base"] + first
            spans.append(target.span)
        for kind in TABLES:
            program.rings[kind].use(self._key(kind, groups)[0], program.now)
        program.append(Action(layer=self.name, fields={**fields, **changes}, stage=stage,
                              groups=groups, tile=first, output=output,
                              spans=tuple(spans)))

    def _stream(self, first: int, stop: int) -> dict[str, int]:
        """Return the fields that say which part of the stream a strip is."""
        stage, cols = self.stage, self.config.cols
        pitch, lag = self.views[stage.source].pitch, stage.lowering.lag
        end = lag + (stage.size[0] - 1) * pitch + stage.size[1]
        return {"tiles": stop - first, "skip": max(0, lag - first * cols),
                "start_column": (first * cols - lag) % pitch, "end": end - first * cols}

    def _residual_fields(self, strip: int, groups: Groups) -> dict[str, int]:
        assert self.residual is not None
        window = self.residual.window
        base = self.residual.fetch(strip)
        lane = (window.view.skip - self.stage.lowering.lag) % self.config.cols
        first = groups[0] * self.stage.lowering.group
        return {"residual_base": base + first * window.plane_words, "residual_lane": lane,
                "residual_stride": window.plane_words}

    def _block(self, strip: int, groups: Groups, channels: int) -> Area:
        """Return the area that a part writes."""
        strips, name = self.strips, self.name
        first, stop = int(strips.first[strip]), int(strips.stop[strip])
        begin = groups[0] * self.stage.lowering.group
        unit = unit_bytes(SectionKind.ACTIVATIONS, self.config)
        area = Area(f"{name} from tile {first}, channel {begin}", (stop - first) * channels * unit)
        self.program.blocks.setdefault(name, []).append(Block(
            area=area, action=self.program.now, first=first, valid=int(strips.valid[strip]),
            stop=stop, channels=range(begin, begin + channels), group=self.stage.lowering.group))
        return area

    def _key(self, kind: SectionKind, groups: Groups) -> tuple[object, Groups]:
        """Return what tells a block of a table apart, and its groups: all of them, if they fit."""
        whole = (0, len(self.needs))
        total = int(self.needs[:, TABLES.index(kind)].sum())
        if kind != SectionKind.STEPS and 2 * total <= self.program.rings[kind].capacity:
            groups = whole
        return (kind, self.name, groups), groups

    def _table(self, kind: SectionKind, groups: Groups) -> int:
        """Return where a part's table begins; load it if it is not there."""
        needs = self.needs[:, TABLES.index(kind)]
        if not needs.any():
            return 0
        ring = self.program.rings[kind]
        key, held = self._key(kind, groups)
        start = ring.find(key)
        if start is None:
            area = self.program.tables.get(key)
            if area is None:
                area = Area.constant(f"{kind.name} of {self.name}", self._pack(kind, held))
                self.program.tables[key] = area
            words = int(needs[held[0]:held[1]].sum())
            start, after = ring.take(key, words)
            self.program.load(Load(
                layer=self.name, kind=kind, area=area, delta=0, after=after, fields={
                    "runs": 1, "count": words, "address": start, "inner": words,
                    "inner_stride": 1}))
        return start + int(needs[held[0]:groups[0]].sum())

    def _pack(self, kind: SectionKind, groups: Groups) -> bytes:
        lowering, config = self.stage.lowering, self.config
        channels = slice(groups[0] * lowering.group, groups[1] * lowering.group)
        match kind:
            case SectionKind.STEPS:
                return pack_steps(lowering.blocks[groups[0]:groups[1]], self.taps, config)
            case SectionKind.CHANNELS:
                return pack_channels(self.stage.parameters, channels, config)
            case _:
                assert lowering.basis is not None
                return pack_basis(lowering.basis, channels, lowering.group, config)


def _by_groups(layer: _Layer) -> bool:
    """Return whether to run all strips of a range of groups before the next range."""
    if len(layer.chunks) == 1 or len(layer.strips) == 1:
        return False
    total = layer.needs.sum(axis=0)
    capacity = np.array([layer.program.rings[kind].capacity for kind in TABLES])
    if np.all(total <= capacity):
        return False
    weights = sum(int(count) * unit_bytes(kind, layer.config)
                  for kind, count in zip(TABLES, total, strict=True) if count)
    windows = sum(feed.bytes for feed in (layer.source, layer.residual) if feed is not None)
    return weights + len(layer.chunks) * windows < weights * len(layer.strips) + windows


def _chunks(stage: Stage, needs: Need, program: Actions) -> list[Groups]:
    """Cut a layer so that a part takes half of a memory at most, if one group does."""
    capacity = np.array([program.rings[kind].capacity for kind in TABLES])
    for need in needs:
        refuse_group(stage, need, capacity, program.config)
    greedy = _greedy(needs, capacity // 2)
    bounds = np.arange(len(greedy) + 1) * len(needs) // len(greedy)
    even = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    if all(np.all(needs[a:b].sum(axis=0) <= capacity // 2) for a, b in even):
        return even
    return greedy


def _greedy(needs: Need, limit: NDArray[np.int64]) -> list[Groups]:
    chunks: list[Groups] = []
    start = 0
    while start < len(needs):
        fitting = np.all(np.cumsum(needs[start:], axis=0) <= limit, axis=1)
        stop = start + max(1, int(np.count_nonzero(fitting)))
        chunks.append((start, stop))
        start = stop
    return chunks
