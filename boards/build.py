"""Builds a bitstream: the flow's steps in order, several seeds, the best of which goes in."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smartdeal.boards import flow
from smartdeal.boards.catalogue import Board
from smartdeal.boards.choose import KINDS, largest, shortage
from smartdeal.boards.effective import Effective, measure_effective
from smartdeal.boards.errors import BoardError, FitError, TimingError
from smartdeal.boards.flow import BITSTREAMS, Routed
from smartdeal.boards.technology import Resources
from smartdeal.boards.tools import tool_version
from smartdeal.golden.files import write_whole
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["BuildReport", "build_board"]

_TOOLS = {
    "ecp5": ("yosys", "nextpnr-ecp5", "ecppack"),
    "ice40": ("yosys", "nextpnr-ice40", "icepack"),
    "gowin": ("yosys", "nextpnr-himbaechel-gowin", "gowin_pack"),
}


@dataclass(frozen=True)
class BuildReport:
    """What came out of a build.

    Parameters
    ----------
    board : str
    device : str
    config : AcceleratorConfig
    clock_mhz : float
        That the accelerator runs at.
    resources, capacity : Resources
    seeds : tuple of Routed
    best : int
        Seed that is in the bitstream.
    bitstream : Path
    seconds : dict of float
        By step.
    tools : tuple of str
    effective : Effective or str
        What the array makes of ResNet-8, or why it cannot run it.
    """

    board: str
    device: str
    config: AcceleratorConfig
    clock_mhz: float
    resources: Resources
    capacity: Resources
    seeds: tuple[Routed, ...]
    best: int
    bitstream: Path
    seconds: dict[str, float]
    tools: tuple[str, ...]
    effective: Effective | str

    @property
    def elements(self) -> int:
        """Processing elements."""
        return self.config.rows * self.config.cols

    @property
    def peak_gops(self) -> float:
        """10⁹ operations a second, two for each PE and cycle."""
        return 2 * self.elements * self.clock_mhz / 1e3

    @property
    def clocks(self) -> tuple[float, float, float]:
        """Least, median and largest clock of the seeds in MHz."""
        found = [seed.mhz for seed in self.seeds]
        return min(found), statistics.median(found), max(found)

    def shares(self) -> list[tuple[str, int, int]]:
        """Return kind, number used and number there of what the device has."""
        names = KINDS | ({"lut": "logic cells"} if self.device.startswith("iCE40") else {})
        return [(what, getattr(self.resources, name), getattr(self.capacity, name))
                for name, what in names.items()]

    def rows(self) -> list[tuple[str, str]]:
        """Return what a table shows."""
        low, middle, high = self.clocks
        clocks = f"{low:.1f} / {middle:.1f} / {high:.1f} MHz"
        return [
            *((what, f"{used:,} of {there:,}") for what, used, there in self.shares()),
            ("runs at", f"{self.clock_mhz:g} MHz"),
            (f"clock over {len(self.seeds)} seeds: least, median, largest", clocks),
            ("processing elements", f"{self.elements:,}"),
            ("peak", f"{self.peak_gops:.2f} GOPS"),
            ("peak per 1,000 LUTs", f"{self.peak_gops / self.resources.lut * 1e3:.2f} GOPS"),
            *self._effective_rows(),
            ("time", f"{sum(self.seconds.values()):.0f} s"),
        ]

    def _effective_rows(self) -> list[tuple[str, str]]:
        found = self.effective
        if isinstance(found, str):
            return [("ResNet-8 does not run on it", found)]
        return [
            (f"ResNet-8, {found.form}", f"{1 / found.seconds:,.0f} images/s, {found.cycles:,} "
                                        "cycles"),
            ("effective", f"{found.gops:.2f} GOPS"),
            ("effective per 1,000 LUTs", f"{found.gops / self.resources.lut * 1e3:.2f} GOPS"),
            (f"estimated dynamic power, table {found.technology}", f"{found.watts * 1e3:.1f} mW"),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        low, middle, high = self.clocks
        return {
            "board": self.board, "device": self.device, "rows": self.config.rows,
            "cols": self.config.cols, "configuration": self.config.as_dict(),
            "fingerprint": self.config.fingerprint, "clock_mhz": self.clock_mhz,
            "resources": asdict(self.resources), "capacity": asdict(self.capacity),
            "clock_min_mhz": low, "clock_median_mhz": middle, "clock_max_mhz": high,
            "seeds": [asdict(seed) for seed in self.seeds], "seed": self.best,
            "processing_elements": self.elements, "peak_gops": round(self.peak_gops, 3),
            "gops_per_klut": round(self.peak_gops / self.resources.lut * 1e3, 3),
            "effective": self._effective_dict(),
            "bitstream": self.bitstream.name, "bitstream_bytes": self.bitstream.stat().st_size,
            "seconds": {step: round(value, 1) for step, value in self.seconds.items()},
            "tools": list(self.tools),
        }

    def _effective_dict(self) -> dict[str, Any]:
        found = self.effective
        if isinstance(found, str):
            return {"refusal": found}
        return {**asdict(found), "gops": round(found.gops, 3), "watts": round(found.watts, 6),
                "images_per_second": round(1 / found.seconds, 1),
                "gops_per_klut": round(found.gops / self.resources.lut * 1e3, 3)}


def build_board(
    board: Board, config: AcceleratorConfig, folder: Path, *, clock_mhz: float | None = None,
    seeds: Sequence[int] = (1,), nice: int = 0,
    tell: Callable[[str, float], None] | None = None,
) -> BuildReport:
    """Build a bitstream; every file that a step makes stays in ``folder``.

    The bitstream and the reports appear last, under their names: a build that fails or is
    interrupted leaves none, not even an older one's.

    Raises
    ------
    BoardError
        If the clock cannot be made.
    FitError
        If the design is larger than the device.
    TimingError
        If no seed reaches the clock.
    ToolMissing, BuildStepError
        If a tool is missing, or fails.
    """
    tell = tell or (lambda stage, done: None)
    if not seeds:
        raise BoardError("at least one seed is needed")
    tools = tuple(tool_version(tool) for tool in _TOOLS[board.target])  # all there, before hours
    folder.mkdir(parents=True, exist_ok=True)
    bitstream = folder / f"{board.name}.{BITSTREAMS[board.target]}"
    for old in (bitstream, folder / "report.json", folder / "report.html"):
        old.unlink(missing_ok=True)
    seconds: dict[str, float] = {}

    tell("generate", 0.0)
    began = time.monotonic()
    sources = flow.generate(board, config, clock_mhz or board.clock_mhz, folder)
    write_whole(folder / "config.toml", "".join(
        f"{name} = {json.dumps(value)}\n" for name, value in config.as_dict().items()).encode())
    seconds["generate"] = time.monotonic() - began
    tell("generate", 1.0)

    tell("synthesis", 0.0)
    seconds["synthesis"] = flow.synthesise(board, config, folder)
    tell("synthesis", 1.0)
    resources = flow.count(board, sources, folder)
    check_fit(board, config, resources)

    routed = []
    for seed in seeds:
        stage = f"route, seed {seed}"
        tell(stage, 0.0)
        routed.append(flow.route(board, sources, seed, folder, nice=nice,
                                 watch=_Watch(lambda done, stage=stage: tell(stage, done))))
        seconds[stage] = routed[-1].seconds
        tell(stage, 1.0)
    best = max(routed, key=lambda one: one.mhz)
    if best.mhz < sources.clock_mhz:
        raise TimingError(_too_slow(board, best, sources.clock_mhz, len(seeds)))

    tell("pack", 0.0)
    seconds["pack"] = flow.pack(board, sources, best.seed, folder, bitstream)
    tell("pack", 1.0)
    report = BuildReport(
        board.name, board.device, config, sources.clock_mhz, resources, board.capacity,
        tuple(routed), best.seed, bitstream, seconds, tools,
        measure_effective(config, sources.clock_mhz))
    write_whole(folder / "report.json", (json.dumps(report.as_dict(), indent=2) + "\n").encode())
    return report


def check_fit(board: Board, config: AcceleratorConfig, resources: Resources) -> None:
    """Raise :exc:`FitError` if a design is larger than the board's device."""
    short = shortage(board, resources)
    if not short:
        return
    best = largest(board)
    hint = "take a smaller one"
    if best is not None and best.rows * best.cols < config.rows * config.cols:
        hint = f"the largest that fits by the area model is {best.rows}×{best.cols}"
    raise FitError(f"a {config.rows}×{config.cols} array does not fit {board.name}: it takes "
                   f"{short}; {hint}, or smartdeal build {board.name} without sizes for the "
                   "default one")


def _too_slow(board: Board, best: Routed, wanted: float, seeds: int) -> str:
    """Say how fast it is, and where it is slow."""
    path = " → ".join(best.critical_path) or "unknown"
    # What a PLL can make is coarse: stay a little below.
    return (f"{board.name} reaches {best.mhz:.1f} MHz, not {wanted:g} MHz, with the best of "
            f"{seeds} seed{'s' if seeds > 1 else ''}; critical path: {path}; say --clock "
            f"{int(best.mhz * 0.98)}, or try more --seeds")


class _Watch:
    """Guesses from nextpnr's log how far it is."""

    _MARKS = (("Packing", 0.02), ("Annealing", 0.1), ("simulated annealing", 0.3),
              ("Running legaliser", 0.2), ("at iteration", 0.3), ("Routing", 0.5),
              ("Critical path report", 0.95))

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._done = 0.0

    def __call__(self, line: str) -> None:
        for mark, done in self._MARKS:
            if mark in line and done > self._done:
                self._done = done
                self._tell(done)
