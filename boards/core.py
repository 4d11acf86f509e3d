"""What is on a board besides clock and pins: the serial bridge and the accelerator."""

from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.boards.bridge import SerialBridge
from smartdeal.boards.uart import DIVISOR_BITS, UartReceiver, UartTransmitter
from smartdeal.hw.accelerator import Accelerator
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["BoardCore", "SimulatedBoard"]


class BoardCore(wiring.Component):
    """The accelerator behind a serial line.

    Parameters
    ----------
    config : AcceleratorConfig
    clock_hz : int

    Members
    -------
    rx : In(1)
    tx : Out(1)
    alive : Out(1)
        Changes about twice a second.
    linked : Out(1)
        A host has started a session.
    notify : Out(1)
        The accelerator's interrupt.
    """

    rx:     Signal
    tx:     Signal
    alive:  Signal
    linked: Signal
    notify: Signal

    def __init__(self, config: AcceleratorConfig, *, clock_hz: int):
        self.config   = config
        self.clock_hz = clock_hz
        super().__init__({
            "rx":     In(1),
            "tx":     Out(1),
            "alive":  Out(1),
            "linked": Out(1),
            "notify": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = core = Accelerator(self.config)
        m.submodules.bridge = bridge = SerialBridge(
            clock_hz=self.clock_hz, host_bits=self.config.host_bits)
        wiring.connect(m, bridge=bridge.bus, accelerator=core.bus)
        wiring.connect(m, bridge=bridge.load, accelerator=core.load)
        wiring.connect(m, accelerator=core.store, bridge=bridge.store)
        beat = Signal((self.clock_hz // 2).bit_length())
        m.d.sync += beat.eq(beat + 1)
        m.d.comb += [
            bridge.rx.eq(self.rx),
            self.tx.eq(bridge.tx),
            self.linked.eq(bridge.linked),
            self.notify.eq(core.interrupt),
            self.alive.eq(beat[-1]),
        ]
        return m


class SimulatedBoard(wiring.Component):
    """A board with the host's end of the line, so that a bench deals in bytes, not in bits.

    Parameters
    ----------
    board : component with the ports of :class:`BoardCore`

    Members
    -------
    divisor : In(16)
        Cycles of a bit at the host's end.
    i : In(stream.Signature(8))
        To the board.
    o_data : Out(8)
    o_valid : Out(1)
        Pulse: the board has sent a byte.
    notify : Out(1)
    """

    divisor: Signal
    i:       stream.Interface
    o_data:  Signal
    o_valid: Signal
    notify:  Signal

    def __init__(self, board: wiring.Component):
        self.board: Any = board
        super().__init__({
            "divisor": In(DIVISOR_BITS),
            "i":       In(stream.Signature(8)),
            "o_data":  Out(8),
            "o_valid": Out(1),
            "notify":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.board = board = self.board
        m.submodules.transmitter = transmitter = UartTransmitter()
        m.submodules.receiver = receiver = UartReceiver()
        wiring.connect(m, host=wiring.flipped(self.i), transmitter=transmitter.i)
        m.d.comb += [
            transmitter.divisor.eq(self.divisor),
            receiver.divisor.eq(self.divisor),
            board.rx.eq(transmitter.tx),
            receiver.rx.eq(board.tx),
            self.o_data.eq(receiver.data),
            self.o_valid.eq(receiver.valid),
            self.notify.eq(board.notify),
        ]
        return m
