"""SmartExchange (ISCA 2020): rebuilds Ce · B, multiplies bit by bit. See docs/baselines.md."""

from math import ceil

from smartdeal.sim.baselines.activity import ACCUMULATOR_BITS, Activity
from smartdeal.sim.baselines.design import BUDGET, Budget
from smartdeal.sim.baselines.digits import mean_and_most
from smartdeal.sim.baselines.shapes import Sparsity, WeightShape

__all__ = ["SmartExchange"]

#: PE slices (output channels), PE lines (input channels), MACs of a line (output columns).
_SLICES, _LINES, _MACS = 64, 16, 8
_COEFFICIENT_BITS = 4
#: Entries of a vector and of B's side; vectors that share one B at most.
_SIZE, _SLICE_ROWS = 3, 192
_WEIGHT_BANK = 2048
_INPUT_BANK, _INPUT_BANKS = 16 * 1024, 32


class SmartExchange:
    """Vector-wise zeros are skipped; a weight lasts as long as the most digits of eight lanes.

    Parameters
    ----------
    budget : Budget
        Eight serial multipliers for each of 8 bits; 64 slices × 16 lines × 8 at the usual budget.
    keeps_bytes : int
        Activations that stay on chip; 0 as published, where outputs leave through a small buffer.
    """

    name, title = "smartexchange", "SmartExchange"

    def __init__(self, budget: Budget = BUDGET, keeps_bytes: int = 0) -> None:
        self.slices = budget.multipliers * 8 // (_LINES * _MACS)
        self.keeps_bytes = keeps_bytes
        self.input_bytes = _INPUT_BANK * _INPUT_BANKS
        self.weight_buffer = 2 * _WEIGHT_BANK * self.slices

    def compute(self, layer: WeightShape, zeros: Sparsity) -> Activity:
        """Rebuilt weights go to eight columns each; digits of activations go one by one."""
        kept = _density(layer, zeros)
        mean, most = mean_and_most("booth", _MACS, 0.0 if layer.first else zeros.activations)
        channels = layer.input_shape[0]
        _, height, width = layer.output_shape
        tiles = height * ceil(width / _MACS) if layer.kind != "linear" else 1
        groups = ceil(layer.filters / self.slices)
        weights = groups * ceil(channels / _LINES) * layer.kernel**2 * kept
        useful = layer.macs * kept
        rebuilt = layer.weights * kept * tiles
        vector_bytes = _MACS + layer.kernel - 1
        lines = groups * channels * layer.kernel * kept * tiles
        has_basis = layer.kernel in (1, _SIZE)
        return Activity(
            cycles=weights * tiles * most, shifts=useful * mean + rebuilt * _SIZE * has_basis,
            adds=useful * mean, short_adds=rebuilt * _SIZE * has_basis + useful / _MACS,
            registers=useful * mean * ACCUMULATOR_BITS + lines * vector_bytes * 8 * 2
            + rebuilt * 8 * 2,
            sram={_INPUT_BANK: lines * vector_bytes + layer.input_bytes,
                  _WEIGHT_BANK: rebuilt * _COEFFICIENT_BITS / 8 * (1 if has_basis else 2)
                  + layer.output_bytes * 2.0})

    def weight_bytes(self, layer: WeightShape, zeros: Sparsity) -> float:
        """4 bits a coefficient, a bit per vector, and B for each filter and slice."""
        if layer.kernel not in (1, _SIZE):
            return float(layer.weights)
        vectors = ceil(layer.input_shape[0] * layer.kernel**2 / _SIZE)
        kept = vectors * _density(layer, zeros) * _SIZE * _COEFFICIENT_BITS
        basis = ceil(vectors / _SLICE_ROWS) * _SIZE * _SIZE * 8
        return layer.filters * (kept + vectors + basis) / 8

    def activation_bytes(self, count: int, zeros: Sparsity) -> float:
        """8 bits each."""
        del zeros
        return float(count)

    def buffers(self) -> tuple[int, int]:
        """Input buffer and all weight buffers."""
        return self.input_bytes, self.weight_buffer


def _density(layer: WeightShape, zeros: Sparsity) -> float:
    return 1.0 if layer.first else 1 - zeros.weights
