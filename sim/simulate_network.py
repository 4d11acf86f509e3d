"""Runs whole networks on the accelerator; every tensor stays in its activation buffer.

As for single layers three computations meet: the integer network, the reference interpreter and
the hardware behind its ports. The whole part of the activation buffer that the program uses is
compared, padding and all, and the counters of every segment.
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
from smartdeal.sim.device import accelerator_simulator
from smartdeal.sim.host import Host, Outcome
from smartdeal.sim.latency import Cycles, predict
from smartdeal.sim.runner import SimulatorName, run_job
from smartdeal.sim.simulate import MARGIN_CYCLES, Engine, Progress, failure, operation_cost

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
        Bytes of the activation buffer in which interpreter and hardware are compared, and differ.
    """

    output: NDArray[np.int8]
    segments: tuple[SegmentReport, ...]
    wrong: dict[str, int]
    bytes_compared: int
    bytes_wrong: int

    @property
    def failure(self) -> str:
        """Why the hardware did not finish, or nothing."""
        for number, segment in enumerate(self.segments):
            if segment.failure:
                return f"segment {number} {segment.failure}"
        return ""

    @property
    def bit_exact(self) -> bool:
        """Whether every byte is equal in all computations."""
        return not self.failure and self.bytes_wrong == 0 and not any(self.wrong.values())

    @property
    def cycle_exact(self) -> bool:
        """Whether every counter is as predicted."""
        return all(segment.cycle_exact for segment in self.segments)

    @property
    def predicted(self) -> Cycles:
        """Cycles of all segments."""
        return sum((segment.predicted for segment in self.segments), Cycles(0, 0, 0, 0))


def simulate_network(
    program: NetworkProgram, images: Sequence[NDArray[np.int8]], *,
    network: IntegerNetwork | None = None, engine: Engine = "rtl",
    simulator: SimulatorName = "verilator", waves: Path | None = None, idle: float = 0.0,
    seed: int = 0, progress: Progress | None = None,
) -> list[NetworkReport]:
    """Run a network on images, all in one simulator, and compare what comes out.

    Parameters
    ----------
    program : NetworkProgram
    images : sequence of int8 array, (C, H, W)
    network : IntegerNetwork, optional
        To compare every tensor that the program keeps with.
    engine : "rtl" or "interpreter"
        Whether the hardware is simulated too, or only the interpreter runs.
    simulator, waves, idle, seed, progress
        As for :func:`smartdeal.sim.simulate.simulate_layers`.

    Raises
    ------
    ValueError
        If an image has another shape or type than the network's input.
    ToolError, BuildError, SimulationError
        If the simulator cannot be built, or the hardware breaks a rule of its ports.
    """
    tell = progress or (lambda stage, done: None)
    predicted = [predict(segment, program.config) for segment in program.segments]
    datas = [program.input_image(image, clear=True) for image in images]

    def interpret() -> list[bytes]:
        regions: list[bytes] = []
        for number, data in enumerate(datas):
            tell("interpret", number / len(datas))
            regions.append(_interpret(program, data))
        tell("interpret", 1.0)
        return regions

    if engine == "interpreter":
        return [_report(program, network, image, region, predicted, None)
                for image, region in zip(images, interpret(), strict=True)]

    def hardware() -> list[list[Outcome]]:
        tell("build", 0.0)
        built = accelerator_simulator(program.config, name=simulator, waves=waves)
        tell("build", 1.0)
        host = _host(program, datas, predicted)
        costs = np.cumsum([operation_cost(o, program.config) for o in host.operations])
        results = run_job(built, host.job(idle=idle, seed=seed), on_result=lambda done: tell(
            "simulate", costs[done - 1] / costs[-1] if done else 0.0))
        tell("simulate", 1.0)
        outcomes = iter(host.outcomes(results))
        return [[next(outcomes) for _ in predicted] for _ in datas]

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(hardware)
        regions = interpret()
        outcomes = running.result()
    return [_report(program, network, image, region, predicted, ran)
            for image, region, ran in zip(images, regions, outcomes, strict=True)]


def _interpret(program: NetworkProgram, data: bytes) -> bytes:
    """Return the used part of the activation buffer, by the interpreter."""
    interpreter = Interpreter(program.config)
    interpreter.load(data)
    for segment in program.segments:
        interpreter.load(segment)
        interpreter.run()
    return interpreter.read(0, program.used_words)


def _host(
    program: NetworkProgram, datas: Sequence[bytes], predicted: Sequence[Cycles],
) -> Host:
    host = Host(program.config)
    last = len(program.segments) - 1
    for number, data in enumerate(datas):
        host.load(data)
        for index, (segment, cycles) in enumerate(zip(program.segments, predicted, strict=True)):
            if last or number == 0:  # a single segment stays for the next image
                host.load(segment)
            host.start()
            host.finish(cycles.total + MARGIN_CYCLES,
                        words=program.used_words if index == last else 0)
    return host


def _report(
    program: NetworkProgram, network: IntegerNetwork | None, image: NDArray[np.int8],
    region: bytes, predicted: Sequence[Cycles], outcomes: Sequence[Outcome] | None,
) -> NetworkReport:
    """Compare what the computations of one image gave."""
    def tensor(name: str, memory: bytes) -> NDArray[np.int8]:
        word, words = program.words(name)
        cols = program.config.cols
        return program.tensor(name, memory[word * cols:(word + words) * cols])

    wrong: dict[str, int] = {}
    if network is not None:
        expected = run_network(network, image)
        wrong = {name: int(np.count_nonzero(tensor(name, region) != expected[name]))
                 for name in program.outputs}
    bytes_wrong, memory = 0, region
    segments = [SegmentReport(predicted=cycles, measured=None, overhead=None)
                for cycles in predicted]
    if outcomes is not None:
        memory = outcomes[-1].region
        bytes_wrong = int(np.count_nonzero(
            np.frombuffer(memory, np.int8) != np.frombuffer(region, np.int8)))
        segments = [SegmentReport(predicted=cycles, measured=outcome.cycles,
                                  overhead=outcome.overhead, failure=failure(outcome))
                    for cycles, outcome in zip(predicted, outcomes, strict=True)]
    return NetworkReport(
        output=tensor(program.output, memory), segments=tuple(segments), wrong=wrong,
        bytes_compared=len(region) if outcomes is not None else 0, bytes_wrong=bytes_wrong)
