"""DianNao (ASPLOS 2014): dense, Tn outputs × Ti inputs per cycle. See docs/baselines.md."""

from math import ceil

from smartdeal.sim.baselines.activity import ACCUMULATOR_BITS, Activity
from smartdeal.sim.baselines.design import BUDGET, Budget
from smartdeal.sim.baselines.shapes import Sparsity, WeightShape

__all__ = ["DianNao"]


class DianNao:
    """Dense baseline: every weight meets every activation.

    Parameters
    ----------
    budget : Budget
        The published 16 × 16 becomes √multipliers squared; NBin, NBout and SB keep their ratio
        2 : 2 : 32.
    """

    name, title = "diannao", "DianNao"
    keeps_bytes = 0

    def __init__(self, budget: Budget = BUDGET) -> None:
        self.tile = round(budget.multipliers**0.5)
        share = budget.sram_bytes // 36
        self.nbin, self.nbout, self.sb = 2 * share, 2 * share, 32 * share

    def compute(self, layer: WeightShape, zeros: Sparsity) -> Activity:
        """Every cycle takes Ti inputs from NBin and Tn × Ti weights from SB."""
        del zeros
        channels = layer.input_shape[0]
        steps = (ceil(layer.filters / self.tile) * ceil(channels / self.tile)
                 * layer.kernel**2 * layer.pixels)
        # Lanes without a weight are gated.
        weights_read = float(layer.macs)
        inputs_read = layer.macs / min(self.tile, layer.filters)
        bank = self.sb // self.tile // max(1, self.tile // 8)
        return Activity(
            cycles=steps, multiplies=layer.macs, adds=layer.macs,
            registers=layer.macs / channels * ceil(channels / self.tile) * ACCUMULATOR_BITS,
            sram={self.nbin: inputs_read, bank: weights_read, self.nbout: layer.output_bytes * 2})

    def weight_bytes(self, layer: WeightShape, zeros: Sparsity) -> float:
        """8 bits each."""
        del zeros
        return float(layer.weights)

    def activation_bytes(self, count: int, zeros: Sparsity) -> float:
        """8 bits each."""
        del zeros
        return float(count)

    def buffers(self) -> tuple[int, int]:
        """NBin and SB."""
        return self.nbin, self.sb
