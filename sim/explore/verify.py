"""Points of the front measured again: by synthesis and in RTL simulation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from smartdeal.boards.synth import synthesise
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.sim.explore.evaluate import Task, integer_network, program_of
from smartdeal.sim.explore.exploration import Exploration, Point
from smartdeal.sim.simulate_network import simulate_network
from smartdeal.sim.workload import default_images, load_model

__all__ = ["Verified", "chosen", "verify"]

#: Called with what is measured and the share of it that is done.
Tell = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A point of the front, by the models and measured.

    Parameters
    ----------
    point : Point
    cycles_model, cycles_rtl : int
        Of the whole network, all segments.
    equal : bool
        Every byte and every counter is as predicted, and the exploration had the same cycles: those
        of a results file may be older than the hardware.
    lut_model, lut_synthesis : int or None
        None where the target has no LUTs.
    failure : str
        Why the hardware did not finish; empty if it did.
    """

    point: Point
    cycles_model: int
    cycles_rtl: int | None
    equal: bool
    lut_model: int | None = None
    lut_synthesis: int | None = None
    failure: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**self.point.candidate.as_dict(), "cycles_model": self.cycles_model,
                "cycles_rtl": self.cycles_rtl, "equal": self.equal, "lut_model": self.lut_model,
                "lut_synthesis": self.lut_synthesis, "failure": self.failure}


def chosen(front: Sequence[Point], count: int) -> list[Point]:
    """Return so many points, evenly from the fastest to the slowest."""
    count = min(count, len(front))
    if count < 2:
        return list(front[:count])
    return [front[round(i * (len(front) - 1) / (count - 1))] for i in range(count)]


def verify(exploration: Exploration, count: int, tell: Tell) -> list[Verified]:
    """Measure some points of the front.

    Raises
    ------
    ToolMissing, BuildStepError
        If Yosys is missing or fails.
    SimulationError
        If the simulator cannot be built.
    """
    return [_verify(point, exploration, lambda what, done, number=number: tell(
        f"{number}: {what}", done))
        for number, point in enumerate(chosen(exploration.front, count), 1)]


def _verify(point: Point, exploration: Exploration, tell: Tell) -> Verified:
    plan = exploration.plan
    task, candidate = plan.task, point.candidate
    measured = _run(point, task, tell)
    lut = None
    if plan.target.unit == "lut":
        report = synthesise(candidate.config(memory=task.memory), "ecp5", tell=tell)
        lut = report.total.lut
    return Verified(point=point, **measured, lut_synthesis=lut,
                    lut_model=int(point.area["lut"]) if lut is not None else None)


def _run(point: Point, task: Task, tell: Tell) -> dict[str, Any]:
    program = program_of(point.candidate, task)
    network = integer_network(task.network, task.seed, point.candidate.form,
                              point.candidate.exponents)
    model, _ = load_model(task.network, None, task.seed)
    picture = default_images(model, task.seed)[0].numpy()
    image = network.scales[IntegerNetwork.IMAGE].quantise(picture)
    tell("RTL", 0.0)
    report, = simulate_network(program, [image], network=network, seed=task.seed)
    tell("RTL", 1.0)
    segments = report.segments
    finished = all(segment.measured is not None for segment in segments)
    cycles = sum(segment.measured.total for segment in segments if segment.measured is not None)
    return {
        "cycles_model": point.result["compute_cycles"], "cycles_rtl": cycles if finished else None,
        "equal": (finished and report.bit_exact and all(s.cycle_exact for s in segments)
                  and cycles == point.result["compute_cycles"]),
        "failure": "; ".join(segment.failure for segment in segments if segment.failure)}
