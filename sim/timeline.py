"""What a network does when: its instructions, transfers, and what the activation buffer holds."""

from dataclasses import dataclass

from smartdeal.compiler.network_program import NetworkProgram
from smartdeal.compiler.occupancy import Occupancy
from smartdeal.hw.timing import END_CYCLES
from smartdeal.sim.latency import Cycles, predict_instructions
from smartdeal.sim.latency_memory import predict_memory
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.transfers import Transfer

__all__ = ["Held", "Running", "Timeline", "network_timeline"]


@dataclass(frozen=True)
class Running:
    """An instruction while it runs.

    Parameters
    ----------
    layer : str
    start : int
        Cycle in which its fetch begins.
    cycles : Cycles
    """

    layer: str
    start: int
    cycles: Cycles

    @property
    def stop(self) -> int:
        """First cycle of the next instruction."""
        return self.start + self.cycles.total


@dataclass(frozen=True)
class Held:
    """Words of the activation buffer while something lies in them.

    Parameters
    ----------
    what : Occupancy
    start, stop : int
        Cycles: of the first instruction that needs it, behind the last.
    """

    what: Occupancy
    start: int
    stop: int


@dataclass(frozen=True)
class Timeline:
    """One image on its way through a network.

    Parameters
    ----------
    instructions : tuple of Running
        Without ENDs.
    transfers : tuple of Transfer
        From and to system memory.
    held : tuple of Held
    cycles : int
        Of all of it. Between two segments the host loads the next one, which is not counted.
    """

    instructions: tuple[Running, ...]
    transfers: tuple[Transfer, ...]
    held: tuple[Held, ...]
    cycles: int


def network_timeline(program: NetworkProgram, timing: MemoryTiming | None = None) -> Timeline:
    """Return the timeline that the latency model predicts.

    Parameters
    ----------
    timing : MemoryTiming, optional
        As for :func:`smartdeal.sim.network_latency.predict_network`.

    Raises
    ------
    ValueError
        As :func:`smartdeal.sim.latency_memory.predict_memory`.
    """
    running: list[Running] = []
    transfers: tuple[Transfer, ...] = ()
    cycles = 0
    if program.memory_bytes:
        (image,), (names,) = program.segments, program.instructions
        predicted = predict_memory(image, program.memory, program.config, timing or MemoryTiming())
        running = [Running(name, executed.start, executed.cycles) for name, executed in zip(
            names, predicted.instructions[:-1], strict=True)]
        transfers, cycles = predicted.transfers, predicted.cycles.total
    else:
        for image, names in zip(program.segments, program.instructions, strict=True):
            for name, taken in zip(names, predict_instructions(image, program.config),
                                   strict=True):
                running.append(Running(name, cycles, taken))
                cycles += taken.total
            cycles += END_CYCLES
    begins = [*(one.start for one in running), cycles]
    ends = [*(one.stop for one in running), cycles]
    held = tuple(Held(what, begins[what.first], ends[what.last]) for what in program.occupancy)
    return Timeline(tuple(running), transfers, held, cycles)
