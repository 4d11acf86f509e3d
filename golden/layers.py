"""The integer layer: what one layer computes, in integers, with no word about how.

:mod:`smartdeal.golden.integer` evaluates it with plain torch arithmetic; the compiler lowers it to
a program. The two meet only here.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.formats import ACT_MAX, ACT_MIN
from smartdeal.golden.forms import Weights

__all__ = ["IntegerLayer", "LayerKind", "Requantisation"]

LayerKind = Literal["conv", "linear", "max_pool", "average_pool"]


@dataclass(frozen=True, eq=False)
class Requantisation:
    """Requantisation parameters, one of each per output channel: int64 arrays of shape (M,).

    The formula and the widths are those of :class:`smartdeal.golden.formats.RequantiseFormat`.
    ``bias`` is in units of the integer sum of weight · (x - input_zero_point); the compiler moves
    the zero point into it.
    """

    bias: NDArray[np.int64]
    multiplier: NDArray[np.int64]
    residual_multiplier: NDArray[np.int64]
    shift: NDArray[np.int64]
    residual_shift: NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerLayer:
    """One layer in integers.

    - conv, linear: acc = Σ w · (x - input_zero_point) over the kernel, zero outside the image
    - average_pool: acc = Σ (x - input_zero_point) over the whole map; output 1×1
    - max_pool: output = max of x over the kernel, -128 outside the image; no requantisation

    then, except for max_pool, the requantisation with ``residual_zero_point`` for zp_res,
    ``output_zero_point`` for zp_out, and clamping to ``lo``…``hi``.

    Parameters
    ----------
    name : str
        The layer's torch name, as ``layer1.0.conv1``.
    kind : "conv", "linear", "max_pool" or "average_pool"
        A linear layer has shapes (C, 1, 1) → (M, 1, 1) and a 1×1 kernel.
    weights : TermWeights, BasisWeights or None
        None for the pools.
    kernel : (kh, kw)
    stride : int
        1 or 2 for conv and max_pool; both directions alike.
    padding : (top, left, bottom, right)
        Rows and columns outside the image that the kernel reaches.
    input_shape, output_shape : (channels, height, width)
    requantisation : Requantisation or None
        None for max_pool.
    residual : bool
        Whether a residual operand of the output's shape is added.
    """

    name: str
    kind: LayerKind
    weights: Weights | None
    kernel: tuple[int, int]
    stride: int
    padding: tuple[int, int, int, int]
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    requantisation: Requantisation | None
    input_zero_point: int = 0
    output_zero_point: int = 0
    residual_zero_point: int = 0
    residual: bool = False
    lo: int = ACT_MIN
    hi: int = ACT_MAX

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense layer; comparisons or additions for the pools."""
        outputs = int(np.prod(self.output_shape))
        if self.kind == "average_pool":
            return int(np.prod(self.input_shape))
        taps = self.kernel[0] * self.kernel[1]
        return outputs * taps * (1 if self.kind == "max_pool" else self.input_shape[0])

    @property
    def nonzero_terms(self) -> int:
        """Non-zero power-of-two coefficients of the weights; 0 for the pools."""
        return self.weights.nonzero_terms() if self.weights is not None else 0
