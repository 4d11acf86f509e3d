"""``smartdeal compile``: a model as one program file."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich import box
from rich.table import Table

from smartdeal.cli.output import console, fitting, stages, write_text
from smartdeal.cli.quantisation import ModelChoice, model_options, recipe_options
from smartdeal.golden.files import check_apart, check_target, write_whole

if TYPE_CHECKING:  # what compilation needs takes seconds to import
    from smartdeal.golden.sparsity import Removal
    from smartdeal.sim.budget import Point, TradeOff
    from smartdeal.sim.compilation import Compiled, Recipe
    from smartdeal.sim.summary import LayerSummary

__all__ = ["compile_command"]

_EPILOG = """\b
MODEL is an ONNX file (.onnx), an archive of torch.export (.pt2), or one of resnet8, resnet20,
resnet20_fashion, resnet18, resnet34 and resnet50. Without --weights resnet8 and resnet20_fashion
are the trained networks of the package, and others get seeded weights; without --calibration these
two take images of the package, and others noise. A file needs --calibration.
\b
Beside FILE.sdp the integer network is written as FILE.integer.npz, for smartdeal accuracy.
\b
Examples:
  smartdeal compile resnet8 -o net.sdp
  smartdeal compile my.onnx --calibration images/ --preprocessing imagenet --form shift2 -o net.sdp
  smartdeal compile my.pt2 --calibration 'cal*.png' --mean 0.5 --deviation 0.25 -o net.sdp
  smartdeal compile resnet20_fashion --budget cycles=300000 --curve curve.svg -o net.sdp
  smartdeal compile resnet18 --memory --form deepshift --timeline timeline.svg -o net.sdp
