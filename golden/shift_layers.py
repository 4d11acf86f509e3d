"""Drop-in layers of one and more power-of-two terms, and of int8 weights."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smartdeal.golden.form_layers import FormConv2d, FormLayer, FormLinear, LatentWeights
from smartdeal.golden.forms import TermWeights
from smartdeal.golden.options import FormError, FormOptions
from smartdeal.golden.powers import round_log, to_exponents
from smartdeal.golden.straight import straight
from smartdeal.golden.terms import int8, round_terms, two_terms

__all__ = ["DeepShiftConv2d", "DeepShiftLinear", "DeepShiftPSConv2d", "DeepShiftPSLinear",
           "Int8Conv2d", "Int8Linear", "ShiftTermsConv2d", "ShiftTermsLinear", "deepshift_bits",
           "shift_penalty"]


def deepshift_bits(options: FormOptions) -> int:
    """Return DeepShift's bits b, of which b - 1 count the shifts: 2^(b-1) is E.

    Raises
    ------
    FormError
        If E is not 2, 4, 8 or 16.
    """
    bits = options.exponents.bit_length()
    if options.exponents not in (2, 4, 8, 16):
        raise FormError(f"exponents must be 2, 4, 8 or 16 for DeepShift, whose b bits count "
                        f"2^(b-1) shifts, not {options.exponents}")
    return bits


class _DeepShiftQ(LatentWeights):
    """DeepShift-Q (Elhoushi et al. 2021, section 3): W~ = sign(W) · 2^round(log2 \\|W\\|).

    The exponent is clamped to -(2^(b-1) - 1)…0 with b = 1 + log2(E) bits: small weights are pushed
    up to the lowest, and only an exact zero stays zero, since the form has no code for it. There
    is no scale. The gradient passes straight through, also where a weight is clamped.
    """

    form = "deepshift-q"

    def project(self, weights: NDArray[np.float64]) -> TermWeights:
        low = 1 - (1 << (deepshift_bits(self.options) - 1))
        powers = round_log(np.ldexp(weights, -low), self.options.exponents)
        sign, exponent = to_exponents(powers[None])
        return TermWeights(sign, exponent, np.full(len(weights), 2.0**low))


class DeepShiftConv2d(_DeepShiftQ, FormConv2d):
    __doc__ = _DeepShiftQ.__doc__


class DeepShiftLinear(_DeepShiftQ, FormLinear):
    __doc__ = _DeepShiftQ.__doc__


class _SignTimesPower(torch.autograd.Function):
    """s · v; v gets the gradient g · s, and s gets g as it is."""

    @staticmethod
    def forward(ctx: Any, power: Tensor, sign: Tensor) -> Tensor:
        ctx.save_for_backward(sign)
        return power * sign

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        sign, = ctx.saved_tensors
        return gradients[0] * sign, gradients[0]


class _DeepShiftPS(FormLayer):
    """DeepShift-PS (section 3): W~ = s · 2^p with p = round(P), s = sign(round(T)) in -1, 0, +1.

    P and T are the parameters, ``shift`` and ``sign``. P is clamped to -(2^(b-1) - 2)…0; T within
    ±0.5 means zero, which costs one shift code. Rounding passes gradients straight through; P gets
    g · s · 2^p · ln 2, T gets g. Train with RAdam and :func:`shift_penalty`.
    """

    form = "deepshift-ps"
    shift: nn.Parameter
    sign: nn.Parameter

    @property
    def lowest(self) -> int:
        """Lowest exponent."""
        return 2 - (1 << (deepshift_bits(self.options) - 1))

    def adopt(self, weights: Tensor) -> None:
        self.register_parameter("weight", None)
        magnitude = weights.abs()
        shift = torch.where(magnitude > 0, magnitude, 1.0).log2()
        self.shift = nn.Parameter(shift.clamp(self.lowest, 0))
        self.sign = nn.Parameter(weights.sign())

    def constrain(self) -> None:
        with torch.no_grad():
            self.shift.clamp_(self.lowest, 0)

    def power(self) -> Tensor:
        """Return 2^p, (M, C, kh, kw)."""
        clamped = self.shift.clamp(self.lowest, 0).detach().round()
        return torch.exp2(straight(self.shift, clamped))

    def effective_weight(self) -> Tensor:
        ternary = straight(self.sign, self.sign.detach().round().sign())
        result: Tensor = _SignTimesPower.apply(  # pyright: ignore[reportAssignmentType]
            self.power(), ternary)
        return result

    def export(self) -> TermWeights:
        sign = self.sign.detach().round().sign().numpy().astype(np.int8)[None]
        shift = self.shift.detach().clamp(self.lowest, 0).round().numpy()[None] - self.lowest
        return TermWeights(sign, np.where(sign == 0, 0, shift).astype(np.int8),
                           np.full(sign.shape[1], 2.0**self.lowest))


class DeepShiftPSConv2d(_DeepShiftPS, FormConv2d):
    __doc__ = _DeepShiftPS.__doc__


class DeepShiftPSLinear(_DeepShiftPS, FormLinear):
    __doc__ = _DeepShiftPS.__doc__


def shift_penalty(model: nn.Module, weight_decay: float) -> Tensor:
    """Return DeepShift-PS's own weight decay: weight_decay / 2 · Σ (2^p)² over its layers."""
    squares = [layer.power().square().sum() for layer in model.modules()
               if isinstance(layer, _DeepShiftPS)]
    return weight_decay / 2 * torch.stack(squares).sum() if squares else torch.zeros(())


class _ShiftTerms(LatentWeights):
    """Two power-of-two terms per weight, with a scale per filter.

    The scale is that of the least squared error; it is chosen anew after each epoch.
    """

    form = "shift2"
    scale: Tensor

    def prepare(self, weights: Tensor) -> Tensor:
        scale = two_terms(weights.double().numpy(), self.options).scale
        self.register_buffer("scale", torch.from_numpy(scale))
        return weights

    def refit(self) -> None:
        self.prepare(self._latent().detach())

    def project(self, weights: NDArray[np.float64]) -> TermWeights:
        return round_terms(weights, self.scale.numpy(), self.options.exponents, terms=2)


class ShiftTermsConv2d(_ShiftTerms, FormConv2d):
    __doc__ = _ShiftTerms.__doc__


class ShiftTermsLinear(_ShiftTerms, FormLinear):
    __doc__ = _ShiftTerms.__doc__


class _Int8(LatentWeights):
    """Symmetric int8 weights, -127…127, with the scale of the filter's largest weight."""

    form = "int8"

    def project(self, weights: NDArray[np.float64]) -> TermWeights:
        return int8(weights, self.options)


class Int8Conv2d(_Int8, FormConv2d):
    __doc__ = _Int8.__doc__


class Int8Linear(_Int8, FormLinear):
    __doc__ = _Int8.__doc__
