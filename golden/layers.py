"""The integer layer: what one layer computes, in integers, with no word about how.

:mod:`smartdeal.golden.integer` evaluates it with plain torch arithmetic; the compiler lowers it to
a program. The two meet only here.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.formats import ACT_MAX, ACT_MIN, PACKED
from smartdeal.golden.forms import Weights
from smartdeal.golden.packed import planes

__all__ = [
    "IntegerLayer", "IntegerNetwork", "IntegerNode", "LayerKind", "Requantisation", "TensorScale",
]

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
    binary_input : bool
        x is +1 or -1, outside the image it is ``input_zero_point``, ±1 too, and acc = Σ w · x with
        every w ±1 (Hubara et al. 2016). Only for conv and linear.
    binary_output : bool
        The output is the sign of the requantised sum before its shift, +1 for zero; the rest of the
        requantisation is not used. ``output_zero_point``, ±1, says what the reader's padding is.
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
    binary_input: bool = False
    binary_output: bool = False

    @property
    def input_planes(self) -> int:
        """Bytes of an input position: one per channel, or per eight if they are binary."""
        return planes(self.input_shape[0]) if self.binary_input else self.input_shape[0]

    @property
    def output_planes(self) -> int:
        """Bytes that an output position takes."""
        return planes(self.output_shape[0]) if self.binary_output else self.output_shape[0]

    @property
    def array_channels(self) -> int:
        """Output channels that the array computes: with binary output whole bytes of them."""
        return self.output_planes * PACKED if self.binary_output else self.output_shape[0]

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


@dataclass(frozen=True)
class TensorScale:
    """What the integers of an activation tensor mean: real = scale · (q - zero_point).

    Parameters
    ----------
    scale : float
        Real value of one unit, positive.
    zero_point : int
        -128…127.
    """

    scale: float
    zero_point: int

    def quantise(self, real: NDArray[np.floating]) -> NDArray[np.int8]:
        """Return the nearest activations, clamped; elementwise."""
        q = np.rint(np.asarray(real, np.float64) / self.scale) + self.zero_point
        return np.clip(q, ACT_MIN, ACT_MAX).astype(np.int8)

    def real(self, activations: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return the real values of activations, elementwise."""
        return self.scale * (activations.astype(np.float64) - self.zero_point)


@dataclass(frozen=True)
class IntegerNode:
    """A layer in a network; its output tensor bears the layer's name.

    Parameters
    ----------
    input : str
        Name of the input tensor: a layer's, or :attr:`IntegerNetwork.IMAGE`.
    residual : str or None
        Name of the residual operand's tensor.
    """

    layer: IntegerLayer
    input: str
    residual: str | None = None


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """A network in integers.

    Parameters
    ----------
    name : str
    nodes : tuple of IntegerNode
        In an order of execution. The last is the output.
    scales : dict of TensorScale
        By tensor name, the image's included.
    """

    name: str
    nodes: tuple[IntegerNode, ...]
    scales: dict[str, TensorScale]

    #: Name of the network's input tensor.
    IMAGE: ClassVar[str] = "image"

    @property
    def input_scale(self) -> TensorScale:
        """Meaning of the image's integers."""
        return self.scales[self.IMAGE]

    @property
    def output_scale(self) -> TensorScale:
        """Meaning of the last layer's integers."""
        return self.scales[self.nodes[-1].layer.name]
