"""The form of each layer under a budget of cycles or loss: ``smartdeal compile --budget``."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from smartdeal.compiler import compile_network
from smartdeal.golden.decompose import form_used
from smartdeal.golden.graph import FloatGraph
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.quantise import combine
from smartdeal.golden.sensitivity import agreement, layer_losses
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.network_latency import predict_network
from smartdeal.sim.summary import network_cycles
from smartdeal.sim.tradeoff import Mix, Option, fill, trim, walk

__all__ = ["Budget", "BudgetError", "Point", "TradeOff", "choose_forms"]

#: Multiply-accumulates that finding the losses may take; it bounds the images that are used.
_MOST_MACS = 2e12
_FEWEST_IMAGES = 4
#: Mixes of the curve that are measured.
_MEASURED = 10

#: Called with a stage's name and the share of it that is done.
Progress = Callable[[str, float], None]


class BudgetError(ValueError):
    """A budget that makes no sense or that no mix of forms meets."""


@dataclass(frozen=True)
class Budget:
    """What may not be exceeded.

    Parameters
    ----------
    kind : "cycles" or "loss"
        Cycles of an image by the latency model; loss in nats on the calibration images.
    limit : float
    """

    kind: Literal["cycles", "loss"]
    limit: float

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read ``cycles=N`` or ``loss=X``.

        Raises
        ------
        BudgetError
            If it is something else.
        """
        name, _, number = text.partition("=")
        try:
            limit = float(number.replace("_", "").replace(",", ""))
        except ValueError:
            limit = math.nan
        if name not in ("cycles", "loss") or not 0 < limit < math.inf:
            raise BudgetError(f"budget must be cycles=N or loss=X with a positive number, "
                              f"not {text!r}")
        return cls(name, limit)

    def __str__(self) -> str:
        return f"{self.kind}={self.limit:,.10g}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Point:
    """A mix of forms on the trade-off curve.

    Parameters
    ----------
    label : str
        The form if all layers have one; otherwise empty.
    forms : dict of str
        By layer.
    cycles : int
        Of an image: exact where the loss was measured, otherwise as the layers' cycles add up.
    estimate : float
        Loss as the layers' losses add up, in nats.
    loss : float or None
        Measured on the calibration images with the integer network, in nats; None if it was not.
    same : float or None
        Fraction of the calibration images in the same class as in floating point.
    """

    label: str = ""
    forms: Mapping[str, str]
    cycles: int
    estimate: float
    loss: float | None = None
    same: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class TradeOff:
    """What a budget buys.

    Parameters
    ----------
    budget : Budget
    chosen : Point
    curve : tuple of Point
        From the fastest mix to the most exact one; some are measured.
    uniform : tuple of Point
        Every candidate for all layers alike, measured.
    options : dict of tuple of Option
        By layer.
    images : int
        Calibration images that losses are measured on.
    dropped : dict of str
        Candidates that the accelerator cannot run, and why.
    """

    budget: Budget
    chosen: Point
    curve: tuple[Point, ...]
    uniform: tuple[Point, ...]
    options: Mapping[str, tuple[Option, ...]]
    images: int
    dropped: Mapping[str, str]


