"""Area of an accelerator on a technology, by module, from Yosys."""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smartdeal.boards.errors import BoardError, BuildStepError
from smartdeal.boards.technology import TARGETS, Resources, memory_styles
from smartdeal.boards.tools import run_tool, tool_version, yosys_command
from smartdeal.hw.accelerator import Accelerator
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.technology import TECHNOLOGIES
from smartdeal.hw.verilog import emit

__all__ = ["ModuleArea", "SynthesisReport", "parse_target", "synthesise"]

_TOP = "smartdeal"
_MEMORY_CELLS = ("$mem", "$mem_v2")


@dataclass(frozen=True)
class ModuleArea:
    """A module in the hierarchy.

    Parameters
    ----------
    name : str
        Instance, or what equal instances have in common.
    module : str
    count : int
        Instances in the parent.
    depth : int
        0 is the top.
    each : Resources
        Of one instance, all that is below it included.
    """

    name: str
    module: str
    count: int
    depth: int
    each: Resources


@dataclass(frozen=True)
class SynthesisReport:
    """What synthesis says of one configuration.

    Parameters
    ----------
    config : AcceleratorConfig
    target : str
    tool : str
    seconds : float
    modules : tuple of ModuleArea
        Depth first, the top first.
    """

    config: AcceleratorConfig
    target: str
    tool: str
    seconds: float
    modules: tuple[ModuleArea, ...]

    @property
    def total(self) -> Resources:
        """Of the whole accelerator."""
        return self.modules[0].each

    @property
    def array(self) -> Resources:
        """Of the PE array and its read-out."""
        return next(m.each for m in self.modules if m.name == "array")

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "rows": self.config.rows, "cols": self.config.cols, "target": self.target,
            "tool": self.tool, "seconds": round(self.seconds, 1),
            "configuration": self.config.as_dict(), "total": asdict(self.total),
            "modules": [{"name": m.name, "module": m.module, "count": m.count,
                         "depth": m.depth, **asdict(m.each)} for m in self.modules],
        }


def parse_target(target: str) -> tuple[str, Path | None]:
    """Return technology and Liberty file of a ``--target``.

    Raises
    ------
    BoardError
        If the technology is not known, or a Liberty file is missing where one is needed.
    """
    name, _, file = target.partition(":")
    if name not in TARGETS or (file and name != "asic"):
        known = ", ".join([*(n for n in TARGETS if n != "asic"), "asic:FILE.lib"])
        raise BoardError(f"target must be one of {known}, not {target!r}")
    if name != "asic":
        return name, None
    path = Path(file)
    if not file or not path.is_file():
        raise BoardError(f"target asic needs a Liberty file, as asic:cells.lib, not {target!r}: "
                         "no such file")
    return name, path


def synthesise(
    config: AcceleratorConfig, target: str, *, tell: Callable[[str, float], None] | None = None,
) -> SynthesisReport:
    """Synthesise an accelerator and count its cells, module by module.

    Parameters
    ----------
    config : AcceleratorConfig
    target : str
        "ecp5", "ice40", "gowin", "xilinx" or "asic:LIBERTY".

    Raises
    ------
    BoardError
        If the target is not known.
    ToolMissing, BuildStepError
        If Yosys is missing, or fails.
    """
    name, liberty = parse_target(target)
    tell = tell or (lambda stage, done: None)
    tell("generate", 0.0)
    verilog = emit(Accelerator(config), _TOP, technology=TECHNOLOGIES.get(name))
    tell("generate", 1.0)
    tell("synthesise", 0.0)
    # Not in the system's folder for temporary files: WebAssembly builds do not see it.
    folder = Path(tempfile.mkdtemp(prefix=".smartdeal-synth-", dir=Path.cwd()))
    try:
        (folder / "design.v").write_text(verilog)
        if liberty is not None:
            shutil.copyfile(liberty, folder / "cells.lib")
        (folder / "synth.ys").write_text(_script(name, config))
        seconds = run_tool(yosys_command("synth.ys"), what="Yosys", folder=folder,
                           log=folder / "yosys.log")
        statistics = json.loads((folder / "stat.json").read_text())
        dumped = folder / "memories.txt"
        memories = _memories(dumped.read_text()) if dumped.exists() else {}
    except BuildStepError as error:
        kept = Path(tempfile.mkdtemp(prefix="smartdeal-")) / "yosys.log"
        os.replace(folder / "yosys.log", kept)
        raise BuildStepError(str(error).replace(str(folder / "yosys.log"), str(kept))) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tell("synthesise", 1.0)
    modules = tuple(_walk(_plain_names(statistics["modules"]), name, memories))
    return SynthesisReport(config, target, tool_version("yosys"), seconds, modules)


