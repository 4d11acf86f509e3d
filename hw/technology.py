"""Technologies whose cells a few components use directly, where that is smaller.

A technology changes which cells compute, never what is computed: the same tests and proofs hold
each of them against the plain operators, which stay the definition.
"""

import enum
from collections.abc import Callable, Sequence
from typing import Any

from amaranth import *

__all__ = ["TECHNOLOGIES", "Technology", "carry_chain", "lut4", "table_of", "technology_of"]


class Technology(enum.Enum):
    """Cell library of the generated Verilog."""

    GENERIC = "generic"  #: plain operators, for every synthesis tool
    ECP5 = "ecp5"        #: Lattice ECP5: carry cells CCU2C, tables LUT4 with PFUMX and L6MUX21


#: By name, what :func:`smartdeal.hw.verilog.emit` takes.
TECHNOLOGIES = {technology.value: technology for technology in Technology}


def technology_of(platform: Any) -> Technology:
    """Return the technology that a design is elaborated for; without one, plain operators."""
    return getattr(platform, "technology", None) or Technology.GENERIC


def lut4(table: int, inputs: Sequence[Value], output: Value) -> Instance:
    """Return a four-input table; bit i of ``table`` is its value at inputs[3]·8 + … + inputs[0]."""
    ports = {f"i_{name}": value for name, value in zip("ABCD", inputs, strict=True)}
    return Instance("LUT4", p_INIT=Const(table, 16), **ports, o_Z=output)


def table_of(function: Callable[[int, int, int, int], int]) -> int:
    """Return the table of a function of four bits, for :func:`lut4` and :func:`carry_chain`."""
    return sum(function(*(index >> bit & 1 for bit in range(4))) << index for index in range(16))


def carry_chain(m: Any, bits: Sequence[tuple[int, Sequence[Value], Value | None]]) -> None:
    """Add a chain of CCU2C cells to a module, from the lowest bit up; the first carry is 0.

    A bit is (table, four inputs, output or None). Its output is the table xor the carry that comes
    in; where the table gives 1, that carry goes on, and elsewhere the carry is what the table's
    quarter for inputs[2] = inputs[3] = 0 gives for the first two.
    """
    unused = (0, (Const(0),) * 4, None)
    halves = [*bits, *[unused] * (len(bits) % 2)]
    carry  = Const(0)
    for index in range(0, len(halves), 2):
        following = Signal(name=f"carry_{index // 2}")
        ports = {"i_CIN": carry, "o_COUT": following}
        for half in range(2):
            table, inputs, output = halves[index + half]
            ports |= {f"p_INIT{half}": Const(table, 16), f"p_INJECT1_{half}": "NO"}
            ports |= {f"i_{name}{half}": value
                      for name, value in zip("ABCD", inputs, strict=True)}
            if output is not None:
                ports[f"o_S{half}"] = output
        m.submodules[f"add_{index // 2}"] = Instance("CCU2C", **ports)
        carry = following
