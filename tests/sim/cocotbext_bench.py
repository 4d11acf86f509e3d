"""The bench for AXI systems with the bus models of cocotbext-axi in place of our own.

It does the same jobs. ``memory.pause`` is how often each channel of the memory does nothing,
``idle`` how often each channel of the control port's master does.
"""

import random
from collections.abc import Iterator
from itertools import count
from typing import Any

import cocotb
from cocotb.types import LogicArray
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiResp, AxiSlave

from smartdeal.sim.axi_storage import Storage
from smartdeal.sim.bench import Bench, perform_job
from smartdeal.sim.errors import PortError
from smartdeal.sim.job import Job, Memory
from smartdeal.sim.system_bench import ControlPort, MemoryPort, SystemBench


class Zero:
    """A port that the device does not have: an ID, of which it knows only this one."""

    def __len__(self) -> int:
        return 1

    @property
    def value(self) -> LogicArray:
        """Always 0."""
        return LogicArray(0, 1)

    @value.setter
    def value(self, value: object) -> None:
        """Do nothing."""

    def setimmediatevalue(self, value: object) -> None:
        """Do nothing."""


class WithIds:
    """The device with IDs on its data port, which cocotbext-axi wants."""

    def __init__(self, dut: Any) -> None:
        self._dut = dut
        for channel in ("ar", "r", "aw", "b"):
            setattr(self, f"memory__{channel}id", Zero())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dut, name)

    def __dir__(self) -> list[str]:
        return [*dir(self._dut), *(name for name in vars(self) if name.endswith("id"))]


class Target:
    """Storage as the slave reads and writes it; a fault is an exception."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    async def read(self, address: int, length: int) -> bytes:
        """Return bytes."""
        self._check(address, length)
        self.storage.traffic.bytes_read += length
        return self.storage.dump(address, length)

    async def write(self, address: int, data: bytes) -> None:
        """Take bytes."""
        self._check(address, len(data))
        self.storage.traffic.bytes_written += len(data)
        self.storage.fill(address, data)

    def _check(self, address: int, size: int) -> None:
        if any(first < address + size and address < end for first, end in self.storage.faults):
            raise RuntimeError("fault")


def pauses(probability: float, seed: str) -> Iterator[bool]:
    draw = random.Random(seed).random
    return (draw() < probability for _ in count())


class Slave:
    """The memory; it follows the device's reset by itself."""

    def __init__(self, dut: Any, storage: Storage, job: Job, memory: Memory) -> None:
        slave: Any = AxiSlave(AxiBus.from_prefix(WithIds(dut), "memory_"), dut.clk, dut.rst,
                              target=Target(storage))
        if memory.pause:
            for number, channel in enumerate((
                    slave.write_if.aw_channel, slave.write_if.w_channel, slave.write_if.b_channel,
                    slave.read_if.ar_channel, slave.read_if.r_channel)):
                channel.set_pause_generator(pauses(memory.pause, f"{job.seed}-{number}"))

    def reset(self) -> None:
        """Do nothing."""

    def start(self) -> None:
        """Do nothing."""


class Master:
    """The host's control port."""

    def __init__(self, dut: Any, job: Job) -> None:
        self._master: Any = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "control_"), dut.clk, dut.rst)
        if job.idle:
            write, read = self._master.write_if, self._master.read_if
            for number, channel in enumerate((
                    write.aw_channel, write.w_channel, write.b_channel, read.ar_channel,
                    read.r_channel)):
                channel.set_pause_generator(pauses(job.idle, f"{job.seed}-control-{number}"))

    def reset(self) -> None:
        """Do nothing."""

    async def write(self, address: int, value: int) -> None:
        """Write a register."""
        answer = await self._master.write(address, value.to_bytes(4, "little"))
        if answer.resp != AxiResp.OKAY:
            raise PortError(f"control: write of {address:#x} was answered with {answer.resp}")

    async def read(self, address: int) -> int:
        """Return the value of a register."""
        answer = await self._master.read(address, 4)
        if answer.resp != AxiResp.OKAY:
            raise PortError(f"control: read of {address:#x} was answered with {answer.resp}")
        return int.from_bytes(answer.data, "little")


class CocotbextBench(SystemBench):
    """A host and a memory by cocotbext-axi."""

    def control_port(self, dut: Any, job: Job) -> ControlPort:
        return Master(dut, job)

    def memory_port(self, dut: Any, job: Job, memory: Memory) -> MemoryPort:
        return Slave(dut, self.storage, job, memory)


def make(dut: Any, job: Job) -> Bench:
    assert job.memory is not None
    return CocotbextBench(dut, job, job.memory)


@cocotb.test()
async def run_job(dut: Any) -> None:
    """Do the job."""
    await perform_job(dut, make)
