"""How the commands write files and speak to the terminal."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from smartdeal.golden.files import write_whole

__all__ = ["Stages", "console", "fitting", "stages", "write_text"]

#: What a file or a pipe takes: no terminal is there to wrap a line.
_UNLIMITED = 1000


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let the caller see that nobody reads on; rich would exit with 1."""
        raise BrokenPipeError


def console() -> Console:
    """Return the console for results: standard output, plain text if it is not a terminal."""
    out = _Console(highlight=False)
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = _UNLIMITED
    return out


def fitting(out: Console, tables: Sequence[Table]) -> Table:
    """Return the first table that fits in the console, or else the last one.

    The console is made as wide as that one: a wrapped line is better than a cut number.
    """
    limit = out.width
    out.width = _UNLIMITED
    widths = [out.measure(table).maximum for table in tables]
    chosen = next((i for i, width in enumerate(widths) if width <= limit), len(tables) - 1)
    out.width = max(limit, widths[chosen])
    return tables[chosen]


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
