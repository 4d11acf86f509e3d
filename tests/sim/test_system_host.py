"""The accelerator behind AXI in RTL: programs with system memory, good ones and bad ones.

Beside our own models of host and memory, those of cocotbext-axi do the same jobs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from smartdeal.golden.interpreter import Interpreter
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ErrorCode
from smartdeal.hw.registers import Register, Status
from smartdeal.sim.crafted import draw_image
from smartdeal.sim.crafted_memory import draw_memory_program
from smartdeal.sim.device import system_simulator
from smartdeal.sim.host import Outcome
from smartdeal.sim.job import Dump, Pass, Poll, Read
from smartdeal.sim.latency_memory import predict_memory
from smartdeal.sim.memory_programs import bad_memory_programs, good_memory_programs
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.runner import BENCH, Simulator, run_job
from smartdeal.sim.simulate import MARGIN_CYCLES
from smartdeal.sim.system_host import MEMORY_BASE, SystemHost

pytestmark = pytest.mark.slow

CONFIG = AcceleratorConfig(rows=4, cols=10, host_bits=64, activation_words=64, weight_steps=64,
                           channel_entries=16, basis_entries=32, program_words=512, memory=True)
WORDS = CONFIG.activation_words
#: A program and its region.
Work = tuple[bytes, bytes]


#: Our own bench, and that of cocotbext-axi.
OWN, COCOTBEXT = BENCH, "cocotbext_bench"
#: Bench, and how often each channel of the memory and of the host's master pauses.
BENCHES = [(OWN, 0.0, 0.0), (OWN, 0.5, 0.4), (COCOTBEXT, 0.3, 0.2)]


@pytest.fixture(autouse=True)
def benches_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture(scope="module")
def system() -> Simulator:
    return system_simulator(CONFIG)


@dataclass
class Twin:
    """The interpreter, with the hardware's history."""

    interpreter: Interpreter

    def run(self, work: Work) -> tuple[bytes, bytes]:
        image, region = work
        self.interpreter.region = bytearray(region)
        self.interpreter.load(image)
        self.interpreter.run()
        return self.interpreter.read(0, WORDS), bytes(self.interpreter.region)


def good() -> list[Work]:
    drawn = [draw_memory_program(np.random.default_rng(seed), CONFIG) for seed in range(6)]
    return [*((case.image, case.region) for case in good_memory_programs(CONFIG)),
            *((program.image, program.region) for program in drawn)]


def do(host: SystemHost, work: Work) -> None:
    image, region = work
    host.load(image)
    host.work_on(region)
    host.start()
    host.finish(10 * MARGIN_CYCLES, words=WORDS)


def ended(outcome: Outcome) -> bool:
    return (outcome.finished and outcome.error is ErrorCode.NONE
            and outcome.status == Status.DONE | Status.PROGRAM)


@pytest.mark.parametrize("timing", [
    MemoryTiming(latency_cycles=1, bytes_per_cycle=8),
    MemoryTiming(latency_cycles=60, bytes_per_cycle=8),
    MemoryTiming(latency_cycles=9, bytes_per_cycle=2),
], ids=str)
def test_regular_memory(system: Simulator, timing: MemoryTiming) -> None:
    """Every byte, every counter and all traffic are as the models say."""
    host = SystemHost(CONFIG, latency_cycles=timing.latency_cycles,
                      beat_cycles=timing.beat_cycles(CONFIG))
    works = good()
    for work in works:
        do(host, work)
    results = run_job(system, host.job())
    assert host.problem(results) == ""
    twin = Twin(Interpreter(CONFIG))
    for work, outcome in zip(works, host.outcomes(results), strict=True):
        assert ended(outcome)
        assert (outcome.region, outcome.memory) == twin.run(work)
        prediction = predict_memory(*work, CONFIG, timing)
        assert outcome.cycles == prediction.cycles
        assert outcome.overhead == prediction.cycles.overhead
        assert outcome.bytes_loaded == prediction.bytes_loaded
        assert outcome.bytes_stored == prediction.bytes_stored


