"""The boards: device, capacity, and the accelerator that is built for them by default."""

import difflib
import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from smartdeal.boards.errors import BoardError, ToolMissing
from smartdeal.boards.technology import Resources
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["BOARDS", "Board", "board"]


@dataclass(frozen=True)
class Board:
    """A board with an FPGA and a serial line.

    Parameters
    ----------
    name, title : str
    platform : str or class
        Its Amaranth platform, or ``module:class`` of that.
    target : str
        Technology, as for synthesis.
    device : str
    capacity : Resources
    clock_mhz : float
        That the accelerator is built for.
    configuration : dict
        Parameters of the default accelerator.
    serial : (str, str) or None
        Pins (rx, tx, as ``connector:pin`` or as a pin of the device) of the serial line, where the
        platform has none.
    flash : str
        What openFPGALoader calls the board.
    pll_pad : bool
        On iCE40: the oscillator is at the pin that belongs to a PLL.
    """

    name: str
    title: str
    platform: str | type
    target: str
    device: str
    capacity: Resources
    clock_mhz: float
    configuration: Mapping[str, Any]
    serial: tuple[str, str] | None = None
    flash: str = ""
    pll_pad: bool = False

    @property
    def config(self) -> AcceleratorConfig:
        """The default accelerator."""
        return AcceleratorConfig(**self.configuration)

    def make_platform(self) -> Any:
        """Return a fresh Amaranth platform.

        Raises
        ------
        ToolMissing
            If amaranth-boards is not installed.
        """
        if isinstance(self.platform, str):
            module, _, name = self.platform.partition(":")
            try:
                platform = getattr(import_module(module), name)()
            except ModuleNotFoundError:
                raise ToolMissing("no amaranth-boards: install it with pip install "
                                  "'smartdeal[boards]'") from None
        else:
            platform = self.platform()
        if self.serial is not None:
            platform.add_resources([_serial(self.serial, self.target)])
        return platform


def _serial(pins: tuple[str, str], target: str) -> Any:
    from amaranth.build import Attrs
    from amaranth_boards.resources import UARTResource

    attributes = Attrs(IO_TYPE="LVCMOS33") if target != "ice40" else Attrs(IO_STANDARD="SB_LVCMOS")
    connector, _, _ = pins[0].rpartition(":")
    where = {"conn": (connector.split("_")[0], int(connector.split("_")[1]))} if connector else {}
    rx, tx = (pin.rpartition(":")[2] for pin in pins)
    return UARTResource(0, rx=rx, tx=tx, attrs=attributes, **where)


_ECP5_25 = Resources(lut=24_288, ff=24_288, bram=56, dsp=28)
_ECP5_45 = Resources(lut=43_848, ff=43_848, bram=108, dsp=72)
_ECP5_85 = Resources(lut=83_640, ff=83_640, bram=208, dsp=156)

#: A whole ResNet-8 or ResNet-20 at 32 × 32 stays on chip: activations, and a segment of weights.
_LARGE = dict(rows=15, cols=32, drain_lanes=8, activation_words=2048, weight_steps=4096,
              channel_entries=1024, basis_entries=1024, program_words=1024)
#: The same networks with the block RAMs of a smaller device, on a smaller array.
_MIDDLE = dict(rows=6, cols=16, drain_lanes=2, activation_words=4096, weight_steps=2048,
               channel_entries=512, basis_entries=512, program_words=512, host_bits=32)
#: Layers, not networks: what there is room for beside the control logic.
_SMALL = dict(rows=2, cols=2, exponents=4, acc_bits=16, sum_bits=32, drain_lanes=1, max_slices=1,
              activation_words=1024, weight_steps=512, channel_entries=64, basis_entries=16,
              program_words=128, host_bits=32, basis=False, max_pool=False, residual=False,
              reduce=False, move=False, field_bits=11, counter_bits=32,
              checksum_bits=8, memory_delays=True)
#: Weights in SPRAM, which leaves the block RAMs to activations.
_SPRAM = dict(weight_steps=8192, single_port_weights=True, activation_words=4096, field_bits=13)

