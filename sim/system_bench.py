"""What each operation of a job does at the ports of an AXI system."""

import random
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Any, Protocol

import cocotb
from cocotb.triggers import Event, First

from smartdeal.sim.axi_lite import AxiLiteMaster
from smartdeal.sim.axi_memory import RegularMemory
from smartdeal.sim.axi_random import RandomMemory
from smartdeal.sim.axi_storage import CANARY, Storage
from smartdeal.sim.driver import System
from smartdeal.sim.errors import PortError
from smartdeal.sim.job import (
    Count,
    Dump,
    Fault,
    Fill,
    Job,
    Memory,
    Operation,
    Pass,
    Poll,
    Read,
    Reset,
    Result,
    Wait,
    Write,
)

__all__ = ["ControlPort", "MemoryPort", "SystemBench"]

_POLL_CYCLES = 50


class ControlPort(Protocol):
    """What masters of a control port can."""

    def reset(self) -> None:
        """Offer nothing."""

    async def write(self, address: int, value: int) -> None:
        """Write a register."""

    async def read(self, address: int) -> int:
        """Return the value of a register."""
        ...


class MemoryPort(Protocol):
    """What memories at a data port can."""

    def reset(self) -> None:
        """Forget what is under way."""

    def start(self) -> None:
        """Serve the port."""


class SystemBench:
    """A host at the control port, a memory at the data port.

    Parameters
    ----------
    dut : cocotb handle
        The top module.
    job : Job
    memory : Memory
        The job's.
    """

    def __init__(self, dut: Any, job: Job, memory: Memory) -> None:
        self._system = System(dut)
        self.storage = Storage(memory.base, bytearray([CANARY]) * memory.bytes,
                                job.host_bits // 8)
        self._failed = Event()
        self._failure: PortError | None = None
        self._host = self.control_port(dut, job)
        self._memory = self.memory_port(dut, job, memory)

    def control_port(self, dut: Any, job: Job) -> ControlPort:
        """Return the master of the control port."""
        return AxiLiteMaster(dut, self._system.edge, job.stall_cycles, idle=job.idle,
                             generator=random.Random(job.seed))

    def memory_port(self, dut: Any, job: Job, memory: Memory) -> MemoryPort:
        """Return the memory at the data port."""
        edge = self._system.edge
        if memory.pause:
            return RandomMemory(dut, edge, self.storage, self._fail, pause=memory.pause,
                                seed=job.seed)
        return RegularMemory(dut, edge, self.storage, self._fail,
                             latency_cycles=memory.latency_cycles, beat_cycles=memory.beat_cycles)

    def _fail(self, error: PortError) -> None:
        self._failure = self._failure or error
        self._failed.set()

    async def start(self) -> None:
        """Reset the device and serve its data port."""
        await self._system.start()
        self._memory.start()

    async def perform(self, operation: Operation) -> Result:
        """Do an operation and return its result.

        Raises
        ------
        PortError
            If the device breaks a rule, now or beside the operation.
        """
        match operation:
            case Fill(address, data):
                return self.storage.fill(address, data)
            case Dump(address, size):
                return self.storage.dump(address, size)
            case Fault(address, size):
                faults = self.storage.faults
                return faults.append((address, address + size)) if size else faults.clear()
            case Count(name):
                return asdict(self.storage.traffic)[name]
            case Write(address, value):
                return await self._watched(self._host.write(address, value))
            case Read(address):
                return await self._watched(self._host.read(address))
            case Wait(limit_cycles):
                return await self._watched(self._system.interrupt(limit_cycles))
            case Poll(address, mask, limit_cycles):
                return await self._watched(self._poll(address, mask, limit_cycles))
            case Pass(cycles):
                return await self._watched(self._system.skip(cycles))
            case Reset():
                self._memory.reset()
                self._host.reset()
                await self._system.reset()
                return self._memory.start()
        raise PortError(f"an AXI system has no stream for the operation "
                        f"{type(operation).__name__}")

    async def _poll(self, address: int, mask: int, limit_cycles: int) -> int | None:
        for count in range(1, limit_cycles // _POLL_CYCLES + 2):
            if not await self._host.read(address) & mask:
                return count
            await self._system.skip(_POLL_CYCLES)
        return None

    async def _watched(self, action: Coroutine[Any, Any, Result]) -> Result:
        """Wait for an action, or for the memory to see a broken rule."""
        task = cocotb.start_soon(action)
        await First(task, self._failed.wait())
        if self._failure is not None:
            task.cancel()
            raise self._failure
        return task.result()
