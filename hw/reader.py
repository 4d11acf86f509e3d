"""The reader: words of the activation buffer, and those that a program spills, as beats."""

from amaranth import *
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.golden.formats import ACT_BITS
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.delay import Delay
from smartdeal.hw.isa import SectionKind, section_format

__all__ = ["Reader"]


class Reader(wiring.Component):
    """Read a range of words and send them as beats, each word padded to whole beats.

    Words are read ahead into a queue, so a beat leaves every cycle if the host takes it. While a
    program runs, the words of an EXTERNAL layer take the same way (``spill``): nothing is read
    then, and who gives them must have seen ``room``.

    Timing: the first beat comes ``read_latency`` + 3 cycles after ``start``.

    Parameters
    ----------
    config : AcceleratorConfig
    read_latency : int
        Cycles from ``read`` to the word's bytes in ``vector``.

    Members
    -------
    start : In(1)
        Read ``count`` words from ``address``; ends what was left of the last range.
    hold : In(1)
        A program is running: wait.
    clear : In(1)
    address, count : In(range(activation_words + 1))
    active : Out(1)
    read, word : Out
        To the activation buffer.
    vector : In(8 · cols)
    o : Out(stream.Signature(host_bits))
    spill_reserve : In(1)
        A unit of work will give ``spill_count`` words; only with ``config.memory``, as the rest.
    spill_count : In(range(rows + 1))
    spill, spill_word : In
        A word is given.
    spill_cancel : In(1)
        The program is being stopped.
    room : Out(1)
        There is room for a whole unit's words.
    empty : Out(1)
        All words were sent.
    """

    QUEUE_WORDS = 8

    start:   Signal
    hold:    Signal
    clear:   Signal
    address: Signal
    count:   Signal
    active:  Signal
    read:    Signal
    word:    Signal
    vector:  Signal
    o:       stream.Interface
    spill_reserve: Signal
    spill_count:   Signal
    spill:         Signal
    spill_word:    Signal
    spill_cancel:  Signal
    room:          Signal
    empty:         Signal

    def __init__(self, config: AcceleratorConfig, *, read_latency: int):
        self.config       = config
        self.read_latency = read_latency
        self.word_bits    = ACT_BITS * config.cols
        unit_bytes = section_format(SectionKind.ACTIVATIONS, config).unit_bytes(config.host_bits)
        self.beats = unit_bytes * 8 // config.host_bits
        self.depth = self.queue_words(config)
        super().__init__({
            "start":   In(1),
            "hold":    In(1),
            "clear":   In(1),
            "address": In(range(config.activation_words + 1)),
            "count":   In(range(config.activation_words + 1)),
            "active":  Out(1),
            "read":    Out(1),
            "word":    Out(range(config.activation_words)),
            "vector":  In(self.word_bits),
            "o":       Out(stream.Signature(config.host_bits)),
            **({
                "spill_reserve": In(1),
                "spill_count":   In(range(config.rows + 1)),
                "spill":         In(1),
                "spill_word":    In(self.word_bits),
                "spill_cancel":  In(1),
                "room":          Out(1),
                "empty":         Out(1),
            } if config.memory else {}),
        })

    @classmethod
    def queue_words(cls, config: AcceleratorConfig) -> int:
        """Return the words that the queue holds."""
        return max(cls.QUEUE_WORDS, config.spill_words if config.memory else 0)

    def elaborate(self, platform):
        m = Module()
        host_bits = self.config.host_bits

        # Words asked for and not yet sent never exceed the queue.
        m.submodules.queue = queue = fifo.SyncFIFO(width=self.word_bits, depth=self.depth)
        m.submodules.arrival = arrival = Delay(1, self.read_latency)
        pointer  = Signal.like(self.address)
        left     = Signal.like(self.count)
        pending  = Signal(range(self.QUEUE_WORDS + 1))
        sent     = Signal()
        m.d.comb += [
            self.read.eq((left != 0) & ~self.hold & (pending != self.QUEUE_WORDS)),
            self.word.eq(pointer),
            arrival.i.eq(self.read),
            queue.w_data.eq(self.vector),
            queue.w_en.eq(arrival.o),
        ]
        with m.If(self.read):
            m.d.sync += [pointer.eq(pointer + 1), left.eq(left - 1)]
        reading = Signal()  # words in the queue are read ones, not spilled ones
        m.d.comb += reading.eq(pending != 0)
        m.d.sync += pending.eq(pending + self.read - (sent & reading))

        # One word is sent beat by beat from a shift register.
        beats = Signal(range(self.beats + 1))
        shift = Signal(self.beats * host_bits)
        # What is compared with them is compared a cycle ahead: the register above hangs on it.
        some, one = Signal(), Signal()  # beats != 0, beats == 1
        m.d.comb += [
            self.o.valid.eq(some),
            self.o.payload.eq(shift[:host_bits]),
            self.active.eq((left != 0) | (pending != 0)),
            sent.eq(some & self.o.ready & one),
            queue.r_en.eq(~some | sent),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                shift.eq(shift >> host_bits), beats.eq(beats - 1),
                some.eq(~one), one.eq(beats == 2),
            ]
        with m.If(queue.r_en & queue.r_rdy):
            m.d.sync += [
                shift.eq(queue.r_data), beats.eq(self.beats),
                some.eq(1), one.eq(self.beats == 1),
            ]

        if self.config.memory:
            self._spill(m, queue, arrival.o, beats, reading)
        with m.If(self.start):
            m.d.sync += [pointer.eq(self.address), left.eq(self.count)]
        with m.If(self.clear):
            # What was asked for still arrives and is sent: a stream never takes back a beat.
            m.d.sync += left.eq(0)
        return m

    def _spill(self, m, queue, arriving, beats, reading):
        """Take words from the read-out, and count those that were promised and not yet sent."""
        held = Signal(range(self.depth + 1))
        left_queue = Signal()
        with m.If(~arriving):
            m.d.comb += [queue.w_data.eq(self.spill_word), queue.w_en.eq(self.spill)]
        m.d.comb += [
            left_queue.eq(queue.r_en & queue.r_rdy & (held != 0)),
            self.room.eq(held <= self.depth - self.config.rows),
            self.empty.eq((held == 0) & (beats == 0) & ~reading),
        ]
        m.d.sync += held.eq(held + Mux(self.spill_reserve, self.spill_count, 0) - left_queue)
        with m.If(self.spill_cancel):
            # A unit that was cut off does not give what it promised.
            m.d.sync += held.eq(queue.level)
