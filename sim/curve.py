"""The trade-off of cycles and loss as a picture: ``smartdeal compile --curve``."""

from pathlib import Path
from typing import TYPE_CHECKING

from smartdeal.sim.budget import TradeOff
from smartdeal.sim.picture import picture_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_curve"]

_WIDTH, _HEIGHT = 7.5, 4.8  # inches


def draw_curve(trade_off: TradeOff, path: Path, title: str) -> None:
    """Draw loss over cycles: the curve, forms for all layers alike, the budget and the choice.

    Parameters
    ----------
    path : Path
        A picture; the same bytes for the same trade-off.

    Raises
    ------
    DrawingError
        As :func:`smartdeal.sim.picture.check_picture`.
    """
    with picture_file(path, (_WIDTH, _HEIGHT)) as figure:
        axes = figure.add_subplot()
        _plot(axes, trade_off)
        axes.set_title(title)


def _plot(axes: "Axes", trade_off: TradeOff) -> None:
    curve = trade_off.curve
    axes.plot([p.cycles for p in curve], [p.estimate for p in curve], color="tab:blue",
              label="mixes, losses of the layers added up")
    measured = [(p.cycles, p.loss) for p in curve if p.loss is not None]
    axes.plot(*zip(*measured, strict=True), "o", color="tab:blue", markersize=4,
              label="the same, measured")
    for point in trade_off.uniform:
        assert point.loss is not None  # uniform mixes are measured
        axes.plot(point.cycles, point.loss, "s", color="tab:gray", markersize=6)
        axes.annotate(point.label, (point.cycles, point.loss), xytext=(6, 4),
                      textcoords="offset points", color="dimgray")
    axes.plot([], [], "s", color="tab:gray", label="one form for all layers")
    limit = trade_off.budget.limit
    line = axes.axvline if trade_off.budget.kind == "cycles" else axes.axhline
    line(limit, color="tab:red", linestyle="--", linewidth=1, label=f"budget {trade_off.budget}")
    chosen = trade_off.chosen
    assert chosen.loss is not None  # what is chosen is measured
    axes.plot(chosen.cycles, chosen.loss, "*", color="tab:red", markersize=13, label="chosen")
    axes.set_yscale("log")
    axes.margins(x=0.09)
    axes.set_xlabel("cycles of an image")
    axes.set_ylabel("loss: KL divergence from floating point, nats")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(fontsize="small")
