"""The bridge between a serial line and the accelerator: the board's side of the protocol."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from smartdeal.boards.framing import LENGTH_BITS, FrameReceiver, FrameSender
from smartdeal.boards.protocol import (
    DEFAULT_BAUD,
    FRAMING_LIMIT,
    HELLO,
    MAX_PAYLOAD,
    MIN_DIVISOR,
    NAK,
    PROTOCOL_VERSION,
    REPLY_BIT,
    Operation,
    Status,
)
from smartdeal.boards.uart import DIVISOR_BITS, UartReceiver, UartTransmitter
from smartdeal.hw.registerfile import RegisterBus, RegisterBusInterface

__all__ = ["SerialBridge"]

_BUFFER_BYTES = 512
_STALL_BITS = 16


class SerialBridge(wiring.Component):
    """Answer requests that come over a serial line: registers, load stream, store stream.

    A request is executed once, however often it comes: if its number is that of the last one, the
    reply to that is sent again. Frames that are damaged change nothing. While a request is being
    executed or answered, the line is not listened to.

    Parameters
    ----------
    clock_hz : int
    host_bits : int
        Width of the streams.

    Members
    -------
    rx : In(1)
        From the line, not synchronous to the clock.
    tx : Out(1)
    bus : Out(RegisterBus)
    load : Out(stream.Signature(host_bits))
    store : In(stream.Signature(host_bits))
    linked : Out(1)
        A session was started.
    """

    rx:     Signal
    tx:     Signal
    bus:    RegisterBusInterface
    load:   stream.Interface
    store:  stream.Interface
    linked: Signal

    def __init__(self, *, clock_hz: int, host_bits: int):
        self.clock_hz  = clock_hz
        self.host_bits = host_bits
        self.default_divisor = max(MIN_DIVISOR, round(clock_hz / DEFAULT_BAUD))
        if self.default_divisor >= 1 << DIVISOR_BITS:
            raise ValueError(f"Clock must be slower than {DEFAULT_BAUD << DIVISOR_BITS} Hz, not "
                             f"{clock_hz!r}")
        super().__init__({
            "rx":     In(1),
            "tx":     Out(1),
            "bus":    Out(RegisterBus()),
            "load":   Out(stream.Signature(host_bits)),
            "store":  In(stream.Signature(host_bits)),
            "linked": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = UartReceiver()
        m.submodules.transmitter = transmitter = UartTransmitter()
        m.submodules.frames = frames = FrameReceiver()
        m.submodules.sender = sender = FrameSender()
        m.submodules.request = request = Memory(shape=8, depth=_BUFFER_BYTES, init=[])
        m.submodules.reply   = reply   = Memory(shape=8, depth=_BUFFER_BYTES, init=[])
        arrive, argument = request.write_port(), request.read_port()
        result, payload  = reply.write_port(), reply.read_port()
        wiring.connect(m, sender=sender.o, transmitter=transmitter.i)

        divisor     = Signal(DIVISOR_BITS, init=self.default_divisor)
        synchronous = Signal(2, init=3)
        m.d.sync += synchronous.eq(Cat(self.rx, synchronous[0]))
        m.d.comb += [
            receiver.rx.eq(synchronous[1]),
            receiver.divisor.eq(divisor),
            transmitter.divisor.eq(divisor),
            self.tx.eq(transmitter.tx),
            frames.valid.eq(receiver.valid),
            frames.data.eq(receiver.data),
            frames.broken.eq(receiver.broken),
            arrive.en.eq(frames.write),
            arrive.addr.eq(frames.address),
            arrive.data.eq(frames.byte),
            argument.en.eq(1),
            payload.en.eq(1),
            payload.addr.eq(sender.address),
            sender.byte.eq(payload.data),
            sender.sequence.eq(frames.sequence),
        ]
        self._fallback(m, divisor, receiver, frames)
        self._execute(m, divisor, frames, sender, argument, result, transmitter)
        return m

    def _fallback(self, m, divisor, receiver, frames):
        """Go back to the default rate when the host evidently speaks another one."""
        garbled = Signal(range(FRAMING_LIMIT + 1))
        with m.If(frames.good):
            m.d.sync += garbled.eq(0)
        with m.Elif(receiver.broken):
            m.d.sync += garbled.eq(garbled + 1)
            with m.If(garbled == FRAMING_LIMIT - 1):
                m.d.sync += [garbled.eq(0), divisor.eq(self.default_divisor)]

    def _execute(self, m, divisor, frames, sender, argument, result, transmitter):
        expected  = Signal(8)
        status    = Signal(8)
        length    = Signal(LENGTH_BITS)  # of the reply's payload; kept, as status, to send it again
        position  = Signal(LENGTH_BITS)
        words     = Signal(32)           # arguments, or what is to be told, lowest byte first
        faster    = Signal(DIVISOR_BITS)
        beat_bytes = self.host_bits // 8
        self._position, self._length, self._status, self._words = position, length, status, words
        m.d.comb += [
            argument.addr.eq(position),
            result.addr.eq(position),
            sender.status.eq(status),
            sender.length.eq(length),
            sender.operation.eq(frames.operation | REPLY_BIT),
        ]

        with m.FSM():
            with m.State("LISTEN"):
                m.d.comb += frames.enable.eq(1)
                m.d.sync += [position.eq(0), faster.eq(divisor)]
                with m.If(frames.damaged):
                    m.next = "COMPLAIN"
                with m.If(frames.good):
                    m.next = "DECIDE"
            with m.State("COMPLAIN"):  # the last reply stays as it is
                m.d.comb += [sender.start.eq(1), sender.operation.eq(NAK), sender.length.eq(0)]
                m.next = "COMPLAINING"
            with m.State("COMPLAINING"):
                m.d.comb += [sender.operation.eq(NAK), sender.length.eq(0)]
                with m.If(~sender.busy):
                    m.next = "LISTEN"
            with m.State("DECIDE"):
                known = self.linked & (frames.operation != Operation.HELLO)
                with m.If(known & ((frames.sequence + 1)[:8] == expected)):
                    m.next = "REPLY"
                with m.Elif((frames.operation == Operation.HELLO)
                            | (known & (frames.sequence == expected))):
                    m.d.sync += [
                        self.linked.eq(1), expected.eq(frames.sequence + 1),
                        status.eq(Status.OK), length.eq(0),
                    ]
                    self._choose(m, frames, beat_bytes)
                with m.Else():
                    m.d.sync += [status.eq(Status.SEQUENCE), length.eq(0)]
                    m.next = "REPLY"
            with m.State("MALFORMED"):
                m.d.sync += status.eq(Status.MALFORMED)
                m.next = "REPLY"
            self._tell(m, divisor, frames, result)
            self._registers(m, argument, frames)
            self._load(m, argument, frames, beat_bytes)
            self._store(m, result, beat_bytes)
            with m.State("BAUD"):
                m.d.sync += faster.eq(words)
                m.next = "REPLY"
                with m.If(words[:DIVISOR_BITS] < MIN_DIVISOR):
                    m.d.sync += faster.eq(divisor)
                    m.next = "MALFORMED"
            with m.State("REPLY"):
                m.d.comb += sender.start.eq(1)
                m.next = "REPLYING"
            with m.State("REPLYING"):
                with m.If(~sender.busy & transmitter.idle):
                    m.d.sync += divisor.eq(faster)
                    m.next = "LISTEN"

    def _choose(self, m, frames, beat_bytes):
        """Check the payload's size and go to the operation's state."""
        with m.Switch(frames.operation):
            for operation, size, state in (
                    (Operation.HELLO, 0, "HELLO"), (Operation.READ, 1, "ARGUMENT"),
                    (Operation.WRITE, 5, "ARGUMENT"), (Operation.STORE, 2, "ARGUMENT"),
                    (Operation.BAUD, 2, "ARGUMENT"), (Operation.LOAD, None, "LOAD")):
                with m.Case(int(operation)):
                    right = (frames.length == size if size is not None
                             else frames.length & (beat_bytes - 1) == 0)
                    with m.If(right):
                        m.next = state
                    with m.Else():
                        m.next = "MALFORMED"
            with m.Default():
                m.next = "MALFORMED"

    def _tell(self, m, divisor, frames, result):
        """Reply with a few bytes: what HELLO asks for, or what is in ``words``."""
        constant = HELLO.pack(PROTOCOL_VERSION, self.host_bits // 8, MAX_PAYLOAD, self.clock_hz, 0)
        with m.State("HELLO"):
            m.d.comb += result.en.eq(1)
            m.d.sync += [self._position.eq(self._position + 1), self._length.eq(HELLO.size)]
            with m.Switch(self._position):
                for place, byte in enumerate(constant[:-2]):
                    with m.Case(place):
                        m.d.comb += result.data.eq(byte)
                with m.Case(HELLO.size - 2):
                    m.d.comb += result.data.eq(divisor[:8])
                with m.Default():
                    m.d.comb += result.data.eq(divisor[8:])
                    m.next = "REPLY"
        with m.State("TELL"):
            m.d.comb += [result.en.eq(1), result.data.eq(self._words[:8])]
            m.d.sync += [self._position.eq(self._position + 1), self._words.eq(self._words >> 8)]
            with m.If(self._position == self._length - 1):
                m.next = "REPLY"

    def _registers(self, m, argument, frames):
        """READ and WRITE, after their arguments and those of others were fetched."""
        fetched = Signal()  # the byte at ``position`` is there
        position, words, bus = self._position, self._words, self.bus
        address = Signal(8)
        with m.State("ARGUMENT"):
            m.d.sync += fetched.eq(~fetched)
            with m.If(fetched):
                m.d.sync += [position.eq(position + 1), words.eq(Cat(words[8:], argument.data))]
                with m.If(position == 0):
                    m.d.sync += address.eq(argument.data)
                with m.If(position == frames.length - 1):
                    m.d.sync += position.eq(0)
                    m.next = "BUS"
                    with m.If(frames.operation == Operation.STORE):
                        m.next = "ALIGN"
                    with m.If(frames.operation == Operation.BAUD):
                        m.next = "ALIGN"
        with m.State("ALIGN"):  # two bytes came in at the top
            m.d.sync += words.eq(words >> 16)
            m.next = "STORE"
            with m.If(frames.operation == Operation.BAUD):
                m.next = "BAUD"
        m.d.comb += [
            bus.address.eq(address),
            bus.write_data.eq(words),
            bus.write.eq(frames.operation == Operation.WRITE),
        ]
        with m.State("BUS"):
            m.d.comb += bus.valid.eq(1)
            with m.If(bus.ready):
                m.d.sync += words.eq(bus.read_data)
                m.next = "REPLY"
                with m.If(frames.operation == Operation.READ):
                    m.d.sync += self._length.eq(4)
                    m.next = "TELL"

    def _load(self, m, argument, frames, beat_bytes):
        """Gather a beat from the buffer, offer it, and so on; tell the bytes that were taken."""
        position = self._position
        beat    = Signal(self.host_bits)
        fetched = Signal()
        offered = Signal()  # in OFFER; the accelerator's loader hangs on it

        def tell(count):
            m.d.sync += [self._words.eq(count), self._length.eq(2), position.eq(0)]
            m.next = "TELL"

        m.d.comb += [self.load.payload.eq(beat), self.load.valid.eq(offered)]
        with m.State("LOAD"):
            m.d.sync += fetched.eq(0)
            m.next = "GATHER"
            with m.If(frames.length == 0):
                tell(0)
        with m.State("GATHER"):
            m.d.sync += fetched.eq(~fetched)
            with m.If(fetched):
                m.d.sync += [beat.eq(Cat(beat, argument.data)[8:]), position.eq(position + 1)]
                with m.If((position & (beat_bytes - 1)) == beat_bytes - 1):
                    m.d.sync += offered.eq(1)
                    m.next = "OFFER"
        with m.State("OFFER"):
            # The accelerator takes no beat while a program runs, and every program ends.
            with m.If(self.load.ready):
                m.d.sync += offered.eq(0)
                m.next = "GATHER"
                with m.If(position == frames.length):
                    tell(position)

    def _store(self, m, result, beat_bytes):
        """Put beats in the buffer until all are there or no more come."""
        position = self._position
        beat    = Signal(self.host_bits)
        left    = Signal(range(beat_bytes + 1))
        waiting = Signal(_STALL_BITS)
        wanted  = Signal(LENGTH_BITS)
        taking  = Signal()  # in TAKE: another beat is wanted
        m.d.comb += self.store.ready.eq(taking)
        with m.State("STORE"):
            m.d.sync += [wanted.eq(self._words), waiting.eq(0), left.eq(0)]
            m.d.sync += taking.eq(self._words[:16] != 0)
            m.next = "TAKE"
            with m.If((self._words[:16] > MAX_PAYLOAD) | ((self._words & (beat_bytes - 1)) != 0)):
                m.d.sync += taking.eq(0)
                m.next = "MALFORMED"
        with m.State("TAKE"):
            m.d.sync += [self._length.eq(position), waiting.eq(waiting + 1),
                         beat.eq(self.store.payload), left.eq(beat_bytes)]
            with m.If(~taking):
                m.next = "REPLY"
            with m.Elif(self.store.valid):
                m.d.sync += [waiting.eq(0), taking.eq(0)]
                m.next = "SCATTER"
            with m.Elif(waiting.all()):
                m.d.sync += [self._status.eq(Status.STALLED), taking.eq(0)]
                m.next = "REPLY"
        with m.State("SCATTER"):
            m.d.comb += [result.en.eq(1), result.data.eq(beat[:8])]
            m.d.sync += [position.eq(position + 1), beat.eq(beat >> 8), left.eq(left - 1)]
            with m.If(left == 1):
                m.d.sync += taking.eq(position + 1 != wanted)
                m.next = "TAKE"
