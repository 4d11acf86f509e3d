"""Program files of either kind."""

from pathlib import Path

from smartdeal.compiler import container
from smartdeal.compiler.network_program import KIND, NetworkProgram
from smartdeal.compiler.program import Program

__all__ = ["load_program"]


def load_program(path: Path) -> Program | NetworkProgram:
    """Read a compiled layer or network from disk.

    Raises
    ------
    ProgramFormatError
        If the file cannot be read, or is not a program; the message names it.
    """
    with container.naming(path):
        data = container.read(path)
        manifest, _ = container.unpack(data)
        kind = NetworkProgram if manifest.get("kind") == KIND else Program
        return kind.from_bytes(data)
