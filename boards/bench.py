"""The simulator's side of a simulated board: a cocotb test that a socket tells what to do.

Commands are a letter and a number of 8 bytes: ``W`` sends so many bytes, which follow; ``R``
answers with a count of 4 bytes and the bytes that came, after at most so many cycles of waiting
for one; ``B`` sets the cycles of a bit; ``P`` lets cycles pass; ``Q`` ends the simulation.
"""

import socket
import struct
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, First, RisingEdge, Timer

from smartdeal.sim.driver import plus_argument

__all__ = ["COMMAND", "run_board"]

COMMAND = struct.Struct("<cQ")
_PERIOD_NS = 10
_RESET_CYCLES = 4


class _Board:
    """The line, byte by byte."""

    def __init__(self, dut: Any) -> None:
        self._dut = dut
        self._received = bytearray()
        self._arrival = RisingEdge(dut.o_valid)
        dut.i__valid.value = 0
        dut.i__payload.value = 0

    async def start(self, divisor: int) -> None:
        self._dut.divisor.value = divisor
        self._dut.rst.value = 1
        Clock(self._dut.clk, _PERIOD_NS, unit="ns").start()
        await self.wait(_RESET_CYCLES)
        self._dut.rst.value = 0
        await self.wait(_RESET_CYCLES)
        cocotb.start_soon(self._collect())

    async def wait(self, cycles: int) -> None:
        await Timer(max(1, cycles) * _PERIOD_NS, unit="ns")

    async def _collect(self) -> None:
        while True:
            await self._arrival
            self._received.append(int(str(self._dut.o_data.value), 2))

    async def send(self, data: bytes) -> None:
        taken = FallingEdge(self._dut.i__ready)
        for byte in data:
            self._dut.i__payload.value = byte
            self._dut.i__valid.value = 1
            await taken
        self._dut.i__valid.value = 0

    async def sent(self) -> None:
        if not self._dut.i__ready.value:
            await RisingEdge(self._dut.i__ready)

    async def receive(self, cycles: int) -> bytes:
        if not self._received and cycles:
            await First(self._arrival, Timer(cycles * _PERIOD_NS, unit="ns"))
            await self.wait(1)
        result = bytes(self._received)
        self._received.clear()
        return result

    async def set_divisor(self, divisor: int) -> None:
        await self.sent()
        self._dut.divisor.value = divisor
        await self.wait(1)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            return b""
        data += part
    return data


@cocotb.test()
async def run_board(dut: Any) -> None:
    """Do what the socket ``+socket=`` says, until it says ``Q`` or closes."""
    connection = socket.socket(fileno=int(plus_argument("socket")))
    board = _Board(dut)
    await board.start(int(plus_argument("divisor")))
    while header := _exactly(connection, COMMAND.size):
        command, number = COMMAND.unpack(header)
        if command == b"W":
            await board.send(_exactly(connection, number))
        elif command == b"R":
            data = await board.receive(number)
            connection.sendall(len(data).to_bytes(4, "little") + data)
        elif command == b"B":
            await board.set_divisor(number)
        elif command == b"P":
            await board.wait(number)
        else:
            break
    connection.close()
