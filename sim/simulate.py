"""Runs layers on the accelerator and compares every byte and every cycle.

Three computations of each layer meet here: the integer network, which knows nothing of tiles or
steps; the reference interpreter, which executes the program image; and the hardware, simulated from
its Verilog and reached only through its ports. The latency model predicts the counters.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler import Program, compile_layer
from smartdeal.golden.integer import evaluate
from smartdeal.golden.interpreter import Interpreter
from smartdeal.golden.layers import IntegerLayer
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ErrorCode
from smartdeal.hw.registers import Status
from smartdeal.sim.device import accelerator_simulator
from smartdeal.sim.host import Host, Outcome
from smartdeal.sim.job import Load, Operation, Poll, Store, Wait
from smartdeal.sim.latency import Cycles, predict
from smartdeal.sim.runner import Simulator, SimulatorName, run_job

__all__ = ["ENGINES", "MARGIN_CYCLES", "Engine", "LayerReport", "LayerWork", "Progress", "failure",
           "operation_cost", "simulate_layers"]

Engine = Literal["rtl", "interpreter"]
ENGINES: tuple[Engine, ...] = ("rtl", "interpreter")

#: Called with a stage's name and how much of it is done, 0…1.
Progress = Callable[[str, float], None]

#: Cycles that a run may take beyond the prediction before it counts as hung.
MARGIN_CYCLES = 20_000
#: What a beat costs in simulation, in cycles of computation; only the progress depends on it.
_BEAT_CYCLES = 4


@dataclass(frozen=True, eq=False)
class LayerWork:
    """A layer with the operands to run it on."""

    layer: IntegerLayer
    x: NDArray[np.int8]
    residual: NDArray[np.int8] | None = None


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """What came out of one layer.

    Parameters
    ----------
    name, kind : str
    macs : int
        Multiply-accumulates of the dense layer.
    nonzero_terms : int
        Power-of-two coefficients of its weights that are not zero.
    parts : int
        Programs that the layer was cut into.
    predicted : Cycles
        By the latency model.
    measured : Cycles or None
        From the hardware's counters; None without hardware.
    overhead : int or None
        From the hardware's counter.
    bytes_compared : int
        Bytes of the output regions, padding included.
    bytes_wrong : int
        How many of them, or of the layer's output, differ.
    failure : str
        Why the hardware did not finish; empty if it did.
    """

    name: str
    kind: str
    macs: int
    nonzero_terms: int
    parts: int
    predicted: Cycles
    measured: Cycles | None
    overhead: int | None
    bytes_compared: int
    bytes_wrong: int
    failure: str = ""

    @property
    def bit_exact(self) -> bool:
        """Whether every byte is equal in all computations."""
        return self.bytes_wrong == 0 and not self.failure

    @property
    def cycle_exact(self) -> bool | None:
        """Whether every counter is as predicted; None without hardware."""
        if self.measured is None:
            return None
        return self.measured == self.predicted and self.overhead == self.predicted.overhead

    @property
    def busy(self) -> float:
        """Fraction of the cycles in which the array took a step."""
        cycles = self.measured or self.predicted
        return cycles.busy / cycles.total


def simulate_layers(
    work: Sequence[LayerWork], config: AcceleratorConfig, *, engine: Engine = "rtl",
    simulator: SimulatorName = "verilator", waves: Path | None = None, idle: float = 0.0,
    seed: int = 0, progress: Progress | None = None, programs: list[Program] | None = None,
    before: bytes = b"", device: Callable[[], Simulator] | None = None,
) -> list[LayerReport]:
    """Run layers, all in one simulator, and compare what comes out.

    Parameters
    ----------
    work : sequence of LayerWork
    config : AcceleratorConfig
    engine : "rtl" or "interpreter"
        Whether the hardware is simulated too, or only the interpreter runs.
    simulator : "verilator" or "icarus"
    waves : Path or None
        Waveform file.
    idle : float
        Probability of an idle cycle on the host's streams; results and counters do not depend
        on it.
    seed : int
        Of the idle cycles.
    progress : callable, optional
    programs : list of Program, optional
        Receives the compiled layers.
    before : bytes
        Images that interpreter and hardware load first.
    device : callable, optional
        Builds the hardware; otherwise it is the accelerator's Verilog in ``simulator``.

    Raises
    ------
    CompileError
        If a layer does not fit the accelerator.
    ToolError, BuildError, SimulationError
        If the simulator cannot be built, or the hardware breaks a rule of its ports.
    """
    tell = progress or (lambda stage, done: None)
    compiled: list[Program] = []
    for number, item in enumerate(work):
        tell("compile", number / len(work))
        compiled.append(compile_layer(item.layer, config))
    tell("compile", 1.0)
    if programs is not None:
        programs += compiled
    predicted = [[predict(part.image, config) for part in program.parts] for program in compiled]
    if engine == "interpreter":
        expected = _interpret(work, compiled, config, tell, before)
        return [_report(item, program, cycles, regions, None)
                for item, program, cycles, regions
                in zip(work, compiled, predicted, expected, strict=True)]

    def hardware() -> list[list[Outcome]]:
        tell("build", 0.0)
        built = device() if device is not None else accelerator_simulator(
            config, name=simulator, waves=waves)
        tell("build", 1.0)
        host = _host(work, compiled, predicted, config, before)
        costs = list(accumulate(operation_cost(o, config) for o in host.operations))
        results = run_job(built, host.job(idle=idle, seed=seed), on_result=lambda done: tell(
            "simulate", costs[done - 1] / costs[-1] if done else 0.0))
        tell("simulate", 1.0)
        outcomes = iter(host.outcomes(results))
        return [[next(outcomes) for _ in program.parts] for program in compiled]

    # The interpreter computes while the simulator does: both cores are in use.
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(hardware)
        expected = _interpret(work, compiled, config, tell, before)
        outcomes = running.result()
    return [_report(*row) for row in zip(work, compiled, predicted, expected, outcomes,
                                         strict=True)]


def _interpret(
    work: Sequence[LayerWork], programs: Sequence[Program], config: AcceleratorConfig,
    tell: Progress, before: bytes,
) -> list[list[bytes]]:
    """Return the output regions of every part, by the interpreter."""
    interpreter = Interpreter(config)
    interpreter.load(before)
    total = sum(program.steps for program in programs)
    done = 0
    regions: list[list[bytes]] = []
    for item, program in zip(work, programs, strict=True):
        regions.append([])
        for part in program.parts:
            tell("interpret", done / total)
            interpreter.load(part.image)
            interpreter.load(part.data_image(item.x, item.residual))
            interpreter.run()
            regions[-1].append(interpreter.read(part.output_word, part.output_words))
            done += part.executed_steps
    tell("interpret", 1.0)
    return regions


def _host(
    work: Sequence[LayerWork], programs: Sequence[Program],
    predicted: Sequence[Sequence[Cycles]], config: AcceleratorConfig, before: bytes,
) -> Host:
    host = Host(config)
    if before:
        host.load(before)
    for item, program, cycles in zip(work, programs, predicted, strict=True):
        for part, expected in zip(program.parts, cycles, strict=True):
            host.load(part.image)
            host.load(part.data_image(item.x, item.residual))
            host.start()
            host.finish(expected.total + MARGIN_CYCLES, word=part.output_word,
                        words=part.output_words)
    return host


def operation_cost(operation: Operation, config: AcceleratorConfig) -> float:
    """Return how long an operation takes to simulate, roughly, in cycles of computation."""
    match operation:
        case Load(image):
            return len(image) * 8 / config.host_bits * _BEAT_CYCLES
        case Store(beats):
            return beats * _BEAT_CYCLES
        case Wait(limit_cycles) | Poll(_, _, limit_cycles):
            return max(1.0, limit_cycles - MARGIN_CYCLES)
    return 1.0


def _report(
    work: LayerWork, program: Program, predicted: Sequence[Cycles], regions: Sequence[bytes],
    outcomes: Sequence[Outcome] | None,
) -> LayerReport:
    """Compare what the computations of one layer gave."""
    integer = evaluate(work.layer, work.x, work.residual)
    wrong = int(np.count_nonzero(program.assemble(regions) != integer))
    problem = ""
    for part, region, outcome in zip(program.parts, regions, outcomes or (), strict=False):
        problem = problem or (f"{text}, output rows from {part.first_row}"
                              if (text := failure(outcome)) else "")
        wrong += sum(a != b for a, b in zip(region, outcome.region, strict=True))
    none = Cycles(0, 0, 0, 0)
    return LayerReport(
        name=work.layer.name, kind=work.layer.kind, macs=work.layer.macs,
        nonzero_terms=work.layer.nonzero_terms, parts=len(program.parts),
        predicted=sum(predicted, none),
        measured=sum((o.cycles for o in outcomes), none) if outcomes is not None else None,
        overhead=sum(o.overhead for o in outcomes) if outcomes is not None else None,
        bytes_compared=sum(map(len, regions)), bytes_wrong=wrong, failure=problem)


def failure(outcome: Outcome) -> str:
    """Return why a run did not end as it should, or nothing."""
    if outcome.error is not ErrorCode.NONE:
        return (f"stopped with {outcome.error.name} at instruction word {outcome.instruction}")
    if not outcome.finished:
        return "did not finish: watchdog expired"
    if outcome.status != Status.DONE | Status.PROGRAM:
        return f"ended with status {outcome.status!r} instead of DONE and PROGRAM"
    return ""
