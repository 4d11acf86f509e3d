"""Clock and reset of a board: the device's PLL, and a reset, or no clock, until it is stable."""

from dataclasses import dataclass
from typing import Any

from amaranth import *
from amaranth.lib import io, wiring

from smartdeal.boards.errors import BoardError

__all__ = ["BoardClock", "PllSettings", "has_reset", "pll_settings"]

_RESET_CYCLES = 255


@dataclass(frozen=True)
class PllSettings:
    """Parameters of a PLL.

    Parameters
    ----------
    frequency_hz : float
        What comes out.
    parameters : dict
        Of the PLL's cell.
    """

    frequency_hz: float
    parameters: dict[str, Any]


def has_reset(target: str) -> bool:
    """Return whether a design for a technology has a reset.

    On ECP5 the configuration sets all registers and a gate holds the clock until the PLL is stable:
    the reset would be a net to every register, and as nextpnr puts only registers of one reset in a
    tile of eight, those with another condition could not stand beside them.
    """
    return target != "ecp5"


def pll_settings(
    target: str, input_hz: float, wanted_hz: float, *, device: str = "",
) -> PllSettings:
    """Return the settings whose frequency is nearest to the wanted one, and not above it.

    Raises
    ------
    BoardError
        If the PLL cannot make such a clock.
    """
    search = {"ecp5": _ecp5, "ice40": _ice40, "gowin": _gowin}[target]
    found = [s for s in search(input_hz, device) if s.frequency_hz <= wanted_hz * (1 + 1e-9)]
    best = max(found, key=lambda s: s.frequency_hz, default=None)
    if best is None or best.frequency_hz < wanted_hz * 0.9:
        raise BoardError(f"clock of {wanted_hz / 1e6:g} MHz cannot be made from "
                         f"{input_hz / 1e6:g} MHz by the PLL of this device; choose another")
    return best


def _ecp5(input_hz, device):
    """EHXPLLL: phase detector 10…400 MHz, oscillator 400…800 MHz (Lattice FPGA-DS-02012)."""
    for divide in range(1, 41):
        if not 10e6 <= input_hz / divide <= 400e6:
            continue
        for multiply in range(1, 81):
            frequency = input_hz / divide * multiply
            output = max(1, round(600e6 / frequency))
            if output <= 128 and 400e6 <= frequency * output <= 800e6:
                yield PllSettings(frequency, {
                    "CLKI_DIV": divide, "CLKFB_DIV": multiply, "CLKOP_DIV": output,
                    "CLKOP_CPHASE": output - 1, "CLKOP_FPHASE": 0, "FEEDBK_PATH": "CLKOP",
                    "CLKOP_ENABLE": "ENABLED", "CLKOS_DIV": output, "CLKOS_CPHASE": output - 1,
                    "CLKOS_FPHASE": 0, "CLKOS_ENABLE": "ENABLED", "PLLRST_ENA": "DISABLED",
                    "STDBY_ENABLE": "DISABLED", "DPHASE_SOURCE": "DISABLED",
                    "OUTDIVIDER_MUXA": "DIVA"})


def _ice40(input_hz, device):
    """SB_PLL40: phase detector 10…133 MHz, oscillator 533…1066 MHz (Lattice FPGA-TN-02052)."""
    for divide in range(16):
        reference = input_hz / (divide + 1)
        if not 10e6 <= reference <= 133e6:
            continue
        filter_range = sum(reference >= limit for limit in (17e6, 26e6, 44e6, 66e6, 101e6)) + 1
        for multiply in range(128):
            oscillator = reference * (multiply + 1)
            if not 533e6 <= oscillator <= 1066e6:
                continue
            for output in range(1, 7):
                yield PllSettings(oscillator / (1 << output), {
                    "FEEDBACK_PATH": "SIMPLE", "DIVR": Const(divide, 4),
                    "DIVF": Const(multiply, 7), "DIVQ": Const(output, 3),
                    "FILTER_RANGE": Const(filter_range, 3)})


