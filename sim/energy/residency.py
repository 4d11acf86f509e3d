"""Which tensors stay in the activation buffer, and what the others cost in external memory.

This is the rule for layers that are programs of their own; a network program with system memory
says itself what it moves. A layer that the compiler runs in
one part finds resident operands in place and leaves its output in place; a layer that is cut in
parts takes every operand from external memory and puts its output there. A tensor that is needed
later stays while all that the running layer holds leaves room for it; of several, the one whose
next use is furthest leaves first, and is written if external memory does not hold it yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

__all__ = ["Operands", "Traffic", "resident_traffic"]


@dataclass(frozen=True, kw_only=True)
class Operands:
    """What a layer works on, in bytes.

    Parameters
    ----------
    output : str
        Name of the output tensor.
    input, residual : str
        Names of the operands; ``residual`` may be None.
    input_bytes, residual_bytes, output_bytes : int
    whole : bool
        The layer has all its operands on chip at once.
    window_bytes : int
        What it reads of its input if it is cut in parts: overlaps and repetitions included.
    """

    output: str
    input: str
    residual: str | None = None
    input_bytes: int
    residual_bytes: int = 0
    output_bytes: int
    whole: bool
    window_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Bytes from and to external memory, of one layer.

    Parameters
    ----------
    weights : int
        Steps, tables and instructions.
    reads, writes : int
        Activations.
    """

    weights: int = 0
    reads: int = 0
    writes: int = 0

    def __add__(self, other: Self) -> Self:
        return replace(self, weights=self.weights + other.weights, reads=self.reads + other.reads,
                       writes=self.writes + other.writes)

    @property
    def total(self) -> int:
        """All bytes."""
        return self.weights + self.reads + self.writes


def resident_traffic(layers: Sequence[Operands], capacity_bytes: int) -> list[Traffic]:
    """Return the activations' traffic of each layer by the rule above."""
    uses: dict[str, list[int]] = {}
    sizes: dict[str, int] = {}
    for index, layer in enumerate(layers):
        for name, size in ((layer.input, layer.input_bytes), (layer.residual,
                                                              layer.residual_bytes)):
            if name is not None:
                uses.setdefault(name, []).append(index)
                sizes[name] = size
        sizes[layer.output] = layer.output_bytes
    resident: set[str] = set()
    external = {layer.input for layer in layers} - {layer.output for layer in layers}
    traffic: list[Traffic] = []
    for index, layer in enumerate(layers):
        operands = {name for name in (layer.input, layer.residual) if name is not None}
        held = operands | {layer.output} if layer.whole else set()
        room = capacity_bytes - sum(sizes[name] for name in held) if layer.whole else 0
        writes = 0
        waiting = sorted(resident - held, key=lambda name: _next(uses, name, index))
        for name in waiting:  # the next one used stays first
            if sizes[name] <= room:
                room -= sizes[name]
                continue
            resident.discard(name)
            if name not in external:
                external.add(name)
                writes += sizes[name]
        reads = 0
        for name in operands - resident:
            reads += layer.window_bytes if name == layer.input and not layer.whole else sizes[name]
        if layer.whole and layer.output in uses:
            resident.add(layer.output)
        else:
            external.add(layer.output)
            writes += layer.output_bytes
        if layer.whole:
            resident |= operands
        resident = {name for name in resident if uses[name][-1] > index}
        traffic.append(Traffic(reads=reads, writes=writes))
    return traffic


def _next(uses: dict[str, list[int]], name: str, index: int) -> tuple[int, str]:
    """Return when a tensor is needed next, and its name so that the order is the same each time."""
    return min(use for use in uses[name] if use >= index), name
