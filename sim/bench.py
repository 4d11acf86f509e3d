"""The bench: a cocotb test that does a :class:`~smartdeal.sim.job.Job` at the ports.

It reaches nothing but the ports. Results go to ``results.jsonl`` and ``results.bin`` beside the
job, one line per operation as soon as it is done; a broken rule ends them with ``failed``.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO

import cocotb

from smartdeal.sim.driver import (
    LoadStream,
    RegisterBus,
    StoreStream,
    System,
    plus_argument,
)
from smartdeal.sim.errors import PortError
from smartdeal.sim.job import Job, Load, Operation, Pass, Read, Result, Store, Wait, Write
from smartdeal.sim.system_bench import SystemBench

__all__ = ["Bench", "perform_job", "run_job"]


class Bench(Protocol):
    """Drivers of a device."""

    async def start(self) -> None:
        """Reset the device."""

    async def perform(self, operation: Operation) -> Result:
        """Do an operation and return its result; raise :exc:`PortError` for a broken rule."""


class _StreamBench:
    """The drivers of one core, and what each operation does with them."""

    def __init__(self, dut: Any, job: Job) -> None:
        self._system = System(dut)
        edge = self._system.edge
        self._bus = RegisterBus(dut, edge, job.stall_cycles)
        # Generators of their own: the beats of one stream do not depend on the other's.
        self._load = LoadStream(dut, edge, host_bits=job.host_bits, idle=job.idle,
                                generator=random.Random(job.seed), stall_cycles=job.stall_cycles)
        self._store = StoreStream(dut, edge, host_bits=job.host_bits, idle=job.idle,
                                  generator=random.Random(job.seed + 1),
                                  stall_cycles=job.stall_cycles)

    async def start(self) -> None:
        await self._system.start()
        await self._store.expect_quiet("after reset")

    async def perform(self, operation: Operation) -> Result:
        match operation:
            case Load(image):
                return await self._load.send(image)
            case Write(address, value):
                return await self._bus.write(address, value)
            case Read(address):
                return await self._bus.read(address)
            case Wait(limit_cycles):
                return await self._system.interrupt(limit_cycles)
            case Store(beats):
                return await self._store.take(beats)
            case Pass(cycles):
                return await self._system.skip(cycles)
        raise PortError(f"the core has no memory for the operation {type(operation).__name__}")


def _record(result: Result, lines: TextIO, stored: BinaryIO) -> None:
    value: object = result
    if isinstance(result, bytes):
        value = [stored.tell(), len(result)]
        stored.write(result)
        stored.flush()
    lines.write(json.dumps({"result": value}) + "\n")
    lines.flush()


async def perform_job(dut: Any, make: Callable[[Any, Job], Bench]) -> None:
    """Do the job in the folder that ``+job=`` names, with the drivers that ``make`` returns."""
    folder = Path(plus_argument("job"))
    job = Job.open(folder)
    bench = make(dut, job)
    with (folder / "results.jsonl").open("w") as lines, \
         (folder / "results.bin").open("wb") as stored:
        try:
            await bench.start()
            for operation in job.operations:
                _record(await bench.perform(operation), lines, stored)
        except (PortError, ValueError) as error:  # ValueError: cocotb on an unknown bit
            lines.write(json.dumps({"failed": str(error)}) + "\n")
            raise


def _make(dut: Any, job: Job) -> Bench:
    return _StreamBench(dut, job) if job.memory is None else SystemBench(dut, job, job.memory)


@cocotb.test()
async def run_job(dut: Any) -> None:
    """Do the job with this project's own drivers."""
    await perform_job(dut, _make)
