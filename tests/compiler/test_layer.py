"""Compiled layers compute what their integer layers say, on every accelerator that fits them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from smartdeal.compiler import CompileError, compile_layer
from smartdeal.golden.forms import TermWeights
from smartdeal.golden.integer import evaluate
from smartdeal.golden.interpreter import Interpreter
from smartdeal.golden.layers import IntegerLayer, Requantisation
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.cases import (
    FORMS,
    Case,
    draw_case,
    draw_config,
    draw_layer,
    draw_operands,
    tighten,
)

# Derandomised: the same cases every time, and a failure prints how to repeat it.
PROPERTY = settings(derandomize=True, print_blob=True, database=None, deadline=None,
                    max_examples=250)


def run(case: Case, config: AcceleratorConfig) -> np.ndarray:
    """Run all parts as a host does."""
    interpreter = Interpreter(config)
    regions: list[bytes] = []
    for part in case.program.parts:
        interpreter.load(part.image)
        interpreter.load(part.data_image(case.x, case.residual))
        interpreter.run()
        regions.append(interpreter.read(part.output_word, part.output_words))
    return case.program.assemble(regions)


@st.composite
def fitting_cases(draw: st.DrawFn, **fixed: Any) -> tuple[Case, AcceleratorConfig]:
    """Draw a layer on a large accelerator, then make that small as long as the layer fits."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    config = draw_config(
        rng, rows=draw(st.integers(3, 20)), cols=draw(st.integers(2, 20)), acc_bits=32,
        sum_bits=44, max_slices=32, activation_words=1 << 14, weight_steps=1 << 14)
    sizes = {"form": st.sampled_from(FORMS), "channels": st.integers(1, 20),
             "filters": st.integers(1, 20), "height": st.integers(1, 17),
             "width": st.integers(1, 17), "stride": st.integers(1, 2),
             "residual": st.booleans()}
    layer = draw_layer(rng, config, **{name: draw(sizes[name]) for name in sizes} | fixed)
    try:
        for _ in range(draw(st.integers(0, 4), label="tightenings")):
            config = tighten(rng, layer, config)
        program = compile_layer(layer, config)
    except CompileError:
        assume(False)
        raise
    return Case(layer, program, *draw_operands(rng, layer)), config


@PROPERTY
@given(fitting_cases())
def test_layers(drawn: tuple[Case, AcceleratorConfig]) -> None:
    case, config = drawn
    expected = evaluate(case.layer, case.x, case.residual)
    np.testing.assert_array_equal(run(case, config), expected)


@pytest.mark.parametrize("seed", range(30))
def test_layers_of_small_configurations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = draw_config(rng)
    case = draw_case(rng, config, max_steps=100_000)
    expected = evaluate(case.layer, case.x, case.residual)
    np.testing.assert_array_equal(run(case, config), expected, f"seed {seed}")


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (7, 7), (2, 4)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("form", ["terms", "max_pool"])
def test_kernels(form: Any, stride: int, kernel: tuple[int, int]) -> None:
    rng = np.random.default_rng(kernel[0] * 10 + stride)
    config = AcceleratorConfig(rows=5, cols=7, acc_bits=32)
    kh, kw = kernel
    for padding in ((kh // 2, kw // 2, kh // 2, kw // 2), (0, 0, kh // 2, kw // 2),
                    (0, 0, 0, 0), (kh - 1, kw, 0, 1)):
        layer = draw_layer(rng, config, form=form, channels=3, filters=7, height=9, width=10,
                           kernel=kernel, stride=stride, padding=padding)
        case = Case(layer, compile_layer(layer, config), *draw_operands(rng, layer))
        np.testing.assert_array_equal(
            run(case, config), evaluate(layer, case.x, case.residual), f"padding {padding}")


def test_one_output_row_per_part() -> None:
    """The smallest activation buffer that takes the layer at all."""
    rng = np.random.default_rng(1)
    config = AcceleratorConfig(rows=4, cols=5, acc_bits=32)
    layer = draw_layer(rng, config, form="terms", channels=4, filters=9, height=12, width=11,
                       kernel=(3, 3), stride=1, padding=(1, 1, 1, 1), residual=True)
    with pytest.raises(CompileError) as caught:
        compile_layer(layer, config.replace(activation_words=16))
    words = int(str(caught.value).rsplit("=", 1)[1])
    small = config.replace(activation_words=words)
    case = Case(layer, compile_layer(layer, small), *draw_operands(rng, layer))
    assert {part.rows for part in case.program.parts} == {1}
    assert len(case.program.parts) == 12 * 3
    np.testing.assert_array_equal(run(case, small), evaluate(layer, case.x, case.residual))
    with pytest.raises(CompileError):
        compile_layer(layer, config.replace(activation_words=words - 1))


def test_accumulators_use_their_whole_range() -> None:
    """A sum may reach the ends of the accumulator, and not one more."""
    config = AcceleratorConfig(rows=3, cols=4, exponents=9, acc_bits=16, max_slices=1)
    x = np.full((1, 1, 1), -128, np.int8)
    layer = one_weight(-256)
    with pytest.raises(CompileError):
        compile_layer(layer, config)
    layer = one_weight(256)  # -128 · 256 = -2^15
    case = Case(layer, compile_layer(layer, config), x, None)
    np.testing.assert_array_equal(run(case, config), evaluate(layer, x))


def one_weight(value: int) -> IntegerLayer:
    """Return a layer with one weight, a power of two or its negative."""
    size = (1, 1, 1, 1, 1)
    weights = TermWeights(np.full(size, np.sign(value), np.int8),
                          np.full(size, abs(value).bit_length() - 1, np.int8), np.ones(1))
    one = np.ones(1, np.int64)
    return IntegerLayer(
        name="one", kind="linear", weights=weights, kernel=(1, 1), stride=1,
        padding=(0, 0, 0, 0), input_shape=(1, 1, 1), output_shape=(1, 1, 1),
        requantisation=Requantisation(one * 0, one, one, one * 9, one * 0))


def test_deterministic() -> None:
    rng = np.random.default_rng(2)
    config = draw_config(rng)
    layer = draw_case(rng, config).layer
    assert compile_layer(layer, config).to_bytes() == compile_layer(layer, config).to_bytes()


def test_zero_vectors_take_no_step() -> None:
    rng = np.random.default_rng(3)
    config = AcceleratorConfig(rows=6, cols=4, acc_bits=32)
    layer = draw_layer(rng, config, form="terms", channels=4, filters=6, kernel=(3, 3),
                       density=1.0)
    dense = compile_layer(layer, config)
    assert isinstance(layer.weights, TermWeights)
    layer.weights.sign[:, :, :3] = 0
    sparse = compile_layer(layer, config)
    terms = len(layer.weights.sign)
    assert (dense.parts[0].stored_steps, sparse.parts[0].stored_steps) == (36 * terms, 9 * terms)
