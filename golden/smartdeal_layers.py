"""Drop-in layers of SmartDeal's weights, W = Ce · B, in the two ways that are published.

:class:`SmartDealConv2d` is SmartDeal *training*: Ce and B are the parameters, Ce rounded to powers
of two within a frozen support. :class:`AlternatingConv2d` is SmartDeal *inference*: the weights are
trained as they are, and after each epoch decomposed and replaced.
"""

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smartdeal.golden.form_layers import (
    FormConv2d,
    FormLayer,
    FormLinear,
    LatentWeights,
    real_weights,
)
from smartdeal.golden.formats import BASIS_MAX, BASIS_SIZE
from smartdeal.golden.forms import BasisWeights
from smartdeal.golden.options import FormError
from smartdeal.golden.powers import to_exponents
from smartdeal.golden.smartexchange import MAX_ALIGN, smartexchange
from smartdeal.golden.straight import straight
from smartdeal.golden.vectors import has_vectors

__all__ = ["AlternatingConv2d", "AlternatingLinear", "BucketSwitch", "SmartDealConv2d",
           "SmartDealLinear"]


def _check_kernel(shape: tuple[int, int, int, int]) -> None:
    if not has_vectors(shape):
        raise FormError(f"form smartdeal needs a kernel of 3×3 or 1×1, not {shape[2]}×{shape[3]}; "
                        "choose int8 for this layer")


