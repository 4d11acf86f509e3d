"""Which tensors stay in the activation buffer, where, and the windows of those that do not.

A tensor is *resident*, with views in the activation buffer, or *spilled* to system memory; the
image always is. While the views do not fit, the tensor with the most words at the fullest
operation is spilled. A residual operand that dies gives its words to the sum (:func:`_shared`).
"""

from dataclasses import dataclass, field, replace

from smartdeal.compiler.errors import CompileError, advice
from smartdeal.compiler.external.places import Item, first_fit, gaps, pack, resident_items
from smartdeal.compiler.external.strips import (
    Copies,
    Strips,
    Window,
    copies_of,
    cut,
    residual_window,
    source_window,
)
from smartdeal.compiler.schedule import (
    Run,
    Schedule,
    Stage,
    wider_gaps,
)
from smartdeal.compiler.views import View, ViewKey
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["Operands", "Residency", "decide"]

#: Sets of spilled tensors that are tried.
_MOST_TRIES = 60


@dataclass(frozen=True, eq=False, kw_only=True)
class Operands:
    """How a layer gets what it reads from system memory.

    Parameters
    ----------
    strips : Strips
    source : Window, Copies or None
        None if the source is resident.
    residual : Window or None
    """

    strips: Strips
    source: Window | Copies | None
    residual: Window | None

    def sizes(self) -> list[int]:
        """Return the words of everything that needs a place at once."""
        copies = 2 if len(self.strips) > 1 else 1
        sizes: list[int] = []
        match self.source:
            case Window() as window:
                sizes += [window.words] * copies
            case Copies(base=base, made=made):
                sizes += [made.words, base.words]
            case None:
                pass
        if self.residual is not None:
            sizes += [self.residual.words] * copies
        return sizes

    def placed(self, bases: list[int]) -> "Operands":
        """Return the operands with the addresses of :meth:`sizes`."""
        copies = 2 if len(self.strips) > 1 else 1
        source, residual, rest = self.source, self.residual, tuple(bases)
        match source:
            case Window():
                source, rest = source.placed(rest[:copies]), rest[copies:]
            case Copies():
                source = replace(source, made=source.made.placed(rest[:1]),
                                 base=source.base.placed(rest[1:2]))
                rest = rest[2:]
            case None:
                pass
        if residual is not None:
            residual = residual.placed(rest)
        return Operands(strips=self.strips, source=source, residual=residual)


@dataclass(frozen=True, eq=False, kw_only=True)
class Residency:
    """Where everything lies.

    Parameters
    ----------
    views : dict of View
        Resident ones with their address, spilled ones without.
    spilled : frozenset of str
        Tensors.
    operands : dict of Operands
        By layer, of those that read a spilled tensor.
    used_words : int
        Words of the activation buffer.
    """

    views: dict[ViewKey, View]
    spilled: frozenset[str]
    operands: dict[str, Operands]
    used_words: int

    @property
    def strips(self) -> int:
        """Strips of all layers that read spilled tensors."""
        return sum(len(operands.strips) for operands in self.operands.values())


@dataclass
class _Full:
    """The operation at which things do not fit."""

    number: int
    needed: int
    live: dict[str, int] = field(default_factory=dict)


def decide(
    plan: Schedule, config: AcceleratorConfig, *, keep_all: bool = False,
) -> Residency:
    """Choose what is spilled, and where views and windows lie.

    Parameters
    ----------
    keep_all : bool
        Whether every tensor is to be readable at the end.

    Raises
    ------
    CompileError
        If an operation does not fit with all tensors spilled that may be; names its layer.
    """
    failures: list[_Full] = []
    found = _search(plan, frozenset({IntegerNetwork.IMAGE}), config, keep_all, set(), failures)
    if found is not None:
        return found
    best = min(failures, key=lambda failure: failure.needed)
    raise CompileError(
        plan.operations[best.number][0], "what it needs on chip at once takes "
        f"{best.needed} words of the activation buffer, the accelerator has activation_words = "
        f"{config.activation_words}; {advice(config, 'activation_words', best.needed)} or more")


def _search(
    plan: Schedule, spilled: frozenset[str], config: AcceleratorConfig, keep_all: bool,
    seen: set[frozenset[str]], failures: list[_Full],
) -> Residency | None:
    """Spill the largest tensor first, and another one where that does not help in the end."""
    seen.add(spilled)
    result = _attempt(plan, spilled, config, keep_all=keep_all)
    if isinstance(result, Residency):
        return result
    # Sums over a map are made by one instruction, and are not stored in system memory.
    bound = {key[0] for stage in plan.stages if stage.reduce
             for key in (stage.source, stage.target)}
    candidates = sorted(result.live.keys() - bound - spilled,
                        key=lambda tensor: (-result.live[tensor], tensor))
    if not candidates:
        failures.append(result)
    for tensor in candidates:
        more = spilled | {tensor}
        if more not in seen and len(seen) < _MOST_TRIES:
            found = _search(plan, more, config, keep_all, seen, failures)
            if found is not None:
                return found
    return None


