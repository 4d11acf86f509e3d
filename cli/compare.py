"""``smartdeal compare``: this accelerator beside published ones, at equal budgets."""

import json
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from smartdeal.cli.output import console, fitting, stages, write_text
from smartdeal.golden.files import check_target

__all__ = ["compare"]

_EPILOG = """NET is one of vgg11, vgg19, resnet50, resnet164, resnet18 and resnet20; all of them if
none is named. The published designs are models of their own: docs/baselines.md says what each
assumes, and how near it comes to a number of its own paper.

\b
Examples:
  smartdeal compare resnet50
  smartdeal compare resnet50 --zero-fraction 0.586 --tech 45nm --json compare.json
  smartdeal compare vgg19 resnet18 -o compare.html
"""

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog=_EPILOG)
@click.argument("nets", nargs=-1, metavar="NET…")
@click.option("-o", "--output", type=_FILE, metavar="FILE.html", help="Write bar charts.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write all as JSON.")
@click.option("--tech", default="28nm", show_default=True, metavar="TABLE",
              help="Technology table: 28nm, 45nm, fpga (zc706), or a TOML file.")
@click.option("--zero-fraction", type=float, default=None,
              help="Zero weights of every network instead of the paper's.")
@click.option("--dram-bandwidth", type=click.IntRange(min=1), default=32, show_default=True,
              help="Bytes of external memory per cycle, for the overlapped speed-up.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Of the drawn weights.")
def compare(
    nets: tuple[str, ...], output: Path | None, json_file: Path | None, tech: str,
    zero_fraction: float | None, dram_bandwidth: int, seed: int,
) -> None:
    """Compare energy, speed and external memory with published accelerators."""
    from smartdeal.sim.baselines.compare import compare as compare_network
    from smartdeal.sim.baselines.compare import compare_data
    from smartdeal.sim.baselines.design import Budget
    from smartdeal.sim.baselines.ours import budget_config
    from smartdeal.sim.baselines.shapes import NETWORKS, network
    from smartdeal.sim.energy.technology import Technology

    for target in (output, json_file):
        if target is not None:
            check_target(target)
    technology = Technology.load(tech)
    budget = Budget(dram_bytes_per_cycle=dram_bandwidth)
    config = budget_config(budget)
    networks = [network(name, zero_fraction) for name in dict.fromkeys(nets or NETWORKS)]
    found = []
    with stages() as tell:
        for shapes in networks:
            found.append((shapes, compare_network(
                shapes, technology, budget=budget, config=config, seed=seed,
                progress=lambda layer, done, name=shapes.name: tell(name, done))))
            tell(shapes.name, 1.0)
    data = compare_data(found, technology, budget, config)
    out = console()
    for net in data["networks"]:
        _print(out, net, technology.name)
    out.print(_conditions(data), soft_wrap=True)
    if json_file is not None:
        write_text(json_file, json.dumps(data, indent=2) + "\n")
    if output is not None:
        from smartdeal.sim.report.comparison import render_comparison

        write_text(output, render_comparison(data))


def _print(out: Any, net: dict[str, Any], tech: str) -> None:
    from smartdeal.sim.report import numbers

    out.print(f"{net['title']}: {net['zero_weights']:.1%} of the weights zero "
              f"({net['zeros_from']}), {net['zero_activations']:.0%} of the activations",
              soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, collapse_padding=True)
    table.add_column("accelerator", no_wrap=True)
    for header in ("cycles", "speed-\nup", "with\nDRAM", f"energy\n({tech})", "effi-\nciency",
                   "DRAM", "less\nDRAM"):
        table.add_column(header, justify="right", no_wrap=True)
    for result in net["results"]:
        table.add_row(
            result["title"], numbers.cycles(result["cycles"]), f"{result['speedup']:.2f} ×",
            f"{result['bound_speedup']:.2f} ×", numbers.energy(result["energy_pj"]),
            f"{result['energy_efficiency']:.2f} ×",
            numbers.data_size(sum(result["dram_bytes"].values())),
            f"{result['fewer_dram_bytes']:.2f} ×",
            style="bold" if result["design"] == "smartdeal" else "")
    out.print(fitting(out, [table]))


def _conditions(data: dict[str, Any]) -> str:
    budget, config, table = data["budget"], data["configuration"], data["technology"]
    return (f"Ratios are to DianNao, larger is better. {budget['multipliers']:,} multipliers or "
            f"{8 * budget['multipliers']:,} bit-serial ones, {budget['sram_bytes'] // 1024} KB, "
            f"{budget['dram_bytes_per_cycle']} bytes of DRAM per cycle; this accelerator: "
            f"{config['rows']}×{config['cols']}. Energies by the table {table['name']} "
            f"({table['title']}).")
