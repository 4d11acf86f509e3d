"""Forms of one and more power-of-two terms per weight: DeepShift, two terms, int8 exactly."""

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.forms import TermWeights
from smartdeal.golden.options import FormError, FormOptions
from smartdeal.golden.powers import round_linear, round_log, to_exponents

__all__ = ["INT8_MAX", "deepshift", "int8", "int8_digits", "round_terms", "signed_digits",
           "three_terms", "two_terms"]

#: Gains that are tried per binade when a filter's scale is chosen.
_GAINS_PER_BINADE = 8
#: Largest magnitude of an int8 weight; -128 is not used.
INT8_MAX = 127
#: Canonical signed digits of ±127 reach 2^7.
_INT8_EXPONENTS = 8
_INT8_TERMS = 4


def _candidates(
    weights: NDArray[np.float64], exponents: int, binades: float,
) -> NDArray[np.float64]:
    """Return scales to try, (gains, M): the largest weight from √½ to 2^binades · 2^(E-1) units."""
    peak = np.abs(weights).max(axis=1, initial=0.0)
    peak[peak == 0] = float(1 << (exponents - 1))
    steps = np.arange(-_GAINS_PER_BINADE // 2, int(binades * _GAINS_PER_BINADE) + 1)
    return peak * 2.0 ** (1 - exponents - steps[:, None] / _GAINS_PER_BINADE)


def _single(scaled: NDArray[np.float64], exponents: int) -> NDArray[np.float64]:
    return round_log(scaled, exponents)[None]


def _several(scaled: NDArray[np.float64], exponents: int, terms: int) -> NDArray[np.float64]:
    powers = np.zeros((terms, *scaled.shape))
    rest = scaled
    for term in range(terms):
        powers[term] = round_linear(rest, exponents)
        rest = rest - powers[term]
    return powers


def _best_scale(weights: NDArray[np.float64], options: FormOptions, terms: int) -> TermWeights:
    """Choose per filter the scale with the least squared error, and round with it."""
    rows = weights.reshape(len(weights), -1)
    best = np.full(len(rows), np.inf)
    scale = np.ones(len(rows))
    powers = np.zeros((terms, *rows.shape))
    for candidate in _candidates(rows, options.exponents, binades=1.5):
        scaled = rows / candidate[:, None]
        rounded = (_single(scaled, options.exponents) if terms == 1
                   else _several(scaled, options.exponents, terms))
        error = rows - rounded.sum(axis=0) * candidate[:, None]
        squared = np.einsum("mn,mn->m", error, error)
        better = squared < best
        best[better] = squared[better]
        scale[better] = candidate[better]
        powers[:, better] = rounded[:, better]
    sign, exponent = to_exponents(powers.reshape(terms, *weights.shape))
    return TermWeights(sign, exponent, scale)


def deepshift(weights: NDArray[np.float64], options: FormOptions) -> TermWeights:
    """Form DeepShift-Q weights: one term, log-domain rounding of weight / scale.

    As published every non-zero weight is clamped into the range, so small ones are pushed up to
    the lowest exponent and only an exact zero stays zero. The scale is free, since it folds into
    the requantisation; per filter the best of a few is taken.

    Parameters
    ----------
    weights : float64 array, (M, C, kh, kw)
    """
    return _best_scale(weights, options, terms=1)


def two_terms(weights: NDArray[np.float64], options: FormOptions) -> TermWeights:
    """Form weights of two terms: the nearest power of two, then that of the remainder.

    Parameters
    ----------
    weights : float64 array, (M, C, kh, kw)
    """
    return _best_scale(weights, options, terms=2)


def three_terms(weights: NDArray[np.float64], options: FormOptions) -> TermWeights:
    """Form weights of three terms: two as in :func:`two_terms`, and that of what they leave.

    Parameters
    ----------
    weights : float64 array, (M, C, kh, kw)
    """
    return _best_scale(weights, options, terms=3)


def round_terms(
    weights: NDArray[np.float64], scale: NDArray[np.float64], exponents: int, terms: int,
) -> TermWeights:
    """Round weights / scale to so many terms, each the nearest power of two of what is left.

    Parameters
    ----------
    weights : float64 array, (M, C, kh, kw)
    scale : float64 array, (M,)
    """
    rest = weights / scale[:, None, None, None]
    powers: list[NDArray[np.float64]] = []
    for _ in range(terms):
        powers.append(round_linear(rest, exponents))
        rest = rest - powers[-1]
    sign, exponent = to_exponents(np.stack(powers))
    return TermWeights(sign, exponent, scale)


def signed_digits(limit: int, terms: int) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Tabulate canonical signed digits (no two neighbours non-zero) of -limit…limit.

    Returns
    -------
    sign, exponent : int8 arrays, (terms, 2 · limit + 1)
        The digits of value v in column v + limit, from the lowest up, sign 0 behind the last.
    """
    sign = np.zeros((terms, 2 * limit + 1), np.int8)
    exponent = np.zeros_like(sign)
    for value in range(-limit, limit + 1):
        rest, position, term = value, 0, 0
        while rest:
            if rest % 2:
                digit = 2 - rest % 4
                sign[term, value + limit], exponent[term, value + limit] = digit, position
                rest -= digit
                term += 1
            rest //= 2
            position += 1
    return sign, exponent


def int8(weights: NDArray[np.float64], options: FormOptions) -> TermWeights:
    """Form symmetric int8 weights, -127…127 per filter, as canonical signed digits.

    Parameters
    ----------
    weights : float64 array, (M, C, kh, kw)

    Raises
    ------
    FormError
        If there are fewer than 8 exponents: 127 is 2^7 - 2^0.
    """
    peak = np.abs(weights).max(axis=(1, 2, 3), initial=0.0)
    scale = np.where(peak > 0, peak, INT8_MAX) / INT8_MAX
    quantised = np.rint(weights / scale[:, None, None, None]).astype(np.int64)
    return TermWeights(*int8_digits(quantised, options), scale)


def int8_digits(
    weights: NDArray[np.int64], options: FormOptions,
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Return integers -127…127 as canonical signed digits: sign and exponent, (terms, …).

    Raises
    ------
    FormError
        If there are fewer than 8 exponents: 127 is 2^7 - 2^0.
    """
    if options.exponents < _INT8_EXPONENTS:
        raise FormError(f"int8 weights need at least {_INT8_EXPONENTS} exponents, "
                        f"not {options.exponents}")
    sign, exponent = signed_digits(INT8_MAX, _INT8_TERMS)
    index = weights + INT8_MAX
    used = max(1, int(np.count_nonzero(sign[:, index], axis=0).max(initial=0)))
    return sign[:used, index], exponent[:used, index]
