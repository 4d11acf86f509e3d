"""Tables of what a network costs."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

if TYPE_CHECKING:  # what measuring needs takes seconds to import
    from smartdeal.sim.costs import NetworkCosts

__all__ = ["cost_table", "costs_as_json", "format_table", "micro", "part_table", "total_line"]

_BYTE = 8


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, show_footer=True)
    for number, (name, footer) in enumerate(columns):
        table.add_column(name, footer, justify="left" if number < 2 else "right", no_wrap=True)
    return table


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def micro(picojoule: float | None) -> str:
    """Return an energy in µJ."""
    return "–" if picojoule is None else f"{picojoule / 1e6:,.2f}"


def cost_table(costs: "NetworkCosts") -> Table:
    """Return a line per layer: sparsity, storage, cycles and energy."""
    table = _table(
        ("layer", "total"), ("form", ""), ("weights", f"{costs.weights:,}"),
        ("zero\nweights", ""), ("zero\nvectors", f"{costs.zero_vectors:.1%}"),
        ("terms\n/weight", ""),
        ("bits\n/weight", f"{costs.stored_bits / costs.weights:.2f}"),
        ("stored\nbytes", f"{-(-costs.stored_bits // _BYTE):,}"),
        ("program\nbytes", _count(costs.program_bytes)), ("cycles", _count(costs.cycles)),
        ("energy\nµJ", micro(costs.energy_pj)))
    for layer in costs.layers:
        table.add_row(
            layer.name, layer.form, f"{layer.weights:,}", f"{layer.zero_weights:.1%}",
            f"{layer.zero_vectors:.1%}", f"{layer.terms_per_weight:.2f}",
            f"{layer.stored_bits / layer.weights:.2f}", f"{-(-layer.stored_bits // _BYTE):,}",
            _count(layer.program_bytes), _count(layer.cycles), micro(layer.energy_pj))
    return table


def part_table(costs: "NetworkCosts") -> Table:
    """Return a line per layer: stored bits by part."""
    totals = costs.bits()
    table = _table(("layer", "total"), ("form", ""),
                   *((part, f"{bits:,}") for part, bits in totals.items()),
                   ("all bits", f"{costs.stored_bits:,}"))
    for layer in costs.layers:
        table.add_row(layer.name, layer.form, *(f"{layer.bits[part]:,}" for part in totals),
                      f"{layer.stored_bits:,}")
    return table


def format_table(costs: "NetworkCosts") -> Table:
    """Return a line per layer: bytes of the integer weights by storage format."""
    names = list(costs.layers[0].formats)
    table = _table(
        ("layer", "total"), ("form", ""),
        *((name.replace("_", "\n"), f"{sum(layer.formats[name] for layer in costs.layers):,}")
          for name in names),
        ("HAM\nbound", ""), ("sHAM\nbound", ""))
    for layer in costs.layers:
        dense = layer.weights * 4
        table.add_row(layer.name, layer.form, *(f"{layer.formats[name]:,}" for name in names),
                      f"{layer.ham_bound * dense:,.0f}", f"{layer.sham_bound * dense:,.0f}")
    return table


def total_line(costs: "NetworkCosts") -> str:
    """Return what the network takes, in a sentence."""
    line = (f"{-(-costs.stored_bits // _BYTE):,} bytes of weights, "
            f"{costs.ratio:.1f} times less than float32")
    if costs.energy_pj is not None:
        line += f"; energy of an image by the table {costs.technology}, loading included"
    return f"{line}; {costs.refusal}" if costs.refusal else line


def costs_as_json(costs: "NetworkCosts") -> dict[str, Any]:
    """Return the tables for machines."""
    return {
        "weights": costs.weights, "stored_bits": costs.stored_bits, "bits": costs.bits(),
        "ratio": costs.ratio, "zero_vectors": costs.zero_vectors, "cycles": costs.cycles,
        "program_bytes": costs.program_bytes, "refusal": costs.refusal,
        "energy_pj": costs.energy_pj, "technology": costs.technology,
        "layers": [{**asdict(layer), "stored_bits": layer.stored_bits}
                   for layer in costs.layers]}
