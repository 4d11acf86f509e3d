"""Cambricon-X (MICRO 2016): unstructured weight zeros are skipped. See docs/baselines.md."""

from math import ceil

from smartdeal.sim.baselines.activity import ACCUMULATOR_BITS, Activity
from smartdeal.sim.baselines.design import BUDGET, Budget
from smartdeal.sim.baselines.shapes import Sparsity, WeightShape
from smartdeal.sim.baselines.spread import largest_binomial

__all__ = ["CambriconX"]

#: Bits of the step index beside a weight.
_INDEX_BITS = 4


class CambriconX:
    """PEs of as many multipliers each take the inputs that their non-zero weights need.

    Parameters
    ----------
    budget : Budget
        The published 16 PEs × 16 multipliers become √multipliers of each.
    """

    name, title = "cambricon_x", "Cambricon-X"
    keeps_bytes = 0

    def __init__(self, budget: Budget = BUDGET) -> None:
        self.pes = round(budget.multipliers**0.5)
        share = budget.sram_bytes // 48  # NBin, NBout and the SBs: 8, 8 and 32 KB as published
        self.nbin, self.nbout, self.sb = 8 * share, 8 * share, 32 * share

    def compute(self, layer: WeightShape, zeros: Sparsity) -> Activity:
        """A group of filters ends with the one that has most weights."""
        kept = _density(layer, zeros)
        taps = layer.input_shape[0] * layer.kernel**2
        groups = ceil(layer.filters / self.pes)
        most = largest_binomial(taps, kept, min(self.pes, layer.filters))
        useful = layer.macs * kept
        encoded = useful * (8 + _INDEX_BITS) / 8
        return Activity(
            cycles=groups * ceil(most / self.pes) * layer.pixels, multiplies=useful, adds=useful,
            registers=useful / self.pes * ACCUMULATOR_BITS + useful * 8,
            # The buffer controller reads all inputs once per group, and hands out the needed ones.
            sram={self.nbin: float(groups * taps * layer.pixels),
                  self.sb // self.pes // 4: encoded, self.nbout: layer.output_bytes * 2.0})

    def weight_bytes(self, layer: WeightShape, zeros: Sparsity) -> float:
        """8 bits and an index for each that is not zero."""
        return layer.weights * _density(layer, zeros) * (8 + _INDEX_BITS) / 8

    def activation_bytes(self, count: int, zeros: Sparsity) -> float:
        """8 bits each."""
        del zeros
        return float(count)

    def buffers(self) -> tuple[int, int]:
        """NBin and all SBs."""
        return self.nbin, self.sb


def _density(layer: WeightShape, zeros: Sparsity) -> float:
    return 1.0 if layer.first else 1 - zeros.weights
