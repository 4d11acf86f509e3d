"""How many cycles a program takes that transfers data by itself, against a regular memory.

The program is walked instruction by instruction; LOADs and the words of EXTERNAL layers go on
beside it (:mod:`smartdeal.sim.transfers`), and it waits for them where WAIT, END, a full queue or
the next EXTERNAL layer say so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.image import read_image
from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.golden.transfers import Load
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    INSTRUCTION,
    INSTRUCTION_WORDS,
    JUMP_INSTRUCTION,
    LOAD_INSTRUCTION,
    LOAD_QUEUE,
    MOVE_INSTRUCTION,
    WAIT_INSTRUCTION,
    LayerFlag,
    Opcode,
    SectionKind,
    WaitFlag,
    section_format,
)
from smartdeal.hw.reader import Reader
from smartdeal.hw.readout import ReadOutPipeline
from smartdeal.hw.timing import CHECK_CYCLES, FETCH_CYCLES, LAYER_CYCLES, SHORT_CYCLES
from smartdeal.sim.latency import Cycles, layer_cycles, move_cycles, next_last
from smartdeal.sim.layer_work import LayerWork
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.transfers import Bus, Loads, Stores, Transfer

__all__ = ["Executed", "MemoryPrediction", "predict_memory"]

_FORMATS = {Opcode.LAYER: INSTRUCTION, Opcode.MOVE: MOVE_INSTRUCTION,
            Opcode.LOAD: LOAD_INSTRUCTION, Opcode.WAIT: WAIT_INSTRUCTION,
            Opcode.JUMP: JUMP_INSTRUCTION}
_SHORT = (Opcode.WAIT, Opcode.JUMP)
#: Instructions after which a program is taken for one that never ends.
_ENDLESS = 1 << 20


@dataclass(frozen=True)
class Executed:
    """An instruction that ran.

    Parameters
    ----------
    opcode : Opcode
    fields : mapping
        Of the instruction; empty for END.
    start : int
        Cycle in which its fetch began.
    cycles : Cycles
    waits_for_stores : int
        Of the cycles in which it waited for system memory, those in which only stores were
        missing; in the others loads were.
    """

    opcode: Opcode
    fields: Mapping[str, int]
    start: int
    cycles: Cycles
    waits_for_stores: int = 0


@dataclass(frozen=True)
class MemoryPrediction:
    """What a program takes.

    Parameters
    ----------
    instructions : tuple of Executed
        In the order in which they ran, END included.
    bytes_loaded, bytes_stored : int
        Whole beats.
    transfers : tuple of Transfer
        Loads in their order, then stores.
    """

    instructions: tuple[Executed, ...]
    bytes_loaded: int
    bytes_stored: int
    transfers: tuple[Transfer, ...]

    @property
    def cycles(self) -> Cycles:
        """Of the whole program, as the counters count them."""
        return sum((executed.cycles for executed in self.instructions), Cycles(0, 0, 0, 0))


def predict_memory(
    image: bytes, region: bytes | bytearray, config: AcceleratorConfig, timing: MemoryTiming, *,
    burst_beats: int = 64, outstanding: int = 4,
) -> MemoryPrediction:
    """Predict the cycles of a program that works on a region of system memory.

    Parameters
    ----------
    image : bytes
        The program image that the host loads.
    region : bytes-like
        The constants at the beginning of the region: what LOADs of steps and instructions read.
    burst_beats, outstanding : int
        Of :class:`smartdeal.hw.system.AxiSystem`.

    Raises
    ------
    ImageError
        If the accelerator would refuse the image.
    ValueError
        If the program would not reach END, or its cycles depend on more than the model knows:
        activations that are being loaded while a MOVE runs.
    """
    bus = Bus(config, timing, burst_beats, outstanding)
    walk = _Walk(config, region, Loads(bus), Stores(bus))
    walk.boot(image)
    instructions = tuple(walk.run())
    return MemoryPrediction(instructions, walk.loads.beats * bus.beat_bytes,
                            walk.stores.beats * bus.beat_bytes,
                            (*walk.loads.transfers, *walk.stores.transfers))


@dataclass
class _Walk:
    """The program and the time."""

    config: AcceleratorConfig
    region: bytes | bytearray
    loads: Loads
    stores: Stores
    now: int = 0
    #: First cycle in which no LOAD of activations is unfinished.
    settled: int = 0
    #: Cycles in which the present instruction waited for nothing but stores.
    for_stores: int = 0
    program: NDArray[np.uint32] = field(init=False)
    flags: NDArray[np.bool_] = field(init=False)
    announcements: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        self.program = np.zeros(self.config.program_words, np.uint32)
        self.flags = np.zeros(self.config.weight_steps, np.bool_)

    def boot(self, image: bytes) -> None:
        """Take the image that the host loads."""
        for section in read_image(image, self.config).sections:
            self._fill(section.kind, np.arange(section.address, section.address + len(
                section.data) // self._unit(section.kind)), section.data)

    def run(self) -> Iterator[Executed]:
        """Yield the instructions as they run."""
        pointer = 0
        for _ in range(_ENDLESS):
            start, self.for_stores = self.now, 0
            opcode, values = self._fetch(pointer)
            pointer += 1 if opcode in (*_SHORT, Opcode.END) else INSTRUCTION_WORDS
            match opcode:
                case Opcode.END:
                    cycles = self._end()
                case Opcode.WAIT:
                    cycles = self._wait(values)
                case Opcode.JUMP:
                    pointer = values["address"]
                    cycles = Cycles(SHORT_CYCLES, 0, 0, 0)
                case Opcode.LOAD:
                    cycles = self._load(values)
                case Opcode.MOVE:
                    if start + FETCH_CYCLES < self.settled:
                        raise ValueError("Activations must not be loaded while a MOVE runs; WAIT "
                                         "for them before")
                    cycles = move_cycles(values, self.config)
                case _:
                    cycles = self._layer(values)
            self.now += cycles.total
            yield Executed(opcode, values, start, cycles, self.for_stores)
            if opcode == Opcode.END:
                return
        raise ValueError(f"Program must reach END within {_ENDLESS} instructions")

    def _fetch(self, pointer: int) -> tuple[Opcode, dict[str, int]]:
        if pointer >= len(self.program):
            raise ValueError(f"Program must reach END, not leave its memory at word {pointer}")
        number = int(self.program[pointer]) & 0xFF
        if number not in list(Opcode):
            raise ValueError(f"Program must reach END, not opcode {number:#x} at word {pointer}")
        opcode = Opcode(number)
        if opcode == Opcode.END:
            return opcode, {}
        count = 1 if opcode in _SHORT else INSTRUCTION_WORDS
        words = self.program[pointer:pointer + count].astype("<u4").tobytes()
        return opcode, _FORMATS[opcode].unpack_word(int.from_bytes(words, "little"))

    def _end(self) -> Cycles:
        decoded = self.now + SHORT_CYCLES - 1
        quiet = max(self.loads.quiet, self.stores.acknowledged)
        if quiet <= decoded:
            return Cycles(SHORT_CYCLES, 0, 0, 0)
        ends = max(quiet, decoded + 1)
        self.for_stores = ends - max(decoded + 1, min(ends, self.loads.quiet))
        return Cycles(ends - self.now + 1, 0, 0, 0, 0, ends - decoded - 1)

    def _wait(self, values: dict[str, int]) -> Cycles:
        first = self.now + SHORT_CYCLES
        loaded = ends = max(first, self.loads.at_most(values["loads"]))
        if values["flags"] & WaitFlag.STORES:
            ends = max(ends, self.stores.acknowledged)
        self.for_stores = ends - loaded
        return Cycles(ends - self.now + 1, 0, 0, 0, 0, ends - first)

    def _load(self, values: dict[str, int]) -> Cycles:
        first = self.now + FETCH_CYCLES + CHECK_CYCLES
        pushed = max(first, self.loads.at_most(LOAD_QUEUE - 1))
        self.loads.load(pushed, values)
        kind = SectionKind(values["kind"])
        if kind == SectionKind.ACTIVATIONS:
            self.settled = self.loads.finished[-1]
        elif kind in (SectionKind.STEPS, SectionKind.PROGRAM):
            self._take(kind, values)
        return Cycles(pushed - self.now + 1, 0, 0, 0, 0, pushed - first)

    def _layer(self, values: dict[str, int]) -> Cycles:
        if self.announcements is None:
            self.announcements = np.flatnonzero(self.flags)
        if not values["flags"] & LayerFlag.EXTERNAL:
            return layer_cycles(values, self.announcements, self.config)
        work = LayerWork.of(values, self.announcements, self.config)
        first = self.now + FETCH_CYCLES + CHECK_CYCLES + self.config.drain_lanes
        begin = max(first, self.stores.sent)
        cycles = _External(self.config, work, values, self.stores).run(begin, begin - first)
        self.for_stores = cycles.stall_memory
        return cycles

    def _take(self, kind: SectionKind, values: dict[str, int]) -> None:
        """Put what a LOAD reads into the memory that the walk knows."""
        load = Load(0, values, self.config)
        self._fill(kind, load.places(), load.units(self.region))

    def _fill(self, kind: SectionKind, places: NDArray[np.int64], data: bytes) -> None:
        if kind == SectionKind.STEPS:
            self.flags[places] = next_last(data, self.config)
            self.announcements = None
        elif kind == SectionKind.PROGRAM:
            units = np.frombuffer(data, "<u4").reshape(len(places), -1)
            self.program[places] = units[:, 0]

    def _unit(self, kind: SectionKind) -> int:
        return section_format(kind, self.config).unit_bytes(self.config.host_bits)


class _External:
    """A layer whose words go to system memory.

    A unit that stores is finished when the queue has room for ``rows`` words. Without such a stall
    all times follow in closed form; where one occurs, unit by unit.
    """

    def __init__(
        self, config: AcceleratorConfig, work: LayerWork, values: dict[str, int], stores: Stores,
    ) -> None:
        self.config, self.work, self.stores = config, work, stores
        order = work.order()
        steps, drain, fetches = work.steps[order], work.drain[order], work.fetches[order]
        before = np.concatenate([[0], drain[:-1]]), np.concatenate([[0], fetches[:-1]])
        #: Cycles from the last step of the unit before, and those that wait for the read-out.
        self.apart = np.maximum(steps + before[1], before[0])
        self.waits = self.apart - steps - before[1]
        self.waits[0] = 0
        self.fetched = int(fetches.sum())
        self.last = int(fetches[-1])
        self.last_drain = int(drain[-1])
        storing = order % work.slices == work.slices - 1
        self.units = np.flatnonzero(storing)
        self.channels = work.channels[order[self.units] // work.slices]
        #: Cycles from a unit's last step to each of its words in the queue.
        size = BASIS_SIZE if values["flags"] & LayerFlag.BASIS else 1
        self.per_word = config.chunks * size
        self.latency = 1 + ReadOutPipeline.bytes_latency(config)
        self.limit = Reader.queue_words(config) - config.rows
        self.words = int(self.channels.sum())
        self.after, self.own = stores.plan(values["output_base"], self.words)

    def run(self, begin: int, late: int) -> Cycles:
        """Return the cycles, given when the layer begins and for how long it waited to."""
        ends = begin + np.cumsum(self.apart)
        popped, sent = self.stores.times(self._written(ends), self.after, self.own)
        first = np.cumsum(self.channels) - self.channels  # words of all units before
        needed = first - self.limit - 1
        waiting = needed >= 0
        stalled = np.any(ends[self.units][waiting] < popped[needed[waiting]] + 1)
        stall = 0
        if stalled:
            ends, stall, last_sent = self._step_by_step(begin)
        else:
            last_sent = int(sent[-1])
        self.stores.finish(int(popped[0]), last_sent, self.words)
        last = int(ends[-1]) - begin
        before = FETCH_CYCLES + CHECK_CYCLES + self.config.drain_lanes
        total = (before + late + last + self.last_drain
                 + LAYER_CYCLES - FETCH_CYCLES - CHECK_CYCLES)
        return Cycles(total, self.work.busy, self._waits(), self.fetched, 0, late + stall)

    def _waits(self) -> int:
        return int(self.waits.sum())

    def _written(self, ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return when each word enters the queue."""
        within = np.arange(self.words) - np.repeat(np.cumsum(self.channels) - self.channels,
                                                   self.channels)
        return (np.repeat(ends[self.units], self.channels) + (within + 1) * self.per_word
                + self.latency)

    def _step_by_step(self, begin: int) -> tuple[NDArray[np.int64], int, int]:
        """Return last steps, stalls and the last beat, unit by unit."""
        after, own = self.after.tolist(), self.own.tolist()
        storing = dict(zip(self.units.tolist(), self.channels.tolist(), strict=True))
        popped: list[int] = []
        ends: list[int] = []
        now, sent, stall = begin, -(1 << 40), 0
        for unit, apart in enumerate(self.apart.tolist()):
            now += apart
            if unit in storing:
                needed = len(popped) - self.limit - 1
                if needed >= 0 and popped[needed] + 1 > now:
                    stall += popped[needed] + 1 - now
                    now = popped[needed] + 1
                for word in range(storing[unit]):
                    written = now + (word + 1) * self.per_word + self.latency
                    index = len(popped)
                    popped.append(max(written + 1, sent))
                    sent = max(written + own[index], sent + after[index])
            ends.append(now)
        return np.array(ends), stall, sent
