"""A layer of a network in floating point."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from smartdeal.golden.forms import Weights
from smartdeal.golden.layers import LayerKind
from smartdeal.golden.networks import NetworkError
from smartdeal.golden.straight import sign

__all__ = ["FloatNode", "Normalisation", "Padding", "Shape"]

#: (channels, height, width)
Shape = tuple[int, int, int]
#: (top, left, bottom, right)
Padding = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class Normalisation:
    """Batch normalisation in inference: gamma · (x - mean) / √(variance + eps) + beta.

    Parameters
    ----------
    gamma, beta, mean, variance : float32 tensors, (M,)
    eps : float
    """

    gamma: Tensor
    beta: Tensor
    mean: Tensor
    variance: Tensor
    eps: float


@dataclass(frozen=True, eq=False, kw_only=True)
class FloatNode:
    """One layer as the accelerator runs it: normalisation, residual and ReLU belong to it.

    Parameters
    ----------
    name : str
        Of the layer, and of its output tensor.
    kind : "conv", "linear", "max_pool" or "average_pool"
        An average pool covers the whole map.
    input, residual : str
        Names of the operand tensors; ``residual`` may be None.
    relu : bool
    weights : float32 tensor, (M, C, kh, kw), or None
        None for the pools; a linear layer has kh = kw = 1.
    bias : float32 tensor, (M,), or None
    norm : Normalisation or None
        Comes after the bias and before the residual.
    kernel : (kh, kw)
        Not used by an average pool.
    stride : int
    padding : (top, left, bottom, right)
        Zeros around the input of a convolution; a maximum does not see them.
    exact : bool
        Weights are 0, 1 or -1 and stay so in every form: an identity that subsamples, or adds
        channels of zeros.
    trained : TermWeights, BasisWeights or None
        The form that the weights were trained in, equal to them: no other is made.
    form : str
        Its name.
    binary_input : bool
        The input is a tensor of ±1, and ``pad_value`` outside the image.
    pad_value : +1 or -1
    signs : 0, +1 or -1
        The output is its signs, +1 for zero, and readers pad it with this value; 0 if it is not.
    """

    name: str
    kind: LayerKind
    input: str
    residual: str | None = None
    relu: bool = False
    weights: Tensor | None = None
    bias: Tensor | None = None
    norm: Normalisation | None = None
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: Padding = (0, 0, 0, 0)
    exact: bool = False
    trained: Weights | None = None
    form: str = ""
    binary_input: bool = False
    pad_value: int = -1
    signs: int = 0

    def forward(self, x: Tensor, residual: Tensor | None) -> Tensor:
        """Evaluate in floating point: (B, C, H, W) to (B, M, H', W')."""
        x = self._operation(x)
        if self.norm is not None:
            x = functional.batch_norm(x, self.norm.mean, self.norm.variance, self.norm.gamma,
                                      self.norm.beta, eps=self.norm.eps)
        if residual is not None:
            x = x + residual
        x = x.relu() if self.relu else x
        return sign(x) if self.signs else x

    def _operation(self, x: Tensor) -> Tensor:
        if self.kind == "average_pool":
            return functional.adaptive_avg_pool2d(x, 1)
        top, left, bottom, right = self.padding
        if self.kind == "max_pool":
            x = functional.pad(x, (left, right, top, bottom), value=-torch.inf)
            return functional.max_pool2d(x, self.kernel, self.stride)
        assert self.weights is not None  # only pools have none
        if self.kind == "linear":
            flat = functional.linear(torch.flatten(x, 1), self.weights[:, :, 0, 0], self.bias)
            return flat[:, :, None, None]
        if (top, left) != (bottom, right) or self.binary_input:
            outside = float(self.pad_value) if self.binary_input else 0.0
            x, top, left = functional.pad(x, (left, right, top, bottom), value=outside), 0, 0
        return functional.conv2d(x, self.weights, self.bias, self.stride, (top, left))

    def output_shape(self, shape: Shape) -> Shape:
        """Return the output's shape for an input's.

        Raises
        ------
        NetworkError
            If the layer does not take such an input.
        """
        channels, height, width = shape
        if self.weights is not None:
            if self.weights.shape[1] != channels:
                raise NetworkError(f"{self.name}: input must have {self.weights.shape[1]} "
                                   f"channels, not {channels}")
            channels = len(self.weights)
        if self.kind == "average_pool":
            return channels, 1, 1
        if self.kind == "linear" and (height, width) != (1, 1):
            raise NetworkError(f"{self.name}: input must be a vector, not a map of "
                               f"{height}×{width}")
        top, left, bottom, right = self.padding
        rows = (height + top + bottom - self.kernel[0]) // self.stride + 1
        columns = (width + left + right - self.kernel[1]) // self.stride + 1
        if rows < 1 or columns < 1:
            raise NetworkError(f"{self.name}: input must be at least as large as the kernel of "
                               f"{self.kernel[0]}×{self.kernel[1]}, not {height}×{width}")
        return channels, rows, columns
