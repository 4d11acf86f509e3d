"""LOAD instructions: a queue of them, what is asked of system memory, and where its units go."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.decode import load_layout
from smartdeal.hw.isa import (
    LOAD_QUEUE,
    SectionKind,
    section_capacity,
    section_format,
)
from smartdeal.hw.loader import LOADED_KINDS
from smartdeal.hw.memoryport import request_layout

__all__ = ["FetchEngine"]


class _Requests(wiring.Component):
    """Ask for the runs of one LOAD after the other.

    Timing: the first run is asked for a cycle after ``load_valid``, the next run a cycle after the
    one before was taken, the next LOAD's first run two.

    Members
    -------
    load, load_valid : In
        The LOAD to ask for; ``next`` takes it.
    next : Out(1)
    size : In(32)
        Bytes of the region.
    cancel : In(1)
    o : Out(stream.Signature(request_layout))
    outside : Out(1)
        The run leaves the region; it is not asked for.
    """

    load:       data.View
    load_valid: Signal
    next:       Signal
    size:       Signal
    cancel:     Signal
    o:          stream.Interface
    outside:    Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "load":       In(load_layout),
            "load_valid": In(1),
            "next":       Out(1),
            "size":       In(32),
            "cancel":     In(1),
            "o":          Out(stream.Signature(request_layout)),
            "outside":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        beat_bytes = config.host_bits // 8

        offset    = Signal(32)
        runs_left = Signal(16)
        beats     = Signal(32 + 8)  # a unit has less than 256 beats
        end       = Signal(len(beats) + 8)
        m.d.comb += [
            end.eq(offset + beats * beat_bytes),
            self.o.payload.offset.eq(offset),
            self.o.payload.beats.eq(beats),
        ]
        with m.FSM(name="requests"):
            with m.State("IDLE"):
                with m.If(self.load_valid & ~self.cancel):
                    m.d.sync += [offset.eq(self.load.offset), runs_left.eq(self.load.runs)]
                    with m.Switch(self.load.kind):
                        for kind in LOADED_KINDS:
                            unit = section_format(kind, config).unit_bytes(config.host_bits)
                            with m.Case(kind):
                                m.d.sync += beats.eq(self.load.count * (unit // beat_bytes))
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += [
                    self.outside.eq(end > self.size),
                    self.o.valid.eq(~self.outside),
                ]
                with m.If(self.o.valid & self.o.ready):
                    m.d.sync += [
                        offset.eq(offset + self.load.memory_stride),
                        runs_left.eq(runs_left - 1),
                    ]
                    with m.If(runs_left == 1):
                        m.d.comb += self.next.eq(1)
                        m.next = "IDLE"
                with m.If(self.cancel):
                    m.next = "IDLE"
        return m


class _Places(wiring.Component):
    """The local address of each unit of a LOAD, in the order in which the units come.

    Members
    -------
    load : In(load_layout)
    start : In(1)
        Begin with ``load``; may come in the cycle of the last ``advance`` of the one before.
    advance : In(1)
        A unit has come.
    address : Out(32)
        Where it goes.
    last : Out(1)
        It is the LOAD's last.
    """

    load:    data.View
    start:   Signal
    advance: Signal
    address: Signal
    last:    Signal

    def __init__(self):
        super().__init__({
            "load":    In(load_layout),
            "start":   In(1),
            "advance": In(1),
            "address": Out(32),
            "last":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        names = ("count", "inner", "inner_stride", "outer_stride", "run_stride")
        held  = {name: Signal(32, name=name) for name in names}
        block = Signal(32)  # first address of the block of `inner` units
        run   = Signal(32)  # first address of the run
        units_left = Signal(32)
        inner_left = Signal(32)
        runs_left  = Signal(16)
        next_block, next_run = Signal(32), Signal(32)
        m.d.comb += [
            next_block.eq(block + held["outer_stride"]),
            next_run.eq(run + held["run_stride"]),
            self.last.eq((units_left == 1) & (runs_left == 1)),
        ]
        with m.If(self.advance):
            m.d.sync += [
                self.address.eq(self.address + held["inner_stride"]),
                inner_left.eq(inner_left - 1),
                units_left.eq(units_left - 1),
            ]
            with m.If(inner_left == 1):
                m.d.sync += [
                    self.address.eq(next_block), block.eq(next_block),
                    inner_left.eq(held["inner"]),
                ]
            with m.If(units_left == 1):
                m.d.sync += [
                    self.address.eq(next_run), block.eq(next_run), run.eq(next_run),
                    inner_left.eq(held["inner"]), units_left.eq(held["count"]),
                    runs_left.eq(runs_left - 1),
                ]
        with m.If(self.start):
            load = self.load
            m.d.sync += [held[name].eq(load[name]) for name in names]
            m.d.sync += [
                self.address.eq(load.address), block.eq(load.address), run.eq(load.address),
                inner_left.eq(load.inner), units_left.eq(load.count), runs_left.eq(load.runs),
            ]
        return m


class FetchEngine(wiring.Component):
    """Carry out LOADs beside the program, one after the other.

    What is asked for runs ahead of what comes: the requests of the next LOADs are on their way
    while units of the present one arrive, without a gap between them.

    Timing: beats are taken at any time, one per cycle. A LOAD is finished ``FINISH_CYCLES`` after
    its last beat: a word of activations may wait for a cycle until no word of the read-out is
    written. Only a MOVE can keep it waiting for longer, and then beats wait too.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    load : In(stream.Signature(load_layout))
    unfinished : Out(range(LOAD_QUEUE + 1))
    cancel : In(1)
        Forget everything.
    request : Out(stream.Signature(request_layout))
    i : In(stream.Signature(host_bits))
    size : In(32)
        Bytes of the region.
    activations_busy : In(1)
        The activation buffer's write port is taken in this cycle.
    unit, address, write : Out
        As for :class:`smartdeal.hw.loader.Loader`; a unit of activations is shown until it could
        be written.
    outside_region, outside_memory : Out(1)
        A run leaves the region; a unit's address is outside its memory. Held until ``cancel``.
    """

    FINISH_CYCLES = 2

    load:             stream.Interface
    unfinished:       Signal
    cancel:           Signal
    request:          stream.Interface
    i:                stream.Interface
    size:             Signal
    activations_busy: Signal
    unit:             Signal
    address:          Signal
    write:            Signal
    outside_region:   Signal
    outside_memory:   Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.unit_beats = {kind: section_format(kind, config).unit_bytes(config.host_bits)
                           * 8 // config.host_bits for kind in LOADED_KINDS}
        self.unit_bits = max(self.unit_beats.values()) * config.host_bits
        super().__init__({
            "load":             In(stream.Signature(load_layout)),
            "unfinished":       Out(range(LOAD_QUEUE + 1)),
            "cancel":           In(1),
            "request":          Out(stream.Signature(request_layout)),
            "i":                In(stream.Signature(config.host_bits)),
            "size":             In(32),
            "activations_busy": In(1),
            "unit":             Out(self.unit_bits),
            "address":          Out(32),
            "write":            Out(len(LOADED_KINDS)),
            "outside_region":   Out(1),
            "outside_memory":   Out(1),
        })

    def unit_of(self, kind: SectionKind) -> Value:
        """Return the bits of ``unit`` that hold a word of a kind."""
        return self.unit[:section_format(kind, self.config).bits]

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = Memory(shape=load_layout, depth=LOAD_QUEUE, init=[])
        push, ask, take = (queue.write_port(), queue.read_port(domain="comb"),
                           queue.read_port(domain="comb"))
        # LOADs that were not yet asked for, and that no unit was taken of.
        unasked = Signal(range(LOAD_QUEUE + 1))
        untaken = Signal(range(LOAD_QUEUE + 1))
        began    = Signal()
        finished = Signal()
        pushed   = self.load.valid & self.load.ready

        m.submodules.requests = requests = _Requests(self.config)
        wiring.connect(m, requests=requests.o, request=wiring.flipped(self.request))
        m.d.comb += [
            self.load.ready.eq(self.unfinished != LOAD_QUEUE),
            push.en.eq(pushed),
            push.data.eq(self.load.payload),
            requests.load.eq(ask.data),
            requests.load_valid.eq(unasked != 0),
            requests.size.eq(self.size),
            requests.cancel.eq(self.cancel),
            self.outside_region.eq(requests.outside),
        ]
        m.d.sync += [
            push.addr.eq(push.addr + pushed),
            ask.addr.eq(ask.addr + requests.next),
            take.addr.eq(take.addr + began),
            unasked.eq(unasked + pushed - requests.next),
            untaken.eq(untaken + pushed - began),
            self.unfinished.eq(self.unfinished + pushed - finished),
        ]
        with m.If(self.cancel):
            m.d.sync += [
                push.addr.eq(0), ask.addr.eq(0), take.addr.eq(0),
                unasked.eq(0), untaken.eq(0), self.unfinished.eq(0),
            ]
        self._take(m, take.data, untaken != 0, began, finished)
        return m

    def _take(self, m, load, available, began, finished):
        """Assemble units beat by beat and send each to its memory."""
        config = self.config
        bits = config.host_bits
        active     = Signal()
        kind       = Signal(8)
        beat       = Signal(range(max(self.unit_beats.values())))
        last_beat  = Signal.like(beat)
        taken      = Signal()
        complete   = Signal()  # the unit's last beat is taken in this cycle
        load_ends  = Signal()
        m.submodules.places = places = _Places()
        m.d.comb += [
            taken.eq(self.i.valid & self.i.ready),
            complete.eq(taken & (beat == last_beat)),
            load_ends.eq(complete & places.last),
            began.eq(available & (~active | load_ends)),
            places.load.eq(load),
            places.start.eq(began),
            places.advance.eq(complete),
        ]
        with m.If(taken):
            m.d.sync += beat.eq(Mux(complete, 0, beat + 1))
        with m.If(load_ends | self.cancel):
            m.d.sync += active.eq(0)
        with m.If(began & ~self.cancel):
            m.d.sync += [active.eq(1), kind.eq(load.kind)]
            with m.Switch(load.kind):
                for kind_, beats in self.unit_beats.items():
                    with m.Case(kind_):
                        m.d.sync += last_beat.eq(beats - 1)

        # A complete unit is shown until it is written; its beats fill another register meanwhile.
        partial = Signal(self.unit_bits - bits)
        shown   = Signal()
        shown_kind = Signal(8)
        blocked = Signal()
        capacity = Signal(32)
        with m.If(taken):
            for index in range(self.unit_bits // bits - 1):
                with m.If(beat == index):
                    m.d.sync += partial.word_select(index, bits).eq(self.i.payload)
        with m.If(complete):
            m.d.sync += [
                self.unit.eq(partial), shown_kind.eq(kind), self.address.eq(places.address),
            ]
            for index in range(self.unit_bits // bits):
                with m.If(beat == index):
                    m.d.sync += self.unit.word_select(index, bits).eq(self.i.payload)
        m.d.sync += shown.eq(complete | blocked)
        m.d.comb += [
            blocked.eq(shown & (shown_kind == SectionKind.ACTIVATIONS) & self.activations_busy),
            self.i.ready.eq(active & ~(blocked & (beat == last_beat))),
        ]
        with m.Switch(shown_kind):
            for index, kind_ in enumerate(LOADED_KINDS):
                with m.Case(kind_):
                    m.d.comb += [
                        capacity.eq(section_capacity(kind_, config)),
                        self.write[index].eq(shown & ~blocked & (self.address < capacity)),
                    ]
        with m.If(shown & (self.address >= capacity)):
            m.d.sync += self.outside_memory.eq(1)

        # Finished is when the last unit is surely written.
        ended = Signal()
        due   = Signal(range(LOAD_QUEUE + 1))
        m.d.sync += [ended.eq(load_ends), due.eq(due + ended - finished)]
        m.d.comb += finished.eq((due != 0) & ~blocked)
        with m.If(self.cancel):
            m.d.sync += [
                beat.eq(0), shown.eq(0), ended.eq(0), due.eq(0), self.outside_memory.eq(0),
            ]
