"""The interface of a modelled accelerator, the common budget, and the common memory rules."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Protocol

from smartdeal.sim.baselines.activity import Activity
from smartdeal.sim.baselines.shapes import ShapeNetwork, Sparsity, WeightShape
from smartdeal.sim.energy.residency import Operands, Traffic, resident_traffic

__all__ = ["BUDGET", "Budget", "Design", "buffered_traffic", "run"]

_KB = 1024


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every design may use.

    Parameters
    ----------
    multipliers : int
        8-bit multipliers; bit-serial designs have eight times as many serial ones.
    sram_bytes : int
        All on-chip buffers together.
    dram_bytes_per_cycle : int
    """

    multipliers: int = 1024
    sram_bytes: int = 772 * _KB
    dram_bytes_per_cycle: int = 32


#: The SmartExchange paper's set-up as recalled: 16 KB × 32 of inputs, 2 KB × 2 of outputs and
#: 2 KB × 2 of weights for each of 64 slices are 772 KB; 1,024 multipliers or 8,192 serial ones.
BUDGET = Budget()


class Design(Protocol):
    """A modelled accelerator."""

    name: str
    title: str
    #: Bytes in which activations stay from layer to layer; 0 where all pass through memory.
    keeps_bytes: int

    def compute(self, layer: WeightShape, zeros: Sparsity) -> Activity:
        """Return what a convolution or linear layer does on chip, traffic excluded."""
        ...

    def weight_bytes(self, layer: WeightShape, zeros: Sparsity) -> float:
        """Return the encoded weights' bytes."""
        ...

    def activation_bytes(self, count: int, zeros: Sparsity) -> float:
        """Return the encoded bytes of so many activations."""
        ...

    def buffers(self) -> tuple[int, int]:
        """Return the bytes of the input and the weight buffer."""
        ...


def run(design: Design, network: ShapeNetwork) -> list[tuple[WeightShape, Activity]]:
    """Return what each weight layer of a network does.

    A pool is free, in favour of the design: it is done on the way out of the layer before, so that
    only its output is stored.
    """
    zeros = network.sparsity
    layers = _without_pools(network.layers)
    kept = resident_traffic([_operands(design, layer, output, made, zeros)
                             for layer, output, made in layers], design.keeps_bytes)
    found: list[tuple[WeightShape, Activity]] = []
    for (layer, _, made), stays in zip(layers, kept, strict=True):
        traffic = buffered_traffic(design, layer, zeros, made)
        if design.keeps_bytes:
            traffic = Traffic(weights=traffic.weights, reads=min(traffic.reads, stays.reads),
                              writes=min(traffic.writes, stays.writes))
        found.append((layer, replace(design.compute(layer, zeros), traffic=traffic)))
    return found


def _without_pools(layers: Sequence[WeightShape]) -> list[tuple[WeightShape, str, int]]:
    """Return layers with weights, and name and size of what is stored: those of a pool behind."""
    pools = {layer.input: layer for layer in layers if not layer.weights}
    found: list[tuple[WeightShape, str, int]] = []
    for layer in layers:
        if layer.weights:
            stored = layer
            while stored.name in pools:
                stored = pools[stored.name]
            found.append((layer, stored.name, stored.output_bytes))
    return found


def _operands(
    design: Design, layer: WeightShape, output: str, stored: int, zeros: Sparsity,
) -> Operands:
    given, made = (ceil(design.activation_bytes(count, zeros))
                   for count in (layer.input_bytes, stored))
    adds = layer.residual is not None
    return Operands(output=output, input=layer.input, residual=layer.residual,
                    input_bytes=given, residual_bytes=made if adds else 0, output_bytes=made,
                    whole=given + made * (1 + adds) <= design.keeps_bytes, window_bytes=given)


def buffered_traffic(
    design: Design, layer: WeightShape, zeros: Sparsity, stored: int | None = None,
) -> Traffic:
    """Return a layer's traffic when inputs and outputs pass through memory.

    If neither the inputs nor the weights fit their buffer, one of them comes several times: the
    one for which that is less.

    Parameters
    ----------
    stored : int, optional
        Outputs that are stored, if not all are.
    """
    inputs, weights = design.buffers()
    given = design.activation_bytes(layer.input_bytes, zeros)
    made = design.activation_bytes(layer.output_bytes if stored is None else stored, zeros)
    encoded = design.weight_bytes(layer, zeros)
    again_inputs = again_weights = 1
    if given > inputs and encoded > weights:
        by_weights, by_inputs = ceil(encoded / weights), ceil(given / inputs)
        if given * (by_weights - 1) <= encoded * (by_inputs - 1):
            again_inputs = by_weights
        else:
            again_weights = by_inputs
    added = design.activation_bytes(layer.output_bytes, zeros) if layer.residual else 0
    return Traffic(weights=ceil(encoded * again_weights),
                   reads=ceil(given * again_inputs + added), writes=ceil(made))
