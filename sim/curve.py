"""The trade-off of cycles and loss as a picture: ``smartdeal compile --curve``."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from smartdeal.golden.files import write_whole
from smartdeal.sim.budget import BudgetError, TradeOff

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_curve", "draw_curve"]

_SUFFIXES = (".svg", ".png")
_WIDTH, _HEIGHT = 7.5, 4.8  # inches


def check_curve(path: Path) -> None:
    """Raise what :func:`draw_curve` would raise, before the work.

    Raises
    ------
    BudgetError
        If the file's kind is not supported, or matplotlib is missing.
    """
    if path.suffix not in _SUFFIXES:
        raise BudgetError(f"curve must be a file {' or '.join(_SUFFIXES)}, not {str(path)!r}")
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise BudgetError("drawing a curve needs the library matplotlib; install "
                          "'smartdeal[plots]'") from None
    matplotlib.use("agg")


def draw_curve(trade_off: TradeOff, path: Path, title: str) -> None:
    """Draw loss over cycles: the curve, forms for all layers alike, the budget and the choice.

    Parameters
    ----------
    path : Path
        An .svg or .png; the same bytes for the same trade-off.
    """
    check_curve(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "smartdeal", "svg.fonttype": "none"}):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        _plot(axes, trade_off)
        axes.set_title(title)
        buffer = io.BytesIO()
        kind = path.suffix[1:]
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    write_whole(path, buffer.getvalue())


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
