"""What a host does with the accelerator, as operations of a job, and what the results mean."""

from collections.abc import Iterator
from dataclasses import dataclass

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ErrorCode, SectionKind, section_format
from smartdeal.hw.registers import COUNTERS, Control, Register, Status
from smartdeal.sim.job import Job, Load, Operation, Read, Result, Store, Wait, Write
from smartdeal.sim.latency import Cycles

__all__ = ["Host", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """How one run ended.

    Parameters
    ----------
    finished : bool
        Whether the interrupt came in time.
    status : Status
    error : ErrorCode
    instruction : int
        Word address of the instruction that ran last, or failed.
    cycles : Cycles
        From the counters.
    overhead : int
        Counter of all other cycles.
    region : bytes
        Words of the activation buffer that were read back; empty if none were asked for.
    memory : bytes
        The program's region of system memory, if it was asked for.
    """

    finished: bool
    status: Status
    error: ErrorCode
    instruction: int
    cycles: Cycles
    overhead: int
    region: bytes
    memory: bytes = b""


class Host:
    """Collects operations; afterwards, tells what came out of each run.

    Parameters
    ----------
    config : AcceleratorConfig
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.operations: list[Operation] = [Write(Register.INTERRUPT, 1)]
        #: Where each run's results start, and the words that it reads back.
        self._runs: list[tuple[int, int]] = []

    def load(self, image: bytes) -> None:
        """Stream an image."""
        self.operations.append(Load(image))

    def clear(self) -> None:
        """Stop what runs, and forget errors and half-loaded images."""
        self.operations.append(Write(Register.CONTROL, Control.CLEAR))

    def start(self) -> None:
        """Run the program."""
        self.operations.append(Write(Register.CONTROL, Control.START))

    def finish(self, limit_cycles: int, *, word: int = 0, words: int = 0) -> None:
        """Wait for the end of a run, read registers, and read words of the activation buffer."""
        self._runs.append((len(self.operations), words))
        self.operations.append(Wait(limit_cycles))
        self.operations += map(Read, _OUTCOME_REGISTERS)
        self.operations += [Read(counter + half) for counter in COUNTERS for half in (0, 4)]
        if words:
            self._ask_words(word, words)

    def _ask_words(self, word: int, words: int) -> None:
        self.operations += [Write(Register.READ_ADDRESS, word),
                            Write(Register.READ_COUNT, words),
                            Store(words * self.unit_bytes * 8 // self.config.host_bits)]

    def _take_words(self, results: Iterator[Result]) -> bytes:
        _, _, stored = next(results), next(results), next(results)  # two writes, the words
        assert isinstance(stored, bytes)
        return stored

    def job(self, *, idle: float = 0.0, seed: int = 0) -> Job:
        """Return everything so far as a job."""
        return Job(tuple(self.operations), self.config.host_bits, idle=idle, seed=seed)

    def outcomes(self, results: list[Result]) -> list[Outcome]:
        """Return the outcome of every run, given the results of the job."""
        return [self._outcome(iter(results[start:]), words) for start, words in self._runs]

    @property
    def unit_bytes(self) -> int:
        """Bytes of a word of activations as the accelerator sends it."""
        return section_format(SectionKind.ACTIVATIONS, self.config).unit_bytes(
            self.config.host_bits)

    def _outcome(self, results: Iterator[Result], words: int) -> Outcome:
        finished = next(results) is not None
        status, error, instruction = (_integer(next(results)) for _ in _OUTCOME_REGISTERS)
        counters = {}
        for counter in COUNTERS:
            low, high = _integer(next(results)), _integer(next(results))
            counters[counter] = high << 32 | low
        region = b""
        if words:
            stored = self._take_words(results)
            unit, cols = self.unit_bytes, self.config.cols
            region = b"".join(stored[at:at + cols] for at in range(0, len(stored), unit))
        cycles = Cycles(counters[Register.CYCLES], counters[Register.BUSY],
                        counters[Register.STALL_DRAIN], counters[Register.STALL_RESIDUAL],
                        counters[Register.MOVE], counters[Register.STALL_MEMORY])
        return Outcome(finished, Status(status), ErrorCode(error), instruction, cycles,
                       counters[Register.OVERHEAD], region)


_OUTCOME_REGISTERS = (Register.STATUS, Register.ERROR, Register.INSTRUCTION)


def _integer(result: Result) -> int:
    assert isinstance(result, int)
    return result
