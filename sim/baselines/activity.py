"""What a modelled accelerator does in a layer, and its energy by a technology table."""

from dataclasses import dataclass, field, fields
from typing import Self

from smartdeal.sim.energy.arithmetic import add_pj, multiply_pj, register_pj, shift_pj
from smartdeal.sim.energy.residency import Traffic
from smartdeal.sim.energy.technology import Technology

__all__ = ["ACCUMULATOR_BITS", "Activity", "energy"]

#: Every design accumulates in this width, as ours does.
ACCUMULATOR_BITS = 24
_PRODUCT_BITS = 16


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Counts of one layer; fractions come from densities.

    Parameters
    ----------
    cycles : float
        Of computing, with all data on chip.
    multiplies : float
        8 × 8 bit products.
    shifts : float
        16-bit shifts, of bit-serial multipliers and rebuild engines.
    adds : float
        Additions into an accumulator.
    short_adds : float
        16-bit additions.
    registers : float
        Register bits written: accumulators and FIFOs.
    sram : dict of float
        Bytes read and written by capacity of the macro in bytes.
    traffic : Traffic
    """

    cycles: float = 0
    multiplies: float = 0
    shifts: float = 0
    adds: float = 0
    short_adds: float = 0
    registers: float = 0
    sram: dict[int, float] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)

    def __add__(self, other: Self) -> Self:
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)
                if f.name not in ("sram", "traffic")}
        sram = {size: self.sram.get(size, 0) + other.sram.get(size, 0)
                for size in sorted({*self.sram, *other.sram})}
        return type(self)(**sums, sram=sram, traffic=Traffic(
            weights=self.traffic.weights + other.traffic.weights,
            reads=self.traffic.reads + other.traffic.reads,
            writes=self.traffic.writes + other.traffic.writes))


def energy(activity: Activity, technology: Technology) -> dict[str, float]:
    """Return the energy in pJ: DRAM, on-chip buffers, computing, registers."""
    a, t = activity, technology
    return {
        "DRAM": a.traffic.total * t["dram"],
        "buffers": sum(size * t.sram(capacity) for capacity, size in a.sram.items()),
        "computing": a.multiplies * multiply_pj(8, 8, t) + a.shifts * shift_pj(_PRODUCT_BITS, t)
        + a.adds * add_pj(ACCUMULATOR_BITS, t) + a.short_adds * add_pj(_PRODUCT_BITS, t),
        "registers": register_pj(1, t) * a.registers,
    }
