"""LOAD instructions: how windows come from system memory to the activation buffer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from smartdeal.compiler.external.areas import Area, Block, unit_bytes
from smartdeal.compiler.external.strips import Window
from smartdeal.compiler.views import View
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import LOAD_INSTRUCTION, SectionKind

__all__ = ["NOTHING", "Load", "Paddings", "image_loads", "tensor_loads"]

#: No action.
NOTHING = -1

_MOST_RUNS = (1 << next(f.bits for f in LOAD_INSTRUCTION.fields if f.name == "runs")) - 1


@dataclass(eq=False, kw_only=True)
class Load:
    """One LOAD.

    Parameters
    ----------
    layer : str
        The layer that needs it.
    kind : SectionKind
    area : Area
        What it reads.
    delta : int
        First byte, behind the area's.
    fields : dict of int
        All fields but ``kind`` and ``offset``.
    after : int
        The last action that uses the words that it overwrites; may be issued when that has ended.
    written : int
        The last EXTERNAL layer among the actions whose output it reads.
    need : int
        The first action that uses it.
    """

    layer: str
    kind: SectionKind
    area: Area
    delta: int
    fields: dict[str, int]
    after: int = NOTHING
    written: int = NOTHING
    need: int = field(default=NOTHING)

    def complete(self) -> dict[str, int]:
        """Return the fields of the instruction; the area must be placed."""
        return {"kind": self.kind, "offset": self.area.offset + self.delta, **self.fields}


class Paddings:
    """Words of one value in system memory, which loads put where a window has padding."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self._config = config
        self._areas: dict[int, Area] = {}

    def area(self, value: int, words: int) -> Area:
        """Return an area with at least so many words of a value."""
        size = words * unit_bytes(SectionKind.ACTIVATIONS, self._config)
        area = self._areas.setdefault(value, Area(f"padding {value}", 0, b""))
        if area.size < size:
            unit = np.zeros(unit_bytes(SectionKind.ACTIVATIONS, self._config), np.int8)
            unit[:self._config.cols] = value
            area.size, area.data = size, unit.tobytes() * words
        return area


def _planes(
    layer: str, area: Area, window: Window, planes: range, start: int, delta: int, count: int,
    memory_stride: int,
) -> Iterator[Load]:
    """Yield loads of consecutive words for some planes, one run for each."""
    for first in range(planes.start, planes.stop, _MOST_RUNS):
        runs = min(_MOST_RUNS, planes.stop - first)
        yield Load(layer=layer, kind=SectionKind.ACTIVATIONS, area=area,
                   delta=delta + (first - planes.start) * memory_stride, fields={
                       "runs": runs, "count": count, "memory_stride": memory_stride,
                       "address": start + first * window.plane_words,
                       "run_stride": window.plane_words, "inner": count, "inner_stride": 1})


def image_loads(
    layer: str, area: Area, window: Window, strip: int, base: int, config: AcceleratorConfig,
) -> Iterator[Load]:
    """Yield the loads of a window of a view that the host has packed."""
    view, unit = window.view, unit_bytes(SectionKind.ACTIVATIONS, config)
    low, high, origin = (int(values[strip]) for values in (window.low, window.high, window.origin))
    yield from _planes(layer, area, window, range(window.planes), base + low - origin,
                       (view.gap + low) * unit, high - low, view.plane_words * unit)


def tensor_loads(
    layer: str, blocks: Sequence[Block], window: Window, strip: int, base: int,
    paddings: Paddings, config: AcceleratorConfig,
) -> Iterator[Load]:
    """Yield the loads of a window of a tensor that EXTERNAL layers have written."""
    view: View = window.view
    low, high, origin = (int(values[strip]) for values in (window.low, window.high, window.origin))
    for start, stop in ((low, min(high, 0)), (max(low, view.stream), high)):
        if start < stop:
            yield from _planes(layer, paddings.area(view.fill, stop - start), window,
                               range(window.planes), base + start - origin, 0, stop - start, 0)
    for block in blocks:
        start, stop = max(low, block.valid), min(high, block.stop)
        if start < stop:
            yield from _block_loads(layer, block, window, start, stop, base - origin, config)


def _block_loads(
    layer: str, block: Block, window: Window, start: int, stop: int, place: int,
    config: AcceleratorConfig,
) -> Iterator[Load]:
    """Yield loads for whole groups of a block, and for a last one that has fewer channels."""
    unit = unit_bytes(SectionKind.ACTIVATIONS, config)
    channels, stride = block.channels, window.plane_words
    whole, rest = divmod(len(channels), block.group)
    for first, runs, size in ((0, whole, block.group), (whole, 1, rest)):
        for number in range(first, first + runs if size else first, _MOST_RUNS):
            before = number * block.group
            yield Load(
                layer=layer, kind=SectionKind.ACTIVATIONS, area=block.area,
                delta=(before * block.tiles + (start - block.first) * size) * unit,
                written=block.action, fields={
                    "runs": min(_MOST_RUNS, first + runs - number),
                    "count": (stop - start) * size,
                    "memory_stride": block.tiles * size * unit,
                    "address": place + start + (channels.start + before) * stride,
                    "run_stride": size * stride, "inner": size, "inner_stride": stride,
                    "outer_stride": 1})
