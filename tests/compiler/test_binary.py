"""Binary weights and activations: integer layer, program and interpreter against a naive twin."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartdeal.compiler import CompileError, Program, compile_layer, compile_network
from smartdeal.compiler.views import View
from smartdeal.golden.forms import TermWeights
from smartdeal.golden.integer import evaluate
from smartdeal.golden.interpreter import Interpreter
from smartdeal.golden.layers import IntegerLayer, IntegerNetwork, IntegerNode, Requantisation
from smartdeal.golden.packed import pack_signs, unpack_signs
from smartdeal.hw.config import AcceleratorConfig, ConfigError
from smartdeal.sim.cases import draw_case, draw_config

CONFIG = AcceleratorConfig(rows=8, cols=4, activation_words=512, weight_steps=512, binary=True)


def run(program: Program, x: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray:
    regions: list[bytes] = []
    interpreter = Interpreter(program.config)
    for part in program.parts:
        interpreter.load(part.data_image(x, residual))
        interpreter.load(part.image)
        interpreter.run()
        regions.append(interpreter.read(part.output_word, part.output_words))
    return program.assemble(regions)


def naive(layer: IntegerLayer, x: np.ndarray, residual: np.ndarray | None) -> np.ndarray:
    """Element by element, with Python's integers."""
    assert layer.weights is not None
    assert layer.requantisation is not None
    weights, r = layer.weights.integer(), layer.requantisation
    out = np.zeros(layer.output_shape, np.int8)
    for m, y, column in np.ndindex(*layer.output_shape):
        total = 0
        for c, i, j in np.ndindex(*weights.shape[1:]):
            row = y * layer.stride + i - layer.padding[0]
            col = column * layer.stride + j - layer.padding[1]
            inside = 0 <= row < x.shape[1] and 0 <= col < x.shape[2]
            value = int(x[c, row, col]) if inside else layer.input_zero_point
            total += int(weights[m, c, i, j]) * value
        t = (total + int(r.bias[m])) * int(r.multiplier[m])
        if residual is not None:
            added = int(residual[m, y, column]) - layer.residual_zero_point
            t += added * int(r.residual_multiplier[m]) << int(r.residual_shift[m])
        shift = int(r.shift[m])
        if layer.binary_output:
            out[m, y, column] = 1 if t >= 0 else -1
        else:
            q = (t + (1 << shift - 1 if shift else 0) >> shift) + layer.output_zero_point
            out[m, y, column] = min(max(q, layer.lo), layer.hi)
    return out


def layer_of(weights: np.ndarray, shape: tuple[int, int, int], bias: int = 0, *, pad: int = -1,
             padding: int = 0, output: bool = True) -> IntegerLayer:
    m, _, kh, kw = weights.shape
    sign = weights.astype(np.int8)[None]
    ones = np.ones(m, np.int64)
    return IntegerLayer(
        name="binary", kind="conv", weights=TermWeights(sign, sign * 0, np.ones(m)),
        kernel=(kh, kw), stride=1, padding=(padding, padding, padding, padding), input_shape=shape,
        output_shape=(m, shape[1] + 2 * padding - kh + 1, shape[2] + 2 * padding - kw + 1),
        requantisation=Requantisation(ones * bias, ones, ones * 0, ones * 0, ones * 0),
        input_zero_point=pad, output_zero_point=-1 if output else 0, binary_input=True,
        binary_output=output)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(8, 20), cols=st.integers(2, 9),
       channels=st.integers(1, 19), filters=st.integers(1, 19), height=st.integers(1, 6),
       width=st.integers(1, 6), stride=st.integers(1, 2))
def test_drawn_layers(seed: int, rows: int, cols: int, channels: int, filters: int, height: int,
                      width: int, stride: int) -> None:
    rng = np.random.default_rng(seed)
    config = draw_config(rng, rows=rows, cols=cols, exponents=int(rng.integers(2, 9)),
                         activation_words=2048, weight_steps=2048, binary=True)
    case = draw_case(rng, config, form="binary", channels=channels, filters=filters,
                     height=height, width=width, stride=stride)
    expected = naive(case.layer, case.x, case.residual)
    np.testing.assert_array_equal(evaluate(case.layer, case.x, case.residual), expected)
    np.testing.assert_array_equal(run(case.program, case.x, case.residual), expected)


@pytest.mark.parametrize("seed", range(20))
def test_eight_bits_to_signs(seed: int) -> None:
    """The first layer of a binary network: 8-bit input, any weights, binary output."""
    rng = np.random.default_rng(seed)
    config = draw_config(rng, rows=int(rng.integers(8, 21)), exponents=8, binary=True)
    case = draw_case(rng, config, form="terms", binary_output=True)
    np.testing.assert_array_equal(run(case.program, case.x, case.residual),
                                  evaluate(case.layer, case.x, case.residual))


@pytest.mark.parametrize("channels", [3, 8, 13])
@pytest.mark.parametrize("pad", [-1, 1])
def test_border_taps(pad: int, channels: int) -> None:
    """One pixel in the middle of padding: eight of nine taps see the padding."""
    weights = np.ones((2, channels, 3, 3), np.int8)
    weights[1] = -1
    layer = layer_of(weights, (channels, 1, 1), pad=pad, padding=1, output=False)
    x = np.full((channels, 1, 1), -pad, np.int8)
    output = run(compile_layer(layer, CONFIG), x)
    assert output.ravel().tolist() == [7 * pad * channels, -7 * pad * channels]


