"""``smartdeal synth``: area of an accelerator, module by module."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from smartdeal.cli.options import configuration_options
from smartdeal.cli.output import console, fitting, stages, write_text
from smartdeal.hw.config import AcceleratorConfig

if TYPE_CHECKING:
    from smartdeal.boards.synth import SynthesisReport

__all__ = ["synth"]

_EPILOG = """\b
LUT counts four-input tables (on Xilinx: up to six inputs), those in carry cells included. With a
Liberty file it is cell area, and memories stay macros whose bits are told.
\b
Examples:
  smartdeal synth --rows 12 --cols 16 --target ecp5
  smartdeal synth --target ice40 --rows 6 --cols 4 --sweep 6x4,6x8,12x8
  smartdeal synth --target asic:cells.lib --json area.json
"""


def _sizes(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Read ``6x4,12x8``."""
    if value is None:
        return ()
    try:
        sizes = [tuple(map(int, size.lower().replace("×", "x").split("x")))
                 for size in value.split(",")]
        if any(len(size) != 2 for size in sizes):
            raise ValueError
    except ValueError:
        raise click.BadParameter(f"must be sizes as 6x4,12x8, not {value!r}") from None
    return sizes


@click.command(epilog=_EPILOG)
@click.option("--target", required=True, metavar="ecp5|ice40|gowin|xilinx|asic:LIBERTY",
              help="Technology.")
@click.option("--sweep", callback=_sizes, metavar="RxC,…", help="Sizes to synthesise, each.")
@click.option("--depth", type=click.IntRange(min=0), default=2, show_default=True,
              help="Levels of the hierarchy to print.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path),
              metavar="FILE", help="Write every number as JSON.")
@configuration_options
def synth(
    config: AcceleratorConfig, target: str, sweep: list[tuple[int, int]], depth: int,
    json_file: Path | None,
) -> None:
    """Synthesise an accelerator for a technology and print what each module takes."""
    from smartdeal.boards.synth import parse_target, synthesise

    parse_target(target)
    configs = [config.replace(rows=r, cols=c) for r, c in sweep] or [config]
    reports = []
    with stages() as tell:
        for item in configs:
            reports.append(synthesise(item, target, tell=lambda stage, done, item=item: tell(
                f"{stage} {item.rows}×{item.cols}", done)))
    out = console()
    if sweep:
        out.print(fitting(out, [_sweep_table(reports)]))
    else:
        out.print(fitting(out, [_module_table(reports[0], depth)]))
    if json_file is not None:
        write_text(json_file, json.dumps([r.as_dict() for r in reports] if sweep else
                                         reports[0].as_dict(), indent=2) + "\n")


_COLUMNS = {"LUT": "lut", "carry": "carry", "RAM LUT": "lutram", "FF": "ff", "BRAM": "bram",
            "DSP": "dsp"}
_AREA_COLUMNS = {"area µm²": "area", "memory bits": "memory_bits"}


def _columns(report: "SynthesisReport") -> dict[str, str]:
    return _AREA_COLUMNS if report.target.startswith("asic") else _COLUMNS


def _module_table(report: "SynthesisReport", depth: int) -> Table:
    table = Table(title=f"{report.config.rows} × {report.config.cols} on {report.target}, "
                        f"{report.tool}, {report.seconds:.0f} s")
    table.add_column("module")
    table.add_column("count", justify="right")
    columns = _columns(report)
    for name in columns:
        table.add_column(name, justify="right")
    for module in report.modules:
        if module.depth <= depth:
            table.add_row("  " * module.depth + module.name, f"{module.count:,}",
                          *(f"{getattr(module.each, key):,}" if isinstance(
                              getattr(module.each, key), int)
                            else f"{getattr(module.each, key):,.0f}" for key in columns.values()))
    return table


def _sweep_table(reports: "list[SynthesisReport]") -> Table:
    table = Table(title=f"{reports[0].target}, {reports[0].tool}")
    area = reports[0].target.startswith("asic")
    what = "area" if area else "LUT"
    for name in ("array", "PEs", *_columns(reports[0]), f"{what} per PE",
                 f"PE array: {what} per PE", "seconds"):
        table.add_column(name, justify="left" if name == "array" else "right")
    for report in reports:
        elements = report.config.rows * report.config.cols
        key = "area" if area else "lut"
        table.add_row(
            f"{report.config.rows}×{report.config.cols}", f"{elements:,}",
            *(f"{getattr(report.total, name):,.0f}" for name in _columns(report).values()),
            *(f"{getattr(part, key) / elements:,.1f}" for part in (report.total, report.array)),
            f"{report.seconds:.0f}")
    return table
