"""Frames of the serial protocol in hardware: one side takes them apart, the other makes them."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.boards.protocol import ESCAPE, ESCAPE_XOR, FLAG, MAX_PAYLOAD

__all__ = ["LENGTH_BITS", "FrameReceiver", "FrameSender"]

_POLYNOMIAL = 0xEDB88320
#: What the register holds after the checksum itself has gone through it.
_RESIDUE = 0xDEBB20E3
#: Number, operation and checksum: what a request has besides its payload.
_LEAST_BODY = 6
_LONGEST_BODY = MAX_PAYLOAD + _LEAST_BODY
LENGTH_BITS = _LONGEST_BODY.bit_length()


class _SerialCrc(wiring.Component):
    """CRC-32, one bit a cycle: bytes of a serial line are at least forty cycles apart.

    Members
    -------
    clear : In(1)
    add : In(1)
        Take a byte; not again for eight cycles.
    byte : In(8)
    busy : Out(1)
    value : Out(32)
        The register, not inverted.
    """

    clear: In(1)
    add:   In(1)
    byte:  In(8)
    busy:  Out(1)
    value: Out(32)

    def elaborate(self, platform):
        m = Module()
        left  = Signal(range(9))
        shift = Signal(8)
        value = Signal(32, init=0xFFFFFFFF)
        m.d.comb += [self.busy.eq(left != 0), self.value.eq(value)]
        with m.If(left != 0):
            m.d.sync += [
                left.eq(left - 1),
                shift.eq(shift >> 1),
                value.eq((value >> 1) ^ Mux(value[0] ^ shift[0], _POLYNOMIAL, 0)),
            ]
        with m.If(self.add):
            m.d.sync += [left.eq(8), shift.eq(self.byte)]
        with m.If(self.clear):
            m.d.sync += [left.eq(0), value.eq(0xFFFFFFFF)]
        return m


class FrameReceiver(wiring.Component):
    """Take requests apart.

    Timing: ``good`` or ``damaged`` comes a cycle after the FLAG that ends a frame.

    Members
    -------
    enable : In(1)
        Without it bytes are ignored, and what was received of a frame is dropped.
    valid, data, broken : In
        From the receiver of the line.
    write, address, byte : Out
        To the buffer of the payload; the checksum is written behind it.
    good : Out(1)
        Pulse: a whole request is there.
    damaged : Out(1)
        Pulse: a frame ended that is none.
    sequence, operation : Out(8)
    length : Out
        Bytes of payload.
    """

    enable:    In(1)
    valid:     In(1)
    data:      In(8)
    broken:    In(1)
    write:     Out(1)
    address:   Out(LENGTH_BITS)
    byte:      Out(8)
    good:      Out(1)
    damaged:   Out(1)
    sequence:  Out(8)
    operation: Out(8)
    length:    Out(LENGTH_BITS)

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = _SerialCrc()
        count   = Signal(range(_LONGEST_BODY + 2))  # bytes of the body; stays at the highest
        escaped = Signal()
        whole   = Signal()
        m.d.sync += [self.good.eq(0), self.damaged.eq(0)]
        m.d.comb += [
            whole.eq((count >= _LEAST_BODY) & (count <= _LONGEST_BODY) & ~escaped
                     & (crc.value == _RESIDUE)),
            self.byte.eq(self.data ^ Mux(escaped, ESCAPE_XOR, 0)),
            self.address.eq(count - 2),
            crc.byte.eq(self.byte),
        ]
        with m.If(~self.enable):
            m.d.comb += crc.clear.eq(1)
            m.d.sync += [count.eq(0), escaped.eq(0)]
        with m.Elif(self.broken):
            m.d.sync += count.eq(_LONGEST_BODY + 1)  # whatever comes now is no frame
        with m.Elif(self.valid & (self.data == FLAG)):
            m.d.comb += crc.clear.eq(1)
            m.d.sync += [
                count.eq(0), escaped.eq(0), self.length.eq(count - _LEAST_BODY),
                self.good.eq(whole), self.damaged.eq(~whole & ((count != 0) | escaped)),
            ]
        with m.Elif(self.valid & (self.data == ESCAPE) & ~escaped):
            m.d.sync += escaped.eq(1)
        with m.Elif(self.valid):
            m.d.comb += [self.write.eq((count >= 2) & (count <= _LONGEST_BODY)), crc.add.eq(1)]
            m.d.sync += escaped.eq(0)
            with m.If(count <= _LONGEST_BODY):
                m.d.sync += count.eq(count + 1)
            with m.If(count == 0):
                m.d.sync += self.sequence.eq(self.byte)
            with m.If(count == 1):
                m.d.sync += self.operation.eq(self.byte)
        return m


class FrameSender(wiring.Component):
    """Make replies.

    Members
    -------
    start : In(1)
    sequence, operation, status : In(8)
        These and ``length`` are constant while ``busy``.
    length : In
        Bytes of payload.
    address : Out
        To the buffer of the payload.
    byte : In(8)
        From it, a cycle later.
    busy : Out(1)
    o : Out(stream.Signature(8))
    """

    start:     In(1)
    sequence:  In(8)
    operation: In(8)
    status:    In(8)
    length:    In(LENGTH_BITS)
    address:   Out(LENGTH_BITS)
    byte:      In(8)
    busy:      Out(1)
    o:         Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = _SerialCrc()
        index    = Signal(range(_LONGEST_BODY + 2))  # of a byte of the body
        body     = Signal(8)
        checksum = Signal(32)
        special  = Signal()
        end      = Signal.like(index)  # of the payload
        m.d.comb += [
            self.address.eq(index - 3),
            special.eq((body == FLAG) | (body == ESCAPE)),
            crc.byte.eq(body),
        ]
        m.d.sync += end.eq(self.length + 3)  # long before a byte is chosen
        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.comb += crc.clear.eq(1)
                m.d.sync += index.eq(0)
                with m.If(self.start):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(FLAG)]
                with m.If(self.o.ready):
                    m.next = "CHOOSE"
            with m.State("CHOOSE"):  # the buffer's byte is there: its address is a cycle old
                with m.Switch(index):
                    for place, value in enumerate((self.sequence, self.operation, self.status)):
                        with m.Case(place):
                            m.d.sync += body.eq(value)
                    with m.Default():
                        m.d.sync += body.eq(self.byte)
                with m.If(index >= end):
                    m.d.sync += [body.eq(checksum), checksum.eq(checksum >> 8)]
                m.next = "ADD"
                with m.If(index == end + 4):
                    m.next = "END"
            with m.State("ADD"):
                m.d.comb += crc.add.eq(index < end)
                m.next = "ESCAPE"
            with m.State("ESCAPE"):
                m.d.comb += [self.o.valid.eq(special), self.o.payload.eq(ESCAPE)]
                with m.If(~special | self.o.ready):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [
                    self.o.valid.eq(~crc.busy),
                    self.o.payload.eq(body ^ Mux(special, ESCAPE_XOR, 0)),
                ]
                with m.If(self.o.valid & self.o.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index + 1 == end):
                        m.d.sync += checksum.eq(~crc.value)
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.next = "CHOOSE"
            with m.State("END"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(FLAG)]
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
