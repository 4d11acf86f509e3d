"""Weight forms: exactness of the integers, ranges, error, structure and messages."""

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from smartdeal.golden.decompose import FORMS, FormError, FormOptions, decompose, relative_error
from smartdeal.golden.forms import BasisWeights, TermWeights, Weights
from smartdeal.golden.powers import round_log
from smartdeal.golden.terms import signed_digits
from smartdeal.golden.vectors import from_vectors, to_vectors, zero_vectors


def gaussian(*shape: int, seed: int = 1) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


def naive_integer(form: Weights) -> NDArray[np.int64]:
    """Rebuild the integer weights with one loop per index, in Python's integers."""
    m, channels, kh, kw = form.shape
    out = np.zeros(form.shape, np.int64)
    for f, c, r, s in np.ndindex(m, channels, kh, kw):
        if isinstance(form, TermWeights):
            out[f, c, r, s] = sum(
                int(form.sign[t, f, c, r, s]) * 2 ** int(form.exponent[t, f, c, r, s])
                for t in range(len(form.sign)))
            continue
        vector, column = (c * 3 + r, s) if form.axis == "kernel" else divmod(c, 3)
        part = next(i for i, stop in enumerate(form.slice_starts[1:]) if vector < stop)
        total = sum(int(form.sign[f, vector, k]) * 2 ** int(form.exponent[f, vector, k])
                    * int(form.basis[f, part, k, column]) for k in range(3))
        out[f, c, r, s] = total * 2 ** int(form.align[f, part])
    return out


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(sorted(FORMS)), seed=st.integers(0, 2**32 - 1),
    filters=st.integers(1, 4), channels=st.integers(1, 8), kernel=st.sampled_from((1, 2, 3)),
    exponents=st.integers(1, 16), slice_rows=st.integers(1, 9),
    zero_fraction=st.floats(0, 0.9), group=st.integers(1, 3),
)
def test_form_rebuilds_exactly_and_stays_in_range(
    name: str, seed: int, filters: int, channels: int, kernel: int, exponents: int,
    slice_rows: int, zero_fraction: float, group: int,
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.standard_t(2, (filters, channels, kernel, kernel)) * 10.0 ** rng.uniform(-9, 3)
    weights *= rng.integers(0, 2, (filters, 1, 1, 1)) * rng.integers(0, 2, weights.shape)
    if name == "int8" or (name == "smartdeal" and kernel == 2):
        exponents = max(exponents, 8)
    form = decompose(name, weights, FormOptions(
        exponents=exponents, slice_rows=slice_rows, zero_fraction=zero_fraction, group=group,
        restarts=1))
    assert form.shape == weights.shape
    np.testing.assert_array_equal(form.integer(), naive_integer(form))
    assert np.isin(form.sign, (-1, 0, 1)).all()
    assert (form.exponent >= 0).all()
    assert (form.exponent < exponents).all()
    assert not form.exponent[form.sign == 0].any()
    assert form.scale.shape == (filters,)
    assert (form.scale > 0).all()
    assert not form.integer()[~weights.any(axis=(1, 2, 3))].any()
    if isinstance(form, BasisWeights):
        assert (np.abs(form.basis.astype(int)) <= 127).all()
        assert (form.align >= 0).all()
        assert (form.align <= 15).all()
        assert form.slice_starts[0] == 0
        assert form.slice_starts[-1] == form.sign.shape[1]
        assert all(0 < b - a <= slice_rows for a, b in itertools.pairwise(form.slice_starts))


@pytest.mark.parametrize(("name", "shape", "most"), [
    ("smartdeal", (16, 64, 3, 3), 0.175), ("smartdeal", (16, 128, 1, 1), 0.165),
    ("smartdeal", (16, 3, 7, 7), 0.02), ("deepshift", (16, 64, 3, 3), 0.20),
    ("shift2", (16, 64, 3, 3), 0.037), ("shift3", (16, 64, 3, 3), 0.009),
    ("int8", (16, 64, 3, 3), 0.013),
])
def test_error_is_that_of_the_published_measurements(
    name: str, shape: tuple[int, ...], most: float,
) -> None:
    weights = gaussian(*shape)
    assert relative_error(weights, decompose(name, weights)) < most


def test_smartdeal_beats_one_power_of_two() -> None:
    weights = gaussian(8, 32, 3, 3)
    one, basis = (relative_error(weights, decompose(name, weights))
                  for name in ("deepshift", "smartdeal"))
    assert basis < 0.9 * one


def test_restarts_only_lower_the_error() -> None:
    weights = gaussian(8, 16, 3, 3)
    errors = [relative_error(weights, decompose("smartdeal", weights, FormOptions(restarts=n)))
              for n in (0, 2, 8)]
    assert errors == sorted(errors, reverse=True)


def test_exact_weights_stay_exact() -> None:
    rng = np.random.default_rng(3)
    powers = rng.choice((-1.0, 0, 1), (4, 6, 3, 3)) * 2.0 ** rng.integers(0, 8, (4, 6, 3, 3))
    powers[:, 0, 0, 0] = 128
    for name in ("deepshift", "shift2", "shift3", "smartdeal"):
        assert relative_error(powers, decompose(name, powers)) < 1e-12, name


def test_a_filter_depends_on_itself_alone() -> None:
    weights = gaussian(6, 20, 3, 3)
    for name in FORMS:
        whole = decompose(name, weights)
        single = decompose(name, weights[4:5])
        np.testing.assert_array_equal(whole.integer()[4:5], single.integer())
        assert whole.scale[4] == single.scale[0]


def test_deepshift_is_log_rounding_of_the_scaled_weight() -> None:
    weights = gaussian(5, 8, 3, 3)
    weights[0, 0] = 0
    form = decompose("deepshift", weights)
    np.testing.assert_array_equal(
        form.integer(), round_log(weights / form.scale[:, None, None, None], 8))
    assert np.count_nonzero(form.integer()) == np.count_nonzero(weights)


def test_two_terms_are_the_best_pair() -> None:
    powers = [0.0] + [s * 2.0**e for e in range(8) for s in (-1, 1)]
    pairs = np.array([a + b for a, b in itertools.product(powers, powers)])
    weights = gaussian(3, 5, 3, 3)
    form = decompose("shift2", weights)
    scaled = weights / form.scale[:, None, None, None]
    best = np.abs(scaled[..., None] - pairs).min(axis=-1)
    np.testing.assert_allclose(np.abs(scaled - form.integer()), best, atol=1e-9)


def test_signed_digits_rebuild_and_are_minimal() -> None:
    sign, exponent = signed_digits(127, 4)
    powers = [s * 2**e for e in range(8) for s in (-1, 1)]
    reachable = {0: 0}
    for digits in range(1, 5):
        for value in [v for v, d in reachable.items() if d == digits - 1]:
            for power in powers:
                reachable.setdefault(value + power, digits)
    for value in range(-127, 128):
        s, e = sign[:, value + 127].astype(int), exponent[:, value + 127].astype(int)
        assert int((s << e).sum()) == value
        assert np.count_nonzero(s) == reachable[value]
        positions = e[s != 0]
        assert all(b - a > 1 for a, b in itertools.pairwise(positions))


def test_int8_is_symmetric_rounding() -> None:
    weights = gaussian(4, 5, 2, 2)
    form = decompose("int8", weights)
    scale = np.abs(weights).max(axis=(1, 2, 3)) / 127
    np.testing.assert_array_equal(form.integer(), np.rint(weights / scale[:, None, None, None]))
    assert len(form.sign) <= 4


@pytest.mark.parametrize("shape", [(5, 7, 1, 1), (5, 6, 1, 1), (4, 2, 3, 3)])
def test_vectors_are_undone(shape: tuple[int, ...]) -> None:
    weights = gaussian(*shape)
    np.testing.assert_array_equal(from_vectors(to_vectors(weights), shape), weights)


def test_zero_vectors_are_the_weakest_and_shared_by_a_group() -> None:
    weights = gaussian(7, 6, 3, 3)
    zeroed = to_vectors(zero_vectors(weights, 0.5, 3))
    norms = np.abs(to_vectors(weights)).sum(axis=2)
    for start in (0, 3, 6):
        dead = ~np.any(zeroed[start:start + 3], axis=2)
        assert (dead == dead[0]).all()
        assert dead[0].sum() == 9
        score = norms[start:start + 3].sum(axis=0)
        assert score[dead[0]].max() <= score[~dead[0]].min()


@pytest.mark.parametrize("name", sorted(FORMS))
def test_zero_fraction_reaches_the_integers(name: str) -> None:
    form = decompose(name, gaussian(6, 20, 3, 3), FormOptions(zero_fraction=0.6, group=3))
    vectors = form.integer().reshape(6, 60, 3).any(axis=2)
    assert (~vectors).sum() >= 6 * 36
    if isinstance(form, BasisWeights):
        assert form.zero_vectors() >= 0.6


def test_slices_of_very_different_size_are_aligned() -> None:
    weights = gaussian(1, 3, 3, 3)
    weights[0, 0] *= 1e-2
    weights[0, 1] *= 1e-7
    form = decompose("smartdeal", weights, FormOptions(slice_rows=3))
    assert isinstance(form, BasisWeights)
    assert form.align.max() == 15
    assert relative_error(weights, form) < 0.01


def test_all_zero_weights() -> None:
    weights = np.zeros((2, 4, 3, 3))
    for name in FORMS:
        form = decompose(name, weights)
        assert not form.integer().any()
        assert relative_error(weights, form) == 0


@pytest.mark.parametrize(("name", "weights", "options", "message"), [
    ("ternary", np.ones((1, 1, 1, 1)), {},
     "weight form must be one of smartdeal, deepshift, shift2, shift3, int8, not 'ternary'"),
    ("int8", np.ones((1, 1)), {}, "fc: weights must have shape (M, C, kh, kw), not (1, 1)"),
    ("int8", np.full((1, 2, 1, 1), np.nan), {},
     "fc: weights must be finite, but 2 of 2 are not (the first is nan)"),
    ("smartdeal", np.full((1, 1, 3, 3), np.inf), {},
     "fc: weights must be finite, but 9 of 9 are not (the first is inf)"),
    ("int8", np.ones((1, 1, 1, 1)), {"exponents": 7},
     "fc: int8 weights need at least 8 exponents, not 7"),
    ("smartdeal", np.ones((1, 1, 7, 7)), {"exponents": 4},
     "fc: int8 weights need at least 8 exponents, not 4"),
])
def test_weight_errors(
    name: str, weights: NDArray[np.float64], options: dict[str, int], message: str,
) -> None:
    with pytest.raises(FormError, match=f"^{re.escape(message)}$"):
        decompose(name, weights, FormOptions(**options), layer="fc")


@pytest.mark.parametrize(("options", "message"), [
    ({"exponents": 0}, "exponents must be from 1 to 16, not 0"),
    ({"exponents": 17}, "exponents must be from 1 to 16, not 17"),
    ({"slice_rows": 0}, "slice_rows must be at least 1, not 0"),
    ({"group": 0}, "group must be at least 1, not 0"),
    ({"iterations": 0}, "iterations must be at least 1, not 0"),
    ({"restarts": -1}, "restarts must be at least 0, not -1"),
    ({"zero_fraction": 1.0}, "zero_fraction must be at least 0 and less than 1, not 1.0"),
    ({"zero_fraction": float("nan")}, "zero_fraction must be at least 0 and less than 1, not nan"),
])
def test_option_errors(options: dict, message: str) -> None:
    with pytest.raises(FormError, match=f"^{re.escape(message)}$"):
        FormOptions(**options)


def test_forms_do_not_import_torch() -> None:
    code = ("import sys, smartdeal.golden.decompose, smartdeal.golden.layers; "
            "sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
