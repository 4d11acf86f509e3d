"""What a host does with the accelerator behind AXI, as operations of a job."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from smartdeal.hw.axi import BOUNDARY_BYTES
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.registers import DmaError, DmaRegister, DmaStatus, Register
from smartdeal.sim.axi_storage import CANARY
from smartdeal.sim.host import Host, Outcome
from smartdeal.sim.job import (
    Count,
    Dump,
    Fault,
    Fill,
    Job,
    Memory,
    Poll,
    Read,
    Reset,
    Result,
    Write,
)

__all__ = ["MEMORY_BASE", "SystemHost"]

#: Where system memory begins.
MEMORY_BASE = 0x4000_0000
#: Bytes that nobody may write to, around everything in system memory.
_GAP = BOUNDARY_BYTES
_MARGIN_CYCLES = 20_000


class SystemHost(Host):
    """Collects operations; afterwards, tells what came out of each run.

    Everything in system memory has a place of its own, which begins at a multiple of 4 KiB with
    canaries around it.

    Parameters
    ----------
    config : AcceleratorConfig
    latency_cycles, beat_cycles, pause
        As for :class:`smartdeal.sim.job.Memory`.
    """

    def __init__(self, config: AcceleratorConfig, *, latency_cycles: int = 1, beat_cycles: int = 1,
                 pause: float = 0.0) -> None:
        super().__init__(config)
        self._memory = Memory(MEMORY_BASE, 0, latency_cycles, beat_cycles, pause)
        self._end = MEMORY_BASE + _GAP
        #: What must be in memory at the end, and where the accelerator may write.
        self._filled: list[tuple[int, bytes]] = []
        self._writable: list[tuple[int, int]] = []
        self._region = (0, 0)
        #: By transfer: the operations that wait for its end and read its error.
        self._transfers: list[tuple[int, int]] = []
        #: By run: the operation that reads the region; None where there is none.
        self._dumps: list[int | None] = []
        #: Operations that read the traffic's counters: before the last start, and by run both.
        self._before = 0
        self._counts: list[tuple[int, int]] = []

    def place(self, size: int) -> int:
        """Return the address of so many bytes that nobody else has."""
        address = self._end
        self._end += -(-size // BOUNDARY_BYTES) * BOUNDARY_BYTES + _GAP
        return address

    def fill(self, data: bytes) -> int:
        """Put bytes into system memory, and return their address."""
        address = self.place(len(data))
        self.operations.append(Fill(address, data))
        self._filled.append((address, data))
        return address

    def load(self, image: bytes) -> None:
        """Let the accelerator fetch an image."""
        address = self.fill(image)
        self._transfer(DmaRegister.LOAD_ADDRESS, address,
                       [Write(DmaRegister.LOAD_BYTES, len(image))], len(image))

    def work_on(self, region: bytes) -> int:
        """Give the programs that are started from now on a region; return its address."""
        address = self.fill(region)
        self._region = address, len(region)
        self._writable.append(self._region)
        self.operations += self._region_registers()
        return address

    def start(self) -> None:
        """Run the program."""
        self._before = self._count()
        super().start()

    def reset(self) -> None:
        """Reset the accelerator, which forgets its program, and set it up again."""
        self.operations += [Reset(), Write(Register.INTERRUPT, 1), *self._region_registers()]

    def fault(self, address: int, size: int) -> None:
        """Let transfers that touch these bytes be answered with an error; none if ``size`` is 0."""
        self.operations.append(Fault(address, size))

    def finish(self, limit_cycles: int, *, word: int = 0, words: int = 0) -> None:
        """Wait for the end of a run; read registers, words of the activation buffer, the region."""
        super().finish(limit_cycles, word=word, words=words)
        address, size = self._region
        self._dumps.append(len(self.operations) if size else None)
        if size:
            self.operations.append(Dump(address, size))

    def job(self, *, idle: float = 0.0, seed: int = 0) -> Job:
        """Return everything so far as a job, which at its end reads all of system memory."""
        memory = replace(self._memory, bytes=self._end - MEMORY_BASE)
        operations = (*self.operations, Dump(memory.base, memory.bytes))
        return Job(operations, self.config.host_bits, idle=idle, seed=seed, memory=memory)

    def outcomes(self, results: list[Result]) -> list[Outcome]:
        """Return the outcome of every run, given the results of the job."""
        outcomes: list[Outcome] = []
        for outcome, dump, counts in zip(super().outcomes(results), self._dumps, self._counts,
                                         strict=True):
            memory = b"" if dump is None else results[dump]
            assert isinstance(memory, bytes)
            loaded, stored = (self._integer(results[counts[1] + index])
                              - self._integer(results[counts[0] + index]) for index in (0, 1))
            outcomes.append(replace(outcome, memory=memory, bytes_loaded=loaded,
                                    bytes_stored=stored))
        return outcomes

    def problem(self, results: list[Result]) -> str:
        """Return what went wrong with the host's transfers or the memory, or nothing."""
        for number, (end, error) in enumerate(self._transfers):
            if results[end] is None:
                return f"transfer {number} of the host did not end: watchdog expired"
            if code := results[error]:
                assert isinstance(code, int)
                return f"transfer {number} of the host ended with {DmaError(code).name}"
        content = results[len(self.operations)]
        assert isinstance(content, bytes)
        found = np.frombuffer(content, np.uint8)
        right = np.full(len(found), CANARY, np.uint8)
        for address, data in self._filled:
            right[address - MEMORY_BASE:][:len(data)] = np.frombuffer(data, np.uint8)
        wrong = found != right
        for address, size in self._writable:
            wrong[address - MEMORY_BASE:][:size] = False
        if count := int(np.count_nonzero(wrong)):
            return (f"wrote {count} bytes of system memory that are not its own, the first at "
                    f"{MEMORY_BASE + int(np.argmax(wrong)):#x}")
        return ""

    def _region_registers(self) -> list[Write]:
        address, size = self._region
        return [*_set_address(DmaRegister.MEMORY_BASE, address),
                Write(DmaRegister.MEMORY_BYTES, size)]

    def _count(self) -> int:
        """Read the counters of the traffic; return the first operation that does."""
        self.operations += [Count("bytes_read"), Count("bytes_written")]
        return len(self.operations) - 2

    def _ended(self) -> None:
        self._counts.append((self._before, self._count()))

    @staticmethod
    def _integer(result: Result) -> int:
        assert isinstance(result, int)
        return result

    def _ask_words(self, word: int, words: int) -> None:
        size = words * self.unit_bytes
        address = self.place(size)
        self._writable.append((address, size))
        self._transfer(DmaRegister.STORE_ADDRESS, address,
                       [Write(Register.READ_ADDRESS, word), Write(Register.READ_COUNT, words)],
                       size)
        self.operations.append(Dump(address, size))

    def _take_words(self, results: Iterator[Result]) -> bytes:
        *_, stored = islice(results, 7)  # a transfer with two more writes, and the Dump
        assert isinstance(stored, bytes)
        return stored

    def _transfer(
        self, register: DmaRegister, address: int, start: list[Write], size: int,
    ) -> None:
        """Begin a transfer and wait for its end."""
        beats = size * 8 // self.config.host_bits
        memory = self._memory
        cycles = beats * (memory.beat_cycles + memory.latency_cycles) / (1 - memory.pause) ** 2
        self.operations += [
            *_set_address(register, address), *start,
            Poll(DmaRegister.DMA_STATUS, DmaStatus.LOADING | DmaStatus.STORING,
                 _MARGIN_CYCLES + 4 * round(cycles)),
            Read(DmaRegister.DMA_ERROR)]
        self._transfers.append((len(self.operations) - 2, len(self.operations) - 1))


def _set_address(register: DmaRegister, address: int) -> list[Write]:
    """Return the writes of an address and its high half."""
    return [Write(register, address & 0xFFFF_FFFF), Write(register + 4, address >> 32)]
