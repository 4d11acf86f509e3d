"""Rounding to powers of two against brute force over every candidate."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartdeal.golden.powers import round_linear, round_log, to_exponents

VALUES = st.one_of(
    st.floats(-1e4, 1e4, width=32),
    # Halfway points, and one step to either side of them.
    st.builds(lambda e, s, d: s * float(np.nextafter(1.5 * 2.0**e, d)),
              st.integers(-3, 12), st.sampled_from((-1, 1)), st.sampled_from((0, 1.5, math.inf))),
    st.builds(lambda e, s: s * 1.5 * 2.0**e, st.integers(-3, 12), st.sampled_from((-1, 1))),
)


@given(value=VALUES, exponents=st.integers(1, 16))
def test_linear_is_the_nearest_with_ties_to_the_smaller(value: float, exponents: int) -> None:
    candidates = [0.0] + [s * 2.0**e for e in range(exponents) for s in (-1, 1)]
    nearest = min(candidates, key=lambda c: (abs(value - c), abs(c)))
    assert round_linear(np.array([value]), exponents)[0] == nearest


@given(value=VALUES, exponents=st.integers(1, 16))
def test_log_is_the_nearest_exponent_and_keeps_only_zero(value: float, exponents: int) -> None:
    expected = 0.0
    if value:
        exponent = min(max(round(math.log2(abs(value))), 0), exponents - 1)
        expected = math.copysign(2.0**exponent, value)
    assert round_log(np.array([value]), exponents)[0] == expected


@pytest.mark.parametrize(("value", "linear", "log"), [
    (0.5, 0, 1), (0.51, 1, 1), (1.42, 1, 2), (1.5, 1, 2), (1.51, 2, 2), (-3.0, -2, -4),
    (300, 128, 128), (1e-30, 0, 1), (-1e-30, 0, -1), (0, 0, 0),
])
def test_the_two_roundings_differ(value: float, linear: int, log: int) -> None:
    assert round_linear(np.array([value], float), 8)[0] == linear
    assert round_log(np.array([value], float), 8)[0] == log


def test_powers_split_into_sign_and_exponent() -> None:
    sign, exponent = to_exponents(np.array([0.0, -0.0, 1, -1, 128, -0.0, -4]))
    assert sign.tolist() == [0, 0, 1, -1, 1, 0, -1]
    assert exponent.tolist() == [0, 0, 0, 0, 7, 0, 2]