BOARDS = {board.name: board for board in (
    Board("colorlight_5a75b_r7.0", "Colorlight 5A-75B R7.0",
          "amaranth_boards.colorlight_5a75b_r7_0:Colorlight_5A75B_R70Platform", "ecp5",
          "LFE5U-25F-6BG256", _ECP5_25, 40, _MIDDLE, flash="colorlight"),
    Board("ecpix5_45f", "LambdaConcept ECPIX-5 45F", "amaranth_boards.ecpix5:ECPIX545Platform",
          "ecp5", "LFE5UM5G-45F-8BG554", _ECP5_45, 60, _MIDDLE | dict(rows=12), flash="ecpix5"),
    Board("ecpix5_85f", "LambdaConcept ECPIX-5 85F", "amaranth_boards.ecpix5:ECPIX585Platform",
          "ecp5", "LFE5UM5G-85F-8BG554", _ECP5_85, 60, _LARGE, flash="ecpix5"),
    Board("hx8k_breakout", "Lattice iCE40-HX8K breakout board",
          "amaranth_boards.ice40_hx8k_b_evn:ICE40HX8KBEVNPlatform", "ice40", "iCE40HX8K-CT256",
          Resources(lut=7_680, ff=7_680, bram=32, dsp=0), 24, _SMALL, flash="ice40_generic"),
    Board("icebreaker", "1BitSquared iCEBreaker",
          "amaranth_boards.icebreaker:ICEBreakerPlatform", "ice40", "iCE40UP5K-SG48",
          Resources(lut=5_280, ff=5_280, bram=34, dsp=8), 30, _SMALL | _SPRAM,
          flash="ice40_generic", pll_pad=True),
    Board("icepi_zero", "Icepi Zero 1.3", "amaranth_boards.icepi_zero:IcepiZero1_3Platform",
          "ecp5", "LFE5U-25F-6BG256", _ECP5_25, 40, _MIDDLE),
    Board("icesugar_pro", "Muse Lab iCESugar-pro",
          "amaranth_boards.icesugar_pro:ICESugarProPlatform", "ecp5", "LFE5U-25F-6BG256",
          _ECP5_25, 40, _MIDDLE),
    Board("orangecrab_r0.2_25f", "OrangeCrab r0.2 25F",
          "amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_25FPlatform", "ecp5",
          "LFE5U-25F-8MG285", _ECP5_25, 40, _MIDDLE, serial=("io_0:0", "io_0:1"),
          flash="orangeCrab"),
    Board("orangecrab_r0.2_85f", "OrangeCrab r0.2 85F",
          "amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_85FPlatform", "ecp5",
          "LFE5U-85F-8MG285", _ECP5_85, 60, _LARGE, serial=("io_0:0", "io_0:1"),
          flash="orangeCrab"),
    Board("tang_nano_9k", "Sipeed Tang Nano 9K",
          "amaranth_boards.tang_nano_9k:TangNano9kPlatform", "gowin", "GW1NR-9C",
          Resources(lut=8_640, ff=6_480, bram=26, dsp=20), 27, _SMALL, flash="tangnano9k"),
    Board("tang_nano_20k", "Sipeed Tang Nano 20K",
          "smartdeal.boards.platforms.tang_nano_20k:TangNano20kPlatform", "gowin", "GW2AR-18C",
          Resources(lut=20_736, ff=15_552, bram=46, dsp=48), 27,
          _MIDDLE | dict(rows=3, cols=8, drain_lanes=1, activation_words=1024),
          flash="tangnano20k"),
    Board("ulx3s_25f", "Radiona ULX3S 25F (and 12F)", "amaranth_boards.ulx3s:ULX3S_25F_Platform",
          "ecp5", "LFE5U-25F-6BG381", _ECP5_25, 40, _MIDDLE, flash="ulx3s"),
    Board("ulx3s_45f", "Radiona ULX3S 45F", "amaranth_boards.ulx3s:ULX3S_45F_Platform", "ecp5",
          "LFE5U-45F-6BG381", _ECP5_45, 50, _MIDDLE | dict(rows=12), flash="ulx3s"),
    Board("ulx3s_85f", "Radiona ULX3S 85F", "amaranth_boards.ulx3s:ULX3S_85F_Platform", "ecp5",
          "LFE5U-85F-6BG381", _ECP5_85, 50, _LARGE, flash="ulx3s"),
)}


def board(name: str) -> Board:
    """Return a board by name, or by the Python file that has it as ``BOARD``.

    Raises
    ------
    BoardError
        If there is none; the message has the nearest names.
    """
    if name in BOARDS:
        return BOARDS[name]
    if name.endswith(".py"):
        return _from_file(Path(name))
    near = difflib.get_close_matches(name.lower(), BOARDS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(BOARDS)}"
    raise BoardError(f"no board is called {name!r}; {hint}")


def _from_file(path: Path) -> Board:
    """Return what a file of the user's defines as ``BOARD``."""
    if not path.is_file():
        raise BoardError(f"no board file {path}; it must be a Python file that defines BOARD")
    try:
        found = runpy.run_path(str(path)).get("BOARD")
    except Exception as error:
        raise BoardError(f"the board file {path} does not run: {type(error).__name__}: {error}"
                         ) from None
    if not isinstance(found, Board):
        raise BoardError(f"the board file {path} must define BOARD as a "
                         f"smartdeal.boards.catalogue.Board, not {found!r}")
    return found
