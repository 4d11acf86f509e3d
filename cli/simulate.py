"""``smartdeal simulate``: run a network's layers on the accelerator and compare everything."""

import json
import math
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.table import Table

from smartdeal.cli.options import configuration_options
from smartdeal.cli.output import console, fitting, stages, write_text
from smartdeal.golden.files import check_target
from smartdeal.golden.specs import NETWORKS
from smartdeal.hw.config import AcceleratorConfig

if TYPE_CHECKING:  # what simulation needs takes seconds to import
    from smartdeal.sim.simulate import LayerReport
    from smartdeal.sim.workload import Workload

__all__ = ["WrongHardware", "simulate"]

_EPILOG = f"""NET is one of {', '.join(NETWORKS)}. The exit code is 0 only if every byte and every
cycle is equal, 1 if not, and 2 if something cannot be run.

\b
Examples:
  smartdeal simulate resnet8
  smartdeal simulate resnet18 --layer layer1.0.conv1 --rows 9 --cols 8 --zero-fraction 0.6
  smartdeal simulate resnet20 --form deepshift --engine interpreter
  smartdeal simulate resnet8 --layer fc --waves fc.vcd
"""


class WrongHardware(Exception):
    """The hardware broke a rule of its ports, or hung: as bad as a wrong byte."""


def _number(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """Refuse what no range does: NaN is neither below nor above anything."""
    if math.isnan(value):
        raise click.BadParameter(f"{value} is not in the range 0<=x<1.", context, parameter)
    return value


_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog=_EPILOG)
@click.argument("net")
@click.option("--layer", "layers", multiple=True, metavar="NAME",
              help="Only this layer, by its torch name; may be repeated.")
@click.option("--form", default="smartdeal", show_default=True,
              help="Weight form: smartdeal, deepshift, shift2, shift3 or int8. Layers that a "
                   "checkpoint holds in a form keep it.")
@click.option("--zero-fraction", type=float, default=0.0, show_default=True,
              help="Fraction of the weight vectors zeroed, in any form: in 3×3 and 1×1 layers, but "
                   "not in the first layer nor the linear one.")
@click.option("--weights", type=_FILE, metavar="FILE",
              help="Checkpoint with torchvision's names: .pt, .pth, .npz or .safetensors.")
@click.option("--engine", type=click.Choice(("rtl", "interpreter")), default="rtl",
              show_default=True, help="What runs the program, beside the integer network.")
@click.option("--sim", "simulator", type=click.Choice(("verilator", "icarus")),
              default="verilator", show_default=True, help="Simulator of the Verilog.")
@click.option("--idle", type=click.FloatRange(0, 1, max_open=True), default=0.0,
              callback=_number, show_default=True,
              help="Probability of an idle cycle on the host's streams.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Of seeded weights, images and idle cycles.")
@click.option("--waves", type=_FILE, metavar="FILE", help="Write a waveform, .vcd or .fst.")
@click.option("--program", type=_FILE, metavar="FILE.sdp",
              help="Save the compiled program of the one layer.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write the table as JSON.")
@configuration_options
def simulate(
    config: AcceleratorConfig, net: str, layers: tuple[str, ...], form: str,
    zero_fraction: float, weights: Path | None, engine: Any, simulator: Any, idle: float,
    seed: int, waves: Path | None, program: Path | None, json_file: Path | None,
) -> int:
    """Run the layers of NET bit by bit and cycle by cycle, and compare."""
    layers = tuple(dict.fromkeys(layers))  # once is enough
    if program is not None and len(layers) != 1:
        raise click.UsageError("--program needs exactly one --layer")
    if waves is not None and engine == "interpreter":
        raise click.UsageError("--waves needs --engine rtl")
    for target in (program, json_file):  # now, not when hours of results are to be written
        if target is not None:
            check_target(target)
    if engine == "rtl":
        from smartdeal.sim.runner import check_tools

        check_tools(simulator, waves)
    with stages() as tell:
        from smartdeal.sim.errors import SimulationError
        from smartdeal.sim.simulate import simulate_layers
        from smartdeal.sim.workload import prepare

        names: list[str] = []

        def decomposed(name: str) -> None:
            names.append(name)
            tell("quantise", 1 - 0.9 ** len(names))  # the number of layers is not known yet

        work = prepare(net, config, layers=layers, form=form, zero_fraction=zero_fraction,
                       weights=weights, seed=seed, progress=decomposed)
        tell("quantise", 1.0)
        programs: list[Any] = []
        try:
            reports = simulate_layers(work.layers, config, engine=engine, simulator=simulator,
                                      waves=waves, idle=idle, seed=seed, progress=tell,
                                      programs=programs)
        except SimulationError as error:  # not the user's mistake but the hardware's
            raise WrongHardware(str(error)) from None
    out = console()
    out.print(f"{net}, {form}, {config.rows}×{config.cols} array; {work.source}", soft_wrap=True)
    out.print(fitting(out, [_table(reports, narrow) for narrow in range(len(_DROPPED) + 1)]))
    for note in _notes(work, form, zero_fraction if layers else 0.0):
        out.print(note, soft_wrap=True)
    if work.answer:
        out.print(work.answer, soft_wrap=True)
    good, verdict = _verdict(reports)
    out.print(verdict, soft_wrap=True)
    if program is not None:
        programs[0].save(program)
    if json_file is not None:
        run = {"network": net, "form": form, "zero_fraction": zero_fraction,
               "weights": str(weights) if weights else None, "source": work.source,
               "seed": seed, "engine": engine,
               "simulator": simulator if engine == "rtl" else None, "idle": idle}
        values = _as_json(run, reports, work, config)
        write_text(json_file, json.dumps(values, indent=2) + "\n")
    return 0 if good else 1


