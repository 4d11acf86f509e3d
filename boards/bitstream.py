"""What is in an iCE40 bitstream, read back: as configuration bits, and as a netlist to simulate."""

import shutil
import tempfile
from pathlib import Path

from amaranth import *
from amaranth.lib import wiring

from smartdeal.boards.core import BoardCore
from smartdeal.boards.errors import BuildStepError, ToolMissing
from smartdeal.boards.netlist import with_models
from smartdeal.boards.tools import command, run_tool

__all__ = ["RecoveredBoard", "check_bitstream", "read_configuration", "recover_netlist", "unpack"]

_CHIP = "chip"
#: What configures the device; comments and names of nets do not.
_BITS = frozenset({".device", ".io_tile", ".logic_tile", ".ramb_tile", ".ramt_tile", ".ram_data",
                   ".ipcon_tile", ".dsp0_tile", ".dsp1_tile", ".dsp2_tile", ".dsp3_tile",
                   ".extra_bit", ".warmboot"})
#: The simulated clock is the PLL's output: it passes its input on.
_PLL = "\n".join(f"""
module {name}(input {pin}, RESETB, BYPASS, DYNAMICDELAY, LATCHINPUTVALUE, SDI, SCLK, EXTFEEDBACK,
              output PLLOUTCORE, PLLOUTGLOBAL, LOCK, SDO);
  parameter FEEDBACK_PATH = "", DELAY_ADJUSTMENT_MODE_FEEDBACK = "", PLLOUT_SELECT = "";
  parameter DELAY_ADJUSTMENT_MODE_RELATIVE = "", SHIFTREG_DIV_MODE = 0, FDA_FEEDBACK = 0;
  parameter FDA_RELATIVE = 0, DIVR = 0, DIVF = 0, DIVQ = 0, FILTER_RANGE = 0;
  parameter ENABLE_ICEGATE = 0, TEST_MODE = 0;
  assign PLLOUTCORE = {pin}, PLLOUTGLOBAL = {pin}, LOCK = RESETB, SDO = 1'b0;
endmodule
""" for name, pin in (("SB_PLL40_CORE", "REFERENCECLK"), ("SB_PLL40_PAD", "PACKAGEPIN")))


def unpack(bitstream: Path) -> str:
    """Return the configuration in a bitstream, in IceStorm's text form.

    Raises
    ------
    ToolMissing, BuildStepError
        If iceunpack is missing, or cannot read the file.
    """
    folder = Path(tempfile.mkdtemp(prefix=".smartdeal-unpack-", dir=Path.cwd()))
    try:
        shutil.copyfile(bitstream, folder / "packed.bin")
        run_tool([*command("iceunpack"), "packed.bin", "unpacked.asc"], what="unpacking",
                 folder=folder, log=folder / "unpack.log")
        return (folder / "unpacked.asc").read_text()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_configuration(text: str) -> dict[str, str]:
    """Return the bits of each tile, each memory's contents and each extra bit that are not zero.

    Parameters
    ----------
    text : str
        IceStorm's text form (``.asc``).
    """
    found: dict[str, str] = {}
    for section in ("\n" + text).split("\n.")[1:]:
        head, _, body = section.partition("\n")
        kind = "." + head.split()[0]
        bits = body.strip()
        if kind not in _BITS:
            continue
        if body.strip("0\n"):
            found[f".{head}"] = bits
        elif not bits:  # what it says stands in the head
            found[f".{head}"] = ""
    return found


def check_bitstream(bitstream: Path, routed: Path) -> int:
    """Unpack a bitstream, hold it against what place and route has made; return its sections.

    Raises
    ------
    BuildStepError
        If they differ; the message names the first tile.
    """
    packed = read_configuration(unpack(bitstream))
    wanted = read_configuration(routed.read_text())
    if packed != wanted:
        wrong = sorted(name for name in packed.keys() | wanted.keys()
                       if packed.get(name) != wanted.get(name))
        raise BuildStepError(f"{bitstream.name} holds something else than {routed.name}: "
                             f"{len(wrong)} sections differ, the first is {wrong[0]}; the packer "
                             "is wrong, or one of the files is damaged")
    return len(packed)


def recover_netlist(bitstream: Path, constraints: Path) -> str:
    """Return the netlist in a bitstream as Verilog, with models for its cells.

    The module ``chip`` has the pins as ports, named as in the constraints; nothing of the design
    but the bitstream is used.

    Raises
    ------
    ToolMissing
        If icebox_vlog is missing.
    BuildStepError
        If a tool fails.
    """
    tool = shutil.which("icebox_vlog")
    if tool is None:
        raise ToolMissing("no icebox_vlog: install it from your system (Debian: apt install "
                          "fpga-icestorm)")
    folder = Path(tempfile.mkdtemp(prefix=".smartdeal-recover-", dir=Path.cwd()))
    try:
        (folder / "unpacked.asc").write_text(unpack(bitstream))
        pins = [line for line in constraints.read_text().splitlines() if "set_io" in line]
        (folder / "pins.pcf").write_text("\n".join(pins) + "\n")
        run_tool([tool, "-s", "-n", _CHIP, "-p", "pins.pcf", "unpacked.asc"], what="icebox_vlog",
                 folder=folder, log=folder / "chip.v")
        return with_models((folder / "chip.v").read_text(), _CHIP, "ice40", more=_PLL)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class RecoveredBoard(wiring.Component):
    """A netlist from :func:`recover_netlist` in the place of a board's core; LEDs are not wired.

    Parameters
    ----------
    core : BoardCore
        What the bitstream was built from, for its ports; it is not elaborated.
    clock : str
        Name of the oscillator's pin in the constraints.
    """

    rx: Signal
    tx: Signal

    def __init__(self, core: BoardCore, clock: str):
        self.clock = clock
        super().__init__(core.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.chip = Instance(
            _CHIP, ("i", self.clock, ClockSignal()), ("i", "uart_0__rx__io", self.rx),
            ("o", "uart_0__tx__io", self.tx))
        return m