class _Search:
    """One network on one accelerator."""

    def __init__(
        self, graph: FloatGraph, networks: Mapping[str, IntegerNetwork],
        config: AcceleratorConfig, images: Tensor, candidates: Sequence[str],
        fixed: Mapping[str, str], timing: MemoryTiming | None, tell: Progress,
    ) -> None:
        self._timing = timing
        self.graph, self.networks, self.config = graph, networks, config
        self._tell, self._candidates = tell, candidates
        wanted = _wanted(graph, candidates, fixed)
        macs = sum(node.layer.macs for node in next(iter(networks.values())).nodes)
        runs = sum(map(len, wanted.values()))
        count = int(_MOST_MACS // max(1, macs * runs // 2))
        self.images = images[:max(_FEWEST_IMAGES, count)]
        costs = self._costs()
        losses = layer_losses(graph, networks, self.images, wanted,
                              lambda done: tell("losses", done))
        self.layers = {
            layer: tuple(Option(form, costs[form][layer], losses[layer][form]) for form in forms)
            for layer, forms in wanted.items()}
        self._measured: dict[tuple[str, ...], Point] = {}
        # What no layer's weights account for: activations are rounded in every mix.
        self._base = 0.0
        self.mixes = walk(self.layers)
        count = min(_MEASURED, len(self.mixes))
        self.shown = [self.mixes[round(i * (len(self.mixes) - 1) / max(1, count - 1))]
                      for i in range(count)]
        exact = self.measure(self.mixes[-1])
        self._base = max(0.0, _loss(exact) - exact.estimate)
        self._extra = self.exact_cycles(self.mixes[0]) - self.mixes[0].cycles

    def _costs(self) -> dict[str, dict[str, int]]:
        """Return cycles by form, then by layer."""
        costs: dict[str, dict[str, int]] = {}
        for form, network in self.networks.items():
            self._tell("costs", len(costs) / len(self.networks))
            program = compile_network(network, self.config)
            costs[form] = {layer: cycles.total for layer, cycles
                           in predict_network(program, self._timing).layers.items()}
        self._tell("costs", 1.0)
        return costs

    def exact_cycles(self, mix: Mix) -> int:
        """Return the cycles of the mix as a program."""
        return network_cycles(compile_network(combine(self.networks, mix.forms), self.config),
                              self._timing)

    def point(self, mix: Mix, label: str = "") -> Point:
        """Return the mix without compiling or measuring it."""
        return Point(label=label, forms=mix.forms, cycles=mix.cycles + self._extra,
                     estimate=mix.loss + self._base)

    def measure(self, mix: Mix, label: str = "") -> Point:
        """Return the mix with its loss measured."""
        key = tuple(mix.forms.values())
        if key not in self._measured:
            found = agreement(self.graph, combine(self.networks, mix.forms), self.images)
            self._measured[key] = Point(
                label=label, forms=mix.forms, cycles=self.exact_cycles(mix),
                estimate=mix.loss + self._base, loss=found.loss, same=found.same)
        point = self._measured[key]
        return replace(point, label=label, estimate=mix.loss + self._base)

    def within_cycles(self, limit: int) -> Mix:
        """Return the mix with the least loss that is found for so many cycles."""
        fastest = self.mixes[0].cycles + self._extra
        if fastest > limit:
            raise BudgetError(f"no mix of {', '.join(self._candidates)} runs in {limit:,} cycles "
                              f"on this array; the fastest takes {fastest:,}: give at least "
                              f"cycles={fastest}, or a larger array")
        # Beside its layers a program has a few cycles of its own, and layers may share some.
        allowed = limit - self._extra
        while True:
            fitting = [mix for mix in self.mixes if mix.cycles <= allowed] or self.mixes[:1]
            mix = fill(self.layers, fitting[-1], allowed)
            over = self.exact_cycles(mix) - limit
            if over <= 0:
                return mix
            allowed = min(allowed, mix.cycles) - over

    def within_loss(self, limit: float) -> Mix:
        """Return the fastest mix that is found for a measured loss."""
        mixes = self.mixes
        if _loss(self.measure(mixes[-1])) > limit:
            return self._exact_mix(limit)
        low, high = -1, len(mixes) - 1  # high is good, low is not
        while high - low > 1:
            middle = (low + high) // 2
            if _loss(self.measure(mixes[middle])) <= limit:
                high = middle
            else:
                low = middle
        mix = mixes[high]
        slack = limit - _loss(self.measure(mix))
        trimmed = trim(self.layers, mix, mix.loss + slack)
        return trimmed if _loss(self.measure(trimmed)) <= limit else mix

    def _exact_mix(self, limit: float) -> Mix:
        """Return the fastest mix with such a loss of those that are measured for the report.

        Where only the rounding of activations is left, losses do not add up any more.
        """
        known = [*(self.uniform(form) for form in self._candidates), *self.shown]
        good = [mix for mix in known if _loss(self.measure(mix)) <= limit]
        if not good:
            best = min(_loss(self.measure(mix)) for mix in known)
            digits = 10.0 ** (math.floor(math.log10(best)) - 2)
            nearest = math.ceil(best / digits) * digits
            raise BudgetError(
                f"no mix of {', '.join(self._candidates)} has a loss of {limit:g} nats on the "
                f"{len(self.images)} calibration images; the most exact one has {best:.3g}: give "
                f"at least loss={nearest:.3g}")
        return min(good, key=lambda mix: mix.cycles)

    def uniform(self, form: str) -> Mix:
        """Return the mix in which every layer that may has the same form."""
        chosen: dict[str, Option] = {}
        for node in self.graph.nodes:
            if node.weights is not None:
                names = (form, form_used(form, tuple(node.weights.shape)))
                options = self.layers[node.name]
                chosen[node.name] = next((o for o in options if o.form in names), options[0])
        return Mix({layer: option.form for layer, option in chosen.items()},
                   sum(option.cycles for option in chosen.values()),
                   sum(option.loss for option in chosen.values()))


def _loss(point: Point) -> float:
    assert point.loss is not None  # only measured points come here
    return point.loss


def _wanted(
    graph: FloatGraph, candidates: Sequence[str], fixed: Mapping[str, str],
) -> dict[str, list[str]]:
    """Return the forms that each layer with weights may have, none of them twice."""
    wanted: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.weights is None:
            continue
        shape = tuple(node.weights.shape)
        forms = [form for form in candidates
                 if (used := form_used(form, shape)) == form or used not in candidates]
        if node.exact or node.trained is not None:  # as they are, whatever is asked for
            forms = forms[:1]
        wanted[node.name] = [fixed[node.name]] if node.name in fixed else forms
    return wanted


def choose_forms(
    graph: FloatGraph, networks: Mapping[str, IntegerNetwork], config: AcceleratorConfig,
    images: Tensor, budget: Budget, candidates: Sequence[str], *,
    fixed: Mapping[str, str] | None = None, dropped: Mapping[str, str] | None = None,
    timing: MemoryTiming | None = None, progress: Progress | None = None,
) -> TradeOff:
    """Choose a form for each layer.

    Parameters
    ----------
    graph : FloatGraph
    networks : mapping of str to IntegerNetwork
        The network in each candidate form and each fixed one, all of one calibration.
    config : AcceleratorConfig
        Every one of them must compile for it.
    images : float32 tensor, (B, C, H, W)
        Losses are measured on the first of them; the larger the network, the fewer.
    budget : Budget
    candidates : sequence of str
        Forms to choose from, where a layer may have them.
    fixed : mapping of str to str, optional
        Layers that have no choice, and their form.
    dropped : mapping of str to str, optional
        For the report.
    timing : MemoryTiming, optional
        Of the system memory, for accelerators that use it.

    Raises
    ------
    BudgetError
        If no mix meets the budget; the message names the nearest that one does.
    """
    tell = progress or (lambda stage, done: None)
    search = _Search(graph, networks, config, images, candidates, fixed or {}, timing, tell)
    cycles = budget.kind == "cycles"
    mix = (search.within_cycles(int(budget.limit)) if cycles
           else search.within_loss(budget.limit))
    curve: list[Point] = []
    for index, point in enumerate(search.mixes):
        tell("measure", index / len(search.mixes))
        curve.append(search.measure(point) if point in search.shown else search.point(point))
    uniform = [search.measure(search.uniform(form), form) for form in candidates]
    tell("measure", 1.0)
    # What was measured anyway may be better than what added up best.
    measured = [p for p in (search.measure(mix), *uniform, *curve) if p.loss is not None]
    within = [p for p in measured if (p.cycles if cycles else _loss(p)) <= budget.limit]
    chosen = min(within, key=lambda p: (_loss(p), p.cycles) if cycles else (p.cycles, _loss(p)))
    return TradeOff(budget=budget, chosen=replace(chosen, label=""), curve=tuple(curve),
                    uniform=tuple(uniform), options=search.layers, images=len(search.images),
                    dropped=dropped or {})
