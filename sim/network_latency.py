"""How many cycles a whole network takes, layer by layer, with or without system memory."""

from collections.abc import Iterable
from dataclasses import dataclass

from smartdeal.compiler.network_program import NetworkProgram
from smartdeal.hw.timing import END_CYCLES
from smartdeal.sim.latency import Cycles, predict_instructions
from smartdeal.sim.latency_memory import predict_memory
from smartdeal.sim.memory_timing import MemoryTiming

__all__ = ["NetworkPrediction", "predict_network"]

_NOTHING = Cycles(0, 0, 0, 0)


@dataclass(frozen=True)
class NetworkPrediction:
    """The cycles of one image.

    Parameters
    ----------
    layers : dict of Cycles
        By layer, with its MOVE, LOAD, WAIT and JUMP instructions. END belongs to none.
    segments : tuple of Cycles
        By program image that the host starts.
    bytes_loaded, bytes_stored : int
        What the program reads from and writes to system memory.
    """

    layers: dict[str, Cycles]
    segments: tuple[Cycles, ...]
    bytes_loaded: int = 0
    bytes_stored: int = 0

    @property
    def cycles(self) -> Cycles:
        """Of all segments."""
        return sum(self.segments, _NOTHING)


def predict_network(
    program: NetworkProgram, timing: MemoryTiming | None = None,
) -> NetworkPrediction:
    """Predict the cycles of a network.

    Parameters
    ----------
    timing : MemoryTiming, optional
        Of the system memory, for programs that use it; 60 cycles latency and 8 bytes per cycle
        unless said otherwise.

    Raises
    ------
    ValueError
        As :func:`predict_memory`.
    """
    layers = {layer.name: _NOTHING for layer in program.layers}

    def add(names: Iterable[str], cycles: Iterable[Cycles]) -> None:
        for name, taken in zip(names, cycles, strict=True):
            layers[name] = layers[name] + taken

    if not program.memory_bytes:
        segments: list[Cycles] = []
        for image, names in zip(program.segments, program.instructions, strict=True):
            cycles = predict_instructions(image, program.config)
            add(names, cycles)
            segments.append(sum(cycles, Cycles(END_CYCLES, 0, 0, 0)))
        return NetworkPrediction(layers, tuple(segments))
    (image,), (names,) = program.segments, program.instructions
    predicted = predict_memory(image, program.memory, program.config, timing or MemoryTiming())
    add(names, (executed.cycles for executed in predicted.instructions[:-1]))
    return NetworkPrediction(layers, (predicted.cycles,), predicted.bytes_loaded,
                             predicted.bytes_stored)
