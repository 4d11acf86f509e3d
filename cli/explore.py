"""``smartdeal explore``: the accelerators of a budget that no other one beats."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table

from smartdeal.cli.output import console, fitting, stages, write_text
from smartdeal.golden.files import check_target
from smartdeal.golden.specs import NETWORKS

if TYPE_CHECKING:  # what the models need takes seconds to import
    from smartdeal.sim.explore.exploration import Exploration, Plan
    from smartdeal.sim.explore.verify import Verified

__all__ = ["explore"]

_EPILOG = f"""NET is one of {', '.join(NETWORKS)}. Targets: 28nm, and the boards with an ECP5 device
(smartdeal boards), whose block RAMs and multipliers are limits too. Objectives are latency, energy,
area, and for trained networks the loss against the float network on the package's calibration
images. docs/exploration.md says what is assumed.

\b
Dimensions of --set: rows, cols, exponents, acc_bits, activation_kib, weight_steps, drain_lanes,
  form.
\b
Examples:
  smartdeal explore resnet8 --target ulx3s_85f --budget lut=40000 --picture front.svg
  smartdeal explore resnet8 --target 28nm --budget mm2=1.5,mw=100 --jobs 2 --csv points.csv
  smartdeal explore resnet20 --target 28nm --budget mm2=2 --set rows=12,24 --set form=smartdeal
  smartdeal explore resnet8 --target ulx3s_85f --budget lut=30000 --results run.jsonl --verify 2
  smartdeal explore resnet18 --memory --target 28nm --budget mm2=4 --points 50
  smartdeal explore resnet8 --target 28nm --budget mm2=1 --scheduler tcp://10.0.0.5:8786
