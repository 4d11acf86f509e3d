"""Drop-in layers of binarised networks (Hubara, Courbariaux et al. 2016).

Weights are ±1 with sign(0) = +1, times a fixed gain per filter that folds into the
requantisation. Inputs stay as they are, or are binarised too (``binary_input``): then the padding
is ±1 as well, and each dot product is N - 2 · popcount(a XOR w).
"""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smartdeal.golden.form_layers import FormConv2d, FormLinear, LatentWeights
from smartdeal.golden.forms import TermWeights
from smartdeal.golden.options import FormError, FormOptions
from smartdeal.golden.straight import binarise, sign

__all__ = ["BinarisedConv2d", "BinarisedLinear", "BinaryConv2d", "BinaryLinear", "xnor_dot"]

#: Latent weights span this many mean magnitudes when real weights are adopted.
_SPAN = 3.0


class _Binary(LatentWeights):
    """Weights ±1 of real ones that are kept within -1…1; gradients pass inside that range.

    ``gain`` (M,) is fixed when weights are adopted: their mean magnitude, so that a trained
    network's normalisations keep fitting. A layer made anew has gain 1, as published.
    """

    form = "binary"
    gain: Tensor

    def take_signs(self) -> None:
        """Binarise the input too: the form is ``bnn`` then."""
        self.binary_input, self.form = True, "bnn"

    def prepare(self, weights: Tensor) -> Tensor:
        if not hasattr(self, "gain"):  # called first by the constructor, with initial weights
            gain = torch.ones(len(weights), dtype=torch.float64)
        else:
            gain = weights.double().abs().mean(dim=(1, 2, 3))
            gain = torch.where(gain > 0, gain, 1.0)
        self.register_buffer("gain", gain)
        spread = weights.abs().mean(dim=(1, 2, 3), keepdim=True) * _SPAN
        return (weights / torch.where(spread > 0, spread, 1.0)).clamp(-1, 1)

    def constrain(self) -> None:
        with torch.no_grad():
            self.latent.clamp_(-1, 1)

    def effective_weight(self) -> Tensor:
        gain = self.gain.float()[:, None, None, None]
        return binarise(self.latent.reshape(self.weight_shape)) * gain

    def project(self, weights: NDArray[np.float64]) -> TermWeights:
        ones = np.where(weights >= 0, 1, -1).astype(np.int8)[None]
        return TermWeights(ones, np.zeros_like(ones), self.gain.numpy().copy())

    def export(self) -> TermWeights:
        latent = self.latent.detach().reshape(self.weight_shape).double().numpy()
        if not np.isfinite(latent).all():
            raise FormError(f"weights of a layer of form {self.form} must be finite")
        return self.project(latent)


class BinaryConv2d(_Binary, FormConv2d):
    """A convolution of binary weights, and of binary inputs with ``binary_input``.

    Then x is binarised with the gradient of the hard tanh, and positions outside the image are
    ``pad_value``: a third value, zero, would have no code. Real inputs are padded with zeros.

    Parameters
    ----------
    binary_input : bool
    pad_value : +1 or -1
    """

    def __init__(self, *arguments: Any, binary_input: bool = False, pad_value: int = -1,
                 options: FormOptions | None = None, **keywords: Any) -> None:
        if pad_value not in (-1, 1):
            raise ValueError(f"pad_value must be +1 or -1, not {pad_value!r}")
        super().__init__(*arguments, options=options, **keywords)
        if binary_input and (self.padding_mode != "zeros" or isinstance(self.padding, str)):
            raise ValueError(f"padding must be a number of positions, not {self.padding!r} of "
                             f"{self.padding_mode!r}")
        self.pad_value = pad_value
        if binary_input:
            self.take_signs()

    @classmethod
    def from_float(cls, layer: nn.Module, options: FormOptions | None = None) -> Self:
        made = super().from_float(layer, options)
        if isinstance(layer, FormConv2d) and layer.binary_input:
            made.take_signs()
            made.pad_value = layer.pad_value
        return made


class BinaryLinear(_Binary, FormLinear):
    """A linear layer of binary weights, and of binary inputs with ``binary_input``."""

    def __init__(self, *arguments: Any, binary_input: bool = False,
                 options: FormOptions | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, options=options, **keywords)
        if binary_input:
            self.take_signs()


class BinarisedConv2d(BinaryConv2d):
    """A convolution of binary weights and binary inputs: the form ``bnn``."""

    def __init__(self, *arguments: Any, binary_input: bool = True, **keywords: Any) -> None:
        super().__init__(*arguments, binary_input=binary_input, **keywords)


class BinarisedLinear(BinaryLinear):
    """A linear layer of binary weights and binary inputs: the form ``bnn``."""

    def __init__(self, *arguments: Any, binary_input: bool = True, **keywords: Any) -> None:
        super().__init__(*arguments, binary_input=binary_input, **keywords)


def xnor_dot(a: Tensor, w: Tensor) -> Tensor:
    """Return dot products of ±1 vectors as hardware counts them: N - 2 · popcount(a XOR w).

    Parameters
    ----------
    a, w : tensors, (…, N)
        +1 is the bit 1, -1 the bit 0; zero counts as +1.
    """
    differ = (sign(a) > 0) ^ (sign(w) > 0)
    return a.shape[-1] - 2 * differ.sum(dim=-1)
