"""The frontier as a picture: accuracy against storage and against cycles."""

import io
from collections.abc import Sequence
from pathlib import Path

from smartdeal.golden.files import write_whole
from smartdeal.sim.shootout import Entry

__all__ = ["PictureError", "draw_shootout"]

_KINDS = (".png", ".svg", ".pdf")


class PictureError(ValueError):
    """A picture that cannot be drawn; the message says what to do."""


def draw_shootout(entries: Sequence[Entry], title: str, path: Path) -> None:
    """Draw a point for each entry; those on the frontier are joined.

    Parameters
    ----------
    path : Path
        ``.png``, ``.svg`` or ``.pdf``.

    Raises
    ------
    PictureError
        If the suffix is another one, or matplotlib is not installed.
    OSError
        If the file cannot be written.
    """
    if path.suffix not in _KINDS:
        raise PictureError(f"picture must be a file {', '.join(_KINDS)}, not {str(path)!r}")
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise PictureError("the picture needs matplotlib; install it with pip install "
                           "'smartdeal[plots]'") from None
    matplotlib.use("Agg")  # no window
    matplotlib.rcParams["svg.hashsalt"] = "smartdeal"  # the same bytes every time
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    panels = (("weights in kB", lambda entry: entry.stored_bytes / 1000),
              ("thousand cycles per image", lambda entry: entry.cycles / 1000))
    for axis, (label, cost) in zip(axes, panels, strict=True):
        shown = [entry for entry in entries if label.startswith("weights") or entry.cycles]
        points = [(cost(entry), 100 * entry.accuracy) for entry in shown]
        for (x, y), entry in zip(points, shown, strict=True):
            axis.plot(x, y, "o", color="tab:blue" if entry.form != "smartdeal" else "tab:orange")
            axis.annotate(entry.label, (x, y), textcoords="offset points", xytext=(5, 5),
                          fontsize=8)
        axis.plot(*zip(*frontier(points), strict=True), color="tab:gray", linewidth=0.8, zorder=0)
        axis.set_xlabel(label)
        axis.margins(x=0.25, y=0.15)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("right test images in %, in integers")
    figure.suptitle(title)
    figure.tight_layout()
    buffer = io.BytesIO()
    dated = {"Date": None} if path.suffix == ".svg" else (
        {"CreationDate": None} if path.suffix == ".pdf" else {})
    figure.savefig(buffer, format=path.suffix[1:], dpi=150, metadata=dated)
    pyplot.close(figure)
    write_whole(path, buffer.getvalue())


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (cost, accuracy) that no other beats in both, by rising cost."""
    best: list[tuple[float, float]] = []
    for cost, right in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or right > best[-1][1]:
            best.append((cost, right))
    return best
