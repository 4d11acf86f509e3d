"""The integer layer against a twin in plain Python loops and unbounded integers."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from smartdeal.golden.decompose import FormOptions, decompose
from smartdeal.golden.formats import REQUANTISE
from smartdeal.golden.forms import TermWeights
from smartdeal.golden.integer import evaluate, requantise
from smartdeal.golden.layers import IntegerLayer, LayerKind, Requantisation


def parameters(rng: np.random.Generator, filters: int) -> Requantisation:
    return Requantisation(
        bias=rng.integers(-5000, 5000, filters),
        multiplier=rng.integers(0, REQUANTISE.max_multiplier + 1, filters),
        residual_multiplier=rng.integers(0, REQUANTISE.max_multiplier + 1, filters),
        shift=rng.integers(1, 32, filters),
        residual_shift=rng.integers(0, 8, filters),
    )


def draw_layer(
    rng: np.random.Generator, kind: LayerKind, form: str, kernel: int, stride: int,
) -> IntegerLayer:
    channels, filters = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    if kind in ("max_pool", "average_pool"):
        filters = channels
    height, width = (1, 1) if kind == "linear" else (int(rng.integers(3, 7)),
                                                     int(rng.integers(3, 7)))
    top, left, bottom, right = (int(p) for p in rng.integers(0, kernel, 4))
    out = ((height + top + bottom - kernel) // stride + 1,
           (width + left + right - kernel) // stride + 1)
    weights = None
    if kind in ("conv", "linear"):
        weights = decompose(form, rng.standard_normal((filters, channels, kernel, kernel)),
                            FormOptions(slice_rows=2))
    if kind == "average_pool":
        out, top, left, bottom, right = (1, 1), 0, 0, 0, 0
    lo = int(rng.integers(-128, 0))
    return IntegerLayer(
        name="layer", kind=kind, weights=weights, kernel=(kernel, kernel), stride=stride,
        padding=(top, left, bottom, right), input_shape=(channels, height, width),
        output_shape=(filters, *out),
        requantisation=None if kind == "max_pool" else parameters(rng, filters),
        input_zero_point=int(rng.integers(-128, 128)),
        output_zero_point=int(rng.integers(-128, 128)),
        residual_zero_point=int(rng.integers(-128, 128)),
        residual=kind == "conv" and bool(rng.integers(2)), lo=lo, hi=int(rng.integers(lo, 128)),
    )


def naive_requantise(layer: IntegerLayer, m: int, acc: int, residual: int) -> int:
    """Apply the formula of RequantiseFormat in Python's integers."""
    r = layer.requantisation
    assert r is not None
    t = (acc + int(r.bias[m])) * int(r.multiplier[m])
    if layer.residual:
        t += ((residual - layer.residual_zero_point) * int(r.residual_multiplier[m])
              * 2 ** int(r.residual_shift[m]))
    shift = int(r.shift[m])
    q = (t + 2 ** (shift - 1)) // 2 ** shift + layer.output_zero_point
    return min(max(q, layer.lo), layer.hi)


def naive(layer: IntegerLayer, x: NDArray[np.int8], residual: NDArray[np.int8]) -> NDArray[np.int8]:
    """Evaluate with one loop per index."""
    out = np.zeros(layer.output_shape, np.int8)
    channels, height, width = layer.input_shape
    weights = layer.weights.integer().tolist() if layer.weights is not None else []
    kh, kw = (height, width) if layer.kind == "average_pool" else layer.kernel
    for m, y, z in np.ndindex(layer.output_shape):
        acc, largest = 0, -128
        for c, r, s in np.ndindex(channels, kh, kw):
            i, j = y * layer.stride + r - layer.padding[0], z * layer.stride + s - layer.padding[1]
            if not (0 <= i < height and 0 <= j < width):
                continue
            value = int(x[c, i, j])
            if layer.weights is not None:
                acc += weights[m][c][r][s] * (value - layer.input_zero_point)
            elif c == m:
                acc += value - layer.input_zero_point
                largest = max(largest, value)
        out[m, y, z] = (largest if layer.kind == "max_pool"
                        else naive_requantise(layer, m, acc, int(residual[m, y, z])))
    return out


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(("conv", "conv", "linear", "max_pool", "average_pool")),
    form=st.sampled_from(("smartdeal", "deepshift", "shift2", "shift3", "int8")),
    kernel=st.integers(1, 3), stride=st.integers(1, 2),
)
def test_layer_equals_twin(
    seed: int, kind: LayerKind, form: str, kernel: int, stride: int,
) -> None:
    rng = np.random.default_rng(seed)
    layer = draw_layer(rng, kind, form, 1 if kind == "linear" else kernel,
                       1 if kind == "linear" else stride)
    x = rng.integers(-128, 128, layer.input_shape).astype(np.int8)
    residual = rng.integers(-128, 128, layer.output_shape).astype(np.int8)
    got = evaluate(layer, x, residual if layer.residual else None)
    np.testing.assert_array_equal(got, naive(layer, x, residual))


