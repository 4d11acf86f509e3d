"""The one top of all boards: clock, pins, and the accelerator's Verilog as a black box."""

from amaranth import *
from amaranth.build.res import ResourceError
from amaranth.lib import io, wiring

from smartdeal.boards.clocks import BoardClock, PllSettings, has_reset
from smartdeal.boards.core import BoardCore
from smartdeal.hw.verilog import ports

__all__ = ["CORE_MODULE", "BoardTop"]

CORE_MODULE = "smartdeal_core"
#: What the LEDs show, from number 0 on.
_LEDS = ("alive", "linked", "notify")


class BoardTop(wiring.Component):
    """Connect a :class:`~smartdeal.boards.core.BoardCore`, given as Verilog, to a board.

    Parameters
    ----------
    core : BoardCore
        For its ports; it is not elaborated.
    target : str
    settings : PllSettings
    pll_pad : bool
        As for :class:`~smartdeal.boards.clocks.BoardClock`.
    """

    def __init__(self, core: BoardCore, target: str, settings: PllSettings, *,
                 pll_pad: bool = False):
        self.core     = core
        self.target   = target
        self.settings = settings
        self.pll_pad  = pll_pad
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = sync = ClockDomain(reset_less=not has_reset(self.target))
        m.submodules.clock = BoardClock(self.target, self.settings, sync,
                                               pll_pad=self.pll_pad)
        signals = {port.name: Signal(port.width, name=port.name) for port in ports(self.core)}
        m.submodules.core = Instance(
            CORE_MODULE, ("i", "clk", ClockSignal()),
            *([("i", "rst", ResetSignal())] if has_reset(self.target) else []),
            *(("i" if port.direction == "input" else "o", port.name, signals[port.name])
              for port in ports(self.core)))

        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer(io.Direction.Input, uart.rx)
        m.submodules.tx = tx = io.Buffer(io.Direction.Output, uart.tx)
        m.d.comb += [signals["rx"].eq(rx.i), tx.o.eq(signals["tx"])]
        for number, name in enumerate(_LEDS):
            try:
                port = platform.request("led", number, dir="-")
            except ResourceError:  # fewer LEDs, or the pin is the serial line's
                break
            m.submodules[f"led_{number}"] = led = io.Buffer(io.Direction.Output, port)
            m.d.comb += led.o.eq(signals[name])
        return m
