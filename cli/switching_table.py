"""The two estimates of a layer's energy, side by side."""

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:  # what counting needs takes seconds to import
    from smartdeal.sim.energy.switching import Group, Switching

__all__ = ["switching_table", "switching_verdict"]

_NANO = 1e3


def switching_table(found: "Switching") -> Table:
    """Return a line per component: cells, toggles, energy by switching and by events, ratio."""
    table = Table(show_footer=True, box=box.SIMPLE_HEAD, show_edge=False, collapse_padding=True)
    total = _cells(found.total)
    table.add_column(found.layer, "total", no_wrap=True)
    for name, footer in zip(("cells", "toggles", "outputs\nnJ", "clock\nnJ", "memories\nnJ",
                             "switching\nnJ", "events\nnJ", "switching\n/ events"), total,
                            strict=True):
        table.add_column(name, footer, justify="right", no_wrap=True)
    for group in found.groups:
        table.add_row(group.name, *_cells(group))
    return table


def switching_verdict(found: "Switching") -> str:
    """Return what the table shows, in a sentence."""
    return (f"{found.layer} alone, {found.cycles:,} cycles, without loading and DRAM; cells by "
            f"the table {found.cells!r} (estimated), memories and events by {found.technology}")


def _cells(group: "Group") -> list[str]:
    energies = (group.cells_pj, group.clock_pj, group.memory_pj, group.switching_pj,
                group.events_pj)
    ratio = "–" if group.ratio is None else f"{group.ratio:.2f}"
    return [f"{group.cells:,}", f"{group.toggles:,}",
            *(f"{energy / _NANO:,.2f}" for energy in energies), ratio]