@given(
    total=st.integers(-(2**39), 2**39 - 1), bias=st.integers(-(2**38), 2**38 - 1),
    multiplier=st.integers(0, REQUANTISE.max_multiplier),
    residual=st.integers(-255, 255), residual_multiplier=st.integers(0, REQUANTISE.max_multiplier),
    shift=st.integers(1, REQUANTISE.max_shift),
    residual_shift=st.integers(0, REQUANTISE.max_residual_shift),
)
def test_requantise_equals_big_integers(
    total: int, bias: int, multiplier: int, residual: int, residual_multiplier: int,
    shift: int, residual_shift: int,
) -> None:
    parameters = Requantisation(*(np.array([value]) for value in (
        bias, multiplier, residual_multiplier, shift, residual_shift)))
    t = (total + bias) * multiplier + residual * residual_multiplier * 2**residual_shift
    got = requantise(np.array([total]), parameters, np.array([residual]))
    assert got.tolist() == [(t + 2 ** (shift - 1)) // 2**shift]


def linear(**changes: object) -> IntegerLayer:
    one = np.ones((1, 1, 1, 1, 1), np.int8)
    values: dict = {
        "name": "fc", "kind": "linear", "weights": TermWeights(one, 0 * one, np.ones(1)),
        "kernel": (1, 1), "stride": 1, "padding": (0, 0, 0, 0), "input_shape": (1, 1, 1),
        "output_shape": (1, 1, 1),
        "requantisation": Requantisation(*(np.array([v]) for v in (0, 1, 0, 1, 0))),
    }
    return IntegerLayer(**{**values, **changes})


X = np.zeros((1, 1, 1), np.int8)


def test_half_rounds_up() -> None:
    layer = linear()
    got = [int(evaluate(layer, np.full((1, 1, 1), v, np.int8))[0, 0, 0]) for v in range(-4, 5)]
    assert got == [-2, -1, -1, 0, 0, 1, 1, 2, 2]


def test_sums_beyond_float64_are_exact() -> None:
    sign = np.ones((4, 1, 2, 1, 1), np.int8)
    exponent = np.zeros_like(sign)
    exponent[:, 0, 0] = 45
    layer = linear(
        weights=TermWeights(sign, exponent, np.ones(1)), input_shape=(2, 1, 1),
        requantisation=Requantisation(*(np.array([v]) for v in (0, 1, 0, 45, 0))))
    x = np.array([[[100]], [[1]]], np.int8)
    assert int(evaluate(layer, x)[0, 0, 0]) == 127
    x = np.array([[[-1]], [[1]]], np.int8)
    assert int(evaluate(layer, x)[0, 0, 0]) == -4


@pytest.mark.parametrize(("layer", "x", "residual", "error", "message"), [
    (linear(), np.zeros((2, 1, 1), np.int8), None, ValueError,
     "fc: input must be int8 of shape (1, 1, 1), not int8 of shape (2, 1, 1)"),
    (linear(), np.zeros((1, 1, 1)), None, ValueError,
     "fc: input must be int8 of shape (1, 1, 1), not float64 of shape (1, 1, 1)"),
    (linear(), X, X, ValueError, "fc: there is no residual, but an operand was given"),
    (linear(residual=True), X, None, ValueError, "fc: residual must be given"),
    (linear(weights=None), X, None, ValueError, "fc: a linear layer must have weights"),
    (linear(requantisation=None), X, None, ValueError,
     "fc: a linear layer must have a requantisation"),
    (linear(output_shape=(2, 1, 1)), X, None, ValueError,
     "fc: output must have shape (2, 1, 1), not (1, 1, 1)"),
    (linear(requantisation=Requantisation(*(np.array([v]) for v in (1 << 50, 1 << 15, 0, 1, 0)))),
     X, None, OverflowError, "fc: the requantised sum must be less than 2^62, not 3.69e+19"),
])
def test_errors(
    layer: IntegerLayer, x: NDArray[np.int8], residual: NDArray[np.int8] | None,
    error: type[Exception], message: str,
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        evaluate(layer, x, residual)
