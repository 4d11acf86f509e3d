"""How many LUTs an accelerator takes on ECP5, without synthesis.

The PE array is counted cell by cell, as the generator builds it from carry cells and wide
multiplexers. What is around it is fitted to a sweep of syntheses (``bench/area.py``): a constant,
so much for each read-out lane, and so much for the byte rotators, which grow with
cols · log2(cols). Those syntheses have neither system memory nor entropy-coded steps nor binary
layers: what these add is in :mod:`smartdeal.sim.area_features`.
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from smartdeal.golden.formats import ACT_BITS
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind, section_format
from smartdeal.hw.loader import LOADED_KINDS
from smartdeal.hw.reader import Reader
from smartdeal.sim.area_features import added

__all__ = ["AreaEstimate", "array_luts", "estimate", "sweep"]

#: A PE beside its shifter and adder: the inverter of ``last``, which synthesis gives each of them.
_ELEMENT_LUTS = 1
#: What the maximum adds to a PE of the first row.
_MAXIMUM_LUTS = 40
#: Bits and number of the words that a block RAM can have.
_SHAPES = ((36, 512), (18, 1024), (9, 2048))
_BYTE_WORDS = 2048
#: LUT RAM cells that synthesis takes instead of a block RAM.
_LUT_RAM_CELLS = 20
#: Multiplier blocks of a lane: basis (three times two), requantisation three, residual one.
_BASIS_DSP, _REQUANTISE_DSP, _RESIDUAL_DSP = 6, 3, 1
#: Of what an EXTERNAL layer writes, tiles · channels; of a product with beats that is no shift.
_SPILL_DSP, _BEATS_DSP = 1, 2


@dataclass(frozen=True)
class AreaEstimate:
    """What an accelerator takes, by a model.

    Parameters
    ----------
    array : int
        LUTs of the PE array with its read-out multiplexers.
    lut : int
        LUTs of the whole accelerator; of the features in the sweep (basis, pooling, residual,
        reduction, mover) those that are off are counted too.
    bram, dsp : int
    ff : int
        Flip-flops, 0 where they are not modelled.
    """

    array: int
    lut: int
    bram: int
    dsp: int
    ff: int = 0


def sweep() -> list[dict[str, Any]]:
    """Return the syntheses that the model is fitted to, and those that it is held against."""
    return json.loads((resources.files("smartdeal.sim") / "area_ecp5.json").read_text())


def estimate(config: AcceleratorConfig) -> AreaEstimate:
    """Return what an accelerator takes."""
    array = array_luts(config)
    around = float(_features(config) @ _fitted())
    features = added(config, "lut") - added(config, "array_lut")
    return AreaEstimate(array, round(array + around + features), _block_rams(config),
                        _multipliers(config))


def array_luts(config: AcceleratorConfig) -> int:
    """Return the LUTs of the PE array with its read-out, cell by cell."""
    element = _ELEMENT_LUTS + _shift_add_luts(config)
    maximum = _MAXIMUM_LUTS if config.max_pool else 0
    return (config.rows * config.cols * element + config.cols * maximum
            + config.cols * config.acc_bits * _multiplexer_luts(config.rows)
            + config.drain_lanes * config.acc_bits * _multiplexer_luts(config.chunks)
            + round(added(config, "array_lut")))


def _shift_add_luts(config: AcceleratorConfig) -> int:
    levels = config.coefficient.exponent_bits - 1  # the last one is inside the carry cells
    if levels < 0:
        raise ValueError("Area of arrays with a single exponent is not modelled")
    shifter = sum(ACT_BITS + (2 << level) - 1 for level in range(levels))
    gate    = ACT_BITS if levels < 2 else 0
    carry   = 2 * -(-(config.acc_bits + 1) // 2)
    return gate + shifter + carry


def _multiplexer_luts(count: int) -> int:
    """Return the LUTs per bit of a multiplexer: eight values take four."""
    if count == 1:
        return 0
    groups = [min(8, count - at) for at in range(0, count, 8)]
    own = sum(size - 1 if size < 4 else 2 if size == 4 else 4 for size in groups)
    return own + (_multiplexer_luts(len(groups)) if len(groups) > 1 else 0)


def _features(config: AcceleratorConfig) -> "np.ndarray[Any, Any]":
    return np.array([1.0, config.drain_lanes, config.cols * math.log2(config.cols)])


@cache
def _fitted() -> "np.ndarray[Any, Any]":
    """Return the coefficients of what is around the array, by least squares."""
    rows = [row for row in sweep() if row["group"] == "fitted"]
    configs = [AcceleratorConfig(**row["configuration"]) for row in rows]
    around = np.array([row["lut"] - row["array_lut"] for row in rows], float)
    matrix = np.array([_features(config) for config in configs])
    return np.linalg.lstsq(matrix / around[:, None], np.ones(len(rows)), rcond=None)[0]


def _block_rams(config: AcceleratorConfig) -> int:
    """Count block RAMs: activations bytewise, tables in the shape that takes fewest."""
    total = config.cols * -(-config.activation_words // _BYTE_WORDS)
    tables = [(section_format(kind, config).bits, depth) for kind, depth in (
        (SectionKind.STEPS, config.weight_steps), (SectionKind.CHANNELS, config.channel_entries),
        (SectionKind.PROGRAM, config.program_words))]
    tables.append((ACT_BITS * config.cols, Reader.queue_words(config)))
    if config.basis:
        tables.append((section_format(SectionKind.BASIS, config).bits, config.basis_entries))
        tables.append((2 * (config.acc_bits + 12), config.filters_per_group * config.max_slices))
    if config.max_slices > 1 or config.reduce:
        tables.append((config.sum_bits * config.drain_lanes, config.rows * config.chunks))
    return total + sum(_table_rams(bits, depth) for bits, depth in tables)


def _table_rams(bits: int, depth: int) -> int:
    """Count the block RAMs of a table; a small one becomes LUT RAM, 16 words of 4 bits a cell."""
    rams = min(-(-bits // width) * -(-depth // words) for width, words in _SHAPES)
    return 0 if -(-bits // 4) * -(-depth // 16) <= _LUT_RAM_CELLS * rams else rams


def _multipliers(config: AcceleratorConfig) -> int:
    lane = (_REQUANTISE_DSP + _BASIS_DSP * bool(config.basis)
            + _RESIDUAL_DSP * config.residual)
    return config.drain_lanes * lane + (_memory_multipliers(config) if config.memory else 0)


def _memory_multipliers(config: AcceleratorConfig) -> int:
    """Count the multiplier blocks of load engine and store port: numbers of units times beats."""
    beats = {kind: section_format(kind, config).unit_bytes(config.host_bits)
             * 8 // config.host_bits for kind in LOADED_KINDS}
    odd = {kind for kind, count in beats.items() if count & (count - 1)}
    return (_SPILL_DSP + _BEATS_DSP * bool(odd)
            + _BEATS_DSP * (SectionKind.ACTIVATIONS in odd))
