"""When loads are issued: as early as their words are free, in the order in which they are needed.

A load is issued before the first action that runs when no action uses the words that it overwrites
any more. Three things hold it back: the loads before it, a full queue (the program would stand
still, so the last place is left for the next page of the program), and a MOVE, beside which no
activations may be loaded. What an EXTERNAL layer has written is read after a WAIT with STORES, one
action later if nobody needs it before, so that the last words have arrived.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from smartdeal.compiler.external.actions import Action
from smartdeal.compiler.external.loads import NOTHING, Load
from smartdeal.hw.isa import LOAD_QUEUE, SectionKind

__all__ = ["Item", "Stored", "Wait", "order"]


@dataclass(frozen=True)
class Wait:
    """Wait until a load is finished."""

    layer: str
    load: Load


@dataclass(frozen=True)
class Stored:
    """Wait until all is stored."""

    layer: str


Item = Load | Wait | Stored | Action


def order(actions: Sequence[Action], loads: Sequence[Load]) -> list[Item]:
    """Return loads, waits and actions in the order of the program.

    Parameters
    ----------
    loads : sequence of Load
        By the action that needs them.
    """
    return _Order(loads).run(actions)


class _Order:
    """The program so far.

    Parameters
    ----------
    loads : sequence of Load
    """

    def __init__(self, loads: Sequence[Load]) -> None:
        self.loads = loads
        self.needs = [load.need for load in loads]
        self.items: list[Item] = []
        #: Loads that were issued, and those of them that are known to be finished.
        self.issued, self.finished = 0, 0
        #: The last action whose output is known to be stored, and the last load of activations.
        self.stored, self.activations = NOTHING, NOTHING

    def run(self, actions: Sequence[Action]) -> list[Item]:
        """Return all items."""
        for number, action in enumerate(actions):
            needed = bisect_right(self.needs, number)
            while self.issued < needed or self._may_issue(number, action):
                self._issue(number)
            if action.stage is None:
                needed = max(needed, self.activations + 1)
            if needed > self.finished:
                self.items.append(Wait(action.layer, self.loads[needed - 1]))
                self.finished = needed
            self.items.append(action)
        return self.items

    def _may_issue(self, number: int, action: Action) -> bool:
        """Return whether to issue the next load before an action that does not need it."""
        if self.issued == len(self.loads) or self.issued - self.finished >= LOAD_QUEUE - 1:
            return False
        load = self.loads[self.issued]
        if action.stage is None and load.kind == SectionKind.ACTIVATIONS:
            return False
        if load.written > self.stored and load.written >= number - 1:
            return False
        return load.after < number

    def _issue(self, number: int) -> None:
        load = self.loads[self.issued]
        if load.written > self.stored:
            self.items.append(Stored(load.layer))
            self.stored = number - 1
        if load.kind == SectionKind.ACTIVATIONS:
            self.activations = self.issued
        self.items.append(load)
        self.issued += 1
