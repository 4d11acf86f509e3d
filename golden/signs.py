"""Where a network in floating point becomes binary: layers that give signs, +1 for zero.

A drop-in layer with binary input takes the signs of its input. In the graph these are a tensor: of
the layer before it, if nobody else needs more than its signs and the array can pack them; otherwise
of a layer of its own behind it, whose weights are the identity. What that layer sees in integers
has 8 bits already.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from smartdeal.golden.float_nodes import FloatNode, Shape
from smartdeal.golden.formats import PACKED
from smartdeal.golden.forms import TermWeights, Weights
from smartdeal.golden.layers import IntegerNetwork, Requantisation
from smartdeal.golden.networks import NetworkError
from smartdeal.golden.options import FormError

__all__ = ["binary_weights", "sign_name", "threshold", "with_signs"]


def sign_name(tensor: str) -> str:
    """Return the name of the layer that takes the signs of a tensor."""
    return f"{tensor}.sign"


def with_signs(nodes: Sequence[FloatNode], shape: Shape) -> tuple[FloatNode, ...]:
    """Return layers of which those with binary input read tensors of signs.

    Parameters
    ----------
    nodes : sequence of FloatNode
        Those with binary input still read real tensors.
    shape : (channels, height, width)
        Of the image.

    Raises
    ------
    NetworkError
        If two layers pad the same signs with different values, and the channels are no whole bytes.
    """
    pads: dict[str, set[int]] = {}
    whole = {nodes[-1].name}  # tensors that are needed for more than their signs
    for node in nodes:
        if node.binary_input:
            pads.setdefault(node.input, set()).add(node.pad_value)
        else:
            whole.add(node.input)
        if node.residual is not None:
            whole.add(node.residual)
    channels = {IntegerNetwork.IMAGE: shape[0]}
    result: list[FloatNode] = []
    signed: dict[str, str] = {}

    def sign(tensor: str) -> None:
        signed[tensor] = sign_name(tensor)
        result.append(FloatNode(
            name=signed[tensor], kind="conv", input=tensor, exact=True, signs=min(pads[tensor]),
            weights=torch.eye(channels[tensor])[:, :, None, None]))

    for tensor in [IntegerNetwork.IMAGE, *(node.name for node in nodes)]:
        node = next((node for node in nodes if node.name == tensor), None)
        if node is not None:
            channels[tensor] = (channels[node.input] if node.weights is None
                                else len(node.weights))
            if node.binary_input:
                node = replace(node, input=signed[node.input])
        given = pads.get(tensor, set())
        if len(given) > 1 and channels[tensor] % PACKED:
            raise NetworkError(f"{tensor}: its signs are padded with +1 by one layer and -1 by "
                               f"another, which takes a multiple of {PACKED} channels, not "
                               f"{channels[tensor]}")
        if node is not None and given and tensor not in whole and _packs(node):
            node, signed[tensor] = replace(node, signs=min(given)), tensor
        if node is not None:
            result.append(node)
        if given and tensor not in signed:
            sign(tensor)
    return tuple(result)


def _packs(node: FloatNode) -> bool:
    """Return whether the array can give a layer's output as signs at once."""
    return (isinstance(node.trained, TermWeights) and not node.relu
            and (node.residual is None or len(node.trained.scale) % PACKED == 0))


def binary_weights(
    name: str, trained: Weights | None, form: str, gain: NDArray[np.float64],
) -> TermWeights:
    """Return the weights of a layer with binary input, ±1 with the sign of the gain in them.

    Parameters
    ----------
    gain : float64 array, (M,)
        Of the normalisation.

    Raises
    ------
    FormError
        If they are of another form.
    """
    if not isinstance(trained, TermWeights) or len(trained.sign) != 1 \
            or not trained.sign.all() or trained.exponent.any():
        raise FormError(f"{name}: a layer with binary input must have weights of +1 or -1 (form "
                        f"bnn), not of form {form or 'float'}")
    flip = np.where(gain < 0, -1, 1).astype(np.int8)[:, None, None, None]
    return replace(trained, sign=trained.sign * flip, scale=trained.scale * np.abs(gain))


def threshold(
    weights: NDArray[np.int64], unit: NDArray[np.float64], bias: NDArray[np.float64],
    largest: int,
) -> Requantisation:
    """Return the requantisation with which acc + bias ≥ 0 is exactly unit · acc + bias ≥ 0.

    Parameters
    ----------
    weights : int64 array, (M, C, kh, kw)
    unit, bias : float64 arrays, (M,)
        Real value of one unit of the sum, not negative, and the real bias.
    largest : int
        Largest magnitude of an input.
    """
    beyond = np.abs(weights).sum(axis=(1, 2, 3)) * largest + 1  # no sum is as large
    level = np.array([_floor(b, u, int(most))
                      for b, u, most in zip(bias, unit, beyond, strict=True)], np.int64)
    zero = np.zeros_like(level)
    return Requantisation(bias=level, multiplier=zero + 1, residual_multiplier=zero, shift=zero,
                          residual_shift=zero)


def _floor(bias: float, unit: float, most: int) -> int:
    """Return the largest integer up to bias / unit, within ±most; exactly, as no division is."""
    if unit == 0:
        return most if bias >= 0 else -most
    return max(-most, min(most, math.floor(Fraction(bias) / Fraction(unit))))
