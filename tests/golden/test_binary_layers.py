"""Binarised layers and shift-based normalisation against the paper: worked numbers, gradients."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from smartdeal.golden.binary_layers import (
    BinarisedConv2d,
    BinarisedLinear,
    BinaryConv2d,
    BinaryLinear,
    xnor_dot,
)
from smartdeal.golden.shift_norm import ShiftBatchNorm2d, nearest_power
from smartdeal.golden.straight import binarise, sign


def test_sign_of_zero_is_plus_one() -> None:
    assert sign(torch.tensor([0.0, -0.0, 1e-9, -1e-9])).tolist() == [1, 1, 1, -1]
    layer = BinaryLinear(2, 1, bias=False)
    with torch.no_grad():
        layer.get_parameter("weight").copy_(torch.tensor([[0.0, -0.0]]))
    assert layer.export().sign.flatten().tolist() == [1, 1]
    assert (layer.effective_weight() > 0).all()


def test_binarise_passes_gradients_inside_the_clip() -> None:
    x = torch.tensor([-1.5, -1.0, 0.0, 0.3, 1.0, 1.0001], requires_grad=True)
    (binarise(x) * torch.arange(1.0, 7)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 2, 3, 4, 5, 0]


def test_binary_weights_stay_in_their_range_and_have_one_exponent() -> None:
    torch.manual_seed(0)
    layer = BinaryConv2d.from_float(nn.Conv2d(4, 3, 3))
    exported = layer.export()
    assert exported.sign.shape == (1, 3, 4, 3, 3)
    assert (np.abs(exported.sign) == 1).all()
    assert not exported.exponent.any()
    with torch.no_grad():
        layer.get_parameter("weight").mul_(5)
    layer.constrain()
    assert layer.get_parameter("weight").abs().max() <= 1
    assert BinaryConv2d(4, 3, 3).gain.tolist() == [1, 1, 1]


@pytest.mark.parametrize("pad", [-1, 1])
def test_border_taps_of_binary_layers_count_the_padding(pad: int) -> None:
    """Against XOR and popcount at each position, padding included: N is 9·C everywhere."""
    torch.manual_seed(1)
    layer = BinaryConv2d(3, 2, 3, padding=1, bias=False, binary_input=True, pad_value=pad)
    x = torch.randn(1, 3, 4, 5)
    x[0, 0, 0, 0] = 0  # counts as +1
    got = layer(x)
    weights = torch.from_numpy(layer_signs(layer)).float()
    padded = functional.pad(sign(x), (1, 1, 1, 1), value=float(pad))
    for m, row_, column in np.ndindex(2, 4, 5):
        window = padded[0, :, row_:row_ + 3, column:column + 3]
        assert got[0, m, row_, column] == xnor_dot(window.flatten(), weights[m].flatten())
    # One corner by hand: five of nine taps per channel are padding.
    corner = (padded[0, :, :3, :3] * weights[0]).sum()
    assert got[0, 0, 0, 0] == corner


def layer_signs(layer: BinaryConv2d) -> np.ndarray:
    return np.where(layer.get_parameter("weight").detach().numpy() >= 0, 1, -1)


def test_xnor_dot_by_hand() -> None:
    """(+ - + 0) · (+ + - -) = 1 - 1 - 1 - 1: three of four differ, 4 - 2 · 3."""
    a, w = torch.tensor([2.0, -1.0, 0.5, 0.0]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert xnor_dot(a, w).item() == -2


def test_forms_of_binary_layers() -> None:
    assert BinaryConv2d(3, 2, 3).form == "binary"
    layer = BinaryConv2d(3, 2, 3, binary_input=True, pad_value=1)
    assert layer.form == BinarisedConv2d(3, 2, 3).form == BinarisedLinear(3, 2).form == "bnn"
    again = BinarisedConv2d.from_float(layer)
    assert (again.binary_input, again.pad_value) == (True, 1)
    assert BinarisedConv2d.from_float(nn.Conv2d(3, 2, 3)).binary_input
    assert not BinaryConv2d.from_float(nn.Conv2d(3, 2, 3)).binary_input
    with pytest.raises(ValueError, match=r"^pad_value must be \+1 or -1, not 0$"):
        BinaryConv2d(3, 2, 3, pad_value=0)


# Shift-based batch normalisation, section 1.4 of the paper.

def test_nearest_power() -> None:
    """AP2: log2 of 3 is 1.58, so 4; of 0.35 it is -1.51, so ¼; of 0.36 it is -1.47, so ½."""
    x = torch.tensor([3.0, -0.35, 0.36, 0.0, 1.0], requires_grad=True)
    power = nearest_power(x)
    assert power.tolist() == [4.0, -0.25, 0.5, 0.0, 1.0]
    power.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1] * 5


def test_shift_norm_by_hand() -> None:
    """Values 1, 3, 5, 7: mean 4; c · AP2(c) = 3·4, 1·1, 1·1, 3·4, whose mean is 6.5."""
    norm = ShiftBatchNorm2d(1, eps=0.0, momentum=1.0)
    with torch.no_grad():
        norm.weight.fill_(3)  # counts as 4
        norm.bias.fill_(0.5)
    x = torch.tensor([1.0, 3, 5, 7])[None, None, :, None]
    # 1/√6.5 = 0.392, whose nearest power of two is ½.
    assert norm(x).flatten().tolist() == [c * 0.5 * 4 + 0.5 for c in (-3, -1, 1, 3)]
    assert norm.running_mean.item() == 4
    assert norm.running_var.item() == 6.5
    norm.eval()
    assert norm(x).flatten().tolist() == [c * 2 + 0.5 for c in (-3, -1, 1, 3)]
    assert norm.factor().tolist() == [2.0]
