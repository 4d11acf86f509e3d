"""The frontier as a picture: accuracy against storage and against cycles."""

import io
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from smartdeal.golden.files import write_whole
from smartdeal.sim.shootout import Entry

__all__ = ["PictureError", "draw_shootout", "frontier"]

#: Accuracies are shown down to so many points below the best.
_SHOWN_POINTS = 6
_MARKERS = "os^Dv*PX"
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

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.8), sharey=True)
    lowest = max(entry.accuracy for entry in entries) * 100 - _SHOWN_POINTS
    panels = (("weights in kB", lambda entry: entry.stored_bytes / 1000),
              ("thousand cycles per image", lambda entry: entry.cycles / 1000))
    for axis, (label, cost) in zip(axes, panels, strict=True):
        shown = [entry for entry in entries if label.startswith("weights") or entry.cycles]
        points = [(cost(entry), 100 * entry.accuracy) for entry in shown]
        for (x, y), entry, marker in zip(points, shown, cycle(_MARKERS), strict=False):
            axis.plot(x, max(y, lowest), marker, markersize=8, linestyle="", label=entry.label)
            if y < lowest:  # far below: at the edge, with its number
                axis.annotate(f"{y:.1f} %", (x, lowest), textcoords="offset points",
                              xytext=(8, -3), fontsize=8)
        axis.plot(*zip(*frontier(points), strict=True), color="tab:gray", linewidth=0.8, zorder=0)
        axis.set_xlabel(label)
        axis.set_xlim(left=0)
        axis.set_ylim(lowest - 0.5, lowest + _SHOWN_POINTS + 1)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("right test images in %, in integers")
    figure.suptitle(title)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
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
