"""An AXI4 memory whose timing is exact, to run inside the simulator.

Nothing here wakes up while no transfer is under way, so that the simulator runs free. Values are
sampled and set as in :mod:`smartdeal.sim.driver`: at the clock edge that ends a cycle.
"""

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import cocotb
from cocotb.simtime import get_sim_time
from cocotb.task import Task
from cocotb.triggers import Event, RisingEdge, Timer

from smartdeal.hw.axi import Response
from smartdeal.sim.axi_storage import Burst, Storage
from smartdeal.sim.driver import PERIOD_NS, number
from smartdeal.sim.errors import PortError

__all__ = ["ADDRESS_FIELDS", "AxiMemory", "RegularMemory"]

#: What a burst is, on either address channel.
ADDRESS_FIELDS = ("addr", "len", "size", "burst")
_INPUTS = ("arready", "awready", "wready", "rvalid", "rdata", "rresp", "rlast", "bvalid", "bresp")


class AxiMemory:
    """Ports of a memory, and the processes that serve them.

    Parameters
    ----------
    dut : cocotb handle
        The top module, with the ports ``memory__…``.
    edge : RisingEdge
        Of the clock.
    storage : Storage
    fail : callable
        Told of the first broken rule; the processes end.
    """

    def __init__(self, dut: Any, edge: RisingEdge, storage: Storage,
                 fail: Callable[[PortError], None]) -> None:
        self.storage = storage
        self._dut, self._edge, self._fail = dut, edge, fail
        self._tasks: list[Task[None]] = []
        self.reset()

    def port(self, name: str) -> Any:
        """Return the handle of a port."""
        return getattr(self._dut, f"memory__{name}")

    def processes(self) -> list[Coroutine[Any, Any, None]]:
        """Return the processes that serve the channels."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget what is under way, as the device does in its reset."""
        self.stop()
        for name in _INPUTS:
            self.port(name).value = 0

    def start(self) -> None:
        """Serve the channels until :meth:`reset` or :meth:`stop`."""
        self._tasks = [cocotb.start_soon(self._guarded(process)) for process in self.processes()]

    def stop(self) -> None:
        """End the processes."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def _guarded(self, process: Coroutine[Any, Any, None]) -> None:
        try:
            await process
        except PortError as error:
            self._fail(error)
        except ValueError as error:  # cocotb on an unknown bit
            self._fail(PortError(f"memory: {error}"))

    def take_burst(self, channel: str) -> Burst:
        """Return the burst that an address channel offers, checked."""
        return self.storage.burst(
            channel, *(number(self.port(channel + name)) for name in ADDRESS_FIELDS))


class RegularMemory(AxiMemory):
    """A memory with the timing of :class:`smartdeal.sim.memory_timing.MemoryTiming`.

    An address is taken in the cycle in which it is offered. The first beat of a burst is valid
    ``latency_cycles`` after that cycle, but not before the beat before it plus the interval; a beat
    that is not taken stays, and delays those after it. Write data are taken once in an interval,
    and the response comes ``latency_cycles`` after the last beat. Reads and writes do not disturb
    each other.

    Parameters
    ----------
    dut, edge, storage, fail
        As for :class:`AxiMemory`.
    latency_cycles : int
        At least 1.
    beat_cycles : int
        The interval from one beat to the next, at least 1.
    """

    def __init__(self, dut: Any, edge: RisingEdge, storage: Storage,
                 fail: Callable[[PortError], None], *, latency_cycles: int,
                 beat_cycles: int) -> None:
        self._latency, self._interval = latency_cycles, beat_cycles
        super().__init__(dut, edge, storage, fail)

    def reset(self) -> None:
        """Forget what is under way; addresses and data are welcome."""
        super().reset()
        self._reads: deque[tuple[int, Burst]] = deque()
        self._writes: deque[Burst] = deque()
        self._beats: deque[tuple[int, int, int, int]] = deque()
        self._answers: deque[tuple[int, Response]] = deque()
        #: Of the burst being written: the next beat, and the first error.
        self._index, self._wrong = 0, Response.OKAY
        self._read_came, self._answer_came = Event(), Event()
        for name in ("arready", "awready", "wready"):
            self.port(name).value = 1

    def processes(self) -> list[Coroutine[Any, Any, None]]:
        """Return the processes of the five channels."""
        return [self._read_addresses(), self._read_data(), self._write_addresses(),
                self._write_data(), self._responses()]

    @staticmethod
    def _now() -> int:
        """Return the cycle that ends at this edge."""
        return round(get_sim_time("ns")) // PERIOD_NS

    async def _skip(self, cycles: int) -> None:
        """Let cycles pass, at the cost of two."""
        if cycles > 1:
            await Timer(cycles * PERIOD_NS - PERIOD_NS // 2, unit="ns")
        await self._edge

    async def _read_addresses(self) -> None:
        valid, edge = self.port("arvalid"), self._edge
        while True:
            await RisingEdge(valid)
            await edge
            while valid.value:
                self._reads.append((self._now() + self._latency, self.take_burst("ar")))
                self._read_came.set()
                await edge

    async def _read_data(self) -> None:
        reads, came, free = self._reads, self._read_came, 0
        while True:
            while reads:
                due, burst = reads.popleft()
                free = await self._read_burst(max(due, free), burst) + self._interval
            self.port("rvalid").value = 0
            came.clear()
            await came.wait()

    async def _read_burst(self, due: int, burst: Burst) -> int:
        """Offer a burst's beats from a cycle on; return the cycle in which the last was taken."""
        valid, ready, data = self.port("rvalid"), self.port("rready"), self.port("rdata")
        last, answer, edge = self.port("rlast"), self.port("rresp"), self._edge
        interval, faults = self._interval, self.storage.faults
        values = self.storage.read(burst)
        if (wait := due - 1 - self._now()) > 0:
            valid.value = 0
            await self._skip(wait)
        answer.value = Response.OKAY
        last.value = 0
        valid.value = 1
        for index, value in enumerate(values, 1):
            data.value = value
            if faults:
                place = burst.address + (index - 1) * self.storage.beat_bytes
                answer.value = self.storage.answer(place)
            if index == len(values):
                last.value = 1
            await edge
            while not ready.value:
                await edge
            if interval > 1 and index < len(values):
                valid.value = 0
                await self._skip(interval - 1)
                valid.value = 1
        return self._now()

    async def _write_addresses(self) -> None:
        valid, edge = self.port("awvalid"), self._edge
        while True:
            await RisingEdge(valid)
            await edge
            while valid.value:
                self._writes.append(self.take_burst("aw"))
                self._settle()
                await edge

    async def _write_data(self) -> None:
        valid, ready, edge = self.port("wvalid"), self.port("wready"), self._edge
        while True:
            await RisingEdge(valid)
            await edge
            while valid.value:
                self._beats.append((*self._offered(), self._now()))
                self._settle()
                if self._interval > 1:
                    ready.value = 0
                    await self._skip(self._interval - 1)
                    ready.value = 1
                    shown = self._offered() if valid.value else None
                    await edge
                    if shown is not None and (not valid.value or self._offered() != shown):
                        raise PortError("memory: w: a beat changed before it was taken")
                else:
                    await edge

    def _offered(self) -> tuple[int, int, int]:
        return number(self.port("wdata")), number(self.port("wstrb")), number(self.port("wlast"))

    def _settle(self) -> None:
        """Write the beats whose addresses are known."""
        beats, writes = self._beats, self._writes
        while beats and writes:
            burst, index = writes[0], self._index
            data, strobe, last, taken = beats.popleft()
            place = burst.address + index * self.storage.beat_bytes
            if bool(last) != (index == burst.beats - 1):
                raise PortError(f"memory: w: WLAST is {last} in beat {index} of {burst.beats} at "
                                f"{burst.address:#x}")
            self.storage.write(place, data, strobe)
            self._wrong = self._wrong or self.storage.answer(place)
            self._index += 1
            if last:
                writes.popleft()
                self._answers.append((taken + self._latency, self._wrong))
                self._index, self._wrong = 0, Response.OKAY
                self._answer_came.set()

    async def _responses(self) -> None:
        answers, came, edge = self._answers, self._answer_came, self._edge
        valid, ready, answer = self.port("bvalid"), self.port("bready"), self.port("bresp")
        while True:
            while answers:
                due, value = answers.popleft()
                if (wait := due - 1 - self._now()) > 0:
                    valid.value = 0
                    await self._skip(wait)
                answer.value = value
                valid.value = 1
                await edge
                while not ready.value:
                    await edge
            valid.value = 0
            came.clear()
            await came.wait()
