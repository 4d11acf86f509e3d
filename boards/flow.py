"""The steps from a board and a configuration to a bitstream, each a tool with files it leaves."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smartdeal.boards.bitstream import check_bitstream
from smartdeal.boards.catalogue import Board
from smartdeal.boards.clocks import PllSettings, has_reset, pll_settings
from smartdeal.boards.core import BoardCore
from smartdeal.boards.errors import BuildStepError, FitError
from smartdeal.boards.technology import TARGETS, Resources, memory_styles
from smartdeal.boards.tools import command, run_tool, yosys_command
from smartdeal.boards.top import CORE_MODULE, BoardTop
from smartdeal.golden.files import write_whole
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.technology import TECHNOLOGIES
from smartdeal.hw.verilog import emit

__all__ = ["BITSTREAMS", "Routed", "Sources", "count", "generate", "pack", "route", "synthesise"]

_TOP = "top"
#: Suffix of the file that goes to the board, by technology.
BITSTREAMS = {"ecp5": "bit", "ice40": "bin", "gowin": "fs"}
_ROUTED = {"ecp5": "config", "ice40": "asc", "gowin": "pnr.json"}
_CONSTRAINTS = {"ecp5": "lpf", "ice40": "pcf", "gowin": "cst"}
_NEXTPNR = {"ecp5": "nextpnr-ecp5", "ice40": "nextpnr-ice40", "gowin": "nextpnr-himbaechel-gowin"}
#: What nextpnr says of a design that is too large.
_NO_ROOM = re.compile(r"Failed to expand region.* of \d+ \w+|[Uu]nable to place cell.*|"
                      r"no Bels remaining.*|No Bels remaining.*")
#: Without it, nextpnr squares the number of cells for a limit of its attempts to place one: more
#: than 46,340 cells overflow, and it gives up after the least number.
_PLACER = {"ecp5": ("--placer-heap-cell-placement-timeout", "0")}
_PACKER = {"ecp5": "ecppack", "ice40": "icepack", "gowin": "gowin_pack"}


@dataclass(frozen=True)
class Sources:
    """What synthesis and place and route start from.

    Parameters
    ----------
    settings : PllSettings
    device_options, pack_options : tuple of str
        Of place and route, and of the packer, as the board's platform has them.
    """

    settings: PllSettings
    device_options: tuple[str, ...]
    pack_options: tuple[str, ...]

    @property
    def clock_mhz(self) -> float:
        """Clock of the accelerator."""
        return self.settings.frequency_hz / 1e6


@dataclass(frozen=True)
class Routed:
    """One run of place and route.

    Parameters
    ----------
    seed : int
    mhz : float
        Highest clock of the accelerator, by static timing.
    seconds : float
    utilisation : dict
        By kind of cell, (used, available).
    critical_path : tuple of str
        Places in the design along the slowest path, from its start to its end.
    """

    seed: int
    mhz: float
    seconds: float
    utilisation: dict[str, tuple[int, int]]
    critical_path: tuple[str, ...]


def generate(board: Board, config: AcceleratorConfig, clock_mhz: float, folder: Path) -> Sources:
    """Write ``core.v``, ``top.il`` and the pin constraints."""
    platform = board.make_platform()
    settings = pll_settings(board.target, platform.default_clk_frequency, clock_mhz * 1e6,
                            device=board.device)

    def core() -> BoardCore:
        return BoardCore(config, clock_hz=round(settings.frequency_hz))

    plan = platform.prepare(
        BoardTop(core(), board.target, settings, pll_pad=board.pll_pad), _TOP)
    constraints = f"{_TOP}.{_CONSTRAINTS[board.target]}"
    for name in (f"{_TOP}.il", constraints):
        content = plan.files[name]
        write_whole(folder / name, content if isinstance(content, bytes) else content.encode())
    write_whole(folder / "core.v", emit(
        core(), CORE_MODULE, technology=TECHNOLOGIES.get(board.target),
        reset=has_reset(board.target)).encode())
    script = plan.files[f"build_{_TOP}.sh"]
    lines = (script if isinstance(script, str) else script.decode()).splitlines()
    return Sources(settings, _device_options(board.target, lines),
                   _pack_options(board.target, lines))


def _device_options(target: str, lines: list[str]) -> tuple[str, ...]:
    """Return device, package and speed as Amaranth's own build script gives them to nextpnr."""
    words = next(shlex.split(line) for line in lines if line.startswith('"$NEXTPNR'))[1:]
    own = {"--log", "--json", "--lpf", "--pcf", "--cst", "--textcfg", "--asc", "--write"}
    options: list[str] = []
    skip = False
    for word in words:
        if skip or word == "--quiet":
            skip = False
        elif word in own:
            skip = True
        else:
            options.append(word)
    if target == "gowin":  # Amaranth names an older nextpnr's options
        at = options.index("--family")
        options[at:at + 2] = ["--vopt", f"family={options[at + 1]}"]
    return tuple(options)


def _pack_options(target: str, lines: list[str]) -> tuple[str, ...]:
    if target != "gowin":
        return ("--compress",) if target == "ecp5" else ()
    words = next(shlex.split(line) for line in lines if line.startswith('"$GOWIN_PACK'))
    return ("-d", words[words.index("-d") + 1], *(w for w in words if w.startswith("--")))


