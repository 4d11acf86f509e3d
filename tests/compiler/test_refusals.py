"""What the compiler refuses, and with which words."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from smartdeal.compiler import CompileError, compile_layer
from smartdeal.golden.forms import BasisWeights, TermWeights
from smartdeal.golden.layers import IntegerLayer, Requantisation
from smartdeal.hw.config import AcceleratorConfig

CONFIG = AcceleratorConfig(rows=6, cols=4, activation_words=1 << 12)


def requantisation(m: int, **changes: int) -> Requantisation:
    values = {"bias": 0, "multiplier": 1, "residual_multiplier": 1, "shift": 1,
              "residual_shift": 0, **changes}
    return Requantisation(**{name: np.full(m, value) for name, value in values.items()})


def conv(
    m: int = 4, c: int = 2, size: tuple[int, int] = (5, 5), exponent: int = 0, **changes: Any,
) -> IntegerLayer:
    """Return a 3×3 layer with every weight 2^exponent."""
    shape = (1, m, c, 3, 3)
    weights = TermWeights(np.ones(shape, np.int8), np.full(shape, exponent, np.int8), np.ones(m))
    layer = IntegerLayer(
        name="conv1", kind="conv", weights=weights, kernel=(3, 3), stride=1,
        padding=(1, 1, 1, 1), input_shape=(c, *size), output_shape=(m, *size),
        requantisation=requantisation(m))
    return replace(layer, **changes)


def smartdeal(slices: int = 1, basis: int = 127, align: int = 0) -> IntegerLayer:
    """Return a 3×3 layer in basis form with one input channel per slice."""
    weights = BasisWeights(
        "kernel", np.ones((2, 3 * slices, 3), np.int8),
        np.full((2, 3 * slices, 3), 7, np.int8), np.full((2, slices, 3, 3), basis, np.int8),
        np.full((2, slices), align, np.int8), tuple(range(0, 3 * slices + 1, 3)), slices,
        np.ones(2))
    return replace(conv(m=2, c=slices), weights=weights)


def pool(**changes: Any) -> IntegerLayer:
    return replace(conv(m=2), kind="max_pool", weights=None, requantisation=None, **changes)


def average(**changes: Any) -> IntegerLayer:
    return replace(conv(m=2), kind="average_pool", weights=None, output_shape=(2, 1, 1),
                   **changes)


def refusal(layer: IntegerLayer, **changes: Any) -> str:
    with pytest.raises(CompileError) as caught:
        compile_layer(layer, CONFIG.replace(**changes))
    return str(caught.value)


REFUSALS: list[tuple[IntegerLayer, dict[str, Any], str]] = [
    (conv(stride=3), {}, "stride must be 1 or 2, not 3"),
    (conv(padding=(1, -1, 1, 1)), {}, "padding must not be negative, not (1, -1, 1, 1)"),
    (conv(lo=5, hi=4), {}, "lo must not be above hi, not 5 and 4"),
    (conv(output_shape=(4, 5, 6)), {}, "output shape must be (4, 5, 5), not (4, 5, 6)"),
    (conv(input_shape=(3, 5, 5)), {},
     "weights must have input channels and kernel (3, 3, 3), not (2, 3, 3)"),
    (conv(weights=None), {}, "a layer of kind 'conv' must have weights"),
    (conv(requantisation=None), {}, "a layer of kind 'conv' must have a requantisation"),
    (pool(residual=True), {}, "a layer of kind 'max_pool' must not have a residual"),
    (average(residual=True), {}, "a layer of kind 'average_pool' must not have a residual"),
    (conv(exponent=9), {},
     "a coefficient has exponent 9, the configuration has exponents 0 to 7; "
     "set exponents = 10 or decompose with fewer"),
    (conv(exponent=-1), {},
     "an exponent must not be negative, not -1"),
    (smartdeal(), {"basis": False},
     "its weights need the basis stage, which the configuration leaves out; set basis = true"),
    (smartdeal(align=16), {}, "the align of a slice must be from 0 to 15, not 16"),
    (pool(), {"max_pool": False},
     "it needs the feature max_pool, which the configuration leaves out; set max_pool = true"),
    (average(), {"reduce": False},
     "it needs the feature reduce, which the configuration leaves out; set reduce = true"),
    (conv(residual=True), {"residual": False},
     "it needs the feature residual, which the configuration leaves out; set residual = true"),
    (conv(c=20, exponent=7), {"acc_bits": 16},
     "with acc_bits = 16 the reduction takes 90 slices, the accelerator has max_slices = 16; "
     "set acc_bits = 19"),
    (conv(exponent=8), {"acc_bits": 16, "exponents": 9},
     "with acc_bits = 16 the reduction takes 18 slices, the accelerator has max_slices = 16; "
     "set acc_bits = 17"),
    (conv(exponent=9), {"acc_bits": 16, "exponents": 10},
     "with acc_bits = 16 a single step overflows; set acc_bits = 18"),
    (smartdeal(slices=3), {"max_slices": 2},
     "its weights take 3 slices, the accelerator has max_slices = 2; set max_slices = 3 or "
     "decompose into fewer slices"),
    (smartdeal(align=15), {},
     "a sum may need 42 bits, the accelerator has sum_bits = 40; set sum_bits = 42"),
    (smartdeal(slices=16, align=15), {},
     "a sum may need 46 bits, the accelerator has sum_bits = 40; no accelerator has sum_bits = 46: "
     "make the layer smaller"),
    (conv(c=200, m=6), {"weight_steps": 100},
     "one group of 6 output channels takes 1800 steps, the accelerator has weight_steps = 100; "
     "set weight_steps = 1800"),
    (conv(m=40), {"rows": 32, "channel_entries": 16},
     "one group of 32 output channels takes 32 channel entries, the accelerator has "
     "channel_entries = 16; set channel_entries = 32"),
    (smartdeal(slices=9), {"basis_entries": 16},
     "one group of 2 output channels takes 18 basis entries, the accelerator has "
     "basis_entries = 16; set basis_entries = 18"),
    (conv(), {"activation_words": 16},
     "1 output row(s) of 4 channels take 19 words of the activation buffer, the accelerator has "
     "activation_words = 16; set activation_words = 19"),
    (average(requantisation=requantisation(2)), {"activation_words": 16, "cols": 2},
     "5 output row(s) of 2 channels take 28 words of the activation buffer, the accelerator has "
     "activation_words = 16; set activation_words = 28"),
    (conv(size=(1, 65535)), {},
     "its map takes 65536 stream positions per row, an instruction holds 65535; "
     "make the map smaller"),
    (conv(m=1, c=1, size=(18, 18)),
     {"cols": 32, "field_bits": 8, "activation_words": 256, "weight_steps": 256,
      "channel_entries": 64, "basis_entries": 64},
     "an instruction would hold end = 341, the accelerator takes at most 255: field_bits must be "
     "at least 9, not 8"),
    (conv(requantisation=requantisation(4, bias=1 << 39)), {},
     "requantisation bias must be from -549755813888 to 549755813887, not 549755813888; "
     "set sum_bits = 41"),
    (conv(requantisation=requantisation(4, multiplier=65536)), {},
     "requantisation multiplier must be from 0 to 65535, not 65536; choose another scale"),
    (conv(requantisation=requantisation(3)), {},
     "requantisation bias must have shape (4,), not (3,)"),
]


@pytest.mark.parametrize(("layer", "changes", "message"), REFUSALS,
                         ids=[re.sub(r"\W+", " ", m)[:40] for *_, m in REFUSALS])
def test_refused(layer: IntegerLayer, changes: dict[str, Any], message: str) -> None:
    assert refusal(layer, **changes) == f"layer 'conv1': {message}"


@pytest.mark.parametrize(("layer", "changes"), [
    (conv(c=20, exponent=7), {"acc_bits": 16}),
    (conv(exponent=9), {"acc_bits": 16, "exponents": 10}),
    (smartdeal(slices=3), {"max_slices": 2}),
    (smartdeal(align=15), {}),
    (conv(c=200, m=6), {"weight_steps": 100}),
    (conv(m=40), {"rows": 32, "channel_entries": 16}),
    (smartdeal(slices=9), {"basis_entries": 16}),
    (conv(), {"activation_words": 16}),
], ids=str)
def test_advice_helps(layer: IntegerLayer, changes: dict[str, Any]) -> None:
    """Following the message makes the layer fit, and one less does not."""
    message = refusal(layer, **changes)
    (name, value), = re.findall(r"set (\w+) = (\d+)", message)
    compile_layer(layer, CONFIG.replace(**{**changes, name: int(value)}))
    refusal(layer, **{**changes, name: int(value) - 1})
