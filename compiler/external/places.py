"""Places in the activation buffer: for views as long as they are needed, and for windows."""

from collections.abc import Iterator
from dataclasses import dataclass

from smartdeal.compiler.schedule import Copy, Fill, Operation, Run, Schedule, Stage
from smartdeal.compiler.views import ViewKey

__all__ = ["Item", "first_fit", "gaps", "pack", "resident_items"]


@dataclass
class Item:
    """Views that have the same address, and when they are needed."""

    keys: list[ViewKey]
    first: int
    last: int
    words: int = 0
    base: int = 0


def _touched(operation: Operation) -> Iterator[ViewKey]:
    match operation:
        case Run(stage):
            yield from (stage.source, stage.target)
            if stage.residual is not None:
                yield stage.residual
        case Copy(source, target):
            yield from (source, target)
        case Fill(target):
            yield target


def resident_items(
    plan: Schedule, spilled: frozenset[str], *, keep_all: bool,
) -> list[Item]:
    """Return resident views with their lifetimes, those that share words together."""
    items: dict[ViewKey, Item] = {}
    for number, (_, operation) in enumerate(plan.operations):
        for key in _touched(operation):
            if key[0] not in spilled:
                items.setdefault(key, Item([key], number, number)).last = number
    end = len(plan.operations)
    for stage in plan.stages if keep_all else plan.stages[-1:]:
        if stage.target in items:
            items[stage.target].last = end
    if not keep_all:
        for number, (_, operation) in enumerate(plan.operations):
            if isinstance(operation, Run):
                _share(operation.stage, number, items, plan, spilled)
    unique = list({id(item): item for item in items.values()}.values())
    for item in unique:
        item.words = max(plan.views[key].words for key in item.keys)
    return unique


def _share(
    stage: Stage, number: int, items: dict[ViewKey, Item], plan: Schedule,
    spilled: frozenset[str],
) -> None:
    """Let a sum take the words of its residual operand, if that dies with it.

    Each word of the operand is read before it is written: the read-out fetches channel by channel,
    and then stores the same words.
    """
    target, residual = stage.target, stage.residual
    if residual not in items or target not in items or residual == stage.source:
        return
    assert residual is not None
    mine, other = items[target], items[residual]
    # Strips of a layer with a look-back store a wrong tile in front of each.
    if stage.source[0] in spilled and stage.lowering.lag:
        return
    a, b = plan.views[target], plan.views[residual]
    same = all(getattr(a, name) == getattr(b, name)
               for name in ("shape", "pitch", "skip", "gap", "stream", "phases"))
    if same and a.skip == stage.lowering.lag and other.last == number and mine is not other:
        other.keys += mine.keys
        other.last = mine.last
        items |= dict.fromkeys(mine.keys, other)


def first_fit(order: list[Item], top: set[int], words: int) -> int:
    """Put each item at the lowest address that is free during its life; return the end.

    Parameters
    ----------
    top : set of int
        Identities of items that are put at the highest address instead.
    words : int
        Where that ends.
    """
    placed: list[Item] = []
    for item in order:
        taken = sorted((other.base, other.base + other.words) for other in placed
                       if other.first <= item.last and item.first <= other.last)
        behind = max([words, *(stop for _, stop in taken)])
        free = [(start, stop) for start, stop in gaps(taken, words) if stop - start >= item.words]
        if not free:
            item.base = behind
        else:
            item.base = free[-1][1] - item.words if id(item) in top else free[0][0]
        placed.append(item)
    return max((item.base + item.words for item in order), default=0)


def gaps(live: list[tuple[int, int]], words: int) -> list[tuple[int, int]]:
    """Return the free intervals between live ones."""
    free: list[tuple[int, int]] = []
    position = 0
    for start, stop in sorted(live):
        if start > position:
            free.append((position, start))
        position = max(position, stop)
    if position < words:
        free.append((position, words))
    return free


def pack(sizes: list[int], spaces: list[tuple[int, int]]) -> list[int] | None:
    """Return a place for each size, the largest first, or None."""
    free = list(spaces)
    bases = [0] * len(sizes)
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        for number, (start, stop) in enumerate(free):
            if stop - start >= sizes[index]:
                bases[index], free[number] = start, (start + sizes[index], stop)
                break
        else:
            return None
    return bases
