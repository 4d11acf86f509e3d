"""Technologies whose cells a few components use directly, where that is smaller.

A technology changes which cells compute, never what is computed: the same tests and proofs hold
each of them against the plain operators, which stay the definition.
"""

import enum
from collections.abc import Sequence
from typing import Any

from amaranth import *

__all__ = ["TECHNOLOGIES", "Technology", "lut4", "technology_of"]


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
