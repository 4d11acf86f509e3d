"""What all drop-in layers have in common: weights in a form, with gradients, and their export.

A drop-in layer takes the arguments of :class:`torch.nn.Conv2d` or :class:`torch.nn.Linear`. Its
forward pass uses exactly the weights that :meth:`FormLayer.export` hands to the integer network:
nothing is rounded a second time.
"""

from collections.abc import Mapping
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from smartdeal.golden.forms import TermWeights, Weights
from smartdeal.golden.options import DEFAULT_FORM, FormError, FormOptions
from smartdeal.golden.straight import binarise, straight
from smartdeal.golden.vectors import has_vectors

__all__ = ["FixedConv2d", "FixedLinear", "FormConv2d", "FormLayer", "FormLinear", "LatentWeights",
           "binarises", "check_forms", "form_layers", "original_weights", "real_weights"]


def real_weights(weights: Weights) -> Tensor:
    """Return what a form stands for, float32 of shape (M, C, kh, kw)."""
    real = weights.integer() * weights.scale[:, None, None, None]
    return torch.from_numpy(real.astype(np.float32))


class FormLayer(nn.Module):
    """A convolution or linear layer whose weights are in a form that the array executes.

    Attributes
    ----------
    form : str
        The form's name.
    options : FormOptions
    binary_input : bool
        Whether the input is binarised first: +1 where x ≥ 0, else -1.
    pad_value : +1 or -1
        What a binary input is outside the image.
    """

    form: str
    options: FormOptions
    binary_input: bool = False
    pad_value: int = -1

    def effective_weight(self) -> Tensor:
        """Return the weights that the layer uses, (M, C, kh, kw), with gradients."""
        raise NotImplementedError

    def export(self) -> Weights:
        """Return the same weights as the integers that are compiled."""
        raise NotImplementedError

    def adopt(self, weights: Tensor) -> None:
        """Set the parameters to come near real weights, (M, C, kh, kw); exact zeros stay zero."""
        raise NotImplementedError

    def refit(self) -> None:
        """Choose anew what training does not learn; called after each epoch."""

    def constrain(self) -> None:
        """Bring the parameters back into their range; called after each step."""

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape (M, C, kh, kw) of the weights."""
        raise NotImplementedError


def binarises(layer: nn.Module) -> bool:
    """Return whether a layer takes only the signs of its input."""
    return isinstance(layer, FormLayer) and layer.binary_input


def form_layers(model: nn.Module) -> dict[str, FormLayer]:
    """Return a module's drop-in layers by name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, FormLayer)}


def check_forms(model: nn.Module, wanted: Mapping[str, str]) -> None:
    """Raise if a drop-in layer is in another form than a user wants.

    Parameters
    ----------
    wanted : mapping of str to str
        Forms by layer, with ``"*"`` for all others; a layer that it does not say anything of may
        have any form. ``deepshift`` means either kind.

    Raises
    ------
    FormError
        Naming the layer.
    """
    for name, layer in form_layers(model).items():
        form = wanted.get(name, wanted.get(DEFAULT_FORM, ""))
        left_alone = layer.form == "int8" and not has_vectors(layer.weight_shape)
        if not layer.form.startswith(form) and not (form == "smartdeal" and left_alone):
            raise FormError(f"{name}: the checkpoint holds weights of form {layer.form}, not "
                            f"{form}; "
                            "do not ask for a form, or give a checkpoint in floating point")


