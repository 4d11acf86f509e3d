"""SCNN (ISCA 2017): zeros of weights and activations are skipped. See docs/baselines.md."""

from math import ceil

from smartdeal.sim.baselines.activity import ACCUMULATOR_BITS, Activity
from smartdeal.sim.baselines.design import BUDGET, Budget
from smartdeal.sim.baselines.shapes import Sparsity, WeightShape
from smartdeal.sim.baselines.spread import largest_binomial

__all__ = ["Scnn"]

#: Multipliers of a PE: F weights × I activations.
_F = _I = 4
#: Bits of the zero count beside a value.
_INDEX_BITS = 4
#: Accumulator banks and entries of a PE, as published.
_ENTRIES = 6144
_BANKS = 32


class Scnn:
    """A planar tile of the map in each PE; all products of non-zero weights and activations.

    Parameters
    ----------
    budget : Budget
        PEs of 4 × 4 multipliers; half of the buffers' bytes hold activations, as published.
    """

    name, title = "scnn", "SCNN"

    def __init__(self, budget: Budget = BUDGET) -> None:
        self.side = round((budget.multipliers / (_F * _I))**0.5)
        self.pes = self.side**2
        accumulators = self.pes * _ENTRIES * 3 // 4
        self.keeps_bytes = (budget.sram_bytes - accumulators) // 2
        self.weights = budget.sram_bytes - accumulators - self.keeps_bytes
        self.accumulator = _ENTRIES * 3 // _BANKS

    def compute(self, layer: WeightShape, zeros: Sparsity) -> Activity:
        """The PE with most activations holds up each channel of a group of filters."""
        kept = 1.0 if layer.first else 1 - zeros.weights
        live = 1.0 if layer.first else 1 - zeros.activations
        channels, height, width = layer.input_shape
        tile = ceil(height / self.side) * ceil(width / self.side)
        used = min(self.pes, height * width)
        # As many filters at once as the accumulators hold of the tile with its halo.
        halo = (ceil(height / self.side) + layer.kernel - 1) * (
            ceil(width / self.side) + layer.kernel - 1)
        together = min(layer.filters, max(1, _ENTRIES // halo))
        groups = ceil(layer.filters / together)
        taps = together * layer.kernel**2 * kept
        vectors = ceil(max(1.0, largest_binomial(tile, live, used)) / _I)
        cycles = groups * channels * ceil(max(1.0, taps) / _F) * vectors
        # Without stride every product counts; with it the multipliers work for nothing.
        products = layer.macs * layer.stride**2 * kept * live
        if layer.kind == "linear":  # a filter's weight is used in the one PE that has its input
            cycles = ceil(channels * live / self.pes) * groups * ceil(max(1.0, taps) / _F)
        return Activity(
            cycles=cycles, multiplies=products, adds=layer.macs * kept * live,
            registers=products / _F * 12 + products / _I * 12,
            sram={self.accumulator: layer.macs * kept * live * 2 * ACCUMULATOR_BITS / 8,
                  self.weights // self.pes: groups * channels * taps * used * 12 / 8 / _I,
                  self.keeps_bytes // 2 // self.pes:
                      groups * layer.input_bytes * live * 12 / 8
                      + layer.output_bytes * (1 - zeros.activations) * 12 / 8})

    def weight_bytes(self, layer: WeightShape, zeros: Sparsity) -> float:
        """8 bits and a zero count for each that is not zero."""
        kept = 1.0 if layer.first else 1 - zeros.weights
        return layer.weights * kept * (8 + _INDEX_BITS) / 8

    def activation_bytes(self, count: int, zeros: Sparsity) -> float:
        """8 bits and a zero count for each that is not zero."""
        return count * (1 - zeros.activations) * (8 + _INDEX_BITS) / 8

    def buffers(self) -> tuple[int, int]:
        """The input RAMs, and all weight FIFOs."""
        return self.keeps_bytes // 2, self.weights
