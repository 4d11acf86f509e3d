"""The frontier as a picture: accuracy against storage and against cycles."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from smartdeal.sim.picture import picture_file
from smartdeal.sim.shootout import Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_shootout", "frontier"]

#: Accuracies are shown down to so many points below the best.
_SHOWN_POINTS = 6
_MARKERS = "os^Dv*PX"


def draw_shootout(entries: Sequence[Entry], title: str, path: Path) -> None:
    """Draw a point for each entry; those on the frontier are joined.

    Parameters
    ----------
    path : Path
        ``.png``, ``.svg`` or ``.pdf``.

    Raises
    ------
    DrawingError
        As :func:`smartdeal.sim.picture.check_picture`.
    OSError
        If the file cannot be written.
    """
    with picture_file(path, (11, 4.8)) as figure:
        _draw(figure, entries, title)


def _draw(figure: "Figure", entries: Sequence[Entry], title: str) -> None:
    axes = figure.subplots(1, 2, sharey=True)
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
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (cost, accuracy) that no other beats in both, by rising cost."""
    best: list[tuple[float, float]] = []
    for cost, right in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or right > best[-1][1]:
            best.append((cost, right))
    return best
