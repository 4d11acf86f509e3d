"""Rounding to signed powers of two, vectorised.

Every form rounds in the linear domain with ties to the smaller magnitude, as the decomposition of
SmartExchange does (switch point 1.5 · 2^n). DeepShift alone rounds in the log domain (switch point
√2 · 2^n) and has no way to zero, as published (DeepShift-Q, section 3).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["round_linear", "round_log", "to_exponents"]

# IEEE 754 double: 52 bits of mantissa below the exponent.
_EXPONENT_MASK = np.int64(0x7FF0_0000_0000_0000)
#: Just less than half a binade: carries into the exponent above 1.5 · 2^n, not at it.
_BELOW_HALF = np.int64(0x0007_FFFF_FFFF_FFFF)


def round_linear(values: NDArray[np.float64], exponents: int) -> NDArray[np.float64]:
    """Round to the nearest of 0 and ±2^e, e in 0…E-1; ties go to the smaller magnitude.

    Parameters
    ----------
    values : float64 array, any shape, finite
    exponents : int
        E.

    Returns
    -------
    float64 array of the same shape
        Exact powers of two and zeros.
    """
    magnitude = np.abs(values)
    bits = magnitude.view(np.int64)
    power = ((bits + _BELOW_HALF) & _EXPONENT_MASK).view(np.float64)
    # Between ½ and 1 the nearest is 1, at ½ and below it is 0.
    power = np.clip(power, 1.0, float(1 << (exponents - 1)))
    return np.copysign(power * (magnitude > 0.5), values)


def round_log(values: NDArray[np.float64], exponents: int) -> NDArray[np.float64]:
    """Round to sign · 2^round(log2|x|), clamped to e in 0…E-1; only an exact zero stays zero.

    Parameters
    ----------
    values : float64 array, any shape, finite
    exponents : int
        E.

    Returns
    -------
    float64 array of the same shape
        Exact powers of two and zeros.
    """
    fraction, exponent = np.frexp(np.abs(values))
    nearest = np.where(fraction > np.sqrt(0.5), exponent, exponent - 1)
    power = np.ldexp(1.0, np.clip(nearest, 0, exponents - 1))
    return np.sign(values) * power


def to_exponents(
    powers: NDArray[np.float64],
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Split exact powers of two into sign (-1, 0, +1) and exponent (0 where the sign is 0)."""
    sign = np.sign(powers).astype(np.int8)
    exponent = np.frexp(powers)[1] - 1
    return sign, np.where(sign == 0, 0, exponent).astype(np.int8)
