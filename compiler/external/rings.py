"""Rings: the memories of steps, requantisation and basis, filled round and round."""

from dataclasses import dataclass

import numpy as np

from smartdeal.compiler.external.loads import NOTHING
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind, section_capacity

__all__ = ["Ring"]


@dataclass(frozen=True)
class _Held:
    """A block that lies in the ring."""

    key: object
    start: int
    stop: int


class Ring:
    """One memory whose words are used in turn.

    A block that is still there is not loaded again.

    Parameters
    ----------
    kind : SectionKind
    config : AcceleratorConfig
    """

    def __init__(self, kind: SectionKind, config: AcceleratorConfig) -> None:
        self.kind = kind
        self.capacity = section_capacity(kind, config)
        self._head = 0
        self._held: list[_Held] = []
        self._used = np.full(self.capacity, NOTHING, np.int64)

    def find(self, key: object) -> int | None:
        """Return where a block lies, or None."""
        return next((held.start for held in self._held if held.key == key), None)

    def take(self, key: object, words: int) -> tuple[int, int]:
        """Give a block a place; return it and the last action that used one of its words."""
        start = self._head if self._head + words <= self.capacity else 0
        stop = start + words
        self._held = [held for held in self._held if held.stop <= start or held.start >= stop]
        self._held.append(_Held(key, start, stop))
        self._head = stop
        return start, int(self._used[start:stop].max(initial=NOTHING))

    def use(self, key: object, action: int) -> None:
        """Note that an action uses a block."""
        for held in self._held:
            if held.key == key:
                self._used[held.start:held.stop] = action