def _gowin(input_hz, device):
    """rPLL: phase detector 3…400 MHz, oscillator 500…1200 MHz (Gowin UG286)."""
    for divide in range(64):
        reference = input_hz / (divide + 1)
        if not 3e6 <= reference <= 400e6:
            continue
        for multiply in range(64):
            frequency = reference * (multiply + 1)
            for output in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128):
                if 500e6 <= frequency * output <= 1200e6:
                    yield PllSettings(frequency, {
                        "FCLKIN": f"{input_hz / 1e6:g}", "IDIV_SEL": divide,
                        "FBDIV_SEL": multiply, "ODIV_SEL": output, "DEVICE": device})


class BoardClock(wiring.Component):
    """Makes the domain ``sync``, outside of this component, from the board's oscillator.

    Parameters
    ----------
    target : str
    settings : PllSettings
    domain : ClockDomain
        Without a reset on ECP5, where its clock starts late instead.
    pll_pad : bool
        On iCE40: whether the oscillator's pin belongs to the PLL.
    """

    def __init__(self, target: str, settings: PllSettings, domain: Any, *,
                 pll_pad: bool = False):
        self.target   = target
        self.settings = settings
        self.domain   = domain
        self.pll_pad  = pll_pad
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        port   = platform.request(platform.default_clk, dir="-")
        clock  = self.domain.clk
        early  = clock  # runs before the domain may
        locked = Signal()
        parameters = {f"p_{name}": value for name, value in self.settings.parameters.items()}
        if self.pll_pad:
            m.submodules.pll = Instance("SB_PLL40_PAD", **parameters, i_PACKAGEPIN=port.io,
                                        o_PLLOUTGLOBAL=clock, o_LOCK=locked,
                                        i_RESETB=Const(1), i_BYPASS=Const(0))
        else:
            m.submodules.buffer = buffer = io.Buffer(io.Direction.Input, port)
            if self.target == "ice40":
                m.submodules.pll = Instance("SB_PLL40_CORE", **parameters, i_REFERENCECLK=buffer.i,
                                            o_PLLOUTGLOBAL=clock, o_LOCK=locked,
                                            i_RESETB=Const(1), i_BYPASS=Const(0))
            elif self.target == "ecp5":
                # The PLL's two outputs are alike: a gate cannot be reached from a clock network.
                clock, early = Signal(), Signal()
                m.submodules.pll = Instance(
                    "EHXPLLL", **parameters, i_CLKI=buffer.i, i_CLKFB=clock, o_CLKOP=clock,
                    o_CLKOS=early,
                    i_RST=Const(0), i_STDBY=Const(0), i_PHASESEL0=Const(0), i_PHASESEL1=Const(0),
                    i_PHASEDIR=Const(1), i_PHASESTEP=Const(1), i_PHASELOADREG=Const(1),
                    i_PLLWAKESYNC=Const(0), i_ENCLKOP=Const(0), o_LOCK=locked)
            else:
                m.submodules.pll = Instance(
                    "rPLL", **parameters, p_CLKFB_SEL="internal", i_CLKIN=buffer.i,
                    o_CLKOUT=clock, o_LOCK=locked, i_RESET=Const(0), i_RESET_P=Const(0),
                    i_CLKFB=Const(0), i_FBDSEL=Const(0, 6), i_IDSEL=Const(0, 6),
                    i_ODSEL=Const(0, 6), i_PSDA=Const(0, 4), i_DUTYDA=Const(0, 4),
                    i_FDLY=Const(0, 4))
        ready = self._ready(m, early, locked)
        if has_reset(self.target):
            m.d.comb += self.domain.rst.eq(~ready)
        else:
            m.submodules.gate = Instance("DCCA", i_CLKI=clock, i_CE=ready, o_CLKO=self.domain.clk)
        return m

    def _ready(self, m, clock, locked):
        """Return whether the clock has been stable for a while; registers start at 0."""
        start: Any = ClockDomain(reset_less=True, local=True)
        m.domains.start = start
        stable = Signal(2)
        count  = Signal(range(_RESET_CYCLES + 1))
        ready  = Signal()
        m.d.comb += start.clk.eq(clock)
        m.d.start += [stable.eq(Cat(locked, stable[0])), ready.eq(count == _RESET_CYCLES)]
        with m.If(~stable[1]):
            m.d.start += count.eq(0)
        with m.Elif(count != _RESET_CYCLES):
            m.d.start += count.eq(count + 1)
        return ready
