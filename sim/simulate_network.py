"""Runs whole networks on the accelerator, on chip or with system memory.

As for single layers three computations meet: the integer network, the reference interpreter and
the hardware behind its ports. The whole part of the activation buffer that the program uses is
compared, padding and all, the program's region of system memory, and the counters of every segment.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler import NetworkProgram
from smartdeal.golden.integer import run_network
from smartdeal.golden.interpreter import Interpreter
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.sim.device import accelerator_simulator, system_simulator
from smartdeal.sim.host import Host, Outcome
from smartdeal.sim.latency import Cycles
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.network_latency import NetworkPrediction, predict_network
from smartdeal.sim.runner import SimulatorName, run_job
from smartdeal.sim.simulate import MARGIN_CYCLES, Engine, Progress, failure, operation_cost
from smartdeal.sim.system_host import SystemHost

__all__ = ["NetworkReport", "SegmentReport", "simulate_network"]


@dataclass(frozen=True, kw_only=True)
class SegmentReport:
    """What came out of one segment.

    Parameters
    ----------
    predicted : Cycles
        By the latency model.
    measured : Cycles or None
        From the hardware's counters; None without hardware.
    overhead : int or None
        From the hardware's counter.
    failure : str
        Why the hardware did not finish; empty if it did.
    """

    predicted: Cycles
    measured: Cycles | None
    overhead: int | None
    failure: str = ""

    @property
    def cycle_exact(self) -> bool:
        """Whether every counter is as predicted; true without hardware."""
        if self.measured is None:
            return not self.failure
        return self.measured == self.predicted and self.overhead == self.predicted.overhead


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkReport:
    """What came out of a network for one image.

    Parameters
    ----------
    output : int8 array, (C, H, W)
        The network's output: the hardware's, or without it the interpreter's.
    segments : tuple of SegmentReport
    wrong : dict of int
        By tensor, the elements in which interpreter and integer network differ; empty if there was
        nothing to compare with.
    bytes_compared, bytes_wrong : int
        Bytes of the activation buffer and the region in which interpreter and hardware are
        compared, and differ.
    bytes_loaded, bytes_stored : int
        What the program read from and wrote to system memory, by the hardware or as predicted.
    traffic_as_predicted : bool
        Whether these are the same.
    problem : str
        What went wrong around the program, with all images together; empty if nothing did.
    """

    output: NDArray[np.int8]
    segments: tuple[SegmentReport, ...]
    wrong: dict[str, int]
    bytes_compared: int
    bytes_wrong: int
    bytes_loaded: int = 0
    bytes_stored: int = 0
    traffic_as_predicted: bool = True
    problem: str = ""

    @property
    def failure(self) -> str:
        """Why the hardware did not finish, or what went wrong around it; or nothing."""
        for number, segment in enumerate(self.segments):
            if segment.failure:
                return f"segment {number} {segment.failure}"
        return self.problem

    @property
    def bit_exact(self) -> bool:
        """Whether every byte is equal in all computations."""
        return not self.failure and self.bytes_wrong == 0 and not any(self.wrong.values())

    @property
    def cycle_exact(self) -> bool:
        """Whether every counter is as predicted, and the traffic."""
        return (self.traffic_as_predicted
                and all(segment.cycle_exact for segment in self.segments))

    @property
    def predicted(self) -> Cycles:
        """Cycles of all segments."""
        return sum((segment.predicted for segment in self.segments), Cycles(0, 0, 0, 0))


def simulate_network(
    program: NetworkProgram, images: Sequence[NDArray[np.int8]], *,
    network: IntegerNetwork | None = None, engine: Engine = "rtl",
    timing: MemoryTiming | None = None, simulator: SimulatorName = "verilator",
    waves: Path | None = None, idle: float = 0.0, seed: int = 0, progress: Progress | None = None,
) -> list[NetworkReport]:
    """Run a network on images, all in one simulator, and compare what comes out.

    A program with system memory runs behind AXI, and the whole region is compared too.

    Parameters
    ----------
    program : NetworkProgram
    images : sequence of int8 array, (C, H, W)
    network : IntegerNetwork, optional
        To compare every tensor that the program keeps with.
    engine : "rtl" or "interpreter"
        Whether the hardware is simulated too, or only the interpreter runs.
    timing : MemoryTiming, optional
        Of the system memory, for programs that use it; 60 cycles latency and 8 bytes per cycle
        unless said otherwise.
    simulator, waves, idle, seed, progress
        As for :func:`smartdeal.sim.simulate.simulate_layers`; a program with system memory has no
        streams to be idle on, and the seed is that of what its region holds at the start.

    Raises
    ------
    ValueError
        If an image has another shape or type than the network's input, or idle cycles are wanted
        where there are no streams.
    ToolError, BuildError, SimulationError
        If the simulator cannot be built, or the hardware breaks a rule of its ports.
    """
    if idle and program.memory_bytes:
        raise ValueError(f"Idle cycles must be 0 for a program with system memory, not {idle}")
    tell = progress or (lambda stage, done: None)
    timing = timing or MemoryTiming()
    predicted = predict_network(program, timing)
    starts = ([bytes(program.region(image, noise=np.random.default_rng([seed, number])))
               for number, image in enumerate(images)] if program.memory_bytes
              else [program.input_image(image, clear=True) for image in images])

    def interpret() -> list[_End]:
        ends: list[_End] = []
        interpreter = Interpreter(program.config)
        for number, start in enumerate(starts):
            tell("interpret", number / len(starts))
            ends.append(_interpret(program, interpreter, start))
        tell("interpret", 1.0)
        return ends

    if engine == "interpreter":
        return [_report(program, network, image, end, predicted, None)
                for image, end in zip(images, interpret(), strict=True)]

    def hardware() -> tuple[str, list[list[Outcome]]]:
        tell("build", 0.0)
        build = system_simulator if program.memory_bytes else accelerator_simulator
        built = build(program.config, name=simulator, waves=waves)
        tell("build", 1.0)
        host = _host(program, starts, predicted, timing)
        costs = np.cumsum([operation_cost(o, program.config) for o in host.operations])
        results = run_job(built, host.job(idle=idle, seed=seed), on_result=lambda done: tell(
            "simulate", costs[min(done, len(costs)) - 1] / costs[-1] if done else 0.0))
        tell("simulate", 1.0)
        outcomes = iter(host.outcomes(results))
        return host.problem(results), [[next(outcomes) for _ in program.segments] for _ in starts]

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(hardware)
        ends = interpret()
        problem, outcomes = running.result()
    return [_report(program, network, image, end, predicted, ran, problem)
            for image, end, ran in zip(images, ends, outcomes, strict=True)]


@dataclass(frozen=True)
class _End:
    """What a run leaves behind: the used part of the activation buffer, and the region."""

    activations: bytes
    region: bytes


def _interpret(program: NetworkProgram, interpreter: Interpreter, start: bytes) -> _End:
    """Run all segments for one image, given as a data image or the region."""
    if program.memory_bytes:
        interpreter.region = bytearray(start)
    else:
        interpreter.load(start)
    for segment in program.segments:
        interpreter.load(segment)
        interpreter.run()
    return _End(interpreter.read(0, program.used_words), bytes(interpreter.region))


def _host(
    program: NetworkProgram, starts: Sequence[bytes], predicted: NetworkPrediction,
    timing: MemoryTiming,
) -> Host:
    host = Host(program.config)
    if program.memory_bytes:
        host = SystemHost(program.config, latency_cycles=timing.latency_cycles,
                          beat_cycles=timing.beat_cycles(program.config))
    last = len(program.segments) - 1
    for number, start in enumerate(starts):
        if isinstance(host, SystemHost):
            host.work_on(start)
        else:
            host.load(start)
        for index, (segment, cycles) in enumerate(zip(program.segments, predicted.segments,
                                                      strict=True)):
            # A single segment stays for the next image, unless it loads pages over itself.
            if last or number == 0 or program.memory_bytes:
                host.load(segment)
            host.start()
            host.finish(cycles.total + MARGIN_CYCLES,
                        words=program.used_words if index == last else 0)
    return host


def _report(
    program: NetworkProgram, network: IntegerNetwork | None, image: NDArray[np.int8],
    end: _End, predicted: NetworkPrediction, outcomes: Sequence[Outcome] | None,
    problem: str = "",
) -> NetworkReport:
    """Compare what the computations of one image gave."""
    wrong: dict[str, int] = {}
    if network is not None:
        expected = run_network(network, image)
        wrong = {name: int(np.count_nonzero(
            program.read(name, end.activations, end.region) != expected[name]))
            for name in program.outputs}
    compared, bytes_wrong, found = 0, 0, end
    segments = [SegmentReport(predicted=cycles, measured=None, overhead=None)
                for cycles in predicted.segments]
    loaded, stored = predicted.bytes_loaded, predicted.bytes_stored
    if outcomes is not None:
        found = _End(outcomes[-1].region, outcomes[-1].memory)
        for one, other in ((end.activations, found.activations), (end.region, found.region)):
            compared += len(one)
            bytes_wrong += int(np.count_nonzero(
                np.frombuffer(one, np.int8) != np.frombuffer(other, np.int8)))
        segments = [SegmentReport(predicted=cycles, measured=outcome.cycles,
                                  overhead=outcome.overhead, failure=failure(outcome))
                    for cycles, outcome in zip(predicted.segments, outcomes, strict=True)]
        loaded = sum(outcome.bytes_loaded for outcome in outcomes)
        stored = sum(outcome.bytes_stored for outcome in outcomes)
    return NetworkReport(
        output=program.read(program.output, found.activations, found.region),
        segments=tuple(segments), wrong=wrong, bytes_compared=compared, bytes_wrong=bytes_wrong,
        bytes_loaded=loaded, bytes_stored=stored, problem=problem, traffic_as_predicted=(
            (loaded, stored) == (predicted.bytes_loaded, predicted.bytes_stored)))
