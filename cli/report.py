"""``smartdeal report``: what a network costs on an accelerator, and why."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.table import Table

from smartdeal.cli.options import check_timing, configuration_options, memory_options
from smartdeal.cli.output import console, fitting, stages, write_text
from smartdeal.cli.switching_table import switching_table, switching_verdict
from smartdeal.golden.files import check_target
from smartdeal.golden.specs import NETWORKS
from smartdeal.hw.config import AcceleratorConfig

if TYPE_CHECKING:  # what the model needs takes seconds to import
    from smartdeal.sim.energy.model import NetworkCost
    from smartdeal.sim.energy.switching import Switching
    from smartdeal.sim.energy.technology import Technology
    from smartdeal.sim.memory_timing import MemoryTiming

__all__ = ["report"]

_EPILOG = f"""NET is one of {', '.join(NETWORKS)}, or a program file of smartdeal compile. The page
is one file that opens offline. What is counted is the program that smartdeal compile makes: on
chip where all tensors fit the activation buffer, with system memory (--memory) where they do not;
--no-memory refuses such a network. --form mixed takes smartdeal for 3×3, deepshift for 1×1 and
shift2 for the first and the linear layer.

\b
Examples:
  smartdeal report resnet18 -o report.html
  smartdeal report resnet50 --form mixed --rows 63 --cols 32 --zero-fraction 0.45 --json r.json
  smartdeal report resnet50 --memory --memory-latency 100 --memory-bandwidth 4
  smartdeal report net.sdp --tech 45nm --csv layers.csv
  smartdeal report resnet8 --tech my_process.toml
  smartdeal report resnet8 --rows 6 --cols 8 --switching layer1.0.conv1
"""

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog=_EPILOG)
@click.argument("net")
@click.option("-o", "--output", type=_FILE, metavar="FILE.html", help="Write the page.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write all as JSON.")
@click.option("--csv", "csv_file", type=_FILE, metavar="FILE", help="Write the layers as CSV.")
@click.option("--tech", default="28nm", show_default=True, metavar="TABLE",
              help="Technology table: 28nm, 45nm, fpga (zc706), or a TOML file.")
@click.option("--form", default="smartdeal", show_default=True,
              help="Weight form: smartdeal, deepshift, shift2, int8 or mixed.")
@click.option("--zero-fraction", type=float, default=0.0, show_default=True,
              help="Fraction of the weight vectors zeroed, in 3×3 and 1×1 layers but the first.")
@click.option("--weights", type=_FILE, metavar="FILE",
              help="Checkpoint with torchvision's parameter names, .pt, .pth or .npz.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Of seeded weights.")
@click.option("--by-layer", is_flag=True,
              help="Each layer as a program of its own, whose host loads and stores.")
@click.option("--switching", "layer", metavar="LAYER",
              help="Beside the model, a second estimate of one layer's energy: simulate the gates "
                   "of the accelerator and count how often they switch.")
@memory_options
@configuration_options
@click.pass_context
def report(
    context: click.Context, config: AcceleratorConfig, timing: "MemoryTiming", net: str,
    output: Path | None, json_file: Path | None, csv_file: Path | None, tech: str, form: str,
    zero_fraction: float, weights: Path | None, seed: int, by_layer: bool, layer: str | None,
) -> None:
    """Tell latency, energy and traffic of NET, layer by layer, and where they go."""
    from smartdeal.sim.energy.technology import Technology
    from smartdeal.sim.report.data import report_csv, report_data
    from smartdeal.sim.report.page import render

    if by_layer and config.memory:
        raise click.UsageError("with --by-layer the host loads and stores; leave --memory out")
    check_timing(timing, config)
    for target in (output, json_file, csv_file):
        if target is not None:
            check_target(target)
    technology = Technology.load(tech)
    if layer is not None:
        layer = _check_switching(net, layer, config, technology, weights, seed)
    cost, form, took = _cost(context, config, timing, net, form, zero_fraction, weights, seed,
                             by_layer=by_layer)
    data = report_data(cost, technology, form)
    out = console()
    out.print(f"{cost.name}, {form}, {cost.config.rows}×{cost.config.cols} array; {cost.source}; "
              f"{data['mode']}", soft_wrap=True)
    out.print(fitting(out, [_table(data)]))
    out.print(_verdict(data, took), soft_wrap=True)
    def write() -> None:
        if output is not None:
            write_text(output, render(data))
        if json_file is not None:
            write_text(json_file, json.dumps(data, indent=2) + "\n")

    write()
    if csv_file is not None:
        write_text(csv_file, report_csv(data))
    if layer is not None:  # takes minutes, in which a tool may fail
        found = _switching(config, technology, net, layer, form, zero_fraction, weights, seed)
        out.print(fitting(out, [switching_table(found)]))
        out.print(switching_verdict(found), soft_wrap=True)
        data["switching"] = found.as_dict()
        write()


def _check_switching(
    net: str, layer: str, config: AcceleratorConfig, technology: "Technology",
    weights: Path | None, seed: int,
) -> str:
    """Return the layer's full name; refuse what could only be refused after long work."""
    from smartdeal.boards.tools import yosys_command
    from smartdeal.golden.graph import find_layer
    from smartdeal.sim.energy.switching import check_switching
    from smartdeal.sim.runner import check_tools
    from smartdeal.sim.workload import load_model

    if net.endswith(".sdp"):
        raise click.UsageError("--switching runs a layer of a network, not a program file; give "
                               "the network's name")
    check_switching(config, technology)
    name = find_layer(load_model(net, weights, seed)[0], layer)
    yosys_command("gates.ys")
    check_tools("verilator")
    return name