#: Columns that a narrow terminal does without, the first one first.
_DROPPED = ("non-zero\nterms", "MACs", "array\nbusy", "cycles\nin RTL")


def _table(reports: "list[LayerReport]", narrow: int) -> Table:
    """Return the table without the first ``narrow`` columns of :data:`_DROPPED`."""
    table = Table(show_footer=len(reports) > 1, box=box.SIMPLE_HEAD, show_edge=False,
                  collapse_padding=True)
    rtl = [report.measured for report in reports if report.measured is not None]
    predicted = sum(report.predicted.total for report in reports)
    measured = sum(cycles.total for cycles in rtl)
    busy = sum(report.predicted.busy for report in reports)
    # Header, total, and what stands in a layer's row.
    columns: list[tuple[str, str, Callable[[LayerReport], str]]] = [
        ("MACs", f"{sum(report.macs for report in reports):,}", lambda r: f"{r.macs:,}"),
        ("non-zero\nterms", f"{sum(report.nonzero_terms for report in reports):,}",
         lambda r: f"{r.nonzero_terms:,}"),
        ("cycles\nin RTL", f"{measured:,}" if rtl else "–",
         lambda r: f"{r.measured.total:,}" if r.measured else "–"),
        ("cycles\npredicted", f"{predicted:,}", lambda r: f"{r.predicted.total:,}"),
        ("array\nbusy", f"{busy / predicted:.1%}", lambda r: f"{r.busy:.1%}"),
    ]
    columns = [column for column in columns if column[0] not in _DROPPED[:narrow]]
    table.add_column("layer", "total", no_wrap=True)
    for name, footer, _ in columns:
        table.add_column(name, footer, justify="right", no_wrap=True)
    table.add_column("bit-\nexact", "yes" if all(report.bit_exact for report in reports) else "NO")
    for report in reports:
        table.add_row(report.name, *(value(report) for _, _, value in columns),
                      "yes" if report.bit_exact else "NO")
    return table


def _notes(work: "Workload", form: str, zero_fraction: float) -> list[str]:
    """Return what the table cannot show: layers that are not what the options ask for."""
    notes = []
    named = list(zip((item.layer.name for item in work.layers), work.forms, strict=True))
    kept = [f"{name} {used}" for name, used in named if name in work.trained and used != form]
    if kept:
        notes.append(f"in the checkpoint's form: {', '.join(kept)}")
    others = [name for name, used in named
              if used not in (form, None) and name not in work.trained]
    if others:
        notes.append(f"{', '.join(others)}: int8, the smartdeal form has 3×3, 1×1 and linear "
                     "layers")
    if zero_fraction and work.whole:
        notes.append(f"{', '.join(work.whole)}: --zero-fraction has no effect, it is for 3×3 and "
                     "1×1 layers but the first and the linear one")
    return notes


def _verdict(reports: "list[LayerReport]") -> tuple[bool, str]:
    """Return whether all is equal, and the one line that says so."""
    total = sum(report.bytes_compared for report in reports)
    for report in reports:
        if report.failure:
            return False, f"FAILED: {report.name} {report.failure}"
        if not report.bit_exact:
            return False, (f"FAILED: {report.name} has {report.bytes_wrong:,} wrong bytes of "
                           f"{report.bytes_compared:,}")
        if report.cycle_exact is False:
            return False, (f"FAILED: {report.name} counted {report.measured}, overhead "
                           f"{report.overhead}, but {report.predicted} was predicted")
    layers = f"{len(reports)} layer{'s' if len(reports) > 1 else ''}"
    if reports[0].measured is None:
        return True, (f"OK: {layers}, all {total:,} bytes of the output regions equal in integer "
                      "network and interpreter")
    cycles = sum(report.predicted.total for report in reports)
    return True, (f"OK: {layers}, all {total:,} bytes of the output regions equal in integer "
                  f"network, interpreter and RTL, all {cycles:,} cycles as predicted")


def _as_json(
    run: dict[str, Any], reports: "list[LayerReport]", work: "Workload",
    config: AcceleratorConfig,
) -> dict[str, Any]:
    """Return all that was found, after all that is needed to find it again."""
    def cycles(report: "LayerReport", measured: bool) -> dict[str, int] | None:
        values = report.measured if measured else report.predicted
        return values and {
            "total": values.total, "busy": values.busy, "stall_drain": values.stall_drain,
            "stall_residual": values.stall_residual, "overhead": values.overhead}

    return {
        "version": metadata.version("smartdeal"), **run, "configuration": config.as_dict(),
        "equal": _verdict(reports)[0],
        "layers": [{
            "name": report.name, "kind": report.kind, "form": used, "macs": report.macs,
            "nonzero_terms": report.nonzero_terms, "parts": report.parts,
            "cycles_rtl": cycles(report, True), "cycles_predicted": cycles(report, False),
            "bytes_compared": report.bytes_compared, "bytes_wrong": report.bytes_wrong,
            "bit_exact": report.bit_exact, "cycle_exact": report.cycle_exact,
            "failure": report.failure,
        } for report, used in zip(reports, work.forms, strict=True)],
    }
