"""Stored weights: real bytes, decoded exactly, whose parts add up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartdeal.golden.decompose import FormOptions, decompose
from smartdeal.golden.forms import BasisWeights, TermWeights, Weights
from smartdeal.golden.storage import PARTS, decode_weights, encode_weights


def assert_same(a: Weights, b: Weights) -> None:
    assert type(a) is type(b)
    np.testing.assert_array_equal(a.sign, b.sign)
    np.testing.assert_array_equal(np.where(a.sign, a.exponent, 0), b.exponent)
    np.testing.assert_array_equal(a.scale, b.scale)
    if isinstance(a, BasisWeights):
        assert isinstance(b, BasisWeights)
        np.testing.assert_array_equal(a.basis, b.basis)
        np.testing.assert_array_equal(a.align, b.align)
        assert (a.axis, a.slice_starts, a.channels) == (b.axis, b.slice_starts, b.channels)


@settings(max_examples=60, deadline=None)
@given(form=st.sampled_from(("smartdeal", "deepshift", "shift2", "int8")),
       seed=st.integers(0, 2**32 - 1), filters=st.integers(1, 9), channels=st.integers(1, 9),
       kernel=st.sampled_from((1, 3)), group=st.integers(1, 5), zero=st.floats(0, 0.9))
def test_weights_come_back(
    form: str, seed: int, filters: int, channels: int, kernel: int, group: int, zero: float,
) -> None:
    weights = np.random.default_rng(seed).standard_normal((filters, channels, kernel, kernel))
    formed = decompose(form, weights, FormOptions(
        zero_fraction=zero, group=group, slice_rows=5, restarts=0))
    stored = encode_weights(formed, group)
    assert_same(formed, decode_weights(stored.data))
    assert tuple(stored.bits) == PARTS
    # A header, whole bytes per part, and where each slice ends.
    slices = len(formed.slice_starts) - 1 if isinstance(formed, BasisWeights) else 0
    rest = 8 * (len(stored.data) - 30 - 4 * slices)
    assert stored.total_bits <= rest < stored.total_bits + 8 * 5


def test_parts_by_hand() -> None:
    """Four filters of 1×2 weights, the second weight zero in all: 2 map bits, 4 codes of 2 bits."""
    sign = np.array([1, 0, 1, 0, -1, 0, 1, 0], np.int8).reshape(1, 4, 2, 1, 1)
    stored = encode_weights(TermWeights(sign, np.zeros_like(sign), np.ones(4)), group=4)
    assert stored.bits == {"coefficients": 8, "zero map": 2, "basis": 0, "tables": 0,
                           "scales": 4 * 64}


def test_skewed_coefficients_are_huffman_coded() -> None:
    """100 weights, 97 of them +1: one bit each but for three of two bits; the table has 3 bytes."""
    sign = np.ones((1, 1, 100, 1, 1), np.int8)
    exponent = np.zeros_like(sign)
    sign[0, 0, :2] = -1
    exponent[0, 0, 2] = 1
    stored = encode_weights(TermWeights(sign, exponent, np.ones(1)))
    assert stored.bits["coefficients"] == 97 + 2 * 2 + 2
    assert stored.bits["tables"] == 8 * 5  # symbols: zero, ±1, ±2


def test_cut_bytes_are_refused() -> None:
    formed = decompose("smartdeal", np.random.default_rng(0).standard_normal((2, 3, 3, 3)))
    data = encode_weights(formed).data
    for length in (0, 29, 31, len(data) // 2, len(data) - 1):
        with pytest.raises(ValueError, match=r"^(stored weights must have|the bits end)"):
            decode_weights(data[:length])
    with pytest.raises(ValueError, match=r"^group must be from 1 to 65535, not 0$"):
        encode_weights(formed, 0)
