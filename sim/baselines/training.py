"""One training step: dense, and with weights kept as Ce · B (SmartDeal, TNNLS 2021).

The same counting and tables as for inference. A step is, for every image of a batch, the forward
pass, the gradient of the activations and the gradient of the weights; then the weights' update.
SmartDeal holds Ce as a mask and a code per non-zero coefficient, and B; the support stays as it is.
A coefficient moves by one exponent when a counter of gradient signs overflows ("bucket switch").
"""

from dataclasses import dataclass
from math import ceil

from smartdeal.sim.baselines.shapes import ShapeNetwork, WeightShape
from smartdeal.sim.energy.arithmetic import add_pj, multiply_pj, shift_pj
from smartdeal.sim.energy.technology import Technology

__all__ = ["Scheme", "StepCost", "training_step"]

_SIZE, _SLICE_ROWS = 3, 192
_CODE_BITS, _COUNTER_BITS, _BASIS_BITS = 4, 4, 32
#: Operand reuse of the array: an activation serves so many rows, a weight so many columns.
_ROWS, _COLS = 63, 35
_BUFFER_BYTES = 16 * 1024


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How weights, activations and gradients are kept.

    Parameters
    ----------
    name : str
    weight_bits : int
        Of a dense weight; 0 for Ce · B.
    data_bits : int
        Of activations and of their gradients.
    momentum : bool
        Whether the update keeps a second value, of 32 bits, per weight.
    """

    name: str
    weight_bits: int
    data_bits: int
    momentum: bool = True

    @property
    def factored(self) -> bool:
        """Whether weights are Ce · B."""
        return self.weight_bits == 0


@dataclass(frozen=True)
class StepCost:
    """Cost of a step of a whole batch.

    Parameters
    ----------
    weight_bytes : int
        The weights alone, as they are kept between steps.
    training_bytes : int
        With what the update keeps: momentum, or the counters.
    energy : dict of float
        In pJ: DRAM, buffers, computing.
    """

    weight_bytes: int
    training_bytes: int
    energy: dict[str, float]

    @property
    def total_pj(self) -> float:
        """All energy."""
        return sum(self.energy.values())


def training_step(
    network: ShapeNetwork, scheme: Scheme, technology: Technology, batch: int = 128,
) -> StepCost:
    """Count one step.

    Activations are written in the forward pass and read for the weights' gradient; gradients of
    activations are written and read once. Weights come twice per step, once for each direction.

    Raises
    ------
    ValueError
        If the batch is empty.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch!r}")
    weights = kept = 0.0
    energy = {"DRAM": 0.0, "buffers": 0.0, "computing": 0.0}
    for layer in network.layers:
        if not layer.weights:
            continue
        density = 1.0 if layer.first or not scheme.factored else 1 - network.sparsity.weights
        stored, state = _storage(layer, scheme, density)
        weights += stored
        kept += stored + state
        # Forward and backward reads, the gradient out and in, the update.
        gradient = layer.weights * density * scheme.data_bits / 8
        moved = 3 * stored + 2 * state + 2 * gradient
        data = (2 * layer.input_bytes + 2 * layer.output_bytes) * batch * scheme.data_bits / 8
        macs = layer.macs * density * batch
        energy["DRAM"] += (moved + data) * technology["dram"]
        energy["buffers"] += 3 * macs * technology.sram(_BUFFER_BYTES) * (
            scheme.data_bits / 8 / _ROWS + (stored / layer.weights) / _COLS)
        energy["computing"] += _computing(layer, scheme, macs, batch, technology)
    return StepCost(ceil(weights), ceil(kept), energy)


def _storage(layer: WeightShape, scheme: Scheme, density: float) -> tuple[float, float]:
    """Return bytes of the weights, and of what the update keeps beside them."""
    if not _factors(layer, scheme):
        bits = scheme.weight_bits or 32
        return layer.weights * bits / 8, layer.weights * 4.0 if scheme.momentum else 0.0
    vectors = ceil(layer.input_shape[0] * layer.kernel**2 / _SIZE)
    basis = ceil(vectors / _SLICE_ROWS) * _SIZE * _SIZE * _BASIS_BITS * layer.filters
    codes = layer.weights * density * _CODE_BITS
    counters = layer.weights * density * _COUNTER_BITS
    return (vectors * layer.filters + codes + basis) / 8, counters / 8


def _factors(layer: WeightShape, scheme: Scheme) -> bool:
    return scheme.factored and layer.kernel in (1, _SIZE) and not layer.first


def _computing(
    layer: WeightShape, scheme: Scheme, macs: float, batch: int, t: Technology,
) -> float:
    """Return the arithmetic of both directions and of the weights' gradient."""
    bits = scheme.data_bits
    accumulate = add_pj(bits + 16, t)
    gradient = macs * (multiply_pj(bits, bits, t) + accumulate)
    if not _factors(layer, scheme):
        width = scheme.weight_bits or bits
        return 2 * macs * (multiply_pj(bits, width, t) + accumulate) + gradient
    # Ce after or before B: shifts and adds; B touches each sum of three rows once.
    shifts = 2 * macs * (shift_pj(bits + 7, t) + accumulate)
    slices = ceil(layer.input_shape[0] * layer.kernel**2 / _SIZE / _SLICE_ROWS)
    basis = 2 * layer.output_bytes * batch * slices * _SIZE * _SIZE
    return shifts + gradient + basis * (multiply_pj(bits + 16, 8, t) + accumulate)
