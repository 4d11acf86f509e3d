"""Bit-Pragmatic (MICRO 2017): zero bits of activations are skipped. See docs/baselines.md."""

from math import ceil

from smartdeal.sim.baselines.activity import ACCUMULATOR_BITS, Activity
from smartdeal.sim.baselines.design import BUDGET, Budget
from smartdeal.sim.baselines.digits import mean_and_most
from smartdeal.sim.baselines.shapes import Sparsity, WeightShape

__all__ = ["Pragmatic"]

_LANES = _WINDOWS = 16


class Pragmatic:
    """16 activation lanes × 16 windows × filters, a one of each activation per cycle.

    Lanes of a window wait for the one with most ones; windows run apart by one set of registers
    (the published column synchronisation).

    Parameters
    ----------
    budget : Budget
        Eight serial multipliers for each of 8 bits.
    """

    name, title = "pragmatic", "Bit-Pragmatic"

    def __init__(self, budget: Budget = BUDGET) -> None:
        self.filters = budget.multipliers * 8 // (_LANES * _WINDOWS)
        # As in DaDianNao, activations have a memory of their own and weights another.
        self.keeps_bytes = budget.sram_bytes // 2
        self.weights = budget.sram_bytes - self.keeps_bytes

    def compute(self, layer: WeightShape, zeros: Sparsity) -> Activity:
        """The largest number of ones over the lanes, not the mean, is what a step takes."""
        none = 0.0 if layer.first else zeros.activations
        mean, most = mean_and_most("bits", _LANES, none)
        channels = layer.input_shape[0]
        bricks = ceil(channels / _LANES) * layer.kernel**2
        pallets = ceil(layer.pixels / _WINDOWS)
        groups = ceil(layer.filters / self.filters)
        steps = groups * pallets * bricks
        terms = layer.macs * mean
        windows = min(_WINDOWS, layer.pixels)
        return Activity(
            cycles=steps * most, shifts=terms, short_adds=terms, adds=layer.macs / _LANES * mean,
            registers=layer.macs / _LANES * mean * ACCUMULATOR_BITS
            + steps * windows * _LANES * 8 * 2,
            sram={self.keeps_bytes // 16: groups * pallets * windows * bricks * _LANES
                  + float(layer.output_bytes),
                  self.weights // self.filters // 2: layer.macs / windows})

    def weight_bytes(self, layer: WeightShape, zeros: Sparsity) -> float:
        """8 bits each."""
        del zeros
        return float(layer.weights)

    def activation_bytes(self, count: int, zeros: Sparsity) -> float:
        """8 bits each."""
        del zeros
        return float(count)

    def buffers(self) -> tuple[int, int]:
        """Activation memory and weight memory."""
        return self.keeps_bytes, self.weights
