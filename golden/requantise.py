"""Turn real factors into the integer parameters of a requantisation."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.formats import REQUANTISE
from smartdeal.golden.forms import Weights
from smartdeal.golden.layers import Requantisation

__all__ = ["constant_unit", "dead_filters", "requantisation", "with_gain",
           "without_filters"]

#: Bits of a sum that a bias leaves free.
_BIAS_HEADROOM_BITS = 3
#: Resolution of a constant channel: units of the sum per output step, as a power of two.
_CONSTANT_BITS = 16


def without_filters(weights: Weights, dead: NDArray[np.bool_]) -> Weights:
    """Return weights with some filters, (M,) bool, set to zero."""
    sign = weights.sign.copy()
    exponent = weights.exponent.copy()
    axis = sign.ndim - (4 if sign.ndim == 5 else 3)  # terms come before the filters
    index = (slice(None),) * axis + (dead,)
    sign[index] = 0
    exponent[index] = 0
    return dataclasses.replace(weights, sign=sign, exponent=exponent)


def with_gain(weights: Weights, gain: NDArray[np.float64]) -> Weights:
    """Return weights times a gain per filter, (M,): its sign goes into the coefficients.

    The rest goes into the scale, so nothing is rounded.
    """
    sign = np.sign(gain).astype(np.int8)
    filters = sign[:, None, None, None] if weights.sign.ndim == 5 else sign[:, None, None]
    flipped = weights.sign * filters
    return dataclasses.replace(
        weights, sign=flipped, exponent=np.where(flipped != 0, weights.exponent, 0).astype(np.int8),
        scale=weights.scale * np.where(gain != 0, np.abs(gain), 1.0))


def dead_filters(
    unit: NDArray[np.float64], bias: NDArray[np.float64], sum_bits: int,
) -> NDArray[np.bool_]:
    """Return which filters' weights vanish beside their bias, so that it would not fit the sum.

    Parameters
    ----------
    unit, bias : float64 arrays, (M,)
        Real value of one unit of the sum, and the real bias.
    """
    return np.abs(bias) >= unit * 2.0 ** (sum_bits - _BIAS_HEADROOM_BITS)


def _multipliers(
    factor: NDArray[np.float64], shift: NDArray[np.int64],
) -> NDArray[np.int64]:
    return np.minimum(np.rint(np.ldexp(factor, shift)), REQUANTISE.max_multiplier).astype(np.int64)


def _full_shift(factor: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the shift with which round(factor · 2^shift) has all bits of a multiplier."""
    shift = REQUANTISE.multiplier_bits - np.frexp(factor)[1].astype(np.int64)
    overflow = np.rint(np.ldexp(factor, shift)) > REQUANTISE.max_multiplier
    return shift - overflow


def requantisation(
    unit: NDArray[np.float64], bias: NDArray[np.float64], output_scale: float,
    residual_scale: float | None,
) -> Requantisation:
    """Return the parameters for real = unit · sum + bias + residual.

    The multipliers have all their bits unless a shift would leave its range.

    Parameters
    ----------
    unit, bias : float64 arrays, (M,)
        Real value of one unit of the sum, and the real bias.
    output_scale, residual_scale : float
        Real value of one step of output and residual; None means no residual.
    """
    factor = unit / output_scale
    shift = np.clip(_full_shift(factor), 1, REQUANTISE.max_shift)
    residual_shift = np.zeros_like(shift)
    residual_multiplier = np.zeros_like(shift)
    if residual_scale is not None:
        ratio = np.full_like(factor, residual_scale / output_scale)
        # residual_shift = shift - full; what exceeds its range is taken from the shift.
        full = _full_shift(ratio)
        shift = np.maximum(np.minimum(shift, full + REQUANTISE.max_residual_shift), 1)
        residual_shift = np.clip(shift - full, 0, REQUANTISE.max_residual_shift)
        residual_multiplier = _multipliers(ratio, shift - residual_shift)
    return Requantisation(
        bias=np.rint(bias / unit).astype(np.int64), multiplier=_multipliers(factor, shift),
        residual_multiplier=residual_multiplier, shift=shift, residual_shift=residual_shift,
    )


def constant_unit(output_scale: float) -> float:
    """Return the real unit of a sum that is only a bias."""
    return output_scale * 2.0**-_CONSTANT_BITS
