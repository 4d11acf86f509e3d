"""Pictures as files: one way to draw with matplotlib, the same bytes every time."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from smartdeal.golden.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SUFFIXES", "DrawingError", "check_picture", "picture_file"]

#: By suffix, what of the metadata would change from one time to the next.
_KINDS: dict[str, dict[str, str | None]] = {
    ".svg": {"Date": None}, ".png": {"Software": None}, ".pdf": {"CreationDate": None}}
#: Kinds of pictures.
SUFFIXES = tuple(_KINDS)
_DOTS_PER_INCH = 150


class DrawingError(ValueError):
    """A picture that cannot be drawn; the message says what to do."""


def check_picture(path: Path) -> None:
    """Raise what :func:`picture_file` would raise, before the work that is to be drawn.

    Raises
    ------
    DrawingError
        If the file's kind is not supported, or matplotlib is missing.
    """
    if path.suffix not in _KINDS:
        raise DrawingError(f"picture must be a file {', '.join(_KINDS)}, not {str(path)!r}")
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise DrawingError("the picture needs matplotlib; install it with pip install "
                           "'smartdeal[plots]'") from None
    matplotlib.use("agg")  # no window


@contextmanager
def picture_file(path: Path, size: tuple[float, float]) -> Iterator["Figure"]:
    """Give a figure to draw on, and write it; a reader never sees half of the file.

    Parameters
    ----------
    path : Path
        ``.svg``, ``.png`` or ``.pdf``.
    size : (width, height)
        In inches.

    Raises
    ------
    DrawingError
        As :func:`check_picture`.
    OSError
        If the file cannot be written.
    """
    check_picture(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "smartdeal", "svg.fonttype": "none"}):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix[1:], dpi=_DOTS_PER_INCH,
                       metadata=_KINDS[path.suffix])
    write_whole(path, buffer.getvalue())
