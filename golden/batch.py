"""Whole batches through an integer network, fast and exact.

All numbers are integers, and floating point holds integers exactly up to 2^24 (float32) and 2^53
(float64). What a layer may reach follows from its weights. Weights whose sums may exceed 2^24 are
split into digits, each of which is convolved on its own; a layer beyond 2^53 is left to
:func:`smartdeal.golden.integer.evaluate`.
"""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from smartdeal.golden.formats import ACT_MAX, ACT_MIN
from smartdeal.golden.integer import evaluate
from smartdeal.golden.layers import IntegerLayer, IntegerNetwork, Requantisation

__all__ = ["BatchNetwork", "run_batch"]

#: Images that are evaluated at a time, so that their tensors stay in the cache.
_CHUNK = 8
_FLOAT32_EXACT, _FLOAT64_EXACT = 1 << 24, 1 << 53
#: Widest digit that is tried; the sum of one weight's products alone has 8 bits more.
_DIGIT_BITS = 16


@dataclass(frozen=True, eq=False)
class _Fast:
    """A layer's constants for floating point.

    The requantised number is ⌊Σ_d factors[d] · sums of digit d + residual · residual operand +
    offset⌋, in float64 of shape (1, M, 1, 1); of a binary output it is the one whose sign counts.

    Parameters
    ----------
    weights : float32 tensor, (digits · M, C, kh, kw), or None
        None for an average pool.
    factors : list of float64 tensor
        One per digit.
    residual, offset : float64 tensor
    """

    weights: Tensor | None
    factors: list[Tensor]
    residual: Tensor
    offset: Tensor


def _digits(weights: NDArray[np.int64], bits: int) -> list[NDArray[np.int64]]:
    """Return digits of ``bits`` bits, signed, the lowest first: Σ digit[i] · 2^(bits · i)."""
    digits: list[NDArray[np.int64]] = []
    rest = weights
    while rest.any():
        high = (rest + (1 << (bits - 1))) >> bits
        digits.append(rest - (high << bits))
        rest = high
    return digits


def _split(
    weights: NDArray[np.int64], centred: int,
) -> tuple[list[NDArray[np.int64]], int] | None:
    """Return the fewest digits whose sums float32 holds, and a digit's bits.

    Parameters
    ----------
    centred : int
        Largest magnitude of an activation.
    """
    def most(part: NDArray[np.int64]) -> int:
        return int(np.abs(part).sum(axis=(1, 2, 3)).max(initial=0)) * centred

    if most(weights) < _FLOAT32_EXACT:
        return [weights], 0
    for bits in range(_DIGIT_BITS, 1, -1):
        digits = _digits(weights, bits)
        if max(most(digit) for digit in digits) < _FLOAT32_EXACT:
            return digits, bits
    return None


def _largest(layer: IntegerLayer, parameters: Requantisation, centred: int) -> float:
    """Return a bound of everything that the requantisation computes."""
    if layer.weights is not None:
        sums = np.abs(layer.weights.integer()).sum(axis=(1, 2, 3)).astype(np.float64) * centred
    else:
        sums = np.full(len(parameters.bias), float(np.prod(layer.input_shape[1:]) * centred))
    residual = (ACT_MAX - ACT_MIN) * np.ldexp(
        parameters.residual_multiplier.astype(np.float64), parameters.residual_shift)
    total = (sums + np.abs(parameters.bias)) * parameters.multiplier + residual
    return float((total + np.ldexp(0.5, parameters.shift)).max())


def _prepare(layer: IntegerLayer) -> _Fast | None:
    """Return a layer's constants, or None if floating point does not hold its numbers."""
    parameters = layer.requantisation
    centred = 1 if layer.binary_input else max(layer.input_zero_point - ACT_MIN,
                                               ACT_MAX - layer.input_zero_point)
    if parameters is not None and layer.binary_output:  # nothing is shifted, nothing rounded
        parameters = replace(parameters, shift=np.zeros_like(parameters.shift))
    if parameters is None or _largest(layer, parameters, centred) >= _FLOAT64_EXACT:
        return None
    weights, scales = None, [1.0]
    if layer.weights is not None:
        split = _split(layer.weights.integer(), centred)
        if split is None:
            return None
        digits, bits = split
        weights = torch.from_numpy(np.concatenate(digits).astype(np.float32))
        scales = [2.0**(bits * i) for i in range(len(digits))]
    elif np.prod(layer.input_shape[1:]) * centred >= _FLOAT32_EXACT:
        return None

    def column(values: NDArray[np.number]) -> Tensor:
        return torch.from_numpy(values.astype(np.float64))[None, :, None, None]

    unit = np.ldexp(1.0, -parameters.shift)
    half = np.where(parameters.shift > 0, 0.5, 0.0)
    offset = parameters.bias.astype(np.float64) * parameters.multiplier * unit + half
    residual = parameters.residual_multiplier * unit * np.ldexp(1.0, parameters.residual_shift)
    return _Fast(
        weights, [column(scale * parameters.multiplier * unit) for scale in scales],
        column(residual), column(offset + (0 if layer.binary_output else layer.output_zero_point)))