@pytest.mark.parametrize(("bias", "expected"), [(-1, -1), (0, 1), (1, 1)])
def test_sign_of_zero_is_plus(bias: int, expected: int) -> None:
    layer = layer_of(np.ones((1, 2, 1, 1)), (2, 1, 1), bias)
    x = np.array([1, -1], np.int8).reshape(2, 1, 1)
    assert evaluate(layer, x).item() == expected
    assert run(compile_layer(layer, CONFIG), x).item() == expected


def test_one_byte_counts_eight_channels() -> None:
    config = CONFIG.replace(weight_steps=1024, activation_words=4096)
    layer = layer_of(np.ones((8, 64, 3, 3)), (64, 6, 6), padding=1)
    weights = layer.weights
    assert weights is not None
    one_term = replace(layer, binary_input=False, binary_output=False)
    assert compile_layer(one_term, config).steps == 8 * compile_layer(layer, config).steps


def test_packing() -> None:
    x = np.where(np.arange(11 * 6).reshape(11, 2, 3) % 5 < 2, 1, -1).astype(np.int8)
    packed = pack_signs(x, 1)
    assert packed.shape == (2, 2, 3)
    assert int(packed.view(np.uint8)[0, 0, 0]) == sum(1 << c for c in range(8) if x[c, 0, 0] > 0)
    assert int(packed.view(np.uint8)[1, 0, 0]) >> 3 == 0b11111
    np.testing.assert_array_equal(unpack_signs(packed, 11), x)


def test_refusals() -> None:
    layer = layer_of(np.ones((8, 8, 1, 1)), (8, 2, 2))
    weights = layer.weights
    assert isinstance(weights, TermWeights)
    with pytest.raises(CompileError, match="needs the feature binary"):
        compile_layer(layer, CONFIG.replace(binary=False))
    with pytest.raises(CompileError, match=r"must be \+1 or -1, its padding, not 0"):
        compile_layer(replace(layer, input_zero_point=0), CONFIG)
    with pytest.raises(CompileError, match=r"weights of \+1 or -1 only"):
        compile_layer(replace(layer, weights=replace(weights, sign=weights.sign * 0)), CONFIG)
    with pytest.raises(CompileError, match="'conv' or 'linear', not 'max_pool'"):
        compile_layer(replace(layer, kind="max_pool", weights=None), CONFIG)
    narrow = layer_of(np.ones((7, 8, 1, 1)), (8, 2, 2))
    with pytest.raises(CompileError, match="multiple of 8 channels, not 7"):
        compile_layer(replace(narrow, residual=True), CONFIG)
    with pytest.raises(ValueError, match=r"input must be \+1 or -1, not 0"):
        evaluate(layer, np.zeros((8, 2, 2), np.int8))
    with pytest.raises(ConfigError, match="rows must be at least 8"):
        AcceleratorConfig(rows=7, binary=True)
    with pytest.raises(ConfigError, match="exponents must be at least 2"):
        AcceleratorConfig(exponents=1, binary=True)


def signs_and_inner(channels: int = 8) -> tuple[IntegerLayer, IntegerLayer]:
    """Return a layer from 8 bits to ±1, and one that takes its output and gives 8 bits."""
    first = replace(layer_of(np.ones((channels, 2, 1, 1)), (2, 3, 3), output=True),
                    name="signs", binary_input=False, input_zero_point=0)
    inner = replace(layer_of(np.ones((8, channels, 1, 1)), (channels, 3, 3)), name="inner",
                    input_zero_point=first.output_zero_point)
    return first, inner


def network_of(*nodes: tuple[IntegerLayer, str, str | None]) -> IntegerNetwork:
    return IntegerNetwork("net", tuple(IntegerNode(*node) for node in nodes), {})


def test_refusals_of_networks() -> None:
    first, inner = signs_and_inner()
    image = IntegerNetwork.IMAGE
    chain = network_of((first, image, None), (inner, "signs", None))
    assert compile_network(chain, CONFIG).segments
    with pytest.raises(CompileError, match=r"layer 'signs': binary input or output runs in "
                                           r"programs on chip only; set memory = false$"):
        compile_network(chain, CONFIG.replace(memory=True, cols=16))
    with pytest.raises(CompileError, match=r"layer 'inner': its input is binary, but operand "
                                           r"'image' is 8 bits wide$"):
        compile_network(network_of((inner, image, None)), CONFIG)
    with pytest.raises(CompileError, match=r"layer 'inner': its input is 8 bits wide, but operand "
                                           r"'signs' is binary$"):
        compile_network(network_of((first, image, None), (
            replace(inner, binary_input=False), "signs", None)), CONFIG)
    with pytest.raises(CompileError, match=r"layer 'inner': a residual operand must have 8 bits, "
                                           r"but 'signs' is binary$"):
        compile_network(network_of((first, image, None), (
            replace(inner, residual=True), "signs", "signs")), CONFIG)
    first, inner = signs_and_inner(11)
    with pytest.raises(CompileError, match=r"layer 'inner': the padding of its binary input must "
                                           r"be that of 'signs', -1, not 1, since 11 channels"):
        compile_network(network_of((first, image, None), (
            replace(inner, input_zero_point=1), "signs", None)), CONFIG)


def test_a_view_of_signs() -> None:
    """Eleven channels lie in two planes; the last five bits of the second are the padding's."""
    view = View(tensor="t", shape=(11, 2, 3), stride=1, phases=((0, 0),), fill=-1, cols=4, pitch=4,
                skip=0, gap=1, stream=2, words=7, binary=True)
    x = np.where(np.arange(66).reshape(11, 2, 3) % 7 < 3, 1, -1).astype(np.int8)
    region = view.pack(x)
    assert region.shape == (28,)
    assert region[:4].tolist() == [-1] * 4
    assert int(region.view(np.uint8)[16]) >> 3 == 0b11111
    np.testing.assert_array_equal(view.unpack(region.tobytes()), x)
