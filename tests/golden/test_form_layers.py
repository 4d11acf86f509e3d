"""Drop-in layers against the papers' formulas: worked numbers, gradients, exports, messages."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from smartdeal.golden.convert import TRAINED_FORMS, convert, shift_norms
from smartdeal.golden.form_layers import FormLayer, form_layers, real_weights
from smartdeal.golden.forms import BasisWeights
from smartdeal.golden.options import FormError, FormOptions
from smartdeal.golden.shared_layers import SharedLinear
from smartdeal.golden.shift_layers import (
    DeepShiftLinear,
    DeepShiftPSLinear,
    ShiftTermsConv2d,
    shift_penalty,
)
from smartdeal.golden.shift_norm import ShiftBatchNorm2d
from smartdeal.golden.smartdeal_layers import (
    AlternatingConv2d,
    BucketSwitch,
    SmartDealConv2d,
    SmartDealLinear,
)
from smartdeal.golden.straight import sign, straight

FOUR_BITS, FIVE_BITS = FormOptions(exponents=8), FormOptions(exponents=16)


def row(values: list[float]) -> Tensor:
    """Return weights (1, C, 1, 1)."""
    return torch.tensor(values)[None, :, None, None]


def linear(kind: type, values: list[float], options: FormOptions = FOUR_BITS) -> FormLayer:
    layer = kind(len(values), 1, bias=False, options=options)
    layer.adopt(row(values))
    return layer


# Exactness of every form.

@settings(max_examples=40, deadline=None)
@given(form=st.sampled_from(sorted(TRAINED_FORMS)), seed=st.integers(0, 2**32 - 1),
       filters=st.integers(1, 4), channels=st.integers(1, 7), kernel=st.sampled_from((1, 3)),
       size=st.floats(-6, 3))
def test_what_runs_is_what_is_exported(
    form: str, seed: int, filters: int, channels: int, kernel: int, size: float,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    conv = nn.Conv2d(channels, filters, kernel, padding=kernel // 2)
    with torch.no_grad():
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=generator) * 10**size)
    layer = TRAINED_FORMS[form][0].from_float(conv, FormOptions(slice_rows=6, restarts=0))
    layer.refit()
    x = torch.randn(1, channels, 4, 4, generator=generator)
    exported = layer.export()
    used = layer.effective_weight()
    assert exported.shape == layer.weight_shape
    assert torch.equal(used, real_weights(exported))
    seen = functional.pad(x, (kernel // 2,) * 4)
    if layer.binary_input:
        seen = functional.pad(sign(x), (kernel // 2,) * 4, value=layer.pad_value)
    wanted = functional.conv2d(seen, real_weights(exported), conv.bias)
    assert torch.equal(layer(x), wanted)
    if isinstance(exported, BasisWeights):
        assert (exported.align >= 0).all()
        assert (exported.align <= 15).all()


@pytest.mark.parametrize("form", sorted(TRAINED_FORMS))
def test_linear_and_convolution_agree(form: str) -> None:
    torch.manual_seed(0)
    source = nn.Linear(6, 4)
    conv = nn.Conv2d(6, 4, 1)
    conv.load_state_dict({"weight": source.weight[:, :, None, None], "bias": source.bias})
    kinds = TRAINED_FORMS[form]
    x = torch.randn(5, 6)
    got = kinds[1].from_float(source)(x)
    torch.testing.assert_close(got, kinds[0].from_float(conv)(x[:, :, None, None])[:, :, 0, 0])


# DeepShift, section 3 of the paper.

def test_deepshift_q_rounds_in_the_log_domain() -> None:
    """The switch point of 2^-1 and 2^0 is √½ = 0.7071, not 0.75; four bits reach 2^-7."""
    layer = linear(DeepShiftLinear, [0.70, 0.72, -0.36, 5.0, 0.001, -0.0002, 0.0])
    assert layer.effective_weight().flatten().tolist() == [
        0.5, 1.0, -0.5, 1.0, 2**-7, -2**-7, 0.0]
    five = linear(DeepShiftLinear, [0.001, -1e-9, 0.0], FIVE_BITS)
    assert five.effective_weight().flatten().tolist() == [2**-10, -2**-15, 0.0]


def test_deepshift_q_has_no_code_for_zero() -> None:
    """Only weights that are exactly zero are, and they are kept so; all others get an exponent."""
    layer = linear(DeepShiftLinear, [1e-30, 0.0, -1e-30])
    exported = layer.export()
    assert exported.sign.flatten().tolist() == [1, 0, -1]
    assert exported.exponent.flatten().tolist() == [0, 0, 0]
    layer.effective_weight().sum().backward()
    gradient = layer.get_parameter("weight").grad
    assert gradient is not None
    assert gradient.flatten().tolist() == [1.0, 0.0, 1.0]


def test_deepshift_q_passes_gradients_straight_through() -> None:
    """Also where a weight is clamped, at either end."""
    layer = linear(DeepShiftLinear, [0.3, 4.0, 1e-5])
    (layer.effective_weight().flatten() * torch.tensor([2.0, 3.0, 5.0])).sum().backward()
    gradient = layer.get_parameter("weight").grad
    assert gradient is not None
    assert gradient.flatten().tolist() == [2.0, 3.0, 5.0]


def test_deepshift_ps_ranges_and_zero_code() -> None:
    """Four bits: shifts -6…0 and a sign of three values; |T| ≤ ½ means zero."""
    layer = linear(DeepShiftPSLinear, [1.0] * 6)
    with torch.no_grad():
        layer.get_parameter("shift").copy_(row([-9.0, 2.0, -2.4, -2.6, -3.0, -3.0]))
        layer.get_parameter("sign").copy_(row([1.0, -1.0, 0.6, -0.51, 0.5, -0.5]))
    assert layer.effective_weight().flatten().tolist() == [2**-6, -1, 0.25, -0.125, 0, 0]
    exported = layer.export()
    assert exported.sign.flatten().tolist() == [1, -1, 1, -1, 0, 0]
    assert exported.exponent.flatten().tolist() == [0, 6, 4, 3, 0, 0]
    assert exported.scale.tolist() == [2**-6]
    layer.constrain()
    assert layer.get_parameter("shift").flatten().tolist()[:2] == [-6, 0]
    five = linear(DeepShiftPSLinear, [1e-9], FIVE_BITS)
    assert five.effective_weight().item() == 2**-14


def test_deepshift_ps_gradients() -> None:
    """P gets g · s · 2^p · ln 2, T gets g as it is; a zero passes nothing to P but all to T."""
    layer = linear(DeepShiftPSLinear, [0.25, -0.5, 1.0])
    with torch.no_grad():
        layer.get_parameter("sign")[0, 2] = 0.2
    (layer.effective_weight().flatten() * torch.tensor([3.0, 5.0, 7.0])).sum().backward()
    shift, sign_ = (layer.get_parameter(name).grad for name in ("shift", "sign"))
    assert shift is not None
    assert sign_ is not None
    torch.testing.assert_close(shift.flatten(), torch.tensor(
        [3 * 0.25 * math.log(2), -5 * 0.5 * math.log(2), 0.0]))
    assert sign_.flatten().tolist() == [3.0, 5.0, 7.0]


def test_deepshift_ps_penalty() -> None:
    """Weight decay / 2 · Σ (2^p)²: 0.1 / 2 · (1/16 + 1/4)."""
    model = nn.Sequential(linear(DeepShiftPSLinear, [0.25, -0.5]), nn.Linear(2, 2))
    assert shift_penalty(model, 0.1).item() == pytest.approx(0.05 * (1 / 16 + 1 / 4))
    assert shift_penalty(nn.Linear(2, 2), 0.1).item() == 0


@pytest.mark.parametrize("form", ["deepshift-q", "deepshift-ps"])
def test_deepshift_needs_a_power_of_two_of_exponents(form: str) -> None:
    message = ("Conv2d: exponents must be 2, 4, 8 or 16 for DeepShift, whose b bits count 2^(b-1) "
               "shifts, not 9")
    with pytest.raises(FormError, match=f"^{re.escape(message)}$"):
        convert(nn.Conv2d(1, 1, 3), form, FormOptions(exponents=9))


# Two terms.

def test_two_terms_are_the_nearest_power_and_the_rest() -> None:
    """11 = 8 + 3: the nearest power is 8, of the rest 3 it is 2 (a tie goes down)."""
    layer = linear(convert(nn.Linear(1, 1), "shift2").__class__, [11.0, 128.0, -6.0, 0.0])
    layer.register_buffer("scale", torch.ones(1, dtype=torch.float64))
    assert layer.effective_weight().flatten().tolist() == [10.0, 128.0, -6.0, 0.0]


def test_two_terms_pass_gradients_and_choose_their_scale_anew() -> None:
    torch.manual_seed(0)
    layer = ShiftTermsConv2d(3, 2, 3)
    layer.effective_weight().sum().backward()
    gradient = layer.get_parameter("weight").grad
    assert gradient is not None
    assert torch.equal(gradient, torch.ones_like(gradient))
    before = layer.scale.clone()
    with torch.no_grad():
        layer.get_parameter("weight").mul_(3)
    layer.refit()
    np.testing.assert_allclose(layer.scale.numpy(), 3 * before.numpy(), rtol=1e-6)


# SmartDeal.

def test_smartdeal_is_a_product_of_powers_and_a_basis() -> None:
    """W = Ce · B by hand: Ce rows (1, 0, 0) and (-½, ¼, 0), B rows in units of 2^-7."""
    layer = SmartDealConv2d(1, 1, 3, bias=False, options=FormOptions(restarts=0))
    with torch.no_grad():
        layer.ce.copy_(torch.tensor([[[1.0, 0, 0], [-0.5, 0.25, 0], [0, 0, 0.3]]]))
        layer.basis.copy_(torch.tensor([[[[0.5, 0.25, 0], [0, 1 - 2**-7, 0], [0, 0, 0.125]]]]))
    layer.support = layer.ce.detach() != 0
    weights = layer.effective_weight()[0, 0].tolist()
    assert weights[0] == [0.5, 0.25, 0]
    assert weights[1] == [-0.25, -0.125 + 0.25 * (1 - 2**-7), 0]
    assert weights[2] == [0, 0, 0.25 * 0.125]  # 0.3 is nearer to ¼ than to ½
    assert layer.export().exponent[0].tolist() == [[7, 0, 0], [6, 5, 0], [0, 0, 5]]


def test_smartdeal_coefficients_tie_down_and_never_vanish() -> None:
    """0.75 is half-way between ½ and 1; the least magnitude is 2^-7; 0 counts as +."""
    layer = SmartDealLinear(3, 1, bias=False)
    with torch.no_grad():
        layer.ce.copy_(torch.tensor([[[0.75, -1e-6, 0.0]]]))
    layer.support = torch.ones_like(layer.support)
    exported = layer.export()
    assert exported.sign.flatten().tolist() == [1, -1, 1]
    assert exported.exponent.flatten().tolist() == [6, 0, 0]
    layer.support = torch.tensor([[[True, False, True]]])
    assert layer.export().sign.flatten().tolist() == [1, 0, 1]


def test_smartdeal_gradients_are_those_of_the_product() -> None:
    """dL/dCe = dL/dW · Bᵀ on the support, dL/dB = Ceᵀ · dL/dW, with the rounded factors."""
    torch.manual_seed(0)
    layer = SmartDealConv2d(2, 1, 3, options=FormOptions(restarts=0))
    layer.support[0, 1] = False
    g = torch.randn(1, 2, 3, 3)
    (layer.effective_weight() * g).sum().backward()
    exported = layer.export()
    ce = torch.from_numpy(exported.sign * 2.0 ** (exported.exponent - 7.0))[0]
    basis = torch.from_numpy(exported.basis[0, 0] * exported.scale[0] * 2.0**7)
    rows = g.reshape(6, 3).double()
    assert layer.ce.grad is not None
    assert layer.basis.grad is not None
    torch.testing.assert_close(layer.ce.grad[0].double(),
                               rows @ basis.T * torch.from_numpy(exported.sign[0] != 0))
    torch.testing.assert_close(layer.basis.grad[0, 0].double(), ce.T @ rows)


def test_alternation_replaces_the_weights_by_their_decomposition() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 3)
    layer = AlternatingConv2d.from_float(conv)
    assert torch.equal(layer.effective_weight(), conv.weight)
    layer.refit()
    lost = (layer.effective_weight() - conv.weight).norm() / conv.weight.norm()
    assert 0 < lost < 0.18
    exported, again = layer.export(), layer.export()
    np.testing.assert_array_equal(exported.integer(), again.integer())


def test_bucket_switch_counts_signs() -> None:
    """Descent lowers an entry with a positive gradient: two equal signs move it by one power."""
    layer = SmartDealLinear(3, 1, bias=False)
    with torch.no_grad():
        layer.ce.copy_(torch.tensor([[[0.5, 2.0**-7, -0.5]]]))
    layer.support = torch.ones_like(layer.support)
    switch = BucketSwitch([layer], bar=2)
    moves = []
    for gradient in ([1.0, 1.0, 1.0], [1.0, 1.0, -3.0], [-0.1, 1.0, 0.2], [-9.0, 1.0, 5.0]):
        layer.ce.grad = torch.tensor([[gradient]])
        switch.step()
        moves.append(layer.ce.flatten().tolist())
    low = 2.0**-7
    assert moves[0] == [0.5, low, -0.5]
    assert moves[1] == [0.25, -low, -0.5]  # down; through zero; the third's counter is 0 again
    assert moves[2] == [0.25, -low, -0.5]
    assert moves[3] == [0.5, -2 * low, -1.0]
    with pytest.raises(ValueError, match=r"^switch bar must be at least 1, not 0$"):
        BucketSwitch([layer], bar=0)


# Shared values.

def test_shared_values_get_the_sum_of_their_weights_gradients() -> None:
    """Two weights at 1, one at -2, one pruned: gradients 2 + 3, 5, and none."""
    layer = linear(SharedLinear, [1.0, 1.0, -2.0, 0.1],
                   FormOptions(shared_values=2, percentile=25))
    assert layer.effective_weight().flatten().tolist()[2:] == [-2.0, 0.0]
    (layer.effective_weight().flatten() * torch.tensor([2.0, 3.0, 5.0, 7.0])).sum().backward()
    gradient = layer.get_parameter("values").grad
    assert gradient is not None
    assert gradient.tolist() == [5.0, 5.0]  # of -2, and of 1
    assert len(np.unique(layer.export().integer())) == 3


# Conversion.

class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 7, padding=3)
        self.body = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


@pytest.mark.parametrize("form", sorted(TRAINED_FORMS))
def test_any_module_is_converted(form: str) -> None:
    torch.manual_seed(0)
    model = Tiny().eval()
    x = torch.randn(6, 1, 9, 9)
    made = convert(model, form)
    layers = form_layers(made)
    assert list(layers) == ["stem", "body.2", "head"]
    assert layers["body.2"].form == form.removesuffix("-train")
    if form.startswith("smartdeal"):
        assert layers["stem"].form == "int8"  # 7×7 is left alone
    assert not form_layers(model)
    assert not made.training
    made(x).sum().backward()
    if form not in ("binary", "bnn"):
        assert (made(x) - model(x)).norm() < 0.35 * model(x).norm()


def test_forms_and_fractions_by_layer() -> None:
    torch.manual_seed(0)
    made = convert(Tiny(), {"*": "shift2", "stem": "float", "head": "binary"},
                   FormOptions(zero_fraction=0.5), zero_fractions={"body.2": 0.25})
    layers = form_layers(made)
    assert {name: layer.form for name, layer in layers.items()} == {
        "body.2": "shift2", "head": "binary"}
    # 12 kernel rows in two groups of four filters: a quarter is 3.
    zero = ~layers["body.2"].export().sign[0].reshape(2, 4, 12, 3).any(axis=(1, 3))
    assert zero.sum(axis=1).tolist() == [3, 3]


@pytest.mark.parametrize(("form", "options", "message"), [
    ("nil", {}, "stem: weight form must be one of float, smartdeal, smartdeal-train, deepshift-q, "
                "deepshift-ps, shift2, int8, binary, bnn, cws, pws, uq, ecsq, not 'nil'"),
    ({"*": "int8", "tail": "int8"}, {}, "there is no layer 'tail' to convert; there are stem, "
                                        "body.2, head"),
    ("binary", {"zero_fraction": 0.5}, "body.2: form binary has no zero, so no vector can be "
                                       "zeroed; choose zero fraction 0"),
    ("int8", {"exponents": 7}, "stem: int8 weights need at least 8 exponents, not 7"),
])
def test_wrong_forms_are_refused(form: str, options: dict, message: str) -> None:
    with pytest.raises(FormError, match=f"^{re.escape(message)}$"):
        convert(Tiny(), form, FormOptions(**options))


def test_frozen_vectors_stay_zero() -> None:
    torch.manual_seed(0)
    model = convert(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)), "smartdeal",
                    FormOptions(zero_fraction=0.5, restarts=0))
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model(torch.randn(2, 1, 8, 8)).square().sum().backward()
        optimiser.step()
    layer = form_layers(model)["1"]
    layer.refit()
    exported = layer.export()
    assert isinstance(exported, BasisWeights)
    assert exported.zero_vectors() == 0.5


def test_straight_returns_the_value_bit_for_bit() -> None:
    x = torch.full((1,), 1e8, requires_grad=True)
    value = straight(x, torch.tensor([0.1]))
    assert value.item() == torch.tensor(0.1).item()
    value.backward()
    assert x.grad is not None
    assert x.grad.item() == 1


def test_shift_norms_replace_batch_norms() -> None:
    model = Tiny().eval()
    made = shift_norms(model)
    norm = made.get_submodule("body.0")
    assert isinstance(norm, ShiftBatchNorm2d)
    assert torch.isfinite(made(torch.randn(2, 1, 9, 9))).all()
