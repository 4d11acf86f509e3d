"""The front as a picture: latency against area and against energy."""

from pathlib import Path
from typing import TYPE_CHECKING

from smartdeal.sim.explore.exploration import Exploration, Point
from smartdeal.sim.explore.space import TERMS
from smartdeal.sim.picture import picture_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_exploration"]

#: Colour-blind-safe (Okabe and Ito), and a marker each.
_STYLES = dict(zip(TERMS, (("#0072B2", "o"), ("#E69F00", "s"), ("#009E73", "^"),
                           ("#CC79A7", "D"), ("#D55E00", "v")), strict=True))
_AREA = {"lut": "LUTs, thousands", "mm2": "area in mm²"}


def draw_exploration(exploration: Exploration, title: str, path: Path) -> None:
    """Draw every point within the budget, those of the front filled.

    Raises
    ------
    DrawingError, OSError
        As :func:`smartdeal.sim.picture.picture_file`.
    """
    with picture_file(path, (11, 5)) as figure:
        _draw(figure, exploration, title)


def _draw(figure: "Figure", exploration: Exploration, title: str) -> None:
    unit = exploration.plan.target.unit

    def area(point: Point) -> float:
        return point.area[unit] / (1000 if unit == "lut" else 1)

    axes = figure.subplots(1, 2, sharey=True)
    panels = ((axes[0], _AREA[unit], area),
              (axes[1], "energy per image in µJ", lambda point: point.result["energy_uj"]))
    for axis, label, cost in panels:
        axis.plot([cost(point) for point in exploration.points],
                  [point.result["latency_ms"] for point in exploration.points], ".",
                  color="#bbbbbb", markersize=3, label="not on the front", zorder=0)
        for form, (colour, marker) in _STYLES.items():
            shown = [point for point in exploration.front if point.candidate.form == form]
            if shown:
                axis.plot([cost(point) for point in shown],
                          [point.result["latency_ms"] for point in shown], marker, color=colour,
                          markersize=6, linestyle="", label=form, alpha=0.85)
        axis.set_xlabel(label)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")
        axis.set_xlim(left=0)
        axis.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("latency per image in ms")
    figure.suptitle(title)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
