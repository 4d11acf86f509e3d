"""Few values for many weights: percentile pruning and weight sharing (Marinò et al. 2020-2022).

Each method returns, for n values, k shared values and which of them each gets. As in the published
package zeros, which pruning makes, are not shared: they stay zero. Journal names: CWS is
clustering, PWS probabilistic, UQ uniform, ECSQ entropy-constrained.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHARING", "entropy_constrained", "k_means", "probabilistic", "prune_percentile",
           "share", "uniform"]

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
_ROUNDS = 100
#: Weight of the codeword's length against the squared error, in units of the values' variance.
_LAMBDA = 0.5


def prune_percentile(weights: Floats, percentile: float) -> Floats:
    """Zero all weights whose magnitude is at most the given percentile of the magnitudes.

    Parameters
    ----------
    percentile : float
        0…100; 0 zeroes nothing.

    Raises
    ------
    ValueError
        If the percentile is out of range.
    """
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile must be from 0 to 100, not {percentile!r}")
    if percentile == 0:
        return weights.copy()
    limit = np.percentile(np.abs(weights), percentile)
    return np.where(np.abs(weights) > limit, weights, 0.0)


def _nearest(values: Floats, centres: Floats) -> Index:
    """Return the nearest of rising centres for each value; ties go to the lower."""
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, values, side="left").astype(np.int64)


def _means(values: Floats, index: Index, centres: Floats) -> Floats:
    counts = np.bincount(index, minlength=len(centres))
    sums = np.bincount(index, weights=values, minlength=len(centres))
    return np.where(counts > 0, sums / np.maximum(counts, 1), centres)


def k_means(values: Floats, k: int, rng: np.random.Generator) -> tuple[Floats, Index]:
    """Share by clustering (CWS): Lloyd's rounds from evenly spaced centres, until they stand.

    Returns
    -------
    centres, (k,), rising; index, (n,)
    """
    centres = np.linspace(values.min(), values.max(), k)
    for _ in range(_ROUNDS):
        moved = np.sort(_means(values, _nearest(values, centres), centres))
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres, _nearest(values, centres)


def probabilistic(values: Floats, k: int, rng: np.random.Generator) -> tuple[Floats, Index]:
    """Share at random without bias (PWS): each value becomes one of the two quantiles around it.

    The nearer one is likelier, so that the expected value is the value itself.
    """
    centres = np.quantile(values, np.linspace(0, 1, k))
    low = np.clip(np.searchsorted(centres, values, side="right") - 1, 0, max(k - 2, 0))
    high = np.minimum(low + 1, k - 1)
    width = centres[high] - centres[low]
    above = np.divide(values - centres[low], width, out=np.zeros_like(values), where=width > 0)
    return centres, np.where(rng.random(len(values)) < above, high, low)


def uniform(values: Floats, k: int, rng: np.random.Generator) -> tuple[Floats, Index]:
    """Share uniformly (UQ): the nearest of k evenly spaced values over the range."""
    centres = np.linspace(values.min(), values.max(), k)
    return centres, _nearest(values, centres)


def entropy_constrained(
    values: Floats, k: int, rng: np.random.Generator, weight: float = _LAMBDA,
) -> tuple[Floats, Index]:
    """Share so that the index is short, too (ECSQ): least (w - c)² / variance - weight · log2 p.

    ``p`` is how often a shared value is used; a rare one costs a long codeword and dies out.

    Parameters
    ----------
    weight : float
        Of a bit, at least 0; 0 is clustering.
    """
    centres, index = k_means(values, k, rng)
    variance = values.var() or 1.0
    scale = weight / k  # so that one weight suits few and many values
    for _ in range(_ROUNDS):
        share_ = np.bincount(index, minlength=k) / len(values)
        bits = -np.log2(np.where(share_ > 0, share_, 1.0))
        cost = np.where(share_ > 0, scale * bits, np.inf)
        distance = (values[:, None] - centres) ** 2 / variance
        moved = np.argmin(distance + cost, axis=1)
        if np.array_equal(moved, index):
            break
        index = moved
        centres = _means(values, index, centres)
    return centres, index


#: Ways of sharing by their journal names.
SHARING: dict[str, Callable[[Floats, int, np.random.Generator], tuple[Floats, Index]]] = {
    "cws": k_means, "pws": probabilistic, "uq": uniform, "ecsq": entropy_constrained,
}


def share(weights: Floats, method: str, k: int, seed: int = 0) -> Floats:
    """Return weights of at most k different values besides zero; zeros stay zero.

    Parameters
    ----------
    weights : float64 array, any shape
    method : str
        A key of :data:`SHARING`.

    Raises
    ------
    ValueError
        If the method is unknown, or k less than 2.
    """
    if method not in SHARING:
        raise ValueError(f"sharing must be one of {', '.join(SHARING)}, not {method!r}")
    if k < 2:
        raise ValueError(f"shared values must be at least 2, not {k!r}")
    shared = np.zeros_like(weights)
    used = weights != 0
    if used.any():
        centres, index = SHARING[method](weights[used], k, np.random.default_rng(seed))
        shared[used] = centres[index]
    return shared
