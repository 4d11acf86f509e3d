"""Drop-in layers whose weights share a few values (Marinò et al. 2020): what HAM and sHAM store.

Weights are pruned by percentile and share their values when they are adopted. In training the
shared values are the parameters, so the gradient of each is the sum over the weights that have it,
as published; which weight has which value, and what is zero, stays. What is used is the nearest
int8, with one scale for the layer, so that shared values stay shared on the accelerator.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from smartdeal.golden.form_layers import FormConv2d, FormLayer, FormLinear
from smartdeal.golden.forms import TermWeights
from smartdeal.golden.options import FormError
from smartdeal.golden.sharing import prune_percentile, share
from smartdeal.golden.straight import straight
from smartdeal.golden.terms import INT8_MAX, int8_digits

__all__ = ["SHARED_LAYERS", "SharedConv2d", "SharedLinear"]


class _Shared(FormLayer):
    """Weights of few values: ``values`` (k,) are trained, ``index`` (M, C, kh, kw) is fixed.

    Index 0 means zero, index i the i-th value.
    """

    method: ClassVar[str] = "cws"
    form = "cws"
    values: nn.Parameter
    index: Tensor

    def adopt(self, weights: Tensor) -> None:
        self.register_parameter("weight", None)
        pruned = prune_percentile(weights.double().numpy(), self.options.percentile)
        shared = share(pruned, self.method, self.options.shared_values)
        values = np.unique(shared[shared != 0])
        # Unused places keep the parameter's shape, whatever the weights.
        padded = np.zeros(self.options.shared_values)
        padded[:len(values)] = values
        index = np.where(shared == 0, 0, np.searchsorted(values, shared) + 1)
        self.values = nn.Parameter(torch.from_numpy(padded.astype(np.float32)))
        self.register_buffer("index", torch.from_numpy(index.astype(np.int64)))

    def _integers(self) -> tuple[np.ndarray, float]:
        """Return the shared values as int8, (k,), and their scale."""
        real = self.values.detach().double().numpy()
        if not np.isfinite(real).all():
            raise FormError(f"shared values of a layer of form {self.form} must be finite")
        scale = float(np.abs(real).max()) / INT8_MAX or 1.0
        return np.rint(real / scale).astype(np.int64), scale

    def effective_weight(self) -> Tensor:
        integers, scale = self._integers()
        used = straight(self.values, torch.from_numpy((integers * scale).astype(np.float32)))
        return torch.cat((used.new_zeros(1), used))[self.index]

    def export(self) -> TermWeights:
        integers, scale = self._integers()
        weights = np.concatenate(([0], integers))[self.index.numpy()]
        sign, exponent = int8_digits(weights, self.options)
        return TermWeights(sign, exponent, np.full(len(weights), scale))


class SharedConv2d(_Shared, FormConv2d):
    __doc__ = _Shared.__doc__


class SharedLinear(_Shared, FormLinear):
    __doc__ = _Shared.__doc__


class _PwsConv2d(SharedConv2d):
    method, form = "pws", "pws"


class _PwsLinear(SharedLinear):
    method, form = "pws", "pws"


class _UqConv2d(SharedConv2d):
    method, form = "uq", "uq"


class _UqLinear(SharedLinear):
    method, form = "uq", "uq"


class _EcsqConv2d(SharedConv2d):
    method, form = "ecsq", "ecsq"


class _EcsqLinear(SharedLinear):
    method, form = "ecsq", "ecsq"


#: Convolution and linear layer by way of sharing.
SHARED_LAYERS: dict[str, tuple[type[FormConv2d], type[FormLinear]]] = {
    "cws": (SharedConv2d, SharedLinear), "pws": (_PwsConv2d, _PwsLinear),
    "uq": (_UqConv2d, _UqLinear), "ecsq": (_EcsqConv2d, _EcsqLinear),
}