"""

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("compile", epilog=_EPILOG)
@model_options
@click.option("-o", "--output", type=_FILE, required=True, metavar="FILE.sdp",
              help="Program file to write.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write the tables as JSON.")
@click.option("--curve", type=_FILE, metavar="FILE.svg|png|pdf",
              help="Draw what --budget chooses from.")
@click.option("--timeline", type=_FILE, metavar="FILE.svg|png|pdf",
              help="Draw what runs when, and what the activation buffer holds.")
@recipe_options
def compile_command(
    choice: ModelChoice, recipe: "Recipe", output: Path, json_file: Path | None, curve: Path | None,
    timeline: Path | None,
) -> None:
    """Quantise and compile MODEL into one program file."""
    from smartdeal.golden.form_layers import check_forms
    from smartdeal.golden.networks import ResNet
    from smartdeal.golden.store import beside
    from smartdeal.sim.compilation import compile_model
    from smartdeal.sim.curve import draw_curve
    from smartdeal.sim.picture import check_picture
    from smartdeal.sim.timeline import network_timeline
    from smartdeal.sim.timeline_picture import draw_timeline

    if not output.parent.is_dir():
        raise click.BadParameter(f"folder {output.parent} does not exist", param_hint="--output")
    if curve is not None and recipe.budget is None:
        raise click.UsageError("--curve needs --budget")
    for picture in (curve, timeline):
        if picture is not None:
            check_picture(picture)
    # Now, not when the work is done.
    targets = {"--output": output, "the integer network": beside(output), "--json": json_file,
               "--curve": curve, "--timeline": timeline}
    check_apart(targets, choice.files)
    for target in targets.values():
        if target is not None:
            check_target(target)
    with stages() as tell:
        model, preprocessing, classes = choice.open()
        if isinstance(model.network, ResNet):
            check_forms(model.network, _asked(recipe))
        images, told = choice.images(model, preprocessing)
        about = {
            **model.origin, "source": model.source, "classes": list(classes),
            "mean": preprocessing and list(preprocessing.mean),
            "deviation": preprocessing and list(preprocessing.deviation),
            "calibration": told, "quantise": asdict(recipe.quantise),
            "zero_fraction": recipe.zero_fraction,
            "budget": str(recipe.budget) if recipe.budget is not None else None}
        compiled = compile_model(model, images, recipe, about, tell)
    compiled.program.save(output)
    write_whole(beside(output), compiled.stored)
    if json_file is not None:
        write_text(json_file, json.dumps(
            _as_json(compiled, recipe, model.graph.notes), indent=2) + "\n")
    trade_off = compiled.trade_off
    title = f"{model.name}, {recipe.config.rows}×{recipe.config.cols}"
    if curve is not None and trade_off is not None:
        draw_curve(trade_off, curve, title)
    if timeline is not None:
        draw_timeline(compiled.program, network_timeline(compiled.program, recipe.timing),
                      timeline, title)
    out = console()
    out.print(f"{model.name}, {recipe.config.rows}×{recipe.config.cols} array; {model.source}, "
              f"{told}", soft_wrap=True)
    for note in (*model.graph.notes, *_notes(compiled)):
        out.print(note, soft_wrap=True, markup=False)
    if trade_off is not None:
        out.print(fitting(out, [_trade_off_table(trade_off)]))
        out.print(_choice(trade_off), soft_wrap=True)
        out.print()
    out.print(fitting(out, [_table(compiled.layers)]))
    out.print(_verdict(compiled, recipe, output), soft_wrap=True)


def _asked(recipe: "Recipe") -> dict[str, str]:
    """Return the forms that the user named; the default names none."""
    named = click.get_current_context().get_parameter_source("form") is not ParameterSource.DEFAULT
    return {**recipe.layer_forms, **({"*": recipe.form} if named else {})}


def _notes(compiled: "Compiled") -> list[str]:
    """Return what was left out."""
    notes = [_told(name, layer) for name, layer in compiled.removed.items()]
    if compiled.trade_off is not None:
        notes += [f"{form} is no candidate: {reason}"
                  for form, reason in compiled.trade_off.dropped.items()]
    return notes


def _told(name: str, layer: "Removal") -> str:
    rest = layer.dead - layer.removed
    return (f"{name}: {layer.dead} of {layer.filters} filters are dead, {layer.removed} left the "
            "network" + (f", {rest} stay where the constant cannot move" if rest else ""))


def _shape(shape: tuple[int, int, int]) -> str:
    return "×".join(map(str, shape))


def _table(rows: "list[LayerSummary]") -> Table:
    table = Table(show_footer=True, box=box.SIMPLE_HEAD, show_edge=False, collapse_padding=True)
    before, after = (sum(getattr(row, name) for row in rows)
                     for name in ("bytes_before", "bytes_after"))
    table.add_column("layer", "total", no_wrap=True)
    saved = sum(row.saved_bytes for row in rows)
    coded = (("saved by\ncoding", f"{saved:,}"),) if saved else ()
    for name, footer in (
        ("output", ""), ("form", ""), ("terms\n/weight", ""), ("zero\nvectors", ""),
        ("bytes\nbefore", f"{before:,}"), ("bytes\nafter", f"{after:,}"), *coded,
        ("weight\nerror", ""),
        ("cycles", f"{sum(row.cycles.total for row in rows):,}"),
    ):
        justify = "left" if name in ("output", "form") else "right"
        table.add_column(name, footer, justify=justify, no_wrap=True)
    for row in rows:
        weights = (f"{row.terms_per_weight:.2f}", f"{row.zero_vectors:.1%}",
                   f"{row.bytes_before:,}") if row.form else ("–", "–", "–")
        by_coding = [f"{row.saved_bytes:,}" if row.saved_bytes else "plain"] if saved else []
        table.add_row(row.name, _shape(row.output_shape), row.form or row.kind, *weights,
                      f"{row.bytes_after:,}", *by_coding,
                      f"{row.weight_error:.1%}" if row.form else "–", f"{row.cycles.total:,}")
    return table


def _mix(forms: "dict[str, str]") -> str:
    """Return how many layers have which form."""
    counts = {form: list(forms.values()).count(form) for form in dict.fromkeys(forms.values())}
    return ", ".join(f"{form} {count}" for form, count in
                     sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _trade_off_table(trade_off: "TradeOff") -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, collapse_padding=True)
    table.add_column("layers of each form")
    for name in ("cycles", "loss as\nadded up", "loss\nmeasured", "class as\nin float"):
        table.add_column(name, justify="right", no_wrap=True)

    def add(point: "Point", label: str, style: str = "") -> None:
        table.add_row(label, f"{point.cycles:,}", f"{point.estimate:.2e}",
                      "–" if point.loss is None else f"{point.loss:.2e}",
                      "–" if point.same is None else f"{point.same:.1%}", style=style)

    for point in trade_off.uniform:
        add(point, f"all {point.label}")
    table.add_section()
    for point in trade_off.curve:
        if point.loss is not None:
            add(point, _mix(dict(point.forms)))
    table.add_section()
    add(trade_off.chosen, f"chosen: {_mix(dict(trade_off.chosen.forms))}", "bold")
    return table


def _choice(trade_off: "TradeOff") -> str:
    return (f"budget {trade_off.budget}: {trade_off.chosen.cycles:,} cycles, loss "
            f"{trade_off.chosen.loss:.3g} nats (KL divergence from floating point, mean of "
            f"{trade_off.images} calibration images)")


def _verdict(compiled: "Compiled", recipe: "Recipe", output: Path) -> str:
    from smartdeal.sim.network_latency import predict_network

    program = compiled.program
    predicted = predict_network(program, recipe.timing)
    cycles = predicted.cycles
    count = len(program.segments)
    memory = ""
    if program.memory_bytes:
        memory = (f"{program.memory_bytes:,} bytes of system memory, {predicted.bytes_loaded:,} "
                  f"bytes loaded and {predicted.bytes_stored:,} stored, ")
    return (f"{output}: {count} segment{'s' if count > 1 else ''}, "
            f"{program.instruction_count} instructions, "
            f"{program.used_words * program.config.cols:,} of {program.config.activation_bytes:,} "
            f"bytes of activations, {memory}{cycles.total:,} cycles, array busy "
            f"{cycles.busy / cycles.total:.1%}")


def _point(point: "Point") -> dict[str, Any]:
    return {**asdict(point), "forms": dict(point.forms)}


def _as_json(
    compiled: "Compiled", recipe: "Recipe", notes: tuple[str, ...],
) -> dict[str, Any]:
    from smartdeal.sim.network_latency import predict_network

    program, trade_off = compiled.program, compiled.trade_off
    predicted = predict_network(program, recipe.timing)
    return {
        "network": program.name, "about": dict(program.about),
        "configuration": program.config.as_dict(), "segments": len(program.segments),
        "instructions": program.instruction_count,
        "activation_bytes": program.used_words * program.config.cols,
        "program_bytes": sum(map(len, program.segments)),
        "cycles": predicted.cycles.total, "notes": list(notes),
        "memory": {**asdict(recipe.timing), "region_bytes": program.memory_bytes,
                   "bytes_loaded": predicted.bytes_loaded,
                   "bytes_stored": predicted.bytes_stored} if program.memory_bytes else None,
        "dead_filters": {name: asdict(layer) for name, layer in compiled.removed.items()},
        "layers": [{**asdict(row), "cycles": {**asdict(row.cycles),
                                              "overhead": row.cycles.overhead}}
                   for row in compiled.layers],
        "trade_off": None if trade_off is None else {
            "budget": asdict(trade_off.budget), "images": trade_off.images,
            "chosen": _point(trade_off.chosen), "curve": list(map(_point, trade_off.curve)),
            "uniform": list(map(_point, trade_off.uniform)),
            "options": {layer: [asdict(option) for option in options]
                        for layer, options in trade_off.options.items()},
            "dropped": dict(trade_off.dropped)},
    }
