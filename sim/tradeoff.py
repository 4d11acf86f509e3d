"""Terms where they buy most: from options per layer to the mixes that no other mix dominates.

Cycles add up over layers, and so do losses (:mod:`smartdeal.golden.sensitivity`). Choosing one
option per layer is then a multiple-choice knapsack problem. Its Lagrangian solutions lie on
the convex hulls of the layers' options: going along all hulls at once, the largest gain of loss per
cycle first, passes through exactly those mixes that are the best for the cycles they take
(Everett 1963; Sinha and Zoltners 1979). What a budget leaves between two of them is spent greedily.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Mix", "Option", "fill", "hull", "trim", "walk"]


@dataclass(frozen=True)
class Option:
    """What a layer costs in one form.

    Parameters
    ----------
    form : str
    cycles : int
    loss : float
        In nats.
    """

    form: str
    cycles: int
    loss: float


@dataclass(frozen=True)
class Mix:
    """One option for each layer, and the sums over them.

    Parameters
    ----------
    forms : dict of str
        By layer.
    cycles : int
    loss : float
        In nats.
    """

    forms: Mapping[str, str]
    cycles: int
    loss: float

    def change(self, layer: str, old: Option, new: Option) -> "Mix":
        """Return the mix with another option of a layer."""
        return Mix({**self.forms, layer: new.form}, self.cycles + new.cycles - old.cycles,
                   self.loss + new.loss - old.loss)


Layers = Mapping[str, Sequence[Option]]


def hull(options: Sequence[Option]) -> list[Option]:
    """Return the lower convex hull, from the fastest option to the most exact one."""
    chain: list[Option] = []
    for option in sorted(options, key=lambda o: (o.cycles, o.loss)):
        if chain and option.loss >= chain[-1].loss:
            continue
        # The gain per cycle must fall from each option to the next.
        while len(chain) >= 2 and _gain(chain[-2], chain[-1]) <= _gain(chain[-1], option):
            chain.pop()
        chain.append(option)
    return chain


def _gain(old: Option, new: Option) -> float:
    """Return how much loss each further cycle takes away."""
    return (old.loss - new.loss) / (new.cycles - old.cycles)


def walk(layers: Layers) -> list[Mix]:
    """Return the mixes on the way from the fastest to the most exact; each costs more cycles."""
    chains = {layer: hull(options) for layer, options in layers.items()}
    start = {layer: chain[0] for layer, chain in chains.items()}
    steps = [(-_gain(old, new), order, layer, old, new)
             for order, (layer, chain) in enumerate(chains.items())
             for old, new in pairwise(chain)]
    steps.sort(key=lambda step: step[:2])
    mixes = [Mix({layer: option.form for layer, option in start.items()},
                 sum(option.cycles for option in start.values()),
                 sum(option.loss for option in start.values()))]
    for _, _, layer, old, new in steps:
        mixes.append(mixes[-1].change(layer, old, new))
    return mixes


def _changes(layers: Layers, mix: Mix) -> list[tuple[str, Option, Option]]:
    """Return every change of one layer: the layer, its option now, and another one."""
    changes: list[tuple[str, Option, Option]] = []
    for layer, options in layers.items():
        now = next(option for option in options if option.form == mix.forms[layer])
        changes += [(layer, now, option) for option in options if option is not now]
    return changes


def fill(layers: Layers, mix: Mix, cycles: int) -> Mix:
    """Spend what a budget of cycles leaves: the change that takes away most loss, repeatedly."""
    while True:
        fitting = [change for change in _changes(layers, mix)
                   if change[2].loss < change[1].loss
                   and mix.cycles + change[2].cycles - change[1].cycles <= cycles]
        if not fitting:
            return mix
        mix = mix.change(*max(fitting, key=lambda c: c[1].loss - c[2].loss))


def trim(layers: Layers, mix: Mix, loss: float) -> Mix:
    """Give back what a budget of loss leaves: the change that saves most cycles, repeatedly."""
    while True:
        fitting = [change for change in _changes(layers, mix)
                   if change[2].cycles < change[1].cycles
                   and mix.loss + change[2].loss - change[1].loss <= loss]
        if not fitting:
            return mix
        mix = mix.change(*max(fitting, key=lambda c: c[1].cycles - c[2].cycles))
