"""A timeline as a picture: ``smartdeal compile --timeline``."""

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from smartdeal.compiler.network_program import NetworkProgram
from smartdeal.hw.isa import SectionKind
from smartdeal.sim.picture import picture_file
from smartdeal.sim.timeline import Held, Running, Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_timeline"]

#: Neighbours differ, also for the colour-blind (Okabe and Ito), and black text can be read on all.
_LAYERS = ("#56b4e9", "#e69f00", "#7fd1b9", "#f0e442", "#d9a5c7")
_MOVE, _WAIT = "#9a9a9a", "#d55e00"
_WIDTH = 11.0  # inches
#: Lanes from the top: what runs, what is loaded by kind, what is stored.
_LANES = {
    "array": (), "steps": (SectionKind.STEPS,),
    "tables": (SectionKind.CHANNELS, SectionKind.BASIS, SectionKind.PROGRAM),
    "activations": (SectionKind.ACTIVATIONS,), "stores": (None,),
}
#: Room that text needs: of a letter in the picture's width, of a line in the lower part's height.
_LETTER, _LINE = 0.0062, 0.035


def draw_timeline(program: NetworkProgram, timeline: Timeline, path: Path, title: str) -> None:
    """Draw what runs and moves over cycles, and below it the words of the activation buffer.

    Parameters
    ----------
    path : Path
        An .svg or .png; the same bytes for the same program.

    Raises
    ------
    DrawingError
        As :func:`smartdeal.sim.picture.check_picture`.
    """
    lanes = list(_LANES) if timeline.transfers else ["array"]
    with picture_file(path, (_WIDTH, 4.2 + 0.4 * len(lanes))) as figure:
        above, below = figure.subplots(
            2, 1, sharex=True, height_ratios=[0.5 + 0.45 * len(lanes), 4.2])
        colours = {layer.name: _LAYERS[number % len(_LAYERS)]
                   for number, layer in enumerate(program.layers)}
        _draw_lanes(above, timeline, lanes, colours)
        for held in timeline.held:
            _draw_held(below, held, timeline.cycles, program.used_words, colours)
        above.set_title(title)
        below.set_xlim(0, timeline.cycles)
        below.set_ylim(0, program.used_words)
        below.set_xlabel("cycles")
        below.set_ylabel(f"words of the activation buffer, {program.config.cols} bytes each")
        for axis in (below.xaxis, below.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _draw_lanes(
    axes: "Axes", timeline: Timeline, lanes: list[str], colours: dict[str, str],
) -> None:
    for layer, group in groupby(timeline.instructions, key=lambda one: one.layer):
        _draw_layer(axes, layer, list(group), timeline.cycles, colours)
    for number, lane in enumerate(lanes):
        for transfer in timeline.transfers:
            if transfer.kind in _LANES[lane]:
                axes.barh(number, transfer.stop - transfer.start, left=transfer.start, height=0.7,
                          color="#0072b2" if transfer.kind is not None else "#009e73")
    axes.set_yticks(range(len(lanes)), lanes)
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.barh(0, 0, color=_MOVE, label="copies on chip (MOVE)")
    if timeline.transfers:
        axes.barh(0, 0, color=_WAIT, label="waits for system memory")
    axes.legend(fontsize="small", loc="lower right", bbox_to_anchor=(1, 1), ncols=2,
                frameon=False)


def _draw_layer(
    axes: "Axes", layer: str, group: list[Running], total: int, colours: dict[str, str],
) -> None:
    """Draw the instructions of a layer: its steps, its copies, its waiting at the end of each."""
    for one in group:
        waiting = one.cycles.stall_memory
        colour = _MOVE if one.cycles.move else colours.get(layer, _MOVE)
        axes.barh(0, one.cycles.total - waiting, left=one.start, height=0.8, color=colour)
        if waiting:
            axes.barh(0, waiting, left=one.stop - waiting, height=0.8, color=_WAIT)
    start, stop = group[0].start, group[-1].stop
    if (stop - start) / total > _LETTER * len(layer):
        axes.text((start + stop) / 2, 0, layer, ha="center", va="center", fontsize=7)


def _draw_held(
    axes: "Axes", held: Held, cycles: int, words: int, colours: dict[str, str],
) -> None:
    """Draw what lies in the buffer; copies and windows are hatched."""
    what = held.what
    tensor = what.holds.removeprefix("window on ").removesuffix(", phases")
    axes.barh(what.base, held.stop - held.start, left=held.start, height=what.words,
              align="edge", color=colours.get(tensor, "#dddddd"), edgecolor="black", linewidth=0.5,
              hatch="///" if tensor != what.holds else None)
    if ((held.stop - held.start) / cycles > _LETTER * len(what.holds)
            and what.words / words > _LINE):
        axes.text((held.start + held.stop) / 2, what.base + what.words / 2, what.holds,
                  ha="center", va="center", fontsize=7,
                  bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1})