@pytest.mark.parametrize(("pause", "seed"), [(0.2, 1), (0.7, 2)])
def test_random_memory(system: Simulator, pause: float, seed: int) -> None:
    host = SystemHost(CONFIG, pause=pause)
    works = good()
    for work in works:
        do(host, work)
    results = run_job(system, host.job(seed=seed))
    assert host.problem(results) == ""
    twin = Twin(Interpreter(CONFIG))
    for work, outcome in zip(works, host.outcomes(results), strict=True):
        assert ended(outcome)
        assert (outcome.region, outcome.memory) == twin.run(work)


@pytest.mark.parametrize("idle", [0.0, 0.7])
@pytest.mark.parametrize("pause", [0.0, 0.3, 0.8])
def test_cocotbext(system: Simulator, pause: float, idle: float) -> None:
    """Bus models by others: idle and back-pressure as a product."""
    host = SystemHost(CONFIG, pause=pause)
    works = good()[::3]
    for work in works:
        do(host, work)
    results = run_job(system, host.job(idle=idle, seed=4), bench=COCOTBEXT)
    assert host.problem(results) == ""
    twin = Twin(Interpreter(CONFIG))
    for work, outcome in zip(works, host.outcomes(results), strict=True):
        assert ended(outcome)
        assert (outcome.region, outcome.memory) == twin.run(work)


@pytest.mark.parametrize(("bench", "pause", "idle"), BENCHES)
def test_without_the_feature(bench: str, pause: float, idle: float) -> None:
    """Only the host moves data."""
    config = CONFIG.replace(memory=False, program_words=128)
    host = SystemHost(config, latency_cycles=5, pause=pause)
    images = [draw_image(np.random.default_rng(seed), config) for seed in range(8)]
    for image in images:
        host.load(image)
        host.start()
        host.finish(MARGIN_CYCLES, words=WORDS)
    results = run_job(system_simulator(config), host.job(idle=idle, seed=2), bench=bench)
    assert host.problem(results) == ""
    for image, outcome in zip(images, host.outcomes(results), strict=True):
        interpreter = Interpreter(config)
        interpreter.load(image)
        interpreter.run()
        assert ended(outcome)
        assert outcome.region == interpreter.read(0, WORDS)
        assert (outcome.memory, outcome.bytes_loaded, outcome.bytes_stored) == (b"", 0, 0)