class _SmartDeal(FormLayer):
    """W = Ce · B with Ce and B as the parameters (SmartDeal, section III-D).

    ``ce`` is (M, V, 3), real, 1 standing for the largest coefficient 2^(E-1); what is used is
    the nearest power of two, ties to the smaller magnitude, of the E that there are. ``basis`` is
    (M, slices, 3, 3), real; what is used is int8 times a power of two per slice. Gradients pass
    both roundings straight through. Entries of Ce that are zero when weights are adopted stay zero,
    and the others never become zero: the support is frozen.
    """

    form = "smartdeal"
    ce: nn.Parameter
    basis: nn.Parameter
    support: Tensor
    slice_starts: tuple[int, ...]

    def adopt(self, weights: Tensor) -> None:
        _check_kernel(self.weight_shape)
        self.register_parameter("weight", None)
        self.adopt_form(smartexchange(weights.double().numpy(), self.options))

    def adopt_form(self, weights: BasisWeights) -> None:
        """Set the parameters to a decomposition; they reproduce it exactly."""
        top = self.options.exponents - 1
        ce = np.ldexp(weights.sign.astype(np.float64), weights.exponent.astype(np.int64) - top)
        unit = np.ldexp(weights.scale[:, None], weights.align.astype(np.int64) + top)
        basis = weights.basis * unit[:, :, None, None]
        self.ce = nn.Parameter(torch.from_numpy(ce.astype(np.float32)))
        self.basis = nn.Parameter(torch.from_numpy(basis.astype(np.float32)))
        self.register_buffer("support", torch.from_numpy(weights.sign != 0))
        self.slice_starts = weights.slice_starts

    def constrain(self) -> None:
        with torch.no_grad():
            self.ce.clamp_(-1, 1)

    def _coefficients(self) -> NDArray[np.float64]:
        """Return Ce as integers, (M, V, 3)."""
        real = np.ldexp(self.ce.detach().double().numpy(), self.options.exponents - 1)
        if not np.isfinite(real).all():
            raise FormError("coefficients of a layer of form smartdeal must be finite")
        return _nearest_power(real, self.options.exponents) * self.support.numpy()

    def _integer_basis(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return B as int8, and the exponent of its unit per slice, (M, slices)."""
        real = self.basis.detach().double().numpy()
        if not np.isfinite(real).all():
            raise FormError("the basis of a layer of form smartdeal must be finite")
        peak = np.abs(real).max(axis=(2, 3))
        unit = np.ceil(np.log2(np.where(peak > 0, peak, 1.0) / (BASIS_MAX + 0.49)))
        unit = np.where(peak > 0, unit, -np.inf)
        coarsest = np.where((peak > 0).any(axis=1), unit.max(axis=1), 0)
        # Slices of one filter are aligned by left shifts of at most MAX_ALIGN.
        unit = np.maximum(unit, coarsest[:, None] - MAX_ALIGN).astype(np.int64)
        return np.rint(np.ldexp(real, -unit[:, :, None, None])), unit

    def effective_weight(self) -> Tensor:
        ce = self._coefficients()
        basis, unit = self._integer_basis()
        top = self.options.exponents - 1
        used_ce = straight(self.ce * self.support, _float(np.ldexp(ce, -top)))
        used_basis = straight(self.basis, _float(np.ldexp(basis, unit[:, :, None, None])))
        spans = zip(self.slice_starts, self.slice_starts[1:], strict=False)
        with torch.autocast("cpu", enabled=False):
            parts = [used_ce[:, start:stop] @ used_basis[:, i]
                     for i, (start, stop) in enumerate(spans)]
        m, channels, kh, kw = self.weight_shape
        flat = torch.cat(parts, dim=1).reshape(m, -1)
        return flat[:, :channels * kh * kw].reshape(self.weight_shape)

    def export(self) -> BasisWeights:
        basis, unit = self._integer_basis()
        finest = unit.min(axis=1)
        sign, exponent = to_exponents(self._coefficients())
        _, channels, kernel, _ = self.weight_shape
        return BasisWeights(
            axis="kernel" if kernel == BASIS_SIZE else "channel", sign=sign, exponent=exponent,
            basis=basis.astype(np.int8), align=(unit - finest[:, None]).astype(np.int8),
            slice_starts=self.slice_starts, channels=channels,
            scale=np.ldexp(1.0, finest - (self.options.exponents - 1)))


def _float(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _nearest_power(values: NDArray[np.float64], exponents: int) -> NDArray[np.float64]:
    """Round to ±2^e, e in 0…E-1, never to zero; ties to the smaller magnitude, 0 to +1."""
    fraction, exponent = np.frexp(np.abs(values))
    power = np.ldexp(1.0, np.clip(np.where(fraction > 0.75, exponent, exponent - 1),
                                  0, exponents - 1))
    return np.where(values < 0, -power, power)


class SmartDealConv2d(_SmartDeal, FormConv2d):
    __doc__ = _SmartDeal.__doc__


class SmartDealLinear(_SmartDeal, FormLinear):
    __doc__ = _SmartDeal.__doc__


class _Alternating(LatentWeights):
    """Weights that are decomposed and replaced after each epoch (SmartDeal inference).

    During an epoch they are trained as they are, within the frozen support of whole vectors; the
    last step before evaluation or export must be :meth:`refit`.
    """

    form = "smartdeal"
    fit_code: Tensor
    fit_basis: Tensor
    fit_align: Tensor
    fit_scale: Tensor
    slice_starts: tuple[int, ...]

    def adopt(self, weights: Tensor) -> None:
        _check_kernel(self.weight_shape)
        super().adopt(weights)
        self._decompose()

    def effective_weight(self) -> Tensor:
        return self._latent()

    def _decompose(self) -> BasisWeights:
        """Decompose the weights; what comes out is kept in buffers, and so in checkpoints."""
        latent = self._latent().detach().double().numpy()
        if not np.isfinite(latent).all():
            raise FormError(f"weights of a layer of form {self.form} must be finite")
        fit = smartexchange(latent, self.options)
        for name, value in (("code", fit.sign * (fit.exponent + 1)), ("basis", fit.basis),
                            ("align", fit.align), ("scale", fit.scale)):
            self.register_buffer(f"fit_{name}", torch.from_numpy(value.copy()))
        self.slice_starts = fit.slice_starts
        return fit

    def _fit(self) -> BasisWeights:
        """Return the last decomposition."""
        code = self.fit_code.numpy()
        _, channels, kernel, _ = self.weight_shape
        return BasisWeights(
            axis="kernel" if kernel == BASIS_SIZE else "channel", sign=np.sign(code),
            exponent=np.maximum(np.abs(code) - 1, 0), basis=self.fit_basis.numpy(),
            align=self.fit_align.numpy(), slice_starts=self.slice_starts, channels=channels,
            scale=self.fit_scale.numpy())

    def refit(self) -> None:
        fit = self._decompose()
        with torch.no_grad():
            self.latent.copy_(real_weights(fit).reshape(self.latent.shape))

    def export(self) -> BasisWeights:
        if not torch.equal(real_weights(self._fit()), self._latent().detach()):
            self.refit()
        return self._fit()


class AlternatingConv2d(_Alternating, FormConv2d):
    __doc__ = _Alternating.__doc__


class AlternatingLinear(_Alternating, FormLinear):
    __doc__ = _Alternating.__doc__


class BucketSwitch(torch.optim.Optimizer):
    """Move the exponents of Ce by counted signs of its gradient (SmartDeal's bucket switch).

    A counter per entry sums the sign of the update that gradient descent would make. When it
    reaches ±``bar``, the entry moves one power of two that way and the counter starts anew. An
    entry of the lowest magnitude that moves towards zero changes its sign: the frozen support
    knows no zero.

    Parameters
    ----------
    layers : list of SmartDealConv2d and SmartDealLinear
        Their ``ce`` must be given to no other optimiser.
    bar : int
        At least 1.

    Raises
    ------
    ValueError
        If ``bar`` is less than 1.
    """

    def __init__(self, layers: list[FormLayer], bar: int) -> None:
        if bar < 1:
            raise ValueError(f"switch bar must be at least 1, not {bar!r}")
        self._layers = [cast(_SmartDeal, layer) for layer in layers]
        super().__init__([{"params": [layer.ce]} for layer in self._layers], {"lr": 0.0})
        self._bar = bar

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Count, and move what has reached the bar."""
        for layer in self._layers:
            if layer.ce.grad is None:
                continue
            state = self.state[layer.ce]
            counter = state.setdefault("counter", torch.zeros_like(layer.ce, dtype=torch.int32))
            counter -= layer.ce.grad.sign().to(torch.int32) * layer.support
            due = counter.abs() >= self._bar
            layer.ce.copy_(torch.where(due, _moved(layer, counter.sign()), layer.ce))
            counter.masked_fill_(due, 0)


def _moved(layer: _SmartDeal, direction: Tensor) -> Tensor:
    """Return Ce with each entry one power of two further in a direction, -1 or +1."""
    top = layer.options.exponents - 1
    value = torch.from_numpy(layer._coefficients())
    outwards = value.sign() == direction
    flips = ~outwards & (value.abs() <= 1)
    stepped = torch.where(outwards, (2 * value).clamp(-2.0**top, 2.0**top), value / 2)
    return (torch.where(flips, -value, stepped) * 2.0**-top).float()
