"""Serial receiver and transmitter: 8 data bits, no parity, one stop bit."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["DIVISOR_BITS", "UartReceiver", "UartTransmitter"]

DIVISOR_BITS = 16


class UartReceiver(wiring.Component):
    """Receive bytes.

    Timing: a byte comes in the middle of its stop bit; nobody can hold it up.

    Members
    -------
    divisor : In(16)
        Cycles of a bit, at least 4.
    rx : In(1)
        Synchronous to the clock, high while idle.
    data : Out(8)
    valid : Out(1)
        Pulse: ``data`` is a byte.
    broken : Out(1)
        Pulse: a byte had no stop bit.
    """

    divisor: Signal
    rx:      Signal
    data:    Signal
    valid:   Signal
    broken:  Signal

    def __init__(self):
        super().__init__({
            "divisor": In(DIVISOR_BITS),
            "rx":      In(1),
            "data":    Out(8),
            "valid":   Out(1),
            "broken":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        timer = Signal(DIVISOR_BITS)
        left  = Signal(range(11))  # bits still to come, the stop bit included
        shift = Signal(8)
        waiting = Signal()  # for the line to be idle
        m.d.sync += [self.valid.eq(0), self.broken.eq(0)]
        m.d.comb += self.data.eq(shift)
        with m.If(left == 0):
            with m.If(~self.rx):  # sample in the middle of a bit
                m.d.sync += [left.eq(10), timer.eq(self.divisor >> 1)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [timer.eq(self.divisor - 1), left.eq(left - 1)]
            with m.If(left == 10):  # the start bit
                with m.If(self.rx):
                    m.d.sync += left.eq(0)
            with m.Elif(left == 1):
                m.d.sync += [self.valid.eq(self.rx & ~waiting), waiting.eq(0)]
                with m.If(~self.rx):  # wait for an idle line, or every low bit would be a start
                    m.d.sync += [left.eq(1), timer.eq(0), waiting.eq(1), self.broken.eq(~waiting)]
            with m.Else():
                m.d.sync += shift.eq(Cat(shift[1:], self.rx))
        return m


class UartTransmitter(wiring.Component):
    """Send bytes.

    Members
    -------
    divisor : In(16)
        Cycles of a bit; a change counts from the next byte on.
    i : In(stream.Signature(8))
    tx : Out(1)
    idle : Out(1)
        Nothing is being sent.
    """

    divisor: Signal
    i:       stream.Interface
    tx:      Signal
    idle:    Signal

    def __init__(self):
        super().__init__({
            "divisor": In(DIVISOR_BITS),
            "i":       In(stream.Signature(8)),
            "tx":      Out(1),
            "idle":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        timer = Signal(DIVISOR_BITS)
        left  = Signal(range(11))
        shift = Signal(9)
        line  = Signal(init=1)
        m.d.comb += [self.i.ready.eq(left == 0), self.idle.eq(left == 0), self.tx.eq(line)]
        with m.If(left == 0):
            m.d.sync += line.eq(1)
            with m.If(self.i.valid):
                m.d.sync += [line.eq(0), shift.eq(Cat(self.i.payload, 1)), left.eq(10),
                             timer.eq(self.divisor - 1)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [timer.eq(self.divisor - 1), left.eq(left - 1), line.eq(shift[0]),
                         shift.eq(Cat(shift[1:], 1))]
        return m
