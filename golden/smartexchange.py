"""The decomposition W = Ce · B with all constraints of the hardware inside the fit.

After SmartExchange (Zhao et al., ISCA 2020, section III): alternate between Ce, whose entries are
zero or signed powers of two, and a small dense basis B. Here the E exponents and the int8 entries
of B bind in every round, so that each side makes up for the rounding of the other, and Ce is found
by coordinate descent on the true error instead of rounding a least-squares solution. The squared
error never grows from round to round. Rounding makes many local minima; a few restarts from a
perturbed basis leave the poor ones.

Filters and slices are independent problems and are solved side by side.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.formats import BASIS_MAX, BASIS_SIZE
from smartdeal.golden.forms import BasisWeights
from smartdeal.golden.options import FormOptions
from smartdeal.golden.powers import round_linear, to_exponents
from smartdeal.golden.vectors import to_vectors

__all__ = ["MAX_ALIGN", "smartexchange"]

#: Most left shift of a slice against the finest slice of its filter.
MAX_ALIGN = 15
#: Vectors solved side by side: keeps the working set in the cache.
_CHUNK_VECTORS = 1 << 15
#: A problem that improves its squared error by less than this fraction has converged.
_TOLERANCE = 1e-3
#: Standard deviation of the relative change by which a basis is perturbed before a restart.
_PERTURBATION = 0.2

Floats = NDArray[np.float64]


@dataclass
class _Fit:
    """State of P problems of n vectors: vectors ≈ (ce · basis) · 2^unit.

    ``ce`` is (P, n, 3), exact powers of two; ``basis`` (P, 3, 3), integers; ``unit`` (P,);
    ``error`` (P,), squared.
    """

    ce: Floats
    basis: Floats
    unit: NDArray[np.int64]
    error: Floats

    def take(self, index: NDArray[np.intp], other: "_Fit", chosen: NDArray[np.bool_]) -> None:
        """Replace the problems ``index`` by those ``chosen`` of another fit."""
        self.ce[index], self.basis[index] = other.ce[chosen], other.basis[chosen]
        self.unit[index], self.error[index] = other.unit[chosen], other.error[chosen]


def _quantise_basis(basis: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Round bases (P, 3, 3) to int8 times 2^unit, the unit as fine as the largest entry allows."""
    peak = np.abs(basis).max(axis=(1, 2))
    # Rounding must not lift the largest entry over 127.
    unit = np.ceil(np.log2(np.where(peak > 0, peak, 1.0) / (BASIS_MAX + 0.49))).astype(np.int64)
    return np.rint(np.ldexp(basis, -unit[:, None, None])), unit


def _descend(vectors: Floats, ce: Floats, basis: Floats, exponents: int) -> Floats:
    """Improve Ce entry by entry: round the entry's optimum given the others, which is optimal."""
    gram = basis @ basis.transpose(0, 2, 1)
    target = vectors @ basis.transpose(0, 2, 1)
    ce = ce.copy()
    for k in range(BASIS_SIZE):
        rest = target[..., k] - sum(
            ce[..., j] * gram[:, j, k, None] for j in range(BASIS_SIZE) if j != k)
        norm = gram[:, k, k, None]
        best = np.divide(rest, norm, out=np.zeros_like(rest), where=norm > 0)
        ce[..., k] = round_linear(best, exponents)
    return ce


def _refit_basis(vectors: Floats, ce: Floats, basis: Floats) -> Floats:
    """Return the least-squares basis for Ce; a row whose column of Ce is zero stays."""
    normal = ce.transpose(0, 2, 1) @ ce
    residual = ce.transpose(0, 2, 1) @ (vectors - ce @ basis)
    ridge = 1e-9 * (1 + np.trace(normal, axis1=1, axis2=2))
    normal += ridge[:, None, None] * np.eye(BASIS_SIZE)
    return basis + np.linalg.solve(normal, residual)


def _squared(vectors: Floats, ce: Floats, basis: Floats) -> Floats:
    error = vectors - ce @ basis
    return np.einsum("pns,pns->p", error, error)


def _start(vectors: Floats, exponents: int) -> Floats:
    """Return diagonal bases, (P, 3, 3), under which each column of Ce fills its exponents."""
    peak = np.abs(vectors).max(axis=1)
    # A basis row of all zeros would never be used.
    peak = np.where(peak > 0, peak, np.where(peak.max(axis=1) > 0, peak.max(axis=1), 1.0)[:, None])
    return (peak / (1 << (exponents - 1)))[:, :, None] * np.eye(BASIS_SIZE)