def _sums(layer: IntegerLayer, fast: _Fast, x: Tensor) -> Tensor:
    """Return the sums of all digits, (B, digits · M, H', W')."""
    centred = x if layer.binary_input else x - layer.input_zero_point
    if fast.weights is None:
        return centred.sum((2, 3), keepdim=True)
    top, left, bottom, right = layer.padding
    if (top, left) != (bottom, right) or layer.binary_input:
        outside = layer.input_zero_point if layer.binary_input else 0
        centred = functional.pad(centred, (left, right, top, bottom), value=outside)
        top = left = 0
    return functional.conv2d(centred, fast.weights, stride=layer.stride, padding=(top, left))


def _layer(layer: IntegerLayer, fast: _Fast | None, x: Tensor, residual: Tensor | None) -> Tensor:
    """Evaluate a layer on activations, float32 of shape (B, C, H, W)."""
    if layer.kind == "max_pool":
        top, left, bottom, right = layer.padding
        padded = functional.pad(x, (left, right, top, bottom), value=ACT_MIN)
        return functional.max_pool2d(padded, layer.kernel, layer.stride)
    if fast is None:
        outputs = [
            evaluate(layer, image.numpy().astype(np.int8),
                     None if residual is None else residual[i].numpy().astype(np.int8))
            for i, image in enumerate(x)]
        return torch.from_numpy(np.stack(outputs)).float()
    low, *others = _sums(layer, fast, x).split(layer.output_shape[0], dim=1)
    total = torch.addcmul(fast.offset, low.double(), fast.factors[0])
    for sums, factor in zip(others, fast.factors[1:], strict=True):
        total.addcmul_(sums.double(), factor)
    if residual is not None:
        total.addcmul_((residual - layer.residual_zero_point).double(), fast.residual)
    if layer.binary_output:
        return torch.where(total >= 0, 1.0, -1.0)
    return total.floor_().clamp_(layer.lo, layer.hi).float()


class BatchNetwork:
    """A network with its constants made ready, to be evaluated on many batches.

    Parameters
    ----------
    network : IntegerNetwork
    """

    def __init__(self, network: IntegerNetwork) -> None:
        self.network = network
        self._prepared = [_prepare(node.layer) for node in network.nodes]

    def __call__(
        self, images: NDArray[np.int8], keep: Collection[str] | None = None,
    ) -> dict[str, NDArray[np.int8]]:
        """Evaluate a batch, as :func:`run_batch`."""
        network = self.network
        shape = network.nodes[0].layer.input_shape
        if images.dtype != np.int8 or images.ndim != 4 or images.shape[1:] != shape:
            raise ValueError(f"{network.name}: images must be int8 of shape {('B', *shape)}, "
                             f"not {images.dtype} of shape {images.shape}")
        wanted = {network.nodes[-1].layer.name} if keep is None else set(keep)
        chunks = [images[start:start + _CHUNK] for start in range(0, len(images), _CHUNK)]
        # A thread for each chunk, not many for each layer: these would wait for the slowest of
        # them after every layer, which on a busy machine takes twenty times as long as the sums.
        with ThreadPoolExecutor(
                torch.get_num_threads(), initializer=partial(torch.set_num_threads, 1)) as pool:
            parts = list(pool.map(partial(self._chunk, wanted=wanted), chunks))
        return {name: np.concatenate([part[name] for part in parts]) for name in wanted}

    @torch.no_grad()
    def _chunk(
        self, images: NDArray[np.int8], wanted: Collection[str],
    ) -> dict[str, NDArray[np.int8]]:
        """Evaluate a chunk in the calling thread."""
        tensors = {self.network.IMAGE: torch.from_numpy(images).float()}
        for node, fast in zip(self.network.nodes, self._prepared, strict=True):
            residual = tensors[node.residual] if node.residual is not None else None
            tensors[node.layer.name] = _layer(node.layer, fast, tensors[node.input], residual)
        return {name: tensors[name].to(torch.int8).numpy() for name in wanted}

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the real outputs, (B, classes), for real images, (B, C, H, W)."""
        last = self.network.nodes[-1].layer.name
        output = self(self.network.input_scale.quantise(images))[last]
        return self.network.output_scale.real(output).reshape(len(images), -1)


def run_batch(
    network: IntegerNetwork, images: NDArray[np.int8], keep: Collection[str] | None = None,
) -> dict[str, NDArray[np.int8]]:
    """Evaluate a network on a batch; equal to :func:`smartdeal.golden.integer.run_network`.

    Parameters
    ----------
    images : int8 array, (B, C, H, W)
    keep : collection of str, optional
        Names of the tensors that are wanted (default: the last layer's).

    Returns
    -------
    dict of int8 arrays, (B, C, H, W)
        The wanted tensors by name.

    Raises
    ------
    ValueError
        If the images have another shape or type.
    OverflowError
        If a requantised sum exceeds 63 bits.
    """
    return BatchNetwork(network)(images, keep)