def synthesise(board: Board, config: AcceleratorConfig, folder: Path) -> float:
    """Make ``netlist.json`` and ``stat.json``; return the seconds that it took."""
    script = TARGETS[board.target].script.format(top=_TOP, liberty="")
    if board.target == "ice40":  # as one module: what crosses from one to another is made smaller
        script = script.replace(" -noflatten", "")
    if board.device.startswith("iCE40HX"):
        script = script.replace("-device u -dsp -spram", "-device hx")
    if board.device.startswith("GW2A"):
        script = script.replace("-family gw1n", "-family gw2a")
    write_whole(folder / "synth.ys", "\n".join([
        "read_verilog core.v", "read_rtlil top.il", *memory_styles(script, config),
        *script.split("; "), "flatten", "opt_clean",
        "tee -q -o stat.json stat -json", "write_json netlist.json", ""]).encode())
    return run_tool(yosys_command("synth.ys"), what="synthesis", folder=folder,
                    log=folder / "synthesis.log")


def count(board: Board, sources: Sources, folder: Path) -> Resources:
    """Return what a synthesised design takes of the device.

    On iCE40 ``lut`` are logic cells, as place and route packs them: a flip-flop or a carry takes
    one for itself where no table goes with it.
    """
    cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    resources = TARGETS[board.target].count(cells)
    if board.target != "ice40":
        return resources
    constraints = f"{_TOP}.{_CONSTRAINTS[board.target]}"
    run_tool([*command(_NEXTPNR[board.target]), *sources.device_options, "--json", "netlist.json",
              "--pcf", constraints, "--pack-only", "--report", "pack.json"],
             what="packing cells", folder=folder, log=folder / "cells.log")
    used = json.loads((folder / "pack.json").read_text())["utilization"]["ICESTORM_LC"]["used"]
    return replace(resources, lut=int(used))


def route(
    board: Board, sources: Sources, seed: int, folder: Path, *, nice: int = 0,
    watch: Callable[[str], None] | None = None,
) -> Routed:
    """Place and route with a seed: ``seed_N.…`` and its report ``seed_N.json``.

    Raises
    ------
    FitError
        If the design does not fit.
    BuildStepError
        If it fails.
    """
    target = board.target
    constraints, result = f"{_TOP}.{_CONSTRAINTS[target]}", f"seed_{seed}.{_ROUTED[target]}"
    files = {
        "ecp5": ["--lpf", constraints, "--textcfg", result],
        "ice40": ["--pcf", constraints, "--asc", result],
        "gowin": ["--vopt", f"cst={constraints}", "--write", result],
    }[target]
    report, log = f"seed_{seed}.json", folder / f"seed_{seed}.log"
    try:
        seconds = run_tool(
            [*command(_NEXTPNR[target]), *sources.device_options, "--json", "netlist.json", *files,
             "--freq", f"{sources.clock_mhz:g}", "--seed", str(seed), "--timing-allow-fail",
             "--report", report, *_PLACER.get(target, ())],
            what=f"place and route, seed {seed},", folder=folder, log=log, nice=nice, watch=watch)
    except BuildStepError as error:
        if found := _NO_ROOM.search(log.read_text()):
            raise FitError(f"the design does not fit {board.name}: place and route finds no room "
                           f"({found[0]}); take a smaller array or fewer features (log: {log})"
                           ) from None
        raise error
    return _read_report(json.loads((folder / report).read_text()), seed, seconds)


def _read_report(report: dict[str, Any], seed: int, seconds: float) -> Routed:
    clocks = report["fmax"]
    if not clocks:
        raise BuildStepError("place and route has found no clock in the design")
    # The slowest clock: the oscillator's own drives nothing but the PLL.
    name = min(clocks, key=lambda clock: clocks[clock]["achieved"])
    paths = [path for path in report.get("critical_paths", [])
             if name in path["from"] and name in path["to"]]
    places = _places(paths[0]["path"]) if paths else ()
    used = {kind: (int(cell["used"]), int(cell["available"]))
            for kind, cell in report["utilization"].items()}
    return Routed(seed, float(clocks[name]["achieved"]), seconds, used, places)


def _places(path: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the modules that a path goes through, each once in a row."""
    places: list[str] = []
    for step in path:
        cell = str(step["to"].get("cell", ""))
        words = [word for word in cell.replace("/", ".").split(".") if word]
        place = ".".join(word for word in words[:-1] if not word.startswith("$"))
        if place and (not places or places[-1] != place):
            places.append(place)
    return tuple(places)


def pack(board: Board, sources: Sources, seed: int, folder: Path, bitstream: Path) -> float:
    """Make the bitstream of a routed seed; it appears under its name when it is complete.

    On iCE40 it is unpacked first: it must hold what place and route has made.
    """
    target = board.target
    temporary = folder / f".{bitstream.name}.part"
    routed = f"seed_{seed}.{_ROUTED[target]}"
    arguments = {
        "ecp5": ["--input", routed, "--bit", temporary.name],
        "ice40": [routed, temporary.name],
        "gowin": ["-o", temporary.name, routed],
    }[target]
    try:
        seconds = run_tool([*command(_PACKER[target]), *sources.pack_options, *arguments],
                           what="packing", folder=folder, log=folder / "pack.log")
        if not temporary.is_file() or not temporary.stat().st_size:
            raise BuildStepError(f"packing made no bitstream (log: {folder / 'pack.log'})")
        if target == "ice40":
            check_bitstream(temporary, folder / routed)
        temporary.replace(bitstream)
    finally:
        temporary.unlink(missing_ok=True)
    return seconds
