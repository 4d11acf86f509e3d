"""Number formats, defined once for golden model, compiler and hardware.

- Activations are signed 8 bits: real = scale · (q - zero_point).
- A coefficient is zero or ±2^e: :class:`CoefficientFormat`.
- A basis B holds signed 8-bit integers; slices are aligned by a left shift.
- Requantisation turns an exact sum into an activation: :class:`RequantiseFormat`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ACT_BITS", "ACT_MAX", "ACT_MIN", "BASIS_BITS", "BASIS_MAX", "BASIS_MIN", "BASIS_SIZE",
    "PACKED", "REQUANTISE", "CoefficientFormat", "RequantiseFormat", "wrap",
]

#: Bits of an activation, two's complement.
ACT_BITS = 8
ACT_MIN, ACT_MAX = -128, 127

#: Binary channels in a byte, the first one in bit 0: the bit is 1 for +1 and 0 for -1.
PACKED = 8

#: Rows and columns of a basis B (SmartExchange, section III: S × S with S = 3).
BASIS_SIZE = 3
#: Bits of an entry of B, two's complement. -128 is not used: B is symmetric.
BASIS_BITS = 8
BASIS_MIN, BASIS_MAX = -127, 127


@dataclass(frozen=True)
class CoefficientFormat:
    """A power-of-two coefficient: valid, sign, exponent 0…E-1. Zero is "not valid".

    Encoded from bit 0 as ``valid``, ``sign`` (1 is minus), ``exponent``; zero is all bits 0.

    Parameters
    ----------
    exponents : int
        E, the number of exponents.
    """

    exponents: int

    @property
    def exponent_bits(self) -> int:
        """Bits of the exponent field."""
        return (self.exponents - 1).bit_length()

    @property
    def bits(self) -> int:
        """Bits of an encoded coefficient."""
        return 2 + self.exponent_bits

    @property
    def max_magnitude(self) -> int:
        """Largest magnitude, 2^(E-1)."""
        return 1 << (self.exponents - 1)

    def encode(
        self, sign: NDArray[np.integer], exponent: NDArray[np.integer],
    ) -> NDArray[np.uint32]:
        """Encode coefficients given as sign (-1, 0, +1) and exponent, elementwise.

        Raises
        ------
        ValueError
            If a sign is not -1, 0 or 1, or a non-zero coefficient's exponent is not 0…E-1.
        """
        sign, exponent = np.asarray(sign, np.int64), np.asarray(exponent, np.int64)
        if np.any(np.abs(sign) > 1):
            raise ValueError(f"Sign must be -1, 0 or 1, not {sign[np.abs(sign) > 1].flat[0]!r}")
        wrong = (sign != 0) & ((exponent < 0) | (exponent >= self.exponents))
        if np.any(wrong):
            raise ValueError(f"Exponent must be 0 to {self.exponents - 1}, "
                             f"not {int(exponent[wrong].flat[0])}")
        code = 1 | ((sign < 0).astype(np.int64) << 1) | (exponent << 2)
        return np.where(sign != 0, code, 0).astype(np.uint32)

    def decode(self, code: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the integers that encoded coefficients stand for, elementwise."""
        code = np.asarray(code, np.int64)
        magnitude = np.int64(1) << ((code >> 2) & ((1 << self.exponent_bits) - 1))
        return np.where(code & 1, np.where(code & 2, -magnitude, magnitude), 0)


@dataclass(frozen=True)
class RequantiseFormat:
    """Widths of the requantisation parameters, one set per output channel.

    With ``acc`` the exact sum after the basis and all slices,

        t   = (acc + bias) · m  +  ((res - zp_res) · m_res << res_shift)
        q   = ((t + 2^(shift-1)) >> shift) + zp_out          arithmetic shift: round half up
        out = clamp(q, lo, hi)

    The bias has ``AcceleratorConfig.sum_bits`` bits. ``res_shift`` lets both operands keep a
    16-bit multiplier when the sum's unit is far finer than the residual's.
    """

    multiplier_bits: int = 16      #: m and m_res, unsigned
    shift_bits: int = 6            #: shift, 1…63
    residual_shift_bits: int = 5   #: res_shift, 0…31

    @property
    def max_multiplier(self) -> int:
        """Largest m and m_res."""
        return (1 << self.multiplier_bits) - 1

    @property
    def max_shift(self) -> int:
        """Largest shift; the smallest is 1."""
        return (1 << self.shift_bits) - 1

    @property
    def max_residual_shift(self) -> int:
        """Largest res_shift."""
        return (1 << self.residual_shift_bits) - 1

    def total_bits(self, sum_bits: int) -> int:
        """Bits of t: both products and their sum, without loss."""
        product = sum_bits + 1 + self.multiplier_bits
        residual = ACT_BITS + 1 + self.multiplier_bits + self.max_residual_shift
        return max(product, residual) + 1


#: The requantisation format; there is one.
REQUANTISE = RequantiseFormat()


def wrap(value: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Reduce integers to ``bits`` bits, two's complement, as a register of that width does."""
    half = np.int64(1) << (bits - 1)
    return ((value + half) & ((np.int64(1) << bits) - 1)) - half
