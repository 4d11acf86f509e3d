"""``smartdeal compile``: a built-in network as one program file."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich import box
from rich.table import Table

from smartdeal.cli.options import configuration_options
from smartdeal.cli.output import console, stages, write_text
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.timing import END_CYCLES

if TYPE_CHECKING:  # what compilation needs takes seconds to import
    from smartdeal.compiler import NetworkProgram
    from smartdeal.sim.summary import LayerSummary

__all__ = ["compile_command"]

_EPILOG = """\b
NET is one of resnet8, resnet20, resnet20_fashion, resnet18, resnet34 and resnet50. Without
--weights resnet8 and resnet20_fashion are the trained networks of the package, and others get
seeded weights; without --calibration these two take images of the package, and others noise. Every
tensor has to fit the activation buffer.
\b
Examples:
  smartdeal compile resnet8 -o net.sdp
  smartdeal compile resnet20 --weights resnet20.pt --calibration images/ -o net.sdp
  smartdeal compile resnet8 --form smartdeal --layer-form fc=int8 --rows 24 -o net.sdp
"""

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("compile", epilog=_EPILOG)
@click.argument("net")
@click.option("-o", "--output", type=_FILE, required=True, metavar="FILE.sdp",
              help="Program file to write.")
@click.option("--weights", type=_FILE, metavar="FILE",
              help="Checkpoint with torchvision's names: .pt, .pth, .npz or .safetensors.")
@click.option("--calibration", type=click.Path(path_type=Path), metavar="PATH",
              help="Folder of images, a picture, .npy or .npz, to choose scales with.")
@click.option("--form", default="smartdeal", show_default=True,
              help="Weight form: smartdeal, deepshift, shift2 or int8. Layers that a checkpoint "
                   "holds in a form keep it.")
@click.option("--layer-form", "layer_forms", multiple=True, metavar="LAYER=FORM",
              help="Another weight form for one layer; may be repeated.")
@click.option("--zero-fraction", type=float, default=0.0, show_default=True,
              help="Fraction of each layer's vectors that are zeroed (smartdeal).")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Of seeded weights and noise.")
@click.option("--keep-all", is_flag=True,
              help="Use no word of the activation buffer twice, so that every tensor stays.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write the table as JSON.")
@configuration_options
def compile_command(
    config: AcceleratorConfig, net: str, output: Path, weights: Path | None,
    calibration: Path | None, form: str, layer_forms: tuple[str, ...], zero_fraction: float,
    seed: int, keep_all: bool, json_file: Path | None,
) -> None:
    """Compile the whole network NET into one program file."""
    from smartdeal.compiler import compile_network
    from smartdeal.golden.form_layers import check_forms
    from smartdeal.golden.options import FormOptions
    from smartdeal.golden.quantise import quantise_network
    from smartdeal.sim.summary import summarise
    from smartdeal.sim.workload import load_model

    if not output.parent.is_dir():
        raise click.BadParameter(f"folder {output.parent} does not exist", param_hint="--output")
    forms = _forms(form, layer_forms)
    with stages() as tell:
        names: list[str] = []

        def decomposed(name: str) -> None:
            names.append(name)
            tell("quantise", 1 - 0.9 ** len(names))  # the number of layers is not known yet

        model, source = load_model(net, weights, seed)
        check_forms(model, _asked(forms))
        images, told = _calibration(model, calibration, seed)
        options = FormOptions(exponents=config.exponents, zero_fraction=zero_fraction,
                              group=max(1, config.filters_per_group))
        network = quantise_network(model, images, forms, options, config.sum_bits, decomposed)
        tell("quantise", 1.0)
        program = compile_network(network, config, keep_all=keep_all, about={
            **_preprocessing(net), "network": net, "seed": seed, "form": forms, "source": source,
            "weights": str(weights.resolve()) if weights is not None else None})
        tell("compile", 1.0)
        rows = summarise(program, network, model, forms)
    program.save(output)
    if json_file is not None:
        write_text(json_file, json.dumps(_as_json(program, rows), indent=2) + "\n")
    out = console()
    out.print(f"{net}, {config.rows}×{config.cols} array; {source}, {told}", soft_wrap=True)
    out.print(_table(rows))
    out.print(_verdict(program, rows, output), soft_wrap=True)


def _forms(form: str, layer_forms: tuple[str, ...]) -> str | dict[str, str]:
    """Return the form of all layers, or one by layer."""
    forms = {"*": form}
    for given in layer_forms:
        layer, separator, name = given.partition("=")
        if not (layer and separator and name):
            raise click.BadParameter(f"must be LAYER=FORM, not {given!r}",
                                     param_hint="--layer-form")
        forms[layer] = name
    return forms if layer_forms else form


def _asked(forms: str | dict[str, str]) -> dict[str, str]:
    """Return the forms that the user named; the default names none."""
    named = {"*": forms} if isinstance(forms, str) else dict(forms)
    given = click.get_current_context().get_parameter_source("form")
    return named if given is not ParameterSource.DEFAULT else {
        name: form for name, form in named.items() if name != "*"}


def _calibration(model: Any, path: Path | None, seed: int) -> tuple[Any, str]:
    """Return calibration images, and what they are."""
    from smartdeal.golden.pictures import PREPROCESSING, read_pictures
    from smartdeal.sim.workload import default_images

    if path is None:
        images = default_images(model, seed)
        return images, f"calibrated with {len(images)} built-in images"
    import numpy as np
    import torch

    pictures = read_pictures([path], model.spec.input_shape, PREPROCESSING[model.name])
    return (torch.from_numpy(np.stack([image for _, image in pictures])),
            f"calibrated with {len(pictures)} images of {path}")


def _preprocessing(net: str) -> dict[str, Any]:
    from smartdeal.golden.fashion import CHECKPOINTS, CLASSES
    from smartdeal.golden.pictures import PREPROCESSING

    given = asdict(PREPROCESSING[net])
    return {**given, "classes": list(CLASSES) if net in CHECKPOINTS else []}


def _shape(shape: tuple[int, int, int]) -> str:
    return "×".join(map(str, shape))


def _table(rows: "list[LayerSummary]") -> Table:
    table = Table(show_footer=True, box=box.SIMPLE_HEAD, show_edge=False, collapse_padding=True)
    before, after = (sum(getattr(row, name) for row in rows)
                     for name in ("bytes_before", "bytes_after"))
    table.add_column("layer", "total", no_wrap=True)
    for name, footer in (
        ("output", ""), ("form", ""), ("terms\n/weight", ""), ("zero\nvectors", ""),
        ("bytes\nbefore", f"{before:,}"), ("bytes\nafter", f"{after:,}"), ("weight\nerror", ""),
        ("cycles", f"{sum(row.cycles.total for row in rows):,}"),
    ):
        justify = "left" if name in ("output", "form") else "right"
        table.add_column(name, footer, justify=justify, no_wrap=True)
    for row in rows:
        weights = (f"{row.terms_per_weight:.2f}", f"{row.zero_vectors:.1%}",
                   f"{row.bytes_before:,}") if row.form else ("–", "–", "–")
        table.add_row(row.name, _shape(row.output_shape), row.form or row.kind, *weights,
                      f"{row.bytes_after:,}", f"{row.weight_error:.1%}" if row.form else "–",
                      f"{row.cycles.total:,}")
    return table


def _verdict(program: "NetworkProgram", rows: "list[LayerSummary]", output: Path) -> str:
    cycles = _cycles(program, rows)
    busy = sum(row.cycles.busy for row in rows) / cycles
    count = len(program.segments)
    return (f"{output}: {count} segment{'s' if count > 1 else ''}, "
            f"{program.instruction_count} instructions, "
            f"{program.used_words * program.config.cols:,} of {program.config.activation_bytes:,} "
            f"bytes of activations, {cycles:,} cycles, array busy {busy:.1%}")


def _cycles(program: "NetworkProgram", rows: "list[LayerSummary]") -> int:
    """Return the cycles of an image: those of all layers, and the END of each segment."""
    return sum(row.cycles.total for row in rows) + END_CYCLES * len(program.segments)


def _as_json(program: "NetworkProgram", rows: "list[LayerSummary]") -> dict[str, Any]:
    return {
        "network": program.name, "about": dict(program.about),
        "configuration": program.config.as_dict(), "segments": len(program.segments),
        "instructions": program.instruction_count,
        "activation_bytes": program.used_words * program.config.cols,
        "program_bytes": sum(map(len, program.segments)),
        "cycles": _cycles(program, rows),
        "layers": [{**asdict(row), "cycles": {**asdict(row.cycles),
                                              "overhead": row.cycles.overhead}} for row in rows],
    }
