"""Pages: the program in pieces that take turns in the two halves of the instruction memory.

The first instruction of a page loads the page after it into the other half; the last two wait for
that load and jump there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.errors import CompileError
from smartdeal.compiler.external.actions import Action
from smartdeal.compiler.external.areas import Area, unit_bytes
from smartdeal.compiler.external.loads import Load
from smartdeal.compiler.external.order import Item, Stored, Wait
from smartdeal.compiler.instructions import (
    END_WORDS,
    jump_words,
    layer_words,
    load_words,
    move_words,
    program_section,
    wait_words,
)
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import INSTRUCTION_WORDS, LOAD_QUEUE, SectionKind, WaitFlag

__all__ = ["Pages"]

#: Words of WAIT and JUMP at the end of a page.
_TURN = 2


@dataclass(frozen=True)
class _Emitted:
    """The words of an instruction, and the layer that it belongs to."""

    layer: str
    words: NDArray[np.uint32]
    action: Action | None = None


class Pages:
    """A program's items, page by page.

    Parameters
    ----------
    items : sequence of Item
    config : AcceleratorConfig

    Raises
    ------
    CompileError
        If half of the instruction memory has no room for an instruction.
    """

    def __init__(self, items: Sequence[Item], config: AcceleratorConfig) -> None:
        self._config = config
        self._pages = _cut(items, config)
        unit = unit_bytes(SectionKind.PROGRAM, config)
        #: All pages but the first, which the host loads.
        self.areas = [
            Area(f"page {number}", unit * (_size(page) + (
                INSTRUCTION_WORDS + _TURN if number + 1 < len(self._pages) else len(END_WORDS))))
            for number, page in enumerate(self._pages) if number]

    def emit(self) -> tuple[list[NDArray[np.uint32]], list[str], list[Action | None]]:
        """Return the words of each page, and by instruction before END layer and action.

        All areas must be placed.
        """
        pages: list[NDArray[np.uint32]] = []
        layers: list[str] = []
        actions: list[Action | None] = []
        for emitted in self._emit():
            running = [one for one in emitted if one.words is not END_WORDS]
            layers += [one.layer for one in running]
            actions += [one.action for one in running]
            pages.append(np.concatenate([one.words for one in emitted]))
        for area, words in zip(self.areas, pages[1:], strict=True):
            area.data = program_section(words, self._config).data
        return pages, layers, actions

    def _emit(self) -> Iterator[list[_Emitted]]:
        half, issued = self._config.program_words // 2, 0
        numbers: dict[int, int] = {}
        unit = unit_bytes(SectionKind.PROGRAM, self._config)
        for number, page in enumerate(self._pages):
            emitted: list[_Emitted] = []
            first, last = page[0].layer if page else "", number + 1 == len(self._pages)
            next_half, turn = half * ((number + 1) % 2), issued
            if not last:
                area = self.areas[number]
                words = area.size // unit
                emitted.append(_Emitted(first, load_words({
                    "kind": SectionKind.PROGRAM, "offset": area.offset, "runs": 1,
                    "count": words, "address": next_half, "inner": words, "inner_stride": 1})))
                issued += 1
            for item in page:
                if isinstance(item, Load):
                    numbers[id(item)] = issued
                    issued += 1
                emitted.append(_Emitted(item.layer, _words(item, issued, numbers),
                                        item if isinstance(item, Action) else None))
            if last:
                emitted.append(_Emitted("", END_WORDS))
            else:
                name = emitted[-1].layer
                emitted += [_Emitted(name, wait_words(min(issued - turn - 1, LOAD_QUEUE))),
                            _Emitted(name, jump_words(next_half))]
            yield emitted


def _words(item: Item, issued: int, numbers: dict[int, int]) -> NDArray[np.uint32]:
    match item:
        case Load():
            return load_words(item.complete())
        case Wait(load=load):
            return wait_words(min(issued - numbers[id(load)] - 1, LOAD_QUEUE))
        case Stored():
            return wait_words(LOAD_QUEUE, WaitFlag.STORES)
        case Action():
            fields = item.complete()
            return move_words(fields) if item.stage is None else layer_words(fields)


def _item_words(item: Item) -> int:
    return INSTRUCTION_WORDS if isinstance(item, Load | Action) else 1


def _size(page: Sequence[Item]) -> int:
    return sum(map(_item_words, page))


def _cut(items: Sequence[Item], config: AcceleratorConfig) -> list[list[Item]]:
    if _size(items) + len(END_WORDS) <= config.program_words:
        return [list(items)]
    half = config.program_words // 2
    room = half - INSTRUCTION_WORDS - _TURN
    if room < INSTRUCTION_WORDS:
        needed = 2 * (2 * INSTRUCTION_WORDS + _TURN)
        raise CompileError(items[0].layer, "half of the instruction memory must hold two "
                                           "instructions and a jump, the accelerator has "
                                           f"program_words = {config.program_words}; set "
                                           f"program_words = {needed}")
    pages: list[list[Item]] = [[]]
    size, left = 0, _size(items)
    for item in items:
        words = _item_words(item)
        if size + words > room and size + left + len(END_WORDS) > half:
            pages.append([])
            size = 0
        pages[-1].append(item)
        size += words
        left -= words
    return pages
