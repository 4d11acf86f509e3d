"""How the commands write files and speak to the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from smartdeal.golden.files import write_whole

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
    write_whole(path, text.encode())


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
