"""Builds a simulator and runs a job in it: the one way in which this project simulates."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cocotb_tools.config
import find_libpython

from smartdeal.golden.files import check_target
from smartdeal.sim.errors import SimulationError, ToolError, WaveformError
from smartdeal.sim.icarus import build_icarus
from smartdeal.sim.job import Job, Result, read_results
from smartdeal.sim.toolchain import compiler, icarus, package_version, verilator_root
from smartdeal.sim.verilator import build_verilator

__all__ = ["BENCH", "SIMULATORS", "Simulator", "SimulatorName", "build_simulator", "check_tools",
           "cocotb_environment", "run_job"]

SimulatorName = Literal["verilator", "icarus"]
SIMULATORS: tuple[SimulatorName, ...] = ("verilator", "icarus")

#: The module that does jobs inside the simulator.
BENCH = "smartdeal.sim.bench"
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Simulator:
    """A compiled design.

    Parameters
    ----------
    name : "verilator" or "icarus"
    top : str
        Name of the top module.
    path : Path
        What to run.
    waves : Path or None
        Where a run writes its waveform.
    """

    name: SimulatorName
    top: str
    path: Path
    waves: Path | None


def build_simulator(
    verilog: str, top: str, ports: Sequence[str], *, name: SimulatorName = "verilator",
    waves: Path | None = None, quick: bool = False,
) -> Simulator:
    """Compile a design, or take the compiled one from the user's cache.

    Parameters
    ----------
    verilog : str
    top : str
        Name of the top module.
    ports : sequence of str
        Its ports, clock and reset included.
    name : "verilator" or "icarus"
    waves : Path or None
        Waveform file of each run, ``.vcd`` or ``.fst``.
    quick : bool
        Compile sooner for a simulator that is several times slower: for synthesised netlists.

    Raises
    ------
    ToolError
        If the simulator, its compiler or the bench language is missing.
    BuildError
        If the build fails.
    WaveformError
        If ``waves`` ends otherwise, or cannot be written.
    """
    check_tools(name, waves)
    if name == "icarus":
        path = build_icarus(verilog, top, waves=waves is not None)
    else:
        path = build_verilator(verilog, top, ports, waves.suffix[1:] if waves else None,
                               quick=quick)
    return Simulator(name, top, path, waves.resolve() if waves else None)


def check_tools(name: SimulatorName, waves: Path | None = None) -> None:
    """Raise early what :func:`build_simulator` would raise, as far as that is cheap."""
    if waves is not None and waves.suffix not in (".vcd", ".fst"):
        raise WaveformError(f"waveform file must end in .vcd or .fst, not {waves.name!r}")
    if waves is not None:
        try:
            check_target(waves)
        except OSError as error:
            raise WaveformError(f"cannot write the waveform {waves}: {error.strerror}; "
                                "choose another file") from None
    if name == "icarus":
        icarus()
    else:
        verilator_root()
        compiler()
    package_version("cocotb")


def run_job(
    simulator: Simulator, job: Job, *, on_result: Callable[[int], None] | None = None,
    bench: str = BENCH,
) -> list[Result]:
    """Run a job and return the result of each of its operations.

    Parameters
    ----------
    simulator : Simulator
    job : Job
    on_result : callable, optional
        Told the number of operations done, a few times a second.
    bench : str
        The module that does the job, for another one than this project's own; it must be where
        the environment's PYTHONPATH or the installation finds it.

    Raises
    ------
    SimulationError
        If a rule of the ports was broken or the simulator ended early. The message has the reason,
        the seed and the log, which is kept.
    WaveformError
        If the simulator wrote no waveform.
    """
    if simulator.waves is not None and simulator.waves.is_file():
        simulator.waves.unlink()  # an old one must not pass for this run's
    folder = Path(tempfile.mkdtemp(prefix="smartdeal-"))
    try:
        values = _run(simulator, job, folder, on_result, bench)
    except SimulationError:
        raise
    except BaseException:  # no log that anybody would read
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder)
    _check_waves(simulator)
    return values


def _run(
    simulator: Simulator, job: Job, folder: Path, on_result: Callable[[int], None] | None,
    bench: str,
) -> list[Result]:
    job.save(folder)
    log, results = folder / "simulation.log", folder / "results.jsonl"
    with log.open("w") as output:
        process = subprocess.Popen(_command(simulator, folder), cwd=folder, stdout=output,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   env=cocotb_environment(simulator, folder, job.seed, bench))
        try:
            while True:
                try:
                    process.wait(_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if on_result is not None and results.exists():
                        on_result(results.read_bytes().count(b"\n"))
        finally:
            process.kill()
            process.wait()
    if process.returncode == -signal.SIGINT:  # Ctrl-C reaches the simulator too
        raise KeyboardInterrupt
    lines = results.read_text().splitlines() if results.exists() else []
    if lines and (reason := json.loads(lines[-1]).get("failed")):
        raise SimulationError(reason, seed=job.seed, log=log)
    if len(lines) != len(job.operations):
        raise SimulationError(
            f"{simulator.name} ended with status {process.returncode} after {len(lines)} of "
            f"{len(job.operations)} operations", seed=job.seed, log=log)
    return read_results(lines, (folder / "results.bin").read_bytes())


def _check_waves(simulator: Simulator) -> None:
    """Raise if the run left no waveform: Verilator says nothing when it cannot open the file."""
    waves = simulator.waves
    if waves is not None and not (waves.exists() and waves.stat().st_size):
        raise WaveformError(f"{simulator.name} wrote no waveform to {waves}; choose another file")


def _command(simulator: Simulator, folder: Path) -> list[str]:
    job = f"+job={folder}"
    waves = simulator.waves
    if simulator.name == "icarus":
        library = cocotb_tools.config.lib_name_path("vpi", "icarus")
        dump = [f"-{waves.suffix[1:]}", f"+waves={waves}"] if waves else []
        return ["vvp", "-m", str(library), str(simulator.path), job, *dump]
    trace = ["--trace", "--trace-file", str(waves)] if waves else []
    return [str(simulator.path), job, *trace]


def cocotb_environment(
    simulator: Simulator, folder: Path, seed: int, bench: str = BENCH,
) -> dict[str, str]:
    """Return the environment by which cocotb finds Python and the bench, a module's name.

    Raises
    ------
    ToolError
        If this Python has no shared library.
    """
    libpython = find_libpython.find_libpython()
    if libpython is None:
        raise ToolError(f"the Python at {sys.executable} has no shared library, which the "
                        "simulator loads; use one that was built with --enable-shared, such as "
                        "your system's")
    # What cocotb reads must come from here only, or a user's shell changes the result.
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("COCOTB_", "GPI_", "PYGPI_"))}
    environment = kept | {
        "COCOTB_TEST_MODULES": bench,
        "COCOTB_TOPLEVEL": simulator.top,
        "COCOTB_RESULTS_FILE": str(folder / "results.xml"),
        "COCOTB_RANDOM_SEED": str(seed),
        "COCOTB_REWRITE_ASSERTION_FILES": "",
        "TOPLEVEL_LANG": "verilog",
        "GPI_USERS": f"{libpython};{cocotb_tools.config.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
    }
    if simulator.name == "verilator":
        # Lets the simulator drive the clock by itself: Python sleeps while the design computes.
        environment["COCOTB_TRUST_INERTIAL_WRITES"] = "1"
    return environment
