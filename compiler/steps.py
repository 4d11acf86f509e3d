"""From weight forms to steps: which activation vector meets which coefficients.

A step names its vector by *tap*, the index (c · kh + r) · kw + s of a kernel position; the layout
turns taps into addresses (:mod:`smartdeal.compiler.layout`). Vectors whose coefficients are zero
in all rows of a group get no step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.binary import check_binary
from smartdeal.compiler.errors import CompileError, advice
from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.golden.forms import BasisWeights, TermWeights
from smartdeal.golden.layers import IntegerLayer
from smartdeal.golden.packed import pack_signs
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import MAX_ALIGN, MIN_STEPS, LayerFlag, group_channels

__all__ = ["BasisTable", "Block", "Lowering", "lower"]


@dataclass(frozen=True, eq=False)
class Block:
    """Steps of one group of output channels and one slice.

    Parameters
    ----------
    taps : int64 array, (steps,)
    coefficients : int32 array, (steps, rows)
        0 or ±2^e; in max-pool mode 0 or 1; if ``binary`` the code of eight weights, 0 to 255.
    binary : bool
        A tap is then a kernel position of eight channels.
    """

    taps: NDArray[np.int64]
    coefficients: NDArray[np.int32]
    binary: bool = False

    def __len__(self) -> int:
        return len(self.taps)

    def cut(self, bounds: Sequence[int]) -> list["Block"]:
        """Return the pieces between neighbouring bounds."""
        return [Block(self.taps[a:b], self.coefficients[a:b], self.binary)
                for a, b in pairwise(bounds)]


@dataclass(frozen=True, eq=False)
class BasisTable:
    """What the basis stage does, per output channel and slice.

    Parameters
    ----------
    taps : int64 array, (M, slices, 3, 3)
        B'[k][lag].
    align : int64 array, (M, slices)
        Left shift.
    """

    taps: NDArray[np.int64]
    align: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lowering:
    """A layer as steps.

    Parameters
    ----------
    flags : LayerFlag
        BASIS, MAX_POOL, REDUCE, BINARY, PACK.
    group : int
        Output channels of a group.
    blocks : list of list of Block
        By group and slice.
    basis : BasisTable or None
    lag : int
        Largest lag of the basis: stream positions that the output comes later than its input.
    """

    flags: LayerFlag
    group: int
    blocks: list[list[Block]]
    basis: BasisTable | None = None
    lag: int = 0


def lower(layer: IntegerLayer, config: AcceleratorConfig) -> Lowering:
    """Turn a layer's weights into steps, one slice per slice of the decomposition and per pass.

    Raises
    ------
    CompileError
        If the weights are of a form or range that the configuration cannot run.
    """
    if layer.binary_input or layer.binary_output:
        check_binary(layer, config)
    if layer.binary_input:
        return _lower_binary(layer, config)
    if layer.kind in ("max_pool", "average_pool"):
        return _lower_pool(layer, config)
    weights = layer.weights
    assert weights is not None  # only pools have none
    _check_exponents(layer, weights.sign, weights.exponent, config)
    if isinstance(weights, TermWeights):
        flags = LayerFlag.PACK if layer.binary_output else LayerFlag(0)
        return _lower_terms(weights, flags, config)
    _check_basis(layer, weights, config)
    if weights.axis == "kernel":
        return _lower_kernel_axis(weights, layer.stride, config)
    return _lower_channel_axis(weights, config)


def _check_exponents(
    layer: IntegerLayer, sign: NDArray[np.int8], exponent: NDArray[np.int8],
    config: AcceleratorConfig,
) -> None:
    if np.any(np.abs(sign) > 1):
        raise CompileError(layer.name, "a sign must be -1, 0 or 1, not "
                                       f"{int(sign[np.abs(sign) > 1].flat[0])}")
    used = exponent[sign != 0]
    if np.any(used < 0):
        raise CompileError(layer.name, f"an exponent must not be negative, not {used.min()}")
    most = int(used.max(initial=0))
    if most >= config.exponents:
        raise CompileError(
            layer.name, f"a coefficient has exponent {most}, the configuration has exponents 0 to "
            f"{config.exponents - 1}; {advice(config, 'exponents', most + 1)} or decompose with "
            "fewer")


def _check_basis(
    layer: IntegerLayer, weights: BasisWeights, config: AcceleratorConfig,
) -> None:
    if not config.basis:
        remedy = ("set basis = true" if config.rows >= BASIS_SIZE
                  else f"set basis = true and rows to at least {BASIS_SIZE}")
        raise CompileError(layer.name, "its weights need the basis stage, which the configuration "
                                       f"leaves out; {remedy}")
    if np.any((weights.align < 0) | (weights.align > MAX_ALIGN)):
        raise CompileError(layer.name, f"the align of a slice must be from 0 to {MAX_ALIGN}, not "
                           f"{int(max(weights.align.max(), -weights.align.min(), key=abs))}")


def _pad_rows(coefficients: NDArray[np.integer], rows: int) -> NDArray[np.int32]:
    """Return (steps, rows) coefficients: zero in the rows that the group does not use."""
    padded = np.zeros((len(coefficients), rows), np.int32)
    padded[:, :coefficients.shape[1]] = coefficients
    return padded


def _lower_terms(
    weights: TermWeights, flags: LayerFlag, config: AcceleratorConfig,
) -> Lowering:
    """One array row per filter; each row takes its own next term of the vector."""
    m = weights.shape[0]
    terms = len(weights.sign)
    sign = weights.sign.reshape(terms, m, -1)
    value = sign.astype(np.int32) << np.where(sign != 0, weights.exponent.reshape(sign.shape), 0)
    order = np.argsort(sign == 0, axis=0, kind="stable")
    value = np.take_along_axis(value, order, axis=0).transpose(1, 2, 0)  # (M, taps, terms)
    blocks: list[list[Block]] = []
    size = group_channels(flags, config)
    for first in range(0, m, size):
        group = value[first:first + size]
        taps, term = np.nonzero(group.any(axis=0))
        blocks.append([Block(taps, _pad_rows(group[:, taps, term].T, config.rows))])
    return Lowering(flags, size, blocks)


def _lower_binary(layer: IntegerLayer, config: AcceleratorConfig) -> Lowering:
    """One array row per filter, one step for each kernel position of eight channels.

    A weight of a channel past the last equals that channel's bit, so that it counts +1; the
    requantisation's bias takes that back.
    """
    weights = layer.weights
    assert weights is not None  # checked
    flags = LayerFlag.BINARY | (LayerFlag.PACK if layer.binary_output else LayerFlag(0))
    packed = pack_signs(weights.sign[0].swapaxes(0, 1), layer.input_zero_point)
    codes = packed.swapaxes(0, 1).reshape(weights.shape[0], -1).view(np.uint8).astype(np.int32)
    size = group_channels(flags, config)
    blocks: list[list[Block]] = []
    for first in range(0, len(codes), size):
        rows = _pad_rows(codes[first:first + size].T, config.rows)
        taps = np.arange(len(rows))
        if len(taps) < MIN_STEPS:  # two steps with opposite weights add up to nothing
            rows = np.concatenate([rows, np.zeros_like(rows), np.full_like(rows, 0xFF)])
            taps = np.zeros(3, np.int64)
        blocks.append([Block(taps, rows, binary=True)])
    return Lowering(flags, size, blocks)


def _ce(weights: BasisWeights) -> NDArray[np.int32]:
    """Return Ce as integers, (M, vectors, 3)."""
    exponent = np.where(weights.sign != 0, weights.exponent, 0)
    return weights.sign.astype(np.int32) << exponent.astype(np.int32)


def _group_rows(ce: NDArray[np.int32], config: AcceleratorConfig) -> list[NDArray[np.int32]]:
    """Return the coefficients of each group, (vectors, rows), with Ce[f, v, k] in row 3f + k."""
    size = config.filters_per_group
    groups = [ce[first:first + size] for first in range(0, len(ce), size)]
    return [_pad_rows(g.transpose(1, 0, 2).reshape(g.shape[1], -1), config.rows) for g in groups]


def _lower_kernel_axis(
    weights: BasisWeights, stride: int, config: AcceleratorConfig,
) -> Lowering:
    """3×3: one slice per slice of the decomposition and column phase.

    The sums run along the stream; kernel column s = q + stride · o of phase q is the sum of
    o positions further on. The output is taken at the right-most one, the others lag behind.
    """
    m = len(weights.sign)
    reach = (BASIS_SIZE - 1) // stride
    spans = list(pairwise(weights.slice_starts))
    taps = np.zeros((m, len(spans) * stride, BASIS_SIZE, BASIS_SIZE), np.int64)
    for i in range(len(spans)):
        for s in range(BASIS_SIZE):
            taps[:, i * stride + s % stride, :, reach - s // stride] = weights.basis[:, i, :, s]
    blocks: list[list[Block]] = []
    for rows in _group_rows(_ce(weights), config):
        slices: list[Block] = []
        for start, stop in spans:
            used = start + np.flatnonzero(rows[start:stop].any(axis=1))
            slices += [Block(used * BASIS_SIZE + q, rows[used]) for q in range(stride)]
        blocks.append(slices)
    align = np.repeat(weights.align.astype(np.int64), stride, axis=1)
    return Lowering(LayerFlag.BASIS, config.filters_per_group, blocks,
                    BasisTable(taps, align), reach)


def _lower_channel_axis(weights: BasisWeights, config: AcceleratorConfig) -> Lowering:
    """1×1: one slice per slice of the decomposition and neighbouring channel s; one lag."""
    m = len(weights.sign)
    spans = list(pairwise(weights.slice_starts))
    taps = np.zeros((m, len(spans), BASIS_SIZE, BASIS_SIZE, BASIS_SIZE), np.int64)
    taps[..., 0] = weights.basis.transpose(0, 1, 3, 2)  # [m, slice, s, k, lag 0] = B[k, s]
    blocks: list[list[Block]] = []
    for rows in _group_rows(_ce(weights), config):
        slices: list[Block] = []
        for start, stop in spans:
            used = start + np.flatnonzero(rows[start:stop].any(axis=1))
            for s in range(BASIS_SIZE):
                vectors = used[used * BASIS_SIZE + s < weights.channels]
                slices.append(Block(vectors * BASIS_SIZE + s, rows[vectors]))
        blocks.append(slices)
    align = np.repeat(weights.align.astype(np.int64), BASIS_SIZE, axis=1)
    return Lowering(LayerFlag.BASIS, config.filters_per_group, blocks,
                    BasisTable(taps.reshape(m, -1, BASIS_SIZE, BASIS_SIZE), align))


def _lower_pool(layer: IntegerLayer, config: AcceleratorConfig) -> Lowering:
    """Pools work channel by channel: a step serves one row."""
    kernel = layer.kernel[0] * layer.kernel[1] if layer.kind == "max_pool" else 1
    channels = layer.output_shape[0]
    blocks: list[list[Block]] = []
    flag = LayerFlag.MAX_POOL if layer.kind == "max_pool" else LayerFlag.REDUCE
    group = group_channels(flag, config)
    for first in range(0, channels, group):
        used = min(group, channels - first)
        taps = np.arange(first * kernel, (first + used) * kernel)
        one_hot = np.repeat(np.eye(used, dtype=np.int32), kernel, axis=0)
        blocks.append([Block(taps, _pad_rows(one_hot, config.rows))])
    return Lowering(flag, group, blocks)