class FormConv2d(FormLayer, nn.Conv2d):
    """A convolution of weights in a form; arguments as for :class:`torch.nn.Conv2d`."""

    def __init__(self, *arguments: Any, options: FormOptions | None = None, **keywords: Any,
                 ) -> None:
        super().__init__(*arguments, **keywords)
        self.options = options or FormOptions()
        self.adopt(self.weight.detach().clone())

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        kh, kw = self.kernel_size
        return self.out_channels, self.in_channels // self.groups, kh, kw

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, M, H', W')."""
        if not self.binary_input:
            return self._conv_forward(input, self.effective_weight(), self.bias)
        high, wide = (int(p) for p in self.padding)
        padded = functional.pad(binarise(input), (wide, wide, high, high),
                                value=float(self.pad_value))
        return functional.conv2d(padded, self.effective_weight(), self.bias, self.stride, 0,
                                 self.dilation, self.groups)

    @classmethod
    def from_float(cls, layer: nn.Module, options: FormOptions | None = None) -> Self:
        """Return the drop-in of a convolution, its weights adopted and its bias shared."""
        source = cast(nn.Conv2d, layer)
        made = cls(source.in_channels, source.out_channels, source.kernel_size, source.stride,
                   source.padding, source.dilation, source.groups, source.bias is not None,
                   source.padding_mode, options=options)
        made.adopt(original_weights(layer))
        made.bias = source.bias
        return made


class FormLinear(FormLayer, nn.Linear):
    """A linear layer of weights in a form; arguments as for :class:`torch.nn.Linear`."""

    def __init__(self, *arguments: Any, options: FormOptions | None = None, **keywords: Any,
                 ) -> None:
        super().__init__(*arguments, **keywords)
        self.options = options or FormOptions()
        self.adopt(self.weight.detach()[:, :, None, None].clone())

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return self.out_features, self.in_features, 1, 1

    def forward(self, input: Tensor) -> Tensor:
        """Map (…, C) to (…, M)."""
        return functional.linear(binarise(input) if self.binary_input else input,
                                 self.effective_weight()[:, :, 0, 0], self.bias)

    @classmethod
    def from_float(cls, layer: nn.Module, options: FormOptions | None = None) -> Self:
        """Return the drop-in of a linear layer, its weights adopted and its bias shared."""
        source = cast(nn.Linear, layer)
        made = cls(source.in_features, source.out_features, source.bias is not None,
                   options=options)
        made.adopt(original_weights(layer))
        made.bias = source.bias
        return made


def original_weights(layer: nn.Module) -> Tensor:
    """Return the weights that a layer uses, (M, C, kh, kw), without gradients."""
    if isinstance(layer, FormLayer):
        return layer.effective_weight().detach()
    weight = cast(Tensor, layer.weight).detach()
    return weight if weight.ndim == 4 else weight[:, :, None, None]


class LatentWeights(FormLayer):
    """Weights that are real in training and rounded in every forward pass.

    The gradient of the rounded weights reaches the real ones unchanged. Weights that are zero when
    they are adopted stay zero: the support is frozen.
    """

    support: Tensor

    def project(self, weights: NDArray[np.float64]) -> Weights:
        """Return real weights, (M, C, kh, kw), in the form."""
        raise NotImplementedError

    def prepare(self, weights: Tensor) -> Tensor:
        """Choose what is fixed during an epoch; return the latent weights, (M, C, kh, kw)."""
        return weights

    def adopt(self, weights: Tensor) -> None:
        if not hasattr(self, "support"):
            self.register_buffer("support", torch.ones(0, dtype=torch.bool))
        self.support = weights != 0
        with torch.no_grad():
            self.latent.copy_(self.prepare(weights).reshape(self.latent.shape))

    @property
    def latent(self) -> nn.Parameter:
        """The real weights, in torch's shape for this kind of layer."""
        return cast(nn.Parameter, self.get_parameter("weight"))

    def _latent(self) -> Tensor:
        return self.latent.reshape(self.weight_shape) * self.support

    def effective_weight(self) -> Tensor:
        return straight(self._latent(), real_weights(self.export()))

    def export(self) -> Weights:
        latent = self._latent().detach().double().numpy()
        if not np.isfinite(latent).all():
            raise FormError(f"weights of a layer of form {self.form} must be finite")
        return self.project(latent)


class _Fixed(FormLayer):
    """Weights from a checkpoint: they are used as they are and are not trained further."""

    weights: Weights

    def effective_weight(self) -> Tensor:
        return real_weights(self.weights)

    def export(self) -> Weights:
        return self.weights

    def adopt(self, weights: Tensor) -> None:
        """Hold zeros: the weights are set from outside."""
        self.register_parameter("weight", None)
        sign = np.zeros((1, *self.weight_shape), np.int8)
        self.weights = TermWeights(sign, sign, np.ones(len(weights)))


class FixedConv2d(_Fixed, FormConv2d):
    """A convolution of weights that a checkpoint holds."""

    form = "fixed"


class FixedLinear(_Fixed, FormLinear):
    """A linear layer of weights that a checkpoint holds."""

    form = "fixed"
