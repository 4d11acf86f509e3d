"""Drives a design with a port ``busy``: that is 1 for 32 cycles, then 0."""

from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from smartdeal.sim.driver import plus_argument

#: Cycles in which ``busy`` is 1.
WINDOW = 32


@cocotb.test()
async def run_window(dut: Any) -> None:
    """Reset, let some cycles pass, and open the window once."""
    dut.busy.value = 0
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    for busy, cycles in ((0, 3), (0, 5), (1, WINDOW), (0, 7)):
        dut.busy.value = busy
        for _ in range(cycles):
            await RisingEdge(dut.clk)
        dut.rst.value = 0
    folder = Path(plus_argument("job"))  # the job asks for nothing
    for name in ("results.jsonl", "results.bin"):
        (folder / name).touch()
