"""A whole exploration: candidates, what they take, what they cost, and the front."""

import csv
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from smartdeal.golden.specs import NETWORKS
from smartdeal.sim.explore.engine import Numbered, compute
from smartdeal.sim.explore.errors import ExploreError
from smartdeal.sim.explore.evaluate import Task
from smartdeal.sim.explore.front import pareto
from smartdeal.sim.explore.records import Records
from smartdeal.sim.explore.space import TERMS, Candidate, Space, draw
from smartdeal.sim.explore.target import Budget, Target

__all__ = ["Exploration", "Plan", "Point", "explore", "points_csv"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is explored.

    Parameters
    ----------
    network : str
    target : Target
    budget : Budget
    space : Space
    points : int
        Of the candidates whose area is within the budget, at most so many are computed.
    seed : int
        Of the draw, and of seeded weights.
    """

    network: str
    target: Target
    budget: Budget
    space: Space
    points: int
    seed: int = 0

    @property
    def task(self) -> Task:
        """What all points have in common."""
        return Task(network=self.network, technology=self.target.technology,
                    clock_mhz=self.target.clock_mhz, memory=self.space.memory, seed=self.seed)

    @property
    def note(self) -> str:
        """What a reader must know of the numbers."""
        missing = ("; areas without the DMA and the bus around the accelerator"
                   if self.space.memory else "")
        return f"{self.target.note}{missing}"

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values: equal plans have equal points."""
        # Power is only known afterwards: it does not change which points are computed.
        limits = {key: value for key, value in self.budget.limits.items() if key != "mw"}
        return {"network": self.network, "target": self.target.name, "limits": limits,
                "space": self.space.as_dict(), "points": self.points, "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class Point:
    """An accelerator within the budget, and what the network costs on it.

    Parameters
    ----------
    candidate : Candidate
    area : dict of float
    result : dict
        As :func:`smartdeal.sim.explore.evaluate.evaluate`.
    """

    candidate: Candidate
    area: dict[str, float]
    result: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values in one level."""
        return {**self.candidate.as_dict(), "terms": TERMS[self.candidate.form], **self.area,
                **self.result}


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """What came out.

    Parameters
    ----------
    plan : Plan
    candidates, too_large, computed, refused, over_power : int
        Of all candidates: those whose area exceeds the budget; of the rest those that were
        computed; of them those that the network does not fit, and those above the budget's power.
    points : tuple of Point
        Within the budget.
    front : tuple of Point
        That no other one beats in latency, energy, area and, where it is known, loss.
    """

    plan: Plan
    candidates: int
    too_large: int
    computed: int
    refused: int
    over_power: int
    points: tuple[Point, ...]
    front: tuple[Point, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            **self.plan.as_dict(), "budget": self.plan.budget.limits,
            "mode": self.plan.task.mode, "technology": self.plan.target.technology,
            "note": self.plan.note,
            "counts": {"candidates": self.candidates, "too_large": self.too_large,
                       "computed": self.computed, "refused": self.refused,
                       "over_power": self.over_power},
            "front": [point.as_dict() for point in self.front],
            "points": [point.as_dict() for point in self.points]}


def explore(
    plan: Plan, results: Path | None = None, *, jobs: int = 1, scheduler: str | None = None,
    tell: Callable[[float], None] = lambda done: None,
) -> Exploration:
    """Explore; the outcome is the same for any engine and after any interruption.

    Parameters
    ----------
    results : Path or None
        Points are kept in it, and found there the next time.
    tell : callable
        Called with the share of points that is done.

    Raises
    ------
    ExploreError
        If the network is not known, nothing fits, the file is of another exploration, or the
        engine cannot be used.
    """
    if plan.network not in NETWORKS:
        raise ExploreError(f"no network is called {plan.network!r}; known: {', '.join(NETWORKS)}")
    candidates = list(plan.space.candidates())
    fitting = _fitting(plan, candidates)
    drawn = draw(fitting, plan.points, plan.seed)
    # With the points themselves and the version: what computes them may have changed.
    drawing = zlib.crc32(repr(drawn).encode())
    records = Records(results, {**plan.as_dict(), "drawn": drawing,
                                "version": metadata.version("smartdeal")})
    try:
        work: list[Numbered] = sorted(
            ((number, candidate) for number, candidate in enumerate(drawn)
             if number not in records.found),
            key=lambda item: (item[1].form, item[1].exponents, item[0]))
        done = len(drawn) - len(work)
        tell(done / len(drawn))
        for number, result in compute(work, plan.task, jobs=jobs, scheduler=scheduler):
            records.add(number, result)
            done += 1
            tell(done / len(drawn))
    finally:
        records.close()
    points = [Point(candidate=candidate, area=plan.target.area(candidate.config(
        memory=plan.space.memory)), result=records.found[number])
        for number, candidate in enumerate(drawn)]
    return _outcome(plan, len(candidates), len(candidates) - len(fitting), points)


def _fitting(plan: Plan, candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates whose area is within the budget."""
    if not candidates:
        raise ExploreError("no accelerator can be built with these dimensions: drain_lanes must "
                           "divide cols, rows and cols must be 2…128; see --set")
    areas = [plan.target.area(candidate.config(memory=plan.space.memory))
             for candidate in candidates]
    fitting = [candidate for candidate, area in zip(candidates, areas, strict=True)
               if not plan.budget.excess(area)]
    if not fitting:
        # The one whose worst excess is least.
        nearest = min(range(len(candidates)),
                      key=lambda n: max(plan.budget.excess(areas[n]).values()))
        raise ExploreError(f"no point fits the budget; the nearest is "
                           f"{_named(candidates[nearest])}, which takes "
                           f"{plan.budget.short(areas[nearest])}")
    return fitting


def _outcome(plan: Plan, candidates: int, too_large: int, points: list[Point]) -> Exploration:
    ran = [point for point in points if "refusal" not in point.result]
    if not ran:
        last = points[-1]
        raise ExploreError(f"{plan.network} fits none of the {len(points)} accelerators within the "
                           f"budget, {plan.task.mode}; {_named(last.candidate)}: "
                           f"{last.result['refusal']}")
    within = [point for point in ran if not plan.budget.excess(point.result)]
    if not within:
        nearest = min(ran, key=lambda point: point.result["mw"])
        raise ExploreError(f"no point fits the budget; the nearest is {_named(nearest.candidate)}, "
                           f"which takes {plan.budget.short(nearest.result)}")
    unit = plan.target.unit
    chosen = pareto([(point.result["latency_ms"], point.result["energy_uj"], point.area[unit],
                      point.result["loss"] or 0.0) for point in within])
    front = sorted((within[number] for number in chosen),
                   key=lambda point: (point.result["latency_ms"], point.candidate))
    return Exploration(
        plan=plan, candidates=candidates, too_large=too_large, computed=len(points),
        refused=len(points) - len(ran), over_power=len(ran) - len(within), points=tuple(within),
        front=tuple(front))


def _named(candidate: Candidate) -> str:
    return (f"{candidate.rows}×{candidate.cols}, {candidate.exponents} exponents, "
            f"{candidate.acc_bits}-bit accumulators, {candidate.drain_lanes} drain lanes, "
            f"{candidate.activation_kib} KiB, {candidate.weight_steps} steps, {candidate.form}")


def points_csv(exploration: Exploration) -> str:
    """Return every point within the budget as CSV; ``front`` is 1 for those of the front."""
    front = set(map(id, exploration.front))
    text = io.StringIO()
    rows = [{**point.as_dict(), "mode": exploration.plan.task.mode,
             "front": int(id(point) in front)} for point in exploration.points]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
