"""Activation scales from calibration images: what each tensor's int8 numbers stand for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from smartdeal.golden.formats import ACT_MAX, ACT_MIN
from smartdeal.golden.graph import FloatNode, Shape, run_float
from smartdeal.golden.layers import TensorScale
from smartdeal.golden.networks import NetworkError
from smartdeal.golden.options import QuantiseOptions

__all__ = ["Calibration", "calibrate", "tensor_scale"]

#: Resolution at which the mean squared error of a clipped range is estimated.
_BINS = 2048
#: Relative differences that are rounding.
_CONSTANT = 1e-6
#: A finer scale stands for numbers that floating point hardly holds.
_SMALLEST = 2.0**-140
#: Ranges that are tried: each end from the extreme down to this share of it, in equal steps.
_LEAST_SHARE, _SHARES = 0.2, 41


@dataclass(frozen=True, eq=False)
class Calibration:
    """What calibration images tell, by tensor name.

    Parameters
    ----------
    scales : dict of TensorScale
    shapes : dict of (channels, height, width)
    means : dict of float64 arrays, (C,)
        The channels' means.
    first : dict of float32 arrays, (C, H, W)
        Those tensors of the first image that were asked for.
    """

    scales: dict[str, TensorScale]
    shapes: dict[str, Shape]
    means: dict[str, NDArray[np.float64]]
    first: dict[str, NDArray[np.float32]]


def _scale(low: float, high: float) -> TensorScale:
    """Return the scale that spans a range and zero; 1 if nothing is left of the range."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (ACT_MAX - ACT_MIN)
    if scale < _SMALLEST:
        return TensorScale(1.0, 0)
    return TensorScale(scale, int(np.clip(round(ACT_MIN - low / scale), ACT_MIN, ACT_MAX)))


def _least_error(values: NDArray[np.float32], low: float, high: float) -> TensorScale:
    """Return the scale with the least mean squared error, rounding and clipping together.

    Each end is moved inwards in turn, against a histogram of the values.
    """
    # In double precision: the values may differ by less than a bin of single precision.
    counts, edges = np.histogram(values.astype(np.float64), bins=_BINS, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    rounded = int(np.count_nonzero(values))

    def error(candidate: TensorScale) -> float:
        # Rounding costs a twelfth of a step squared on average, and nothing at zero.
        lowest, highest = candidate.real(np.array([ACT_MIN, ACT_MAX], np.int8))
        clipped = centres - np.clip(centres, lowest, highest)
        inside = rounded * candidate.scale**2 / 12
        return float(counts @ clipped**2) + inside

    shares = np.linspace(1, _LEAST_SHARE, _SHARES)
    high = min((high * share for share in shares), key=lambda end: error(_scale(low, end)))
    low = min((low * share for share in shares), key=lambda end: error(_scale(end, high)))
    return _scale(float(low), float(high))


def tensor_scale(name: str, tensor: Tensor, options: QuantiseOptions) -> TensorScale:
    """Return the scale of a tensor's values.

    Parameters
    ----------
    name : str
        For messages.

    Raises
    ------
    NetworkError
        If a value is not finite.
    """
    low, high = float(tensor.min()), float(tensor.max())
    if not np.isfinite(high - low):
        raise NetworkError(f"{name}: activations must be finite, not from {low} to {high}")
    # Where all values are equal, or hardly differ, there is nothing to clip.
    if options.ranges == "min_max" or high - low <= _CONSTANT * max(abs(low), abs(high)):
        return _scale(low, high)
    values = tensor.numpy().ravel()
    if options.ranges == "mse":
        return _least_error(values, low, high)
    inner = np.percentile(values, (100 - options.percentile, options.percentile))
    # Nearly all values may be zero: those that are not are all that there is.
    if not inner.any():
        return _scale(low, high)
    return _scale(float(inner[0]), float(inner[1]))


def _output_scale(name: str, tensor: Tensor, options: QuantiseOptions) -> TensorScale:
    """Return the scale of the network's output, where the largest number is the answer.

    Clipping would tie classes, so the extremes count whatever the ranges of other tensors are; and
    other images may be answered with more certainty, up to as far above zero as these go below.
    """
    if not options.symmetric_output:
        return tensor_scale(name, tensor, options)
    extremes = tensor_scale(name, tensor, replace(options, ranges="min_max"))
    low, high = float(tensor.min()), float(tensor.max())
    return _scale(low, -low) if 0 < high < -low else extremes


def _inherits(node: FloatNode) -> bool:
    """Return whether a layer only moves numbers: its output has its input's scale."""
    moves = node.kind == "max_pool" or node.exact
    return moves and node.residual is None and not node.relu and not node.signs


def _of_signs(options: QuantiseOptions) -> QuantiseOptions:
    """Return the options for a tensor whose sign is taken: what is near zero must stay apart.

    Between the extremes a step may be so large that the background of a picture, which is one
    number, is rounded to the other side of zero (docs/results.md, "Binary layers").
    """
    return replace(options, ranges="percentile") if options.ranges == "min_max" else options


def calibrate(
    nodes: Sequence[FloatNode], images: Tensor, last: str, options: QuantiseOptions,
    keep: tuple[str | None, ...] = (),
) -> Calibration:
    """Run the images up to layer ``last``, and keep the first image's tensors named ``keep``.

    Parameters
    ----------
    images : float32 tensor, (B, C, H, W)
    """
    binary = {node.name for node in nodes if node.signs}
    # Tensors that are kept in 8 bits and whose sign is taken, too.
    signed = {node.input for node in nodes if node.signs and node.exact}
    inherited = {node.name: node.input for node in nodes if _inherits(node)}
    result = Calibration({}, {}, {}, {})
    for name, tensor in run_float(nodes, images):
        choose = _output_scale if name == nodes[-1].name else tensor_scale
        if name in binary:
            result.scales[name] = TensorScale(1.0, 0)
        else:
            result.scales[name] = (result.scales[inherited[name]] if name in inherited
                                   else choose(name, tensor, _of_signs(options)
                                               if name in signed else options))
        _, channels, height, width = tensor.shape
        result.shapes[name] = (channels, height, width)
        result.means[name] = tensor.double().mean((0, 2, 3)).numpy()
        if name in keep:
            result.first[name] = tensor[0].numpy()
        if name == last:
            break
    return result