def _script(target: str, config: AcceleratorConfig) -> str:
    script = TARGETS[target].script.format(top=_TOP, liberty="cells.lib")
    lines = ["read_verilog design.v", *memory_styles(script, config), *script.split("; ")]
    if target == "asic":
        lines.append("tee -q -o memories.txt dump t:$mem_v2 t:$mem")
    # What is left of synthesis' own modules goes into those that use it.
    lines.append("tee -q -o stat.json stat -json"
                 + (" -liberty cells.lib" if target == "asic" else ""))
    return "\n".join(lines) + "\n"


def _plain_names(modules: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix("\\"): values for name, values in modules.items()}


def _memories(dump: str) -> dict[str, int]:
    """Return bits of memory by module, from Yosys' dump of memory cells."""
    bits: Counter[str] = Counter()
    module, size, width = "", 0, 0
    for line in dump.splitlines():
        words = line.split()
        if words[:1] == ["module"]:
            module = words[1].removeprefix("\\")
        elif words[:2] == ["parameter", "\\SIZE"]:
            size = _constant(words[2])
        elif words[:2] == ["parameter", "\\WIDTH"]:
            width = _constant(words[2])
        elif words == ["end"] and size:
            bits[module] += size * width
            size = width = 0
    return dict(bits)


def _constant(text: str) -> int:
    return int(text.partition("'")[2].removeprefix("s"), 2) if "'" in text else int(text)


def _walk(
    modules: Mapping[str, Any], target: str, memories: Mapping[str, int],
) -> Iterator[ModuleArea]:
    totals: dict[str, Resources] = {}

    def total(module: str) -> Resources:
        if module not in totals:
            cells = {n.removeprefix("\\"): _number(c) for n, c in
                     modules[module]["num_cells_by_type"].items()}
            own = {n: c for n, c in cells.items() if n not in modules}
            result = TARGETS[target].count(own)
            result += Resources(area=float(modules[module].get("area", 0.0)),
                                memory_bits=memories.get(module, 0))
            for child, count in cells.items():
                if child in modules:
                    result += total(child).times(count)
            totals[module] = result
        return totals[module]

    def visit(name: str, module: str, count: int, depth: int) -> Iterator[ModuleArea]:
        yield ModuleArea(name, module, count, depth, total(module))
        children = [(n.removeprefix("\\"), _number(c))
                    for n, c in modules[module]["num_cells_by_type"].items()]
        known = [(n, c) for n, c in children if n in modules]
        for child, number in sorted(known, key=lambda item: -total(item[0]).times(item[1]).lut):
            yield from visit(_short(child, module), child, number, depth + 1)

    yield from visit(_TOP, _TOP, 1, 0)


def _number(value: Any) -> int:
    """Return a count; with a Liberty file Yosys gives ``{"count": …}`` or text."""
    return int(value["count"] if isinstance(value, dict) else value)


_NAMES = {"processing_array": "array"}


def _short(module: str, parent: str) -> str:
    for prefix in (f"{parent}_", f"{_TOP}_"):
        module = module.removeprefix(prefix)
    return _NAMES.get(module, module)