def _switching(
    config: AcceleratorConfig, technology: "Technology", net: str, layer: str, form: str,
    zero_fraction: float, weights: Path | None, seed: int,
) -> "Switching":
    from smartdeal.sim.energy.switching import switching_of
    from smartdeal.sim.energy.work import layer_form
    from smartdeal.sim.workload import prepare

    with stages() as tell:
        work = prepare(net, config, layers=(layer,), form=layer_form(net, layer, form),
                       zero_fraction=zero_fraction, weights=weights, seed=seed)
        return switching_of(work.layers[0], config, technology, progress=tell)


def _cost(
    context: click.Context, config: AcceleratorConfig, timing: "MemoryTiming", net: str, form: str,
    zero_fraction: float, weights: Path | None, seed: int, *, by_layer: bool,
) -> "tuple[NetworkCost, str, float]":
    """Return the cost, the form it has, and the seconds that the model took."""
    from smartdeal.sim.energy.model import cost_of_layers, cost_of_program

    if net.endswith(".sdp"):
        return _from_file(context, Path(net), timing)
    # Whoever does not say --no-memory gets it where it is needed.
    free = context.get_parameter_source("memory") is not click.core.ParameterSource.COMMANDLINE
    with stages() as tell:
        from smartdeal.sim.energy.work import compile_network_layers, compile_network_program

        if by_layer:
            layers, source = compile_network_layers(
                net, config, form=form, zero_fraction=zero_fraction, weights=weights, seed=seed,
                progress=tell)
            start = time.perf_counter()
            cost = cost_of_layers(net, source, layers, config)
        else:
            program = compile_network_program(
                net, config, form=form, zero_fraction=zero_fraction, weights=weights, seed=seed,
                progress=tell, may_use_memory=free)
            check_timing(timing, program.config)
            start = time.perf_counter()
            cost = cost_of_program(program, timing)
    return cost, form, time.perf_counter() - start


def _from_file(
    context: click.Context, path: Path, timing: "MemoryTiming",
) -> "tuple[NetworkCost, str, float]":
    from smartdeal.compiler import Program
    from smartdeal.compiler.files import load_program
    from smartdeal.sim.energy.model import cost_of_program

    given = [name for name, value in context.params.items() if value is not None and name in (
        "form", "zero_fraction", "weights", "seed", "by_layer", "config_file",
        *AcceleratorConfig().as_dict())
        and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
    if given:
        raise click.UsageError(f"a program file has its own form and configuration; leave out "
                               f"--{given[0].replace('_', '-')}")
    program = load_program(path)
    if isinstance(program, Program):
        raise click.UsageError(f"{path} holds a single layer; make a network with smartdeal "
                               "compile")
    check_timing(timing, program.config)
    start = time.perf_counter()
    cost = cost_of_program(program, timing)
    form = program.about.get("form", "")
    return cost, form if isinstance(form, str) else "mixed", time.perf_counter() - start


def _table(data: dict[str, Any]) -> Table:
    from smartdeal.sim.report import numbers

    table = Table(show_footer=True, box=box.SIMPLE_HEAD, show_edge=False, collapse_padding=True)
    totals, name = data["totals"], data["technology"]["name"]
    dram = {key: sum(layer["dram_bytes"].values()) for key, layer in
            ((layer["name"], layer) for layer in data["layers"])}
    table.add_column("layer", "total", no_wrap=True)
    for header, footer in (
        ("cycles", numbers.cycles(totals["cycles"])), ("busy", numbers.percent(totals["busy"])),
        ("DRAM", numbers.data_size(totals["dram_bytes"])),
        (f"energy\n({name})", numbers.energy(totals["energy_pj"])), ("of it\nDRAM", numbers.percent(
            data["energy_pj"]["DRAM"] / totals["energy_pj"])),
    ):
        table.add_column(header, footer, justify="right", no_wrap=True)
    for layer in data["layers"]:
        table.add_row(
            layer["name"], numbers.cycles(layer["total_cycles"]),
            numbers.percent(layer["cycles"]["step"] / layer["compute_cycles"]),
            numbers.data_size(dram[layer["name"]]), numbers.energy(layer["total_pj"]),
            numbers.percent(layer["energy_pj"]["DRAM"] / layer["total_pj"]))
    return table


def _verdict(data: dict[str, Any], took: float) -> str:
    from smartdeal.sim.report import numbers

    totals, table = data["totals"], data["technology"]
    largest = sorted(data["energy_pj"].items(), key=lambda entry: -entry[1])[:3]
    shares = ", ".join(f"{name} {numbers.percent(value / totals['energy_pj'])}"
                       for name, value in largest)
    return (f"{numbers.energy(totals['energy_pj'])} by the table {table['name']} "
            f"({table['title']}): {shares}; {numbers.seconds(totals['seconds'])} at "
            f"{table['constants']['clock']['value']:,.0f} MHz; model {took:.2f} s")
