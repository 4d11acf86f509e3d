"""A network program, counted: events, cycles and bytes by layer."""

from dataclasses import dataclass, field

from smartdeal.compiler import NetworkProgram
from smartdeal.hw.isa import Opcode
from smartdeal.sim.energy.events import Events
from smartdeal.sim.energy.memory_map import Region, SystemRange, system_ranges, touched
from smartdeal.sim.energy.residency import Traffic
from smartdeal.sim.energy.walk_memory import count_memory, traffic_of
from smartdeal.sim.latency import Cycles
from smartdeal.sim.latency_memory import Executed, predict_memory
from smartdeal.sim.memory_timing import MemoryTiming

__all__ = ["CountedLayer", "CountedProgram", "count_external"]


@dataclass
class CountedLayer:
    """What a layer's instructions do.

    Attributes
    ----------
    events : Events
    cycles : Cycles
    traffic : Traffic
        What the program itself moves from and to system memory.
    waits_for_stores : int
    parts : int
        LAYER instructions.
    """

    events: Events = field(default_factory=Events)
    cycles: Cycles = field(default_factory=lambda: Cycles(0, 0, 0, 0))
    traffic: Traffic = field(default_factory=Traffic)
    waits_for_stores: int = 0
    parts: int = 0


@dataclass
class CountedProgram:
    """What a program does.

    Attributes
    ----------
    layers : dict of CountedLayer
    load : Events
        Of loading its images.
    executed : tuple of Executed
        Instructions in their order; empty for programs without system memory.
    regions : list of Region
    system : tuple of SystemRange
    """

    layers: dict[str, CountedLayer] = field(default_factory=dict)
    load: Events = field(default_factory=Events)
    executed: tuple[Executed, ...] = ()
    regions: list[Region] = field(default_factory=list)
    system: tuple[SystemRange, ...] = ()

    def add(
        self, layer: str, events: Events, cycles: Cycles, *, traffic: Traffic | None = None,
        waits_for_stores: int = 0, parts: int = 0, region: Region | None = None,
    ) -> None:
        """Count something with a layer."""
        found = self.layers.setdefault(layer, CountedLayer())
        found.events += events
        found.cycles += cycles
        found.traffic += traffic or Traffic()
        found.waits_for_stores += waits_for_stores
        found.parts += parts
        if region is not None:
            self.regions.append(region)


def count_external(program: NetworkProgram, timing: MemoryTiming) -> CountedProgram:
    """Count a program that uses system memory; END is counted with the last layer."""
    config = program.config
    (image,), (names,) = program.segments, program.instructions
    predicted = predict_memory(image, program.memory, config, timing)
    found = count_memory(image, program.memory, predicted, config)
    counted = CountedProgram(load=found.load, executed=predicted.instructions,
                             system=system_ranges(program, predicted.instructions))
    for layer, events, one in zip((*names, program.layers[-1].name), found.instructions,
                                  predicted.instructions, strict=True):
        counted.add(layer, events, one.cycles, traffic=traffic_of(one.opcode, one.fields, config),
                    waits_for_stores=one.waits_for_stores, parts=one.opcode == Opcode.LAYER,
                    region=touched(layer, one.opcode, one.fields, config))
    return counted
