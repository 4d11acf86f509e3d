"""How the commands write files and speak to the terminal."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["Stages", "console", "stages", "write_text"]

#: Columns that a table may take in any case: a wrapped line is better than a cut number.
_LEAST_WIDTH = 110


def console() -> Console:
    """Return the console for results: standard output, plain text if it is not a terminal."""
    width = Console().width
    return Console(highlight=False, width=max(width, _LEAST_WIDTH))


def write_text(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it; make its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp makes private files; these are ordinary ones.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


class Stages:
    """Progress bars, one per stage, that appear when the stage begins.

    Parameters
    ----------
    progress : rich.progress.Progress
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: float) -> None:
        """Set how much of a stage is done, 0…1."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=1.0)
        self._progress.update(self._tasks[stage], completed=done)


@contextmanager
def stages() -> Iterator[Stages]:
    """Show progress on standard error while the block runs, if that is a terminal."""
    terminal = Console(stderr=True)
    columns = (TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal, transient=True,
                  disable=not terminal.is_terminal) as progress:
        yield Stages(progress)
