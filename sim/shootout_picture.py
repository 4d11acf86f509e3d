"""The frontier as a picture: accuracy against storage, cycles and energy."""

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from smartdeal.sim.picture import picture_file
from smartdeal.sim.shootout import Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["draw_shootout", "frontier"]

#: Accuracies are shown down to so many points below the best.
_SHOWN_POINTS = 6
#: Room above the best and below the lowest, as a share of what is between.
_MARGIN = 0.08
_MARKERS = "os^Dv*PX"


def _per_million(picojoule: float | None) -> float | None:
    return None if picojoule is None else picojoule / 1e6


#: Panels: what is on the x axis; None leaves an entry out.
_COSTS: tuple[tuple[str, Callable[[Entry], float | None]], ...] = (
    ("weights in kB", lambda entry: entry.stored_bytes / 1000),
    ("thousand cycles per image", lambda entry: entry.cycles and entry.cycles / 1000),
    ("energy of an image in µJ", lambda entry: _per_million(entry.energy_pj)),
)


def draw_shootout(entries: Sequence[Entry], title: str, path: Path) -> None:
    """Draw a point for each entry and kind of cost; those on the frontier are joined.

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
    with picture_file(path, (14, 4.8)) as figure:
        _draw(figure, entries, title)


def _draw(figure: "Figure", entries: Sequence[Entry], title: str) -> None:
    axes = figure.subplots(1, len(_COSTS), sharey=True)
    rights = [100 * entry.accuracy for entry in entries]
    lowest = max(min(rights), max(rights) - _SHOWN_POINTS)
    handles: dict[str, Line2D] = {}
    for axis, (label, cost) in zip(axes, _COSTS, strict=True):
        points: list[tuple[float, float]] = []
        for entry, right, marker in zip(entries, rights, cycle(_MARKERS), strict=False):
            x = cost(entry)
            handle, = axis.plot([] if x is None else [x], [] if x is None else [max(right, lowest)],
                                marker, markersize=8, linestyle="", label=entry.label)
            handles[entry.label] = handle
            if x is None:
                continue
            points.append((x, right))
            if right < lowest:  # far below: at the edge, with its number
                axis.annotate(f"{right:.1f} %", (x, lowest), textcoords="offset points",
                              xytext=(8, -3), fontsize=8)
        best = [point for point in frontier(points) if point[1] >= lowest]
        axis.plot(*zip(*best, strict=True), color="tab:gray", linewidth=0.8, zorder=0)
        axis.set_xlabel(label)
        axis.set_xlim(left=0)
        axis.grid(alpha=0.3)
    margin = max(0.2, (max(rights) - lowest) * _MARGIN)
    axes[0].set_ylim(lowest - margin, max(rights) + margin)
    axes[0].set_ylabel("right test images in %, in integers")
    figure.suptitle(title)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4,
                  frameon=False)


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (cost, accuracy) that no other beats in both, by rising cost."""
    best: list[tuple[float, float]] = []
    for cost, right in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or right > best[-1][1]:
            best.append((cost, right))
    return best
