"""Evaluate an integer layer: plain integer arithmetic, with no word about how hardware does it."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from smartdeal.golden.layers import IntegerLayer, IntegerNetwork, Requantisation

__all__ = ["evaluate", "requantise", "run_network"]

#: Below this magnitude float64 holds every integer.
_FLOAT64_EXACT = 1 << 53
#: Bound of |t|, so that t, the rounding term and their sum fit 64 bits.
_T_LIMIT = 1 << 62


def evaluate(
    layer: IntegerLayer, x: NDArray[np.int8], residual: NDArray[np.int8] | None = None,
) -> NDArray[np.int8]:
    """Evaluate one layer.

    Parameters
    ----------
    x : int8 array, ``layer.input_shape``
    residual : int8 array, ``layer.output_shape``, or None
        Needed exactly if ``layer.residual``.

    Returns
    -------
    int8 array, ``layer.output_shape``

    Raises
    ------
    ValueError
        If an operand is missing, not wanted, or has another shape or type.
    OverflowError
        If the requantised sum exceeds 63 bits.
    """
    _check_operand(layer, "input", x, layer.input_shape)
    if layer.binary_input and np.any(np.abs(x) != 1):
        raise ValueError(f"{layer.name}: input must be +1 or -1, not {x[np.abs(x) != 1].flat[0]}")
    if layer.residual:
        _check_operand(layer, "residual", residual, layer.output_shape)
    elif residual is not None:
        raise ValueError(f"{layer.name}: there is no residual, but an operand was given")
    if layer.kind == "max_pool":
        out = _max_pool(layer, x)
    else:
        out = _requantised(layer, _sums(layer, x), residual)
    if out.shape != layer.output_shape:
        raise ValueError(f"{layer.name}: output must have shape {layer.output_shape}, "
                         f"not {out.shape}")
    return out


def _check_operand(
    layer: IntegerLayer, what: str, x: NDArray[np.int8] | None, shape: tuple[int, int, int],
) -> None:
    if x is None:
        raise ValueError(f"{layer.name}: {what} must be given")
    if x.shape != shape or x.dtype != np.int8:
        raise ValueError(f"{layer.name}: {what} must be int8 of shape {shape}, "
                         f"not {x.dtype} of shape {x.shape}")


def _max_pool(layer: IntegerLayer, x: NDArray[np.int8]) -> NDArray[np.int8]:
    top, left, bottom, right = layer.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=-128)
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel, axis=(1, 2))
    return windows[:, ::layer.stride, ::layer.stride].max(axis=(3, 4))


def _sums(layer: IntegerLayer, x: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return the exact sums of weight · (x - zero point)."""
    centred = x.astype(np.int64) - (0 if layer.binary_input else layer.input_zero_point)
    if layer.kind == "average_pool":
        return centred.sum(axis=(1, 2), keepdims=True)
    if layer.weights is None:
        raise ValueError(f"{layer.name}: a {layer.kind} layer must have weights")
    weights = layer.weights.integer()
    top, left, bottom, right = layer.padding
    padded = np.pad(centred, ((0, 0), (top, bottom), (left, right)),
                    constant_values=layer.input_zero_point if layer.binary_input else 0)
    bound = int(np.abs(weights).sum(axis=(1, 2, 3)).max()) * int(np.abs(centred).max(initial=0))
    exact = torch.float64 if bound < _FLOAT64_EXACT else torch.int64
    sums = torch.nn.functional.conv2d(
        torch.from_numpy(padded).to(exact)[None], torch.from_numpy(weights).to(exact),
        stride=layer.stride)
    return sums[0].to(torch.int64).numpy()


def requantise(
    sums: NDArray[np.int64], requantisation: Requantisation,
    centred_residual: NDArray[np.int64] | int = 0,
) -> NDArray[np.int64]:
    """Return round(t / 2^shift), half up, before zero point and clamping.

    The formula is that of :class:`smartdeal.golden.formats.RequantiseFormat`.

    Parameters
    ----------
    sums : int64 array, (M, …)
    centred_residual : int64 array of the same shape
        Residual less its zero point.

    Raises
    ------
    OverflowError
        If |t| reaches 2^62.
    """
    channel = (slice(None), *(None,) * (sums.ndim - 1))
    total = sums + requantisation.bias[channel]
    multiplier = requantisation.multiplier[channel]
    residual_multiplier = requantisation.residual_multiplier[channel]
    residual_shift = requantisation.residual_shift[channel]
    shift = requantisation.shift[channel]
    largest = (np.abs(total).astype(np.float64) * multiplier
               + np.abs(centred_residual) * np.ldexp(residual_multiplier, residual_shift))
    if largest.max(initial=0) >= _T_LIMIT:
        raise OverflowError(f"the requantised sum must be less than 2^62, "
                            f"not {largest.max():.3g}")
    t = total * multiplier + ((centred_residual * residual_multiplier) << residual_shift)
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    return (t + half) >> shift


def _requantised(
    layer: IntegerLayer, sums: NDArray[np.int64], residual: NDArray[np.int8] | None,
) -> NDArray[np.int8]:
    if layer.requantisation is None:
        raise ValueError(f"{layer.name}: a {layer.kind} layer must have a requantisation")
    centred = 0 if residual is None else residual.astype(np.int64) - layer.residual_zero_point
    parameters = layer.requantisation
    if layer.binary_output:  # only the sign counts, so nothing is shifted
        parameters = replace(parameters, shift=np.zeros_like(parameters.shift))
    try:
        q = requantise(sums, parameters, centred) + (
            0 if layer.binary_output else layer.output_zero_point)
    except OverflowError as error:
        raise OverflowError(f"{layer.name}: {error}") from None
    if layer.binary_output:
        return np.where(q >= 0, 1, -1).astype(np.int8)
    return np.clip(q, layer.lo, layer.hi).astype(np.int8)


def run_network(
    network: IntegerNetwork, image: NDArray[np.int8],
) -> dict[str, NDArray[np.int8]]:
    """Evaluate a whole network.

    Parameters
    ----------
    image : int8 array, (C, H, W)

    Returns
    -------
    dict of int8 arrays, (C, H, W)
        Every tensor by name, the image included.
    """
    tensors = {network.IMAGE: image}
    for node in network.nodes:
        residual = tensors[node.residual] if node.residual is not None else None
        tensors[node.layer.name] = evaluate(node.layer, tensors[node.input], residual)
    return tensors
