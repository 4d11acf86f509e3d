"""Energy of arithmetic by width, the same rule for every design that is compared.

A table gives 8-bit operations. An adder, a shifter and a register grow with their width, a
multiplier with the product of its operands' widths.
"""

from smartdeal.sim.energy.technology import Technology

__all__ = ["add_pj", "multiply_pj", "register_pj", "shift_pj", "wide_sram_pj"]

_BITS = 8
#: Bytes that one macro gives per access; a wider word is a row of macros.
MACRO_BYTES = 8


def add_pj(bits: int, technology: Technology) -> float:
    """Return the energy of an addition."""
    return technology["add"] * bits / _BITS


def shift_pj(bits: int, technology: Technology) -> float:
    """Return the energy of a shift, by the width of its result."""
    return technology["shift"] * bits / _BITS


def multiply_pj(left_bits: int, right_bits: int, technology: Technology) -> float:
    """Return the energy of a multiplication."""
    return technology["multiply"] * left_bits * right_bits / _BITS**2


def register_pj(bits: int, technology: Technology) -> float:
    """Return the energy of writing a register."""
    return technology["register"] * bits


def wide_sram_pj(word_bits: int, words: int, technology: Technology) -> float:
    """Return the energy of one access to a memory of so many words.

    A word of more than :data:`MACRO_BYTES` bytes is a row of macros, each with its share of the
    capacity.
    """
    size = word_bits / _BITS
    macros = max(1.0, size / MACRO_BYTES)
    return size * technology.sram(size * words / macros)