@pytest.mark.parametrize(("bench", "pause", "idle"), BENCHES)
def test_bad_programs_then_good_ones(
    system: Simulator, bench: str, pause: float, idle: float,
) -> None:
    host = SystemHost(CONFIG, latency_cycles=20, pause=pause)
    cases = bad_memory_programs(CONFIG)[:: 2 if bench == COCOTBEXT else 1]
    works = good()
    for number, case in enumerate(cases):
        do(host, (case.image, case.region))
        if number % 3 == 0:
            do(host, works[number // 3 % len(works)])
    results = run_job(system, host.job(idle=idle, seed=5), bench=bench)
    assert host.problem(results) == ""
    outcomes = iter(host.outcomes(results))
    for number, case in enumerate(cases):
        failed = next(outcomes)
        assert failed.finished
        assert failed.error == case.error, case.name
        assert failed.status == Status.ERROR | Status.PROGRAM
        if number % 3 == 0:
            outcome = next(outcomes)
            twin = Twin(Interpreter(CONFIG))
            # What was in the buffer before, where the good program does not write.
            twin.interpreter.activations[:] = np.frombuffer(failed.region, np.int8)
            assert ended(outcome), case.name
            assert (outcome.region, outcome.memory) == twin.run(works[number // 3 % len(works)])


@pytest.mark.parametrize(("bench", "pause", "idle"), BENCHES)
def test_reset_in_mid_run(system: Simulator, bench: str, pause: float, idle: float) -> None:
    """Wherever a program is, a reset leaves nothing behind."""
    host = SystemHost(CONFIG, latency_cycles=30, pause=pause)
    works = good()
    for number, (image, region) in enumerate(works):
        host.load(image)
        host.work_on(region)
        host.start()
        host.operations.append(Pass(20 + 43 * number))
        host.reset()
        do(host, (image, region))
    results = run_job(system, host.job(idle=idle, seed=6), bench=bench)
    assert host.problem(results) == ""
    for work, outcome in zip(works, host.outcomes(results), strict=True):
        assert ended(outcome)
        assert outcome.memory == Twin(Interpreter(CONFIG)).run(work)[1]


@pytest.mark.parametrize(("bench", "pause", "idle"), BENCHES)
def test_start_while_running(system: Simulator, bench: str, pause: float, idle: float) -> None:
    """The second start is refused, and the program goes on."""
    host = SystemHost(CONFIG, latency_cycles=50, pause=pause)
    works = good()
    busy: list[int] = []
    for work in works:
        host.load(work[0])
        host.work_on(work[1])
        host.start()
        host.start()
        busy.append(len(host.operations))
        host.operations += [Read(Register.ERROR), Poll(Register.STATUS, Status.BUSY, 200_000)]
        host.finish(10 * MARGIN_CYCLES, words=WORDS)
    results = run_job(system, host.job(idle=idle, seed=8), bench=bench)
    assert host.problem(results) == ""
    refused = [index for index in busy if results[index] == ErrorCode.BUSY]
    assert len(refused) > len(works) // 2  # the shortest have ended before
    assert any(isinstance(polls := results[index + 1], int) and polls > 1 for index in refused)
    twin = Twin(Interpreter(CONFIG))
    for work, outcome in zip(works, host.outcomes(results), strict=True):
        assert outcome.finished
        assert outcome.status & (Status.DONE | Status.BUSY) == Status.DONE
        assert (outcome.region, outcome.memory) == twin.run(work)


@pytest.mark.parametrize(("bench", "pause", "idle"), BENCHES)
def test_memory_that_answers_with_errors(
    system: Simulator, bench: str, pause: float, idle: float,
) -> None:
    """A program that meets an error is stopped with the code, and the next one is exact."""
    works = good()[::2] if bench == COCOTBEXT else good()
    host = SystemHost(CONFIG, latency_cycles=10, pause=pause)
    touched: list[ErrorCode] = []
    for number, (image, region) in enumerate(works):
        if not region:
            continue
        host.load(image)
        address = host.work_on(region)
        prediction = predict_memory(image, region, CONFIG, MemoryTiming())
        code = ErrorCode.NONE
        place = 0
        if number % 2 and prediction.bytes_stored:
            layer = next(e.fields for e in prediction.instructions if e.fields.get("flags", 0) & 16
                         and e.opcode.name == "LAYER")
            place, code = layer["output_base"], ErrorCode.MEMORY_WRITE
        elif prediction.bytes_loaded:
            load = next(e.fields for e in prediction.instructions if e.opcode.name == "LOAD")
            place, code = load["offset"], ErrorCode.MEMORY_READ
        if code:
            host.fault(address + place, 1)
        host.start()
        host.finish(10 * MARGIN_CYCLES)
        host.fault(0, 0)
        touched.append(code)
        do(host, (image, region))
    results = run_job(system, host.job(idle=idle, seed=7), bench=bench)
    assert host.problem(results) == ""
    outcomes = host.outcomes(results)
    assert {ErrorCode.MEMORY_READ, ErrorCode.MEMORY_WRITE} <= set(touched)
    right = iter([work for work in works if work[1]])
    for code, failed, outcome in zip(touched, outcomes[::2], outcomes[1::2], strict=True):
        assert failed.finished
        assert failed.error == code
        assert ended(outcome)
        assert outcome.memory == Twin(Interpreter(CONFIG)).run(next(right))[1]


def test_what_a_host_notices(system: Simulator) -> None:
    """A transfer that fails, and bytes that nobody may write to."""
    image, region = good()[0]
    host = SystemHost(CONFIG)
    host.fault(MEMORY_BASE + 4096, 8)
    host.load(image)
    assert host.problem(run_job(system, host.job())) == (
        "transfer 0 of the host ended with READ_RESPONSE")

    host = SystemHost(CONFIG)
    do(host, (image, region))
    results = run_job(system, host.job())
    *_, content = results
    assert isinstance(content, bytes)
    assert host.problem([*results[:-1], content[:20] + b"\0" + content[21:]]) == (
        "wrote 1 bytes of system memory that are not its own, the first at 0x40000014")
    assert isinstance(host.job().operations[-1], Dump)