"""

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog=_EPILOG)
@click.argument("net")
@click.option("--target", required=True, metavar="BOARD|28nm",
              help="Where the accelerator is to be.")
@click.option("--budget", "budgets", multiple=True, required=True, metavar="KEY=N[,KEY=N]",
              help="What may not be exceeded: lut=N, mm2=N, mw=N; may be repeated.")
@click.option("--points", type=click.IntRange(min=1), default=500, show_default=True,
              help="Points to compute, drawn evenly from those whose area is within the budget.")
@click.option("--set", "dimensions", multiple=True, metavar="NAME=V[,V]",
              help="Values of a dimension; may be repeated.")
@click.option("--memory", is_flag=True,
              help="Programs that load from system memory, for networks that do not fit on chip.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True,
              help="Processes on this machine.")
@click.option("--scheduler", metavar="ADDRESS",
              help="Compute on the Dask cluster of this scheduler, as tcp://host:8786.")
@click.option("--results", type=_FILE, metavar="FILE.jsonl",
              help="Keep points here as they are found; the same command goes on where it stopped.")
@click.option("--verify", "count", type=click.IntRange(min=0), default=0, metavar="K",
              help="Measure K points of the front again: synthesis and RTL simulation.")
@click.option("--picture", type=_FILE, metavar="FILE",
              help="Draw the front: .png, .svg or .pdf (needs matplotlib).")
@click.option("--csv", "csv_file", type=_FILE, metavar="FILE", help="Write every point as CSV.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write all as JSON.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Of the draw, and of seeded weights.")
def explore(
    net: str, target: str, budgets: tuple[str, ...], points: int, dimensions: tuple[str, ...],
    memory: bool, jobs: int, scheduler: str | None, results: Path | None, count: int,
    picture: Path | None, csv_file: Path | None, json_file: Path | None, seed: int,
) -> int:
    """Search the accelerators for NET within a budget, and show those that no other one beats."""
    from smartdeal.sim.explore.exploration import Plan, points_csv
    from smartdeal.sim.explore.exploration import explore as run_exploration
    from smartdeal.sim.explore.picture import draw_exploration
    from smartdeal.sim.explore.space import Space
    from smartdeal.sim.explore.target import Budget, Target
    from smartdeal.sim.picture import check_picture

    if scheduler is not None and jobs > 1:
        raise click.UsageError("--jobs is for this machine, --scheduler for a cluster; give one")
    where = Target.find(target)
    plan = Plan(network=net, target=where, budget=Budget.parse(budgets, where),
                space=Space.parse(dimensions, memory=memory), points=points, seed=seed)
    if picture is not None:
        check_picture(picture)
    for file in (picture, csv_file, json_file):
        if file is not None:
            check_target(file)
    with stages() as tell:
        found = run_exploration(plan, results, jobs=jobs, scheduler=scheduler,
                                tell=lambda done: tell("points", done))
    out = console()
    out.print(_title(plan), soft_wrap=True)
    out.print(fitting(out, [_table(found)]))
    out.print(_verdict(found), soft_wrap=True)
    values = found.as_dict()
    if csv_file is not None:
        write_text(csv_file, points_csv(found))
    if picture is not None:
        draw_exploration(found, _title(plan), picture)
        out.print(f"{picture} drawn", soft_wrap=True)
    verified = _measure(found, count) if count else []
    if verified:
        out.print(fitting(out, [_verified_table(verified)]))
        values["verified"] = [item.as_dict() for item in verified]
    if json_file is not None:
        write_text(json_file, json.dumps(values, indent=2) + "\n")
    return 0 if all(item.equal for item in verified) else 1


def _measure(found: "Exploration", count: int) -> "list[Verified]":
    from smartdeal.sim.explore.verify import verify

    with stages() as tell:
        return verify(found, count, tell)


def _title(plan: "Plan") -> str:
    limits = ", ".join(f"{key} ≤ {value:,.10g}" for key, value in plan.budget.limits.items())
    return f"{plan.network} on {plan.target.name}, {limits}; {plan.task.mode}"


def _table(found: "Exploration") -> Table:
    unit = found.plan.target.unit
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, collapse_padding=True)
    for name in ("array", "form", "exponents", "acc\nbits", "buffer\nKiB", "steps", "lanes",
                 {"lut": "LUTs", "mm2": "mm²"}[unit], "cycles", "ms", "µJ", "mW", "loss\nnats",
                 "same\nclass"):
        table.add_column(name, justify="left" if name in ("array", "form") else "right",
                         no_wrap=True)
    for point in found.front:
        c, r = point.candidate, point.result
        area = point.area[unit]
        table.add_row(
            f"{c.rows}×{c.cols}", c.form, f"{c.exponents}", f"{c.acc_bits}",
            f"{c.activation_kib}", f"{c.weight_steps:,}", f"{c.drain_lanes}",
            f"{area:,.0f}" if unit == "lut" else f"{area:.3f}", f"{r['cycles']:,}",
            f"{r['latency_ms']:.3f}", f"{r['energy_uj']:.1f}", f"{r['mw']:.1f}",
            "–" if r["loss"] is None else f"{r['loss']:.4f}",
            "–" if r["same"] is None else f"{r['same']:.1%}")
    return table


def _verdict(found: "Exploration") -> str:
    known = any(point.result["loss"] is not None for point in found.points)
    accuracy = ("loss and class against the float network on the package's calibration images"
                if known else "accuracy not known: seeded weights")
    return (f"{len(found.front)} points of the front of {len(found.points)} within the budget; "
            f"{found.candidates:,} candidates, {found.too_large:,} too large, {found.computed:,} "
            f"computed, {found.refused:,} that the network does not fit, {found.over_power:,} over "
            f"the power; {accuracy}; {found.plan.note}")


def _verified_table(verified: "list[Verified]") -> Table:
    table = Table(title="measured again", box=box.SIMPLE_HEAD, show_edge=False)
    for name in ("point", "cycles\nmodel", "cycles\nRTL", "bytes and\ncycles equal", "LUTs\nmodel",
                 "LUTs\nsynthesis", "differ-\nence"):
        table.add_column(name, justify="left" if name == "point" else "right", no_wrap=True)
    for item in verified:
        c = item.point.candidate
        luts = ("–", "–", "–")
        if item.lut_model is not None and item.lut_synthesis is not None:
            luts = (f"{item.lut_model:,}", f"{item.lut_synthesis:,}",
                    f"{item.lut_model / item.lut_synthesis - 1:+.1%}")
        table.add_row(
            f"{c.rows}×{c.cols} {c.form}, E {c.exponents}, {c.acc_bits} bits, "
            f"{c.drain_lanes} lanes",
            f"{item.cycles_model:,}",
            "–" if item.cycles_rtl is None else f"{item.cycles_rtl:,}",
            "yes" if item.equal else f"NO {item.failure}", *luts)
    return table
