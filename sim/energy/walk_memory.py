"""Counts the events of a program that uses system memory, in the order in which it runs.

The latency model's walk says which instructions run, page by page; here each is counted. A LOAD
fills the weight buffer as soon as it is met: the compiler proves that nobody uses the words while
it is under way.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from smartdeal.golden.transfers import Load
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import INSTRUCTION_WORDS, LayerFlag, Opcode, SectionKind, section_format
from smartdeal.sim.energy.events import Events
from smartdeal.sim.energy.residency import Traffic
from smartdeal.sim.energy.steps import StepMemory
from smartdeal.sim.energy.walk import (
    LOAD_EVENTS,
    ProgramEvents,
    layer_events,
    move_events,
    read_memories,
)
from smartdeal.sim.latency_memory import MemoryPrediction

__all__ = ["count_memory", "traffic_of"]


@dataclass
class _Counter:
    """The weight buffer while the program runs."""

    config: AcceleratorConfig
    region: memoryview
    steps: StepMemory

    def count(self, opcode: Opcode, fields: Mapping[str, int]) -> Events:
        match opcode:
            case Opcode.LOAD:
                return self._load(fields)
            case Opcode.MOVE:
                return move_events(fields, self.config)
            case Opcode.LAYER:
                return layer_events(fields, self.steps, self.config)
        return Events(instruction_words=1)  # WAIT, JUMP, END

    def _load(self, fields: Mapping[str, int]) -> Events:
        kind = SectionKind(fields["kind"])
        unit = section_format(kind, self.config).unit_bytes(self.config.host_bits)
        units = fields["runs"] * fields["count"]
        if kind == SectionKind.STEPS:
            load = Load(0, dict(fields), self.config)
            self.steps.write(load.places(), load.units(self.region))
        return Events(instruction_words=INSTRUCTION_WORDS, load_commands=1,
                      fetched_beats=units * unit * 8 // self.config.host_bits,
                      **{LOAD_EVENTS[kind]: units})


def count_memory(
    image: bytes, region: bytes | bytearray, prediction: MemoryPrediction,
    config: AcceleratorConfig,
) -> ProgramEvents:
    """Count the events of a program that works on a region of system memory.

    Parameters
    ----------
    image, region, config
        As for :func:`smartdeal.sim.latency_memory.predict_memory`.
    prediction : MemoryPrediction
        What that returned.

    Raises
    ------
    ImageError
        If the accelerator would refuse the image.
    ValueError
        If the weight buffer does not hold what a layer needs.
    """
    _, steps, load = read_memories(image, config)
    counter = _Counter(config, memoryview(region), steps)
    return ProgramEvents(load, tuple(counter.count(executed.opcode, executed.fields)
                                     for executed in prediction.instructions))


def traffic_of(
    opcode: Opcode, fields: Mapping[str, int], config: AcceleratorConfig,
) -> Traffic:
    """Return the bytes that an instruction moves from and to system memory."""
    if opcode == Opcode.LOAD:
        kind = SectionKind(fields["kind"])
        size = (fields["runs"] * fields["count"]
                * section_format(kind, config).unit_bytes(config.host_bits))
        return Traffic(reads=size) if kind == SectionKind.ACTIVATIONS else Traffic(weights=size)
    if opcode == Opcode.LAYER and fields["flags"] & LayerFlag.EXTERNAL:
        unit = section_format(SectionKind.ACTIVATIONS, config).unit_bytes(config.host_bits)
        return Traffic(writes=fields["channels"] * fields["tiles"] * unit)
    return Traffic()