def _attempt(
    plan: Schedule, spilled: frozenset[str], config: AcceleratorConfig, *, keep_all: bool,
) -> Residency | _Full:
    """Place views and windows; return where, or say what does not fit."""
    wide = _attempt_orders(replace(plan, views=wider_gaps(plan, config)), spilled, config,
                           keep_all=keep_all)
    if isinstance(wide, Residency):
        return wide
    narrow = _attempt_orders(plan, spilled, config, keep_all=keep_all)
    return narrow if isinstance(narrow, Residency) or narrow.needed < wide.needed else wide


def _attempt_orders(
    plan: Schedule, spilled: frozenset[str], config: AcceleratorConfig, *, keep_all: bool,
) -> Residency | _Full:
    """Try several orders of placing; return the best, or what comes closest."""
    items = resident_items(plan, spilled, keep_all=keep_all)
    windowed = [number for number, (_, operation) in enumerate(plan.operations)
                if isinstance(operation, Run) and _reads(operation.stage, spilled)]

    # What lies beside windows comes first, at one end, so that these find one large gap.
    beside = {id(item) for item in items
              if any(item.first <= number <= item.last for number in windowed)}
    orders = [
        sorted(items, key=lambda item: (-item.words, item.first, item.keys)),
        sorted(items, key=lambda item: (item.first, -item.words, item.keys)),
        sorted(items, key=lambda item: (id(item) not in beside, -item.words, item.first,
                                        item.keys)),
        sorted(items, key=lambda item: (id(item) not in beside, item.first, -item.words,
                                        item.keys)),
    ]
    results = [_attempt_order(order, top, plan, spilled, config)
               for order in orders for top in (set(), beside)]
    found = [result for result in results if isinstance(result, Residency)]
    if found:
        return min(found, key=lambda result: (result.strips, result.used_words))
    return min((result for result in results if isinstance(result, _Full)),
               key=lambda result: result.needed)


def _reads(stage: Stage, spilled: frozenset[str]) -> bool:
    """Return whether a layer reads a spilled tensor."""
    return stage.source[0] in spilled or (stage.residual is not None
                                          and stage.residual[0] in spilled)


def _attempt_order(
    items: list[Item], top: set[int], plan: Schedule, spilled: frozenset[str],
    config: AcceleratorConfig,
) -> Residency | _Full:
    used = first_fit(items, top, config.activation_words)
    if used > config.activation_words:
        loads = [sum(item.words for item in items if item.first <= number <= item.last)
                 for number in range(len(plan.operations))]
        number = loads.index(max(loads))
        return _Full(number, used, _live(items, number, plan))
    views = dict(plan.views)
    for item in items:
        views |= {key: replace(views[key], base=item.base) for key in item.keys}
    operands: dict[str, Operands] = {}
    for number, (name, operation) in enumerate(plan.operations):
        if not isinstance(operation, Run) or not _reads(operation.stage, spilled):
            continue
        live = [(item.base, item.base + item.words) for item in items
                if item.first <= number <= item.last]
        found = _windows(operation.stage, plan, spilled, live, config)
        if isinstance(found, int):
            return _Full(number, found + sum(stop - start for start, stop in live),
                         _live(items, number, plan))
        operands[name], end = found
        used = max(used, end)
    return Residency(views=views, spilled=spilled, operands=operands, used_words=used)


def _live(items: list[Item], number: int, plan: Schedule) -> dict[str, int]:
    """Return the words of every tensor at an operation."""
    live: dict[str, int] = {}
    for item in items:
        if item.first <= number <= item.last:
            for key in item.keys:
                live[key[0]] = live.get(key[0], 0) + plan.views[key].words
    return live


def _windows(
    stage: Stage, plan: Schedule, spilled: frozenset[str], live: list[tuple[int, int]],
    config: AcceleratorConfig,
) -> tuple[Operands, int] | int:
    """Return placed windows with the fewest strips that fit, or the words that are needed."""
    tiles = stage.tiles(plan.views[stage.source].pitch, config)
    free = gaps(live, config.activation_words)
    least = 0
    for count in range(1, 2 if stage.reduce else tiles + 1):
        operands = _operands(stage, plan, spilled, cut(tiles, count, stage.lowering.lag), config)
        sizes = operands.sizes()
        least = min(least or sum(sizes), sum(sizes))
        bases = pack(sizes, free)
        if bases is not None:
            return (operands.placed(bases),
                    max(base + size for base, size in zip(bases, sizes, strict=True)))
    return least


def _operands(
    stage: Stage, plan: Schedule, spilled: frozenset[str], strips: Strips,
    config: AcceleratorConfig,
) -> Operands:
    source: Window | Copies | None = None
    residual: Window | None = None
    tensor = stage.source[0]
    if tensor in spilled:
        source = source_window(stage, plan.views[stage.source], strips, config)
        base = next((s.target for s in plan.stages if s.target[0] == tensor), stage.source)
        if tensor != IntegerNetwork.IMAGE and base != stage.source:
            source = copies_of(plan.views[base], source, config)
    if stage.residual is not None and stage.residual[0] in spilled:
        residual = residual_window(stage, plan.views[stage.residual], strips, config)
    return Operands(strips=strips, source=source, residual=residual)
