"""DMA: a range of system memory to a stream, and a stream to a range of system memory."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from smartdeal.hw.axi import BOUNDARY_BYTES, MAX_BURST_BEATS, Response

__all__ = ["BurstPlanner", "MemoryReader", "MemoryWriter"]

#: AxCACHE: normal, non-cacheable, bufferable memory. AxPROT: unprivileged, secure data.
CACHE, PROTECTION = 0b0011, 0b000
INCREMENTING = 0b01


class BurstPlanner(wiring.Component):
    """Cut a range of memory into bursts that cross no 4 KiB boundary.

    Timing: the next burst is there in the cycle after ``take``.

    Parameters
    ----------
    address_bits : int
    beat_bytes : int
        Bytes per beat, a power of two.
    burst_beats : int
        Longest burst, 1…256 beats.

    Members
    -------
    start : In(1)
        Begin with ``address``, a multiple of ``beat_bytes``, and ``beats``.
    address : In(address_bits)
    beats : In(32)
    take : In(1)
        The burst was sent.
    cancel : In(1)
        Plan no more; a ``start`` in the same cycle counts.
    valid : Out(1)
        ``burst_address`` and ``burst_length`` (beats - 1) hold a burst.
    """

    start:         Signal
    address:       Signal
    beats:         Signal
    take:          Signal
    cancel:        Signal
    valid:         Signal
    burst_address: Signal
    burst_length:  Signal

    def __init__(self, *, address_bits: int, beat_bytes: int, burst_beats: int):
        if not 1 <= burst_beats <= MAX_BURST_BEATS:
            raise ValueError(f"Burst must be 1 to {MAX_BURST_BEATS} beats, not {burst_beats!r}")
        self.beat_bytes  = beat_bytes
        self.burst_beats = burst_beats
        super().__init__({
            "start":         In(1),
            "address":       In(address_bits),
            "beats":         In(32),
            "take":          In(1),
            "cancel":        In(1),
            "valid":         Out(1),
            "burst_address": Out(address_bits),
            "burst_length":  Out(8),
        })

    def elaborate(self, platform):
        m = Module()
        page_beats = BOUNDARY_BYTES // self.beat_bytes
        place      = exact_log2(self.beat_bytes)
        left    = Signal(32)
        to_page = Signal(range(page_beats + 1))  # beats up to the boundary
        limit   = Signal(range(max(self.burst_beats, page_beats) + 1))
        beats   = Signal(range(self.burst_beats + 1))
        m.d.comb += [
            to_page.eq(page_beats - self.burst_address[place:exact_log2(BOUNDARY_BYTES)]),
            limit.eq(Mux(to_page < self.burst_beats, to_page, self.burst_beats)),
            beats.eq(Mux(left < limit, left, limit)),
            self.valid.eq(left != 0),
            self.burst_length.eq(beats - 1),
        ]
        with m.If(self.take):
            m.d.sync += [
                self.burst_address.eq(self.burst_address + (beats << place)),
                left.eq(left - beats),
            ]
        with m.If(self.cancel):
            m.d.sync += left.eq(0)
        with m.If(self.start):
            m.d.sync += [self.burst_address.eq(self.address), left.eq(self.beats)]
        return m


class MemoryReader(wiring.Component):
    """Read a range of memory into a stream.

    Up to ``outstanding`` bursts are asked for ahead; the stream's back-pressure goes to RREADY.
    After an error response nothing more is asked for, and what still comes is dropped. The next
    range may be started as soon as the last burst of the one before was asked for (``ready``).

    Timing: the first address is sent in the cycle after ``start``; a beat passes in the cycle in
    which it comes.

    Parameters
    ----------
    address_bits, data_bits, burst_beats : int
    outstanding : int
        Bursts that may be on their way.

    Members
    -------
    start, address, beats, cancel
        As for :class:`BurstPlanner`; ``cancel`` ends the transfer as soon as AXI allows.
    hold : In(1)
        Ask for no new burst.
    ready : Out(1)
        Nothing is left to be asked for.
    busy : Out(1)
    failed : Out(1)
        Pulse: an error response came.
    o : Out(stream.Signature(data_bits))
    ar… , r… : Out, In
        AXI4 read channels.
    """

    start:   Signal
    address: Signal
    beats:   Signal
    cancel:  Signal
    hold:    Signal
    ready:   Signal
    busy:    Signal
    failed:  Signal
    o:       stream.Interface
    araddr:  Signal
    arlen:   Signal
    arvalid: Signal
    arready: Signal
    rdata:   Signal
    rresp:   Signal
    rlast:   Signal
    rvalid:  Signal
    rready:  Signal

    def __init__(self, *, address_bits: int, data_bits: int, burst_beats: int, outstanding: int):
        self.planner = BurstPlanner(address_bits=address_bits, beat_bytes=data_bits // 8,
                                    burst_beats=burst_beats)
        self.outstanding = outstanding
        super().__init__({
            "start":   In(1),
            "address": In(address_bits),
            "beats":   In(32),
            "cancel":  In(1),
            "hold":    In(1),
            "ready":   Out(1),
            "busy":    Out(1),
            "failed":  Out(1),
            "o":       Out(stream.Signature(data_bits)),
            "araddr":  Out(address_bits),
            "arlen":   Out(8),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata":   In(data_bits),
            "rresp":   In(2),
            "rlast":   In(1),
            "rvalid":  In(1),
            "rready":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.planner = planner = self.planner

        underway = Signal(range(self.outstanding + 1))
        waiting  = Signal()  # an address was shown and must stay
        dropping = Signal()
        asked    = Signal()
        ended    = Signal()
        m.d.comb += [
            planner.start.eq(self.start),
            planner.address.eq(self.address),
            planner.beats.eq(self.beats),
            self.araddr.eq(planner.burst_address),
            self.arlen.eq(planner.burst_length),
            self.arvalid.eq(planner.valid & (waiting | (~self.hold
                                                        & (underway != self.outstanding)))),
            asked.eq(self.arvalid & self.arready),
            planner.take.eq(asked),
            planner.cancel.eq((dropping | self.cancel) & ~(self.arvalid & ~self.arready)),
            ended.eq(self.rvalid & self.rready & self.rlast),
            self.ready.eq(~planner.valid),
            self.busy.eq(planner.valid | (underway != 0)),
        ]
        m.d.sync += [
            waiting.eq(self.arvalid & ~self.arready),
            underway.eq(underway + asked - ended),
        ]

        wrong = (self.rresp == Response.SLVERR) | (self.rresp == Response.DECERR)
        m.d.comb += [
            self.o.payload.eq(self.rdata),
            self.o.valid.eq(self.rvalid & ~dropping & ~wrong),
            self.rready.eq(dropping | wrong | self.o.ready),
            self.failed.eq(self.rvalid & wrong & ~dropping),
        ]
        with m.If(self.failed | self.cancel):
            m.d.sync += dropping.eq(1)
        with m.If(self.start | (dropping & ~self.busy)):
            m.d.sync += dropping.eq(0)
        return m


class MemoryWriter(wiring.Component):
    """Write a stream to a range of memory.

    A burst's address and data are offered independently of each other (AXI4, A3.3.1); responses
    are only counted. After an error response the rest is still written, so that the stream never
    hangs. ``cancel`` fills the burst that was begun with beats that write nothing, and drops the
    stream until the next ``start``.

    Timing: one beat per cycle within a burst; a burst begins when the address before was taken.

    Parameters
    ----------
    address_bits, data_bits, burst_beats : int

    Members
    -------
    start, address, beats, cancel
        As for :class:`BurstPlanner`.
    sending : Out(1)
        Up to the last beat.
    busy : Out(1)
        Up to the last response.
    failed : Out(1)
        Pulse: an error response came.
    i : In(stream.Signature(data_bits))
    aw… , w… , b… : Out, In
        AXI4 write channels.
    """

    start:   Signal
    address: Signal
    beats:   Signal
    cancel:  Signal
    sending: Signal
    busy:    Signal
    failed:  Signal
    i:       stream.Interface
    awaddr:  Signal
    awlen:   Signal
    awvalid: Signal
    awready: Signal
    wdata:   Signal
    wstrb:   Signal
    wlast:   Signal
    wvalid:  Signal
    wready:  Signal
    bresp:   Signal
    bvalid:  Signal
    bready:  Signal

    #: Bursts that may wait for their response.
    MAX_UNDERWAY = 255

    def __init__(self, *, address_bits: int, data_bits: int, burst_beats: int):
        self.planner = BurstPlanner(address_bits=address_bits, beat_bytes=data_bits // 8,
                                    burst_beats=burst_beats)
        super().__init__({
            "start":   In(1),
            "address": In(address_bits),
            "beats":   In(32),
            "cancel":  In(1),
            "sending": Out(1),
            "busy":    Out(1),
            "failed":  Out(1),
            "i":       In(stream.Signature(data_bits)),
            "awaddr":  Out(address_bits),
            "awlen":   Out(8),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata":   Out(data_bits),
            "wstrb":   Out(data_bits // 8),
            "wlast":   Out(1),
            "wvalid":  Out(1),
            "wready":  In(1),
            "bresp":   In(2),
            "bvalid":  In(1),
            "bready":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.planner = planner = self.planner
        underway  = Signal(range(self.MAX_UNDERWAY + 1))
        left      = Signal(9)  # beats of the burst whose data are being sent
        begin     = Signal()
        cancelled = Signal()
        shown     = Signal()
        empty     = Signal()
        m.d.comb += [
            planner.start.eq(self.start),
            planner.address.eq(self.address),
            planner.beats.eq(self.beats),
            planner.cancel.eq(cancelled),
            planner.take.eq(begin),
            # With the first beat at hand: a bus is not held for data that are still to come.
            begin.eq(planner.valid & self.i.valid & (left == 0) & ~self.awvalid & ~cancelled
                     & (underway != self.MAX_UNDERWAY)),
            # A beat that was shown stays until it is taken; only then come empty ones.
            empty.eq(cancelled & ~shown),
            self.wdata.eq(Mux(empty, 0, self.i.payload)),
            self.wstrb.eq(Mux(empty, 0, -1)),
            self.wvalid.eq((self.i.valid | empty) & (left != 0)),
            self.wlast.eq(left == 1),
            self.i.ready.eq(empty | (self.wready & (left != 0))),
            self.bready.eq(1),
            self.failed.eq(self.bvalid & ((self.bresp == Response.SLVERR)
                                          | (self.bresp == Response.DECERR))),
            self.sending.eq(planner.valid | (left != 0)),
            self.busy.eq(self.sending | (underway != 0)),
        ]
        m.d.sync += [
            underway.eq(underway + begin - self.bvalid),
            shown.eq(self.wvalid & ~self.wready & ~empty),
        ]
        with m.If(self.cancel):
            m.d.sync += cancelled.eq(1)
        with m.If(self.start):
            m.d.sync += cancelled.eq(0)
        with m.If(begin):
            m.d.sync += [
                left.eq(planner.burst_length + 1),
                self.awvalid.eq(1),
                self.awaddr.eq(planner.burst_address),
                self.awlen.eq(planner.burst_length),
            ]
        with m.Else():
            with m.If(self.awvalid & self.awready):
                m.d.sync += self.awvalid.eq(0)
            with m.If(self.wvalid & self.wready):
                m.d.sync += left.eq(left - 1)
        return m
