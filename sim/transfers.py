"""When transfers end: the fetch engine and the AXI system's DMA against a regular memory.

All times are cycles since the program's first; each recursion is that of the registers in
:mod:`smartdeal.hw.fetch`, :mod:`smartdeal.hw.reader` and :mod:`smartdeal.hw.dma`.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smartdeal.hw.axi import BOUNDARY_BYTES
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.fetch import FetchEngine
from smartdeal.hw.isa import SectionKind, section_format
from smartdeal.sim.memory_timing import MemoryTiming

__all__ = ["Bus", "Loads", "Stores", "Transfer"]

Times = NDArray[np.int64]


@dataclass(frozen=True)
class Transfer:
    """A LOAD, or the words of an EXTERNAL layer, on their way.

    Parameters
    ----------
    kind : SectionKind or None
        What is loaded; None for a store.
    start, stop : int
        Cycles: of the first request or word, behind the last beat.
    bytes : int
    """

    kind: SectionKind | None
    start: int
    stop: int
    bytes: int


@dataclass(frozen=True)
class Bus:
    """What the times depend on: the AXI system's parameters and the memory's.

    Parameters
    ----------
    config : AcceleratorConfig
    timing : MemoryTiming
    burst_beats, outstanding : int
        Of :class:`smartdeal.hw.system.AxiSystem`. The region begins at a multiple of 4 KiB.
    """

    config: AcceleratorConfig
    timing: MemoryTiming
    burst_beats: int = 64
    outstanding: int = 4

    @property
    def beat_bytes(self) -> int:
        """Bytes of a beat."""
        return self.config.host_bits // 8

    @property
    def interval(self) -> int:
        """Cycles from one beat to the next."""
        return self.timing.beat_cycles(self.config)

    def bursts(self, offset: int, beats: int) -> Iterator[int]:
        """Yield the beats of the bursts that a range is cut into."""
        page = BOUNDARY_BYTES // self.beat_bytes
        place = offset // self.beat_bytes % page
        while beats:
            length = min(beats, self.burst_beats, page - place)
            yield length
            beats -= length
            place = (place + length) % page


@dataclass
class Loads:
    """The fetch engine: LOADs in their order, requests ahead of data.

    Parameters
    ----------
    bus : Bus
    """

    bus: Bus
    #: First cycle in which the next LOAD may be looked at, in which the DMA takes a range.
    _idle: int = 0
    _ready: int = 0
    #: When the last burst was asked for, when its last beat came.
    _asked: int = -1
    _came: int = -(1 << 40)
    _underway: deque[int] = field(default_factory=deque)
    #: By LOAD, the first cycle in which it counts as finished.
    finished: list[int] = field(default_factory=list)
    #: Beats of all LOADs.
    beats: int = 0
    transfers: list[Transfer] = field(default_factory=list)

    def load(self, pushed: int, fields: dict[str, int]) -> None:
        """Carry out a LOAD that entered the queue in a cycle."""
        bus, timing = self.bus, self.bus.timing
        unit = section_format(SectionKind(fields["kind"]), bus.config).unit_bytes(
            bus.config.host_bits)
        beats = fields["count"] * (unit // bus.beat_bytes)
        interval = bus.interval
        start = ask = max(pushed + 1, self._idle) + 1
        for run in range(fields["runs"]):
            taken = max(ask, self._ready)
            first = taken + 1
            for length in bus.bursts(fields["offset"] + run * fields["memory_stride"], beats):
                asked = max(self._asked + 1, first)
                if len(self._underway) == bus.outstanding:
                    asked = max(asked, self._underway.popleft() + 1)
                came = (max(asked + timing.latency_cycles, self._came + interval)
                        + (length - 1) * interval)
                self._underway.append(came)
                self._asked, self._came = asked, came
            self._ready = self._asked + 1
            ask = taken + 1
        self._idle = ask
        self.beats += beats * fields["runs"]
        self.transfers.append(Transfer(SectionKind(fields["kind"]), start, self._came + 1,
                                       beats * fields["runs"] * bus.beat_bytes))
        self.finished.append(self._came + FetchEngine.FINISH_CYCLES + 1)

    @property
    def quiet(self) -> int:
        """First cycle in which nothing is left to be done."""
        return self.finished[-1] if self.finished else 0

    def at_most(self, count: int) -> int:
        """Return the first cycle in which at most ``count`` LOADs are unfinished."""
        return self.finished[-1 - count] if count < len(self.finished) else 0


@dataclass
class Stores:
    """The queue of spilled words, and the DMA that writes them.

    Parameters
    ----------
    bus : Bus
    """

    bus: Bus
    #: First cycle in which all beats were sent, in which all were acknowledged.
    sent: int = 0
    acknowledged: int = 0
    #: Beats of all layers.
    beats: int = 0
    transfers: list[Transfer] = field(default_factory=list)

    def plan(self, offset: int, words: int) -> tuple[Times, Times]:
        """Return what each word of a layer costs: see :meth:`times`.

        Returns
        -------
        (after, own) : int64 arrays, (words,)
            Cycles from the last beat of the word before, and from the cycle in which the word was
            written to the queue, to its own last beat.
        """
        bus = self.bus
        unit = section_format(SectionKind.ACTIVATIONS, bus.config).unit_bytes(bus.config.host_bits)
        per_word = unit // bus.beat_bytes
        lengths = np.fromiter(bus.bursts(offset, words * per_word), np.int64)
        # A burst begins a cycle after the last beat of the one before, with a beat at hand.
        begins = np.zeros(words * per_word, np.int64)
        begins[np.cumsum(lengths)[:-1]] = 1
        begins[0] = 1
        begins = begins.reshape(words, per_word)
        steps = np.maximum(1 + begins, bus.interval)
        rest = steps[:, 1:].sum(axis=1)
        return steps[:, 0] + rest, 2 + begins[:, 0] + rest

    def times(self, written: Times, after: Times, own: Times) -> tuple[Times, Times]:
        """Return when words leave the queue, and when their last beats are sent.

        Parameters
        ----------
        written : int64 array, (words,)
            When each enters the queue.
        after, own : int64 arrays
            From :meth:`plan`.
        """
        total = np.cumsum(after)
        sent = total + np.maximum.accumulate(written + own - total)
        return np.maximum(written + 1, np.concatenate([[0], sent[:-1]])), sent

    def finish(self, first: int, last: int, words: int) -> None:
        """Note when the first word of a layer left the queue and its last beat was sent."""
        unit = section_format(SectionKind.ACTIVATIONS, self.bus.config).unit_bytes(
            self.bus.config.host_bits)
        self.sent = last + 1
        self.acknowledged = last + self.bus.timing.latency_cycles + 1
        self.beats += words * unit // self.bus.beat_bytes
        self.transfers.append(Transfer(None, first, last + 1, words * unit))
