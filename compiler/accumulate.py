"""The proof that no accumulator and no sum overflows, and the cut into slices that makes it true.

An activation is any number from -128 to 127. With P the sum of a row's positive coefficients and M
that of its negative ones' magnitudes, the accumulator lies between -(128·P + 127·M) and
127·P + 128·M. A slice whose bound does not fit is cut in several; their sums meet in the wider sum.
"""

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.errors import CompileError, advice
from smartdeal.compiler.steps import BasisTable, Block, Lowering
from smartdeal.golden.formats import ACT_MAX, ACT_MIN, BASIS_SIZE, PACKED
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import LayerFlag

__all__ = ["cut_slices", "prove_sums"]

#: No accumulator is wider, so a search for enough bits ends here.
_MOST_BITS = 64


def _running(block: Block) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bounds after 0, 1, … steps: largest sum and largest negative sum, (steps+1, R)."""
    if block.binary:
        most = np.arange(len(block) + 1)[:, None] * PACKED
        return most, most
    coefficients = block.coefficients.astype(np.int64)
    plus = np.zeros((len(block) + 1, coefficients.shape[1]), np.int64)
    minus = np.zeros_like(plus)
    np.cumsum(np.maximum(coefficients, 0), axis=0, out=plus[1:])
    np.cumsum(np.maximum(-coefficients, 0), axis=0, out=minus[1:])
    return ACT_MAX * plus - ACT_MIN * minus, ACT_MAX * minus - ACT_MIN * plus


def _fits(most: NDArray[np.int64], least: NDArray[np.int64], bits: int) -> NDArray[np.bool_]:
    half = 1 << (bits - 1)
    return np.all((most < half) & (least <= half), axis=-1)


def _greedy(block: Block, bits: int) -> list[int] | None:
    """Return the fewest cuts in which every piece fits, or None if a single step does not."""
    most, least = _running(block)
    if _fits(most[-1], least[-1], bits):
        return [0, len(block)]
    bounds = [0]
    while bounds[-1] < len(block):
        start = bounds[-1]
        fitting = _fits(most[start:] - most[start], least[start:] - least[start], bits)
        # The bounds only grow, so the fitting lengths come first.
        length = int(np.count_nonzero(fitting)) - 1
        if length == 0:
            return None
        bounds.append(start + length)
    return bounds


def _cut(block: Block, pieces: int, bits: int) -> list[Block]:
    """Cut in exactly so many pieces, of equal length if they fit."""
    even = [len(block) * i // pieces for i in range(pieces + 1)]
    most, least = _running(block)
    if np.all(_fits(np.diff(most[even], axis=0), np.diff(least[even], axis=0), bits)):
        return block.cut(even)
    bounds = _greedy(block, bits) or even
    return block.cut(bounds + [len(block)] * (pieces + 1 - len(bounds)))


def _pieces(lowering: Lowering, bits: int) -> list[int] | None:
    """Return into how many slices each slice must be cut, or None if a step does not fit."""
    pieces = [1] * len(lowering.blocks[0])
    for group in lowering.blocks:
        for i, block in enumerate(group):
            bounds = _greedy(block, bits)
            if bounds is None:
                return None
            pieces[i] = max(pieces[i], len(bounds) - 1)
    return pieces


def cut_slices(name: str, lowering: Lowering, config: AcceleratorConfig) -> Lowering:
    """Cut slices until no accumulator can overflow.

    Parameters
    ----------
    name : str
        The layer's name, for messages.

    Raises
    ------
    CompileError
        If that takes more slices than the accelerator has.
    """
    if LayerFlag.MAX_POOL in lowering.flags:
        return lowering  # the operand has 8 bits, and a maximum does not grow
    pieces = _pieces(lowering, config.acc_bits)
    if pieces is None or sum(pieces) > config.max_slices:
        _refuse(name, lowering, config, pieces)
    if sum(pieces) == len(pieces):
        return lowering
    blocks = [
        [piece for block, count in zip(group, pieces, strict=True)
         for piece in _cut(block, count, config.acc_bits)]
        for group in lowering.blocks
    ]
    basis = lowering.basis
    if basis is not None:
        basis = BasisTable(np.repeat(basis.taps, pieces, axis=1),
                           np.repeat(basis.align, pieces, axis=1))
    return Lowering(lowering.flags, lowering.group, blocks, basis, lowering.lag)


def _refuse(
    name: str, lowering: Lowering, config: AcceleratorConfig, pieces: list[int] | None,
) -> NoReturn:
    """Raise the error that says how many bits or slices would do."""
    slices = len(lowering.blocks[0])
    if slices > config.max_slices:
        raise CompileError(name, f"its weights take {slices} slices, the accelerator has "
                           f"max_slices = {config.max_slices}; "
                           f"{advice(config, 'max_slices', slices)} or "
                           "decompose into fewer slices")
    for bits in range(config.acc_bits + 1, _MOST_BITS):
        enough = _pieces(lowering, bits)
        if enough is not None and sum(enough) <= config.max_slices:
            break
    else:
        raise CompileError(name, "no accumulator is wide enough for its coefficients")
    found = "a single step overflows" if pieces is None else (
        f"the reduction takes {sum(pieces)} slices, the accelerator has "
        f"max_slices = {config.max_slices}")
    raise CompileError(name, f"with acc_bits = {config.acc_bits} {found}; "
                             f"{advice(config, 'acc_bits', bits)}")


def prove_sums(
    name: str, lowering: Lowering, positions: int, config: AcceleratorConfig,
) -> None:
    """Prove that the sum over all slices fits ``sum_bits``.

    Parameters
    ----------
    positions : int
        Output positions that add up: 1, or with REDUCE the size of the map.

    Raises
    ------
    CompileError
        If a sum may overflow; the message names the bits that are needed.
    """
    worst = 0
    for number, group in enumerate(lowering.blocks):
        total = sum(_slice_bound(lowering, number, index, block)
                    for index, block in enumerate(group))
        worst = max(worst, int(np.max(total)))
    needed = (worst * positions).bit_length() + 1
    if needed > config.sum_bits:
        raise CompileError(name, f"a sum may need {needed} bits, the accelerator has "
                           f"sum_bits = {config.sum_bits}; {advice(config, 'sum_bits', needed)}")


def _slice_bound(
    lowering: Lowering, number: int, index: int, block: Block,
) -> NDArray[np.int64]:
    """Return the largest magnitude that a slice adds to each output channel of a group."""
    if block.binary:
        return np.array([len(block) * PACKED])
    magnitude = np.abs(block.coefficients.astype(np.int64)).sum(axis=0) * -ACT_MIN
    basis = lowering.basis
    if basis is None:
        return magnitude
    channels = slice(number * lowering.group, (number + 1) * lowering.group)
    taps = np.abs(basis.taps[channels, index]).sum(axis=2)  # (channels, k)
    rows = magnitude[:len(taps) * BASIS_SIZE].reshape(len(taps), BASIS_SIZE)
    return (taps * rows).sum(axis=1) << basis.align[channels, index]
