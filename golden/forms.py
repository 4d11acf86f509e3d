"""Weight forms as the exact integers that the hardware uses.

Two kinds of form lower to steps of the array:

- :class:`TermWeights`: a weight is a sum of signed powers of two (DeepShift, two terms, int8 as
  canonical signed digits); one array row per filter.
- :class:`BasisWeights`: W = Ce · B with Ce sparse signed powers of two and B a small basis per
  slice (SmartExchange); three array rows per filter.

Both say what integer weight they stand for (:meth:`integer`), with real weight = integer · scale.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.formats import BASIS_SIZE

__all__ = ["BasisWeights", "TermWeights", "Weights", "select_filters", "select_inputs"]


@dataclass(frozen=True, eq=False)
class TermWeights:
    """Weights as sums of signed powers of two: Σ_t sign[t] · 2^exponent[t].

    Parameters
    ----------
    sign : int8 array, (terms, M, C, kh, kw)
        -1, 0 or +1; 0 means no term.
    exponent : int8 array, (terms, M, C, kh, kw)
        0…E-1 where the sign is not 0.
    scale : float64 array, (M,)
        Real weight of one unit, per filter.
    """

    sign: NDArray[np.int8]
    exponent: NDArray[np.int8]
    scale: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape (M, C, kh, kw) of the layer's weights."""
        _, m, c, kh, kw = self.sign.shape
        return m, c, kh, kw

    def integer(self) -> NDArray[np.int64]:
        """Return the integer weights, (M, C, kh, kw)."""
        return (self.sign.astype(np.int64) << self.exponent.astype(np.int64)).sum(axis=0)

    def nonzero_terms(self) -> int:
        """Return the number of non-zero coefficients."""
        return int(np.count_nonzero(self.sign))


@dataclass(frozen=True, eq=False)
class BasisWeights:
    """Weights as Ce · B, one basis per filter and slice (SmartExchange, section III).

    With ``axis`` "kernel" (3×3 convolutions) vector v = c·3 + r is the kernel row (c, r), and
    W[m, c, r, s] = Σ_k Ce[m, v, k] · B[m, slice(v), k, s] << align[m, slice(v)].
    With ``axis`` "channel" (1×1 and linear) vector v is the three neighbouring input channels
    3v…3v+2, and W[m, 3v + s] is the same sum; channels past the last are padding.

    Parameters
    ----------
    axis : "kernel" or "channel"
    sign, exponent : int8 arrays, (M, V, 3)
        Ce as sign (-1, 0, +1) and exponent 0…E-1.
    basis : int8 array, (M, slices, 3, 3)
        B[k, s], -127…127.
    align : int8 array, (M, slices)
        Left shift of a slice's products, 0…15.
    slice_starts : tuple of int, slices + 1 entries
        Slice i holds vectors slice_starts[i] … slice_starts[i+1]-1.
    channels : int
        C, input channels.
    scale : float64 array, (M,)
        Real weight of one unit, per filter.
    """

    axis: Literal["kernel", "channel"]
    sign: NDArray[np.int8]
    exponent: NDArray[np.int8]
    basis: NDArray[np.int8]
    align: NDArray[np.int8]
    slice_starts: tuple[int, ...]
    channels: int
    scale: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape (M, C, kh, kw) of the layer's weights."""
        kernel = BASIS_SIZE if self.axis == "kernel" else 1
        return len(self.sign), self.channels, kernel, kernel

    def integer(self) -> NDArray[np.int64]:
        """Return the integer weights, (M, C, kh, kw)."""
        m, vectors, size = self.sign.shape
        ce = self.sign.astype(np.int64) << self.exponent.astype(np.int64)
        rebuilt = np.zeros((m, vectors, size), np.int64)
        for i, (start, stop) in enumerate(zip(self.slice_starts, self.slice_starts[1:],
                                              strict=False)):
            product = ce[:, start:stop] @ self.basis[:, i].astype(np.int64)
            rebuilt[:, start:stop] = product << self.align[:, i, None, None].astype(np.int64)
        if self.axis == "kernel":
            return rebuilt.reshape(m, self.channels, BASIS_SIZE, BASIS_SIZE)
        return rebuilt.reshape(m, vectors * size)[:, :self.channels, None, None]

    def nonzero_terms(self) -> int:
        """Return the number of non-zero entries of Ce."""
        return int(np.count_nonzero(self.sign))

    def zero_vectors(self) -> float:
        """Return the fraction of all-zero (filter, vector) rows of Ce, which need no step."""
        return float(np.mean(~self.sign.any(axis=2)))


Weights = TermWeights | BasisWeights


def select_filters(weights: Weights, keep: NDArray[np.bool_]) -> Weights:
    """Return weights of some filters, (M,) bool."""
    if isinstance(weights, TermWeights):
        return TermWeights(weights.sign[:, keep], weights.exponent[:, keep], weights.scale[keep])
    return replace(weights, sign=weights.sign[keep], exponent=weights.exponent[keep],
                   basis=weights.basis[keep], align=weights.align[keep], scale=weights.scale[keep])


def select_inputs(weights: Weights, keep: NDArray[np.bool_]) -> Weights:
    """Return weights of some input channels, (C,) bool.

    Raises
    ------
    ValueError
        If three neighbouring channels form a vector, which cannot lose one.
    """
    if isinstance(weights, TermWeights):
        return replace(weights, sign=weights.sign[:, :, keep],
                       exponent=weights.exponent[:, :, keep])
    if weights.axis == "channel":
        raise ValueError("vectors of three input channels cannot lose one")
    vectors = keep.repeat(BASIS_SIZE)
    starts = np.concatenate(([0], np.cumsum(vectors)))[list(weights.slice_starts)]
    used = np.diff(starts) > 0
    return replace(weights, sign=weights.sign[:, vectors], exponent=weights.exponent[:, vectors],
                   basis=weights.basis[:, used], align=weights.align[:, used],
                   slice_starts=(0, *(int(stop) for stop in starts[1:][used])),
                   channels=int(keep.sum()))
