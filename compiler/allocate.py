"""Where views lie: from when a view is first written to when it is last read, its words are its.

:func:`place` chooses addresses; :func:`smartdeal.compiler.proof.prove` does not believe it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from smartdeal.compiler.errors import CompileError, advice
from smartdeal.compiler.schedule import Copy, Operation, Run, Schedule
from smartdeal.compiler.views import View, ViewKey
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["place"]


@dataclass
class _Lifetime:
    """First and last operation that needs a view."""

    first: int
    last: int


def place(
    plan: Schedule, config: AcceleratorConfig, *, keep_all: bool = False,
) -> dict[ViewKey, View]:
    """Return the views with addresses.

    Parameters
    ----------
    keep_all : bool
        Whether every tensor is to be readable at the end: no word is used twice.

    Raises
    ------
    CompileError
        If they do not fit the buffer; names the layer at which the most is needed.
    """
    lifetimes = _lifetimes(plan)
    if keep_all:
        lifetimes = {key: _Lifetime(0, len(plan.operations)) for key in lifetimes}
    # Two orders that are good for different networks: large ones first, and as they come.
    orders = [
        sorted(lifetimes, key=lambda k: (-plan.views[k].words, lifetimes[k].first, k)),
        sorted(lifetimes, key=lambda k: (lifetimes[k].first, -plan.views[k].words, k)),
    ]
    placed = min((_first_fit(order, plan.views, lifetimes) for order in orders),
                 key=lambda views: max(view.stop for view in views.values()))
    needed = max(view.stop for view in placed.values())
    if needed > config.activation_words:
        live = [sum(plan.views[key].words for key, life in lifetimes.items()
                    if life.first <= number <= life.last)
                for number in range(len(plan.operations))]
        layer = plan.operations[live.index(max(live))][0]
        raise CompileError(
            layer, f"with it the tensors on chip take {needed * config.cols} bytes, {needed} words "
            f"of the activation buffer, the accelerator has activation_words = "
            f"{config.activation_words}; {advice(config, 'activation_words', needed)}, or memory = "
            "true")
    return placed


def _lifetimes(plan: Schedule) -> dict[ViewKey, _Lifetime]:
    """Return when each view is needed; the host writes the image's before the first operation."""
    lifetimes: dict[ViewKey, _Lifetime] = {}
    for number, (_, operation) in enumerate(plan.operations):
        for key in _touched(operation):
            first = 0 if key[0] == IntegerNetwork.IMAGE else number
            lifetimes.setdefault(key, _Lifetime(first, number)).last = number
    # The host reads the network's output after the last operation.
    lifetimes[plan.stages[-1].target].last = len(plan.operations)
    return lifetimes


def _touched(operation: Operation) -> Iterable[ViewKey]:
    match operation:
        case Run(stage):
            yield from (stage.source, stage.target)
            if stage.residual is not None:
                yield stage.residual
        case Copy(source, target):
            yield from (source, target)
        case _:
            yield operation.target


def _first_fit(
    order: Sequence[ViewKey], views: dict[ViewKey, View], lifetimes: dict[ViewKey, _Lifetime],
) -> dict[ViewKey, View]:
    """Put each view at the lowest address that is free during its whole life."""
    placed: dict[ViewKey, View] = {}
    for key in order:
        life = lifetimes[key]
        taken = sorted((view.base, view.stop) for other, view in placed.items()
                       if lifetimes[other].first <= life.last
                       and life.first <= lifetimes[other].last)
        base = 0
        for start, stop in taken:
            if base + views[key].words <= start:
                break
            base = max(base, stop)
        placed[key] = replace(views[key], base=base)
    return placed
