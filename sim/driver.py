"""Drivers of the accelerator's ports, which run inside the simulator and check the handshakes.

Every value is sampled at the rising clock edge, before the edge takes effect: what a register
would see. Nothing here wakes up while the accelerator computes, so that the simulator runs free.
"""

import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import First, RisingEdge, Timer

from smartdeal.sim.errors import PortError

__all__ = ["PERIOD_NS", "LoadStream", "RegisterBus", "StoreStream", "System", "number",
           "plus_argument"]

PERIOD_NS = 10
_RESET_CYCLES = 4
#: Cycles for which the store stream is watched for beats that nobody asked for.
_QUIET_CYCLES = 4


class System:
    """Clock, reset and interrupt of the device.

    Parameters
    ----------
    dut : cocotb handle
        The top module.
    """

    def __init__(self, dut: Any) -> None:
        self._dut = dut
        self.edge = RisingEdge(dut.clk)
        self._interrupt = dut.interrupt

    async def start(self) -> None:
        """Start the clock and reset the device."""
        self._dut.rst.value = 1
        Clock(self._dut.clk, PERIOD_NS, unit="ns").start()
        await self.reset()

    async def reset(self) -> None:
        """Reset the device."""
        self._dut.rst.value = 1
        for _ in range(_RESET_CYCLES):
            await self.edge
        self._dut.rst.value = 0
        await self.edge

    async def skip(self, cycles: int) -> None:
        """Let cycles pass."""
        if cycles > 1:
            await Timer(cycles * PERIOD_NS - PERIOD_NS // 2, unit="ns")
        if cycles > 0:
            await self.edge

    async def interrupt(self, limit_cycles: int) -> int | None:
        """Wait for the interrupt; return the cycles waited, or None if it does not come."""
        start = get_sim_time("ns")
        await self.edge
        if not self._interrupt.value:
            limit = Timer(limit_cycles * PERIOD_NS, unit="ns")
            await First(RisingEdge(self._interrupt), limit)
            await self.edge
        if not self._interrupt.value:
            return None
        return round(get_sim_time("ns") - start) // PERIOD_NS


class RegisterBus:
    """Reads and writes registers.

    Parameters
    ----------
    dut : cocotb handle
    edge : RisingEdge
        Of the clock.
    stall_cycles : int
        Cycles after which a transfer that is not ready fails.
    """

    def __init__(self, dut: Any, edge: RisingEdge, stall_cycles: int) -> None:
        self._valid, self._ready = dut.bus__valid, dut.bus__ready
        self._write, self._address = dut.bus__write, dut.bus__address
        self._write_data, self._read_data = dut.bus__write_data, dut.bus__read_data
        self._edge = edge
        self._stall_cycles = stall_cycles
        self._valid.value = 0
        self._write.value = 0
        self._address.value = 0
        self._write_data.value = 0

    async def write(self, address: int, value: int) -> None:
        """Write a register."""
        self._write.value = 1
        self._write_data.value = value
        await self._transfer(address)
        self._write.value = 0

    async def read(self, address: int) -> int:
        """Return the value of a register."""
        return await self._transfer(address)

    async def _transfer(self, address: int) -> int:
        self._address.value = address
        self._valid.value = 1
        for _ in range(self._stall_cycles):
            await self._edge
            if self._ready.value:
                self._valid.value = 0
                return 0 if self._write.value else number(self._read_data)
        raise PortError(f"bus: register {address:#04x} was not ready for {self._stall_cycles} "
                        "cycles")


class LoadStream:
    """Streams images into the device.

    Parameters
    ----------
    dut : cocotb handle
    edge : RisingEdge
    host_bits : int
        Width of the stream.
    idle : float
        Probability of a cycle without a beat.
    generator : random.Random
    stall_cycles : int
    """

    def __init__(self, dut: Any, edge: RisingEdge, *, host_bits: int, idle: float,
                 generator: random.Random, stall_cycles: int) -> None:
        self._payload, self._valid, self._ready = (
            dut.load__payload, dut.load__valid, dut.load__ready)
        self._edge = edge
        self._bytes = host_bits // 8
        self._idle, self._random = idle, generator
        self._stall_cycles = stall_cycles
        self._valid.value = 0
        self._payload.value = 0

    async def send(self, image: bytes) -> None:
        """Send an image, beat by beat; it is filled up to whole beats."""
        payload, valid, ready, edge = self._payload, self._valid, self._ready, self._edge
        width, idle, draw = self._bytes, self._idle, self._random.random
        for position in range(0, len(image), width):
            while idle and draw() < idle:
                valid.value = 0
                await edge
            payload.value = int.from_bytes(image[position:position + width], "little")
            valid.value = 1
            await edge
            if not ready.value:
                await self._until_ready(position // width)
        valid.value = 0

    async def _until_ready(self, beat: int) -> None:
        for _ in range(self._stall_cycles):
            await self._edge
            if self._ready.value:
                return
        raise PortError(f"load: beat {beat} was not taken for {self._stall_cycles} cycles")


class StoreStream:
    """Takes beats from the device, and checks that an offered beat stays until it is taken.

    Parameters are those of :class:`LoadStream`; ``idle`` is the probability of a cycle in which
    the bench takes nothing.
    """

    def __init__(self, dut: Any, edge: RisingEdge, *, host_bits: int, idle: float,
                 generator: random.Random, stall_cycles: int) -> None:
        self._payload, self._valid, self._ready = (
            dut.store__payload, dut.store__valid, dut.store__ready)
        self._edge = edge
        self._bytes = host_bits // 8
        self._idle, self._random = idle, generator
        self._stall_cycles = stall_cycles
        self._ready.value = 0

    async def take(self, beats: int) -> bytes:
        """Return the next beats, and see that no more come."""
        payload, valid, ready, edge = self._payload, self._valid, self._ready, self._edge
        idle, draw = self._idle, self._random.random
        words: list[int] = []
        waited = 0
        offered: int | None = None  # a beat that was offered and not taken
        while len(words) < beats:
            taking = not (idle and draw() < idle)
            ready.value = int(taking)
            await edge
            if valid.value:
                word = number(payload)
                if offered is not None and word != offered:
                    raise PortError(f"store: beat {len(words)} changed from {offered:#x} to "
                                    f"{word:#x} before it was taken")
                offered, waited = (None, 0) if taking else (word, 0)
                if taking:
                    words.append(word)
            elif offered is not None:
                raise PortError(f"store: beat {len(words)} was withdrawn before it was taken")
            else:
                waited += 1
                if waited > self._stall_cycles:
                    raise PortError(f"store: beat {len(words)} of {beats} did not come for "
                                    f"{self._stall_cycles} cycles")
        ready.value = 0
        await self.expect_quiet(f"after {beats} beats")
        return b"".join(word.to_bytes(self._bytes, "little") for word in words)

    async def expect_quiet(self, when: str) -> None:
        """Check that the device offers no beat."""
        for _ in range(_QUIET_CYCLES):
            await self._edge
            if self._valid.value:
                raise PortError(f"store: a beat that nobody asked for, {when}")


def number(handle: Any) -> int:
    """Return the value of a port.

    Raises
    ------
    PortError
        If some of its bits are unknown.
    """
    bits = str(handle.value)  # several times faster than the value's own conversions
    try:
        return int(bits, 2)
    except ValueError:
        raise PortError(f"{handle._name} has unknown bits: {bits}") from None


def plus_argument(name: str) -> str:
    """Return the value of a ``+name=value`` argument of the simulator."""
    value = cocotb.plusargs.get(name)
    if not isinstance(value, str):
        raise PortError(f"the simulator was started without +{name}=…")
    return value
