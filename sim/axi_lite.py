"""An AXI4-Lite master, to run inside the simulator."""

import random
from typing import Any

from cocotb.triggers import RisingEdge

from smartdeal.hw.axi import Response
from smartdeal.sim.driver import number
from smartdeal.sim.errors import PortError

__all__ = ["AxiLiteMaster"]

_OUTPUTS = ("awaddr", "awprot", "awvalid", "wdata", "wstrb", "wvalid", "bready", "araddr", "arprot",
            "arvalid", "rready")


class AxiLiteMaster:
    """Reads and writes registers through the ports ``control__…``.

    Parameters
    ----------
    dut : cocotb handle
    edge : RisingEdge
        Of the clock.
    stall_cycles : int
        Cycles after which a transfer without an answer fails.
    idle : float
        Probability that a channel does not move in a cycle.
    generator : random.Random
    """

    def __init__(self, dut: Any, edge: RisingEdge, stall_cycles: int, *, idle: float,
                 generator: random.Random) -> None:
        self._dut, self._edge, self._stall_cycles = dut, edge, stall_cycles
        self._idle, self._random = idle, generator
        self.reset()

    def reset(self) -> None:
        """Offer nothing."""
        for name in _OUTPUTS:
            self._port(name).value = 0

    async def write(self, address: int, value: int) -> None:
        """Write a register."""
        for name, content in (("awaddr", address), ("wdata", value), ("wstrb", 0b1111)):
            self._port(name).value = content
        await self._transfer(("aw", "w"), "b", f"write of register {address:#04x}")

    async def read(self, address: int) -> int:
        """Return the value of a register."""
        self._port("araddr").value = address
        await self._transfer(("ar",), "r", f"read of register {address:#04x}")
        return number(self._port("rdata"))

    async def _transfer(self, request: tuple[str, ...], answer: str, what: str) -> None:
        """Offer a request on its channels and take the answer."""
        waiting, moving = set(request), set[str]()
        for _ in range(self._stall_cycles):
            for channel in (*request, answer):
                if channel not in moving and not (self._idle and
                                                  self._random.random() < self._idle):
                    moving.add(channel)
                    role = "ready" if channel == answer else "valid"
                    self._port(channel + role).value = 1
            await self._edge
            for channel in sorted(waiting & moving):
                if self._port(f"{channel}ready").value:
                    self._port(f"{channel}valid").value = 0
                    waiting.remove(channel)
            if self._port(f"{answer}valid").value:
                if waiting:
                    raise PortError(f"control: {what} was answered before it was taken")
                if answer not in moving:
                    continue
                self._port(f"{answer}ready").value = 0
                response = Response(number(self._port(f"{answer}resp")))
                if response != Response.OKAY:
                    raise PortError(f"control: {what} was answered with {response.name}")
                return
        raise PortError(f"control: {what} was not answered for {self._stall_cycles} cycles")

    def _port(self, name: str) -> Any:
        return getattr(self._dut, f"control__{name}")