def _converge(vectors: Floats, start: Floats, options: FormOptions) -> _Fit:
    """Alternate from bases ``start``, (P, 3, 3), until no problem improves."""
    basis, unit = _quantise_basis(start)
    real = np.ldexp(basis, unit[:, None, None])
    ce = _descend(vectors, np.zeros_like(vectors), real, options.exponents)
    fit = _Fit(ce, basis, unit, _squared(vectors, ce, real))
    active = np.flatnonzero(fit.error > 0)
    for _ in range(options.iterations):
        if not len(active):
            break
        target, old = vectors[active], np.ldexp(fit.basis[active], fit.unit[active, None, None])
        basis, unit = _quantise_basis(_refit_basis(target, fit.ce[active], old))
        real = np.ldexp(basis, unit[:, None, None])
        ce = _descend(target, fit.ce[active], real, options.exponents)
        error = _squared(target, ce, real)
        better = error < fit.error[active]
        going = error < (1 - _TOLERANCE) * fit.error[active]
        fit.take(active[better], _Fit(ce, basis, unit, error), better)
        active = active[going]
    return fit


def _fit(vectors: Floats, options: FormOptions) -> _Fit:
    """Fit P problems, (P, n, 3): descend, then perturb the best basis and descend again."""
    fit = _converge(vectors, _start(vectors, options.exponents), options)
    # The same perturbations for every problem: a filter's result depends on nothing but the filter.
    noise = np.random.default_rng(0).standard_normal((options.restarts, BASIS_SIZE, BASIS_SIZE))
    for perturbation in np.eye(BASIS_SIZE) + _PERTURBATION * noise:
        active = np.flatnonzero(fit.error > 0)
        start = perturbation @ np.ldexp(fit.basis[active], fit.unit[active, None, None])
        other = _converge(vectors[active], start, options)
        better = other.error < fit.error[active]
        fit.take(active[better], other, better)
    return fit


def _slice_starts(vectors: int, slice_rows: int) -> tuple[int, ...]:
    """Cut the vectors into the fewest slices of at most ``slice_rows``, as equal as possible."""
    slices = -(-vectors // slice_rows)
    return tuple(i * vectors // slices for i in range(slices + 1))


def _align(fit: _Fit) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Express each slice's unit, (M, slices), as the filter's finest times a left shift.

    Where slices differ by more than the shift allows, the finest are made coarser.
    """
    used = np.any(fit.basis, axis=(2, 3)) & np.any(fit.ce, axis=(2, 3))
    lowest = np.where(used, fit.unit, np.iinfo(np.int64).max).min(axis=1)
    highest = np.where(used, fit.unit, np.iinfo(np.int64).min).max(axis=1)
    finest = np.where(used.any(axis=1), np.maximum(lowest, highest - MAX_ALIGN), 0)
    return np.where(used, fit.unit - finest[:, None], 0), finest


def smartexchange(weights: Floats, options: FormOptions) -> BasisWeights:
    """Decompose 3×3 or 1×1 weights into Ce · B.

    Parameters
    ----------
    weights : float64 array, (M, C, kh, kw), 3×3 or 1×1

    Returns
    -------
    BasisWeights
        With axis "kernel" for 3×3 and "channel" for 1×1.
    """
    vectors = to_vectors(weights)
    filters, count, _ = vectors.shape
    starts = _slice_starts(count, options.slice_rows)
    slices, rows = len(starts) - 1, max(b - a for a, b in pairwise(starts))
    padded = np.zeros((filters, slices, rows, BASIS_SIZE))
    for i in range(slices):
        padded[:, i, :starts[i + 1] - starts[i]] = vectors[:, starts[i]:starts[i + 1]]
    fit = _fit_all(padded, options)
    shift, finest = _align(fit)
    basis = np.rint(np.ldexp(fit.basis, np.minimum(shift, 0)[:, :, None, None]))
    ce = np.concatenate([fit.ce[:, i, :starts[i + 1] - starts[i]] for i in range(slices)], axis=1)
    sign, exponent = to_exponents(ce)
    return BasisWeights(
        axis="kernel" if weights.shape[2] == BASIS_SIZE else "channel",
        sign=sign, exponent=exponent, basis=basis.astype(np.int8),
        align=np.maximum(shift, 0).astype(np.int8), slice_starts=starts,
        channels=weights.shape[1], scale=np.ldexp(1.0, finest),
    )


def _fit_all(padded: Floats, options: FormOptions) -> _Fit:
    """Fit (M, slices, n, 3) in chunks; the results keep the leading two axes."""
    filters, slices, rows, _ = padded.shape
    problems = padded.reshape(filters * slices, rows, BASIS_SIZE)
    chunk = max(1, _CHUNK_VECTORS // rows)
    parts = [_fit(problems[i:i + chunk], options) for i in range(0, len(problems), chunk)]
    return _Fit(
        np.concatenate([part.ce for part in parts]).reshape(padded.shape),
        np.concatenate([part.basis for part in parts]).reshape(
            filters, slices, BASIS_SIZE, BASIS_SIZE),
        np.concatenate([part.unit for part in parts]).reshape(filters, slices),
        np.concatenate([part.error for part in parts]).reshape(filters, slices),
    )
