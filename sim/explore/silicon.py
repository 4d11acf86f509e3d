"""Area in square millimetres at 28 nm: a count of cells and bits times a table of sizes.

It is a model, not checked against a synthesis with a foundry's library: no such library is free.
Trust ratios between designs, not square millimetres.
"""

import math
import tomllib
from functools import cache
from importlib import resources

from smartdeal.golden.formats import ACT_BITS, BASIS_SIZE
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind, section_format
from smartdeal.sim.area_features import added
from smartdeal.sim.energy.price import step_register_bits

__all__ = ["area_mm2", "area_table"]

_UM2_PER_MM2 = 1e6
#: Operands of the multipliers of a lane: basis (three), requantisation, residual.
_BASIS_BITS, _REQUANTISE_BITS = 8, (41, 16)
_RESIDUAL_BITS = (9, 16)


@cache
def area_table() -> dict[str, dict[str, str | float]]:
    """Return every constant with its value, unit, source and certainty."""
    text = (resources.files("smartdeal.sim.explore") / "28nm_area.toml").read_text()
    return {name: entry for name, entry in tomllib.loads(text).items() if name != "title"}


def area_mm2(config: AcceleratorConfig) -> float:
    """Return the area of an accelerator's cells and memories."""
    value = {name: float(entry["value"]) for name, entry in area_table().items()}
    cells = _gates(config, value) * value["gate"] / value["utilisation"]
    memories = _memory_bits(config) * value["sram_bit"] / value["sram_efficiency"]
    return (cells + memories) / _UM2_PER_MM2


def _gates(config: AcceleratorConfig, value: dict[str, float]) -> float:
    """Count gates: PEs, read-out, lanes, rotators, control; what features add by their LUTs."""
    levels = config.coefficient.exponent_bits
    shifted = ACT_BITS + config.exponents - 1
    shifter = sum(min(shifted, ACT_BITS + (1 << level)) for level in range(levels)) * value["mux"]
    # Accumulator and result register, adder with a sign.
    element = (shifter + config.acc_bits * (value["full_adder"] + value["mux"])
               + 2 * config.acc_bits * value["flip_flop"])
    array = config.rows * config.cols * (element + config.acc_bits * value["mux"])
    array += step_register_bits(config) * value["flip_flop"]
    features = added(config, "lut") * value["lut"] + added(config, "ff") * value["flip_flop"]
    rotators = 2 * ACT_BITS * config.cols * math.ceil(math.log2(config.cols)) * value["mux"]
    return (array + rotators + features + config.drain_lanes * _lane_gates(config, value)
            + value["control"])


def _lane_gates(config: AcceleratorConfig, value: dict[str, float]) -> float:
    products = [_REQUANTISE_BITS]
    if config.basis:
        products += [(config.acc_bits, _BASIS_BITS)] * BASIS_SIZE
    if config.residual:
        products.append(_RESIDUAL_BITS)
    cells = sum(left * right for left, right in products)
    sums = config.sum_bits * (2 + BASIS_SIZE)
    return (cells + sums) * value["full_adder"] + 3 * config.sum_bits * value["flip_flop"]


def _memory_bits(config: AcceleratorConfig) -> int:
    tables = [(SectionKind.STEPS, config.weight_steps), (SectionKind.CHANNELS,
              config.channel_entries), (SectionKind.PROGRAM, config.program_words)]
    bits = 8 * config.activation_bytes
    if config.basis:
        tables.append((SectionKind.BASIS, config.basis_entries))
        bits += 2 * (config.acc_bits + 12) * config.filters_per_group * config.max_slices
    if config.max_slices > 1 or config.reduce:
        bits += config.sum_bits * config.drain_lanes * config.rows * config.chunks
    return bits + sum(section_format(kind, config).bits * depth for kind, depth in tables)
