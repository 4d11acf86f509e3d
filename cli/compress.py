"""``smartdeal compress``: a trained network into a weight form, with or without retraining."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartdeal.cli.cost_tables import (
    cost_table,
    costs_as_json,
    format_table,
    part_table,
    total_line,
)
from smartdeal.cli.output import console, fitting, write_text
from smartdeal.cli.train import as_json, describe
from smartdeal.cli.training_options import (
    DATA_HELP,
    form_options,
    training_options,
    training_screen,
)
from smartdeal.hw.config import AcceleratorConfig

if TYPE_CHECKING:  # what training needs takes seconds to import
    from smartdeal.golden.options import FormOptions
    from smartdeal.golden.train_options import TrainOptions

__all__ = ["compress"]

_EPILOG = """\b
MODEL is a built-in network: resnet8 and resnet20_fashion have trained weights, others need
--weights. FORM is smartdeal, smartdeal-train, deepshift-q, deepshift-ps, shift2, int8, binary, or
bnn (binary activations too, for arrays with --binary), or a way of sharing values: cws, pws, uq,
ecsq. Without --retrain no data are needed, and nothing is trained. The output is for
smartdeal compile, simulate and train.
\b
Examples:
  smartdeal compress resnet8 --form smartdeal --storage -o net.safetensors
  smartdeal compress resnet8 --form smartdeal --zero-fraction 0.5 --retrain 8 \\
      --data fashion-mnist -o net.safetensors
  smartdeal compress resnet8 --form bnn --retrain 12 --data fashion-mnist --bf16 -o net.npz
  smartdeal compress resnet8 --form cws --percentile 90 --values 16 --storage -o net.npz
"""

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog=_EPILOG)
@click.argument("model")
@click.option("--form", required=True, help="Weight form.")
@click.option("--weights", type=_FILE, metavar="FILE",
              help="Checkpoint to start from: .pt, .pth, .npz or .safetensors.")
@click.option("--retrain", "epochs", type=click.IntRange(min=0), default=0, show_default=True,
              metavar="EPOCHS", help="Epochs to train in the form.")
@click.option("--data", "source", metavar="DATA", help=DATA_HELP)
@click.option("--percentile", type=float, default=0.0, show_default=True,
              help="Zero weights up to this percentile of magnitude (forms of shared values).")
@click.option("--values", type=int, default=32, show_default=True,
              help="Values that a layer's weights share (forms of shared values).")
@click.option("--storage", is_flag=True,
              help="Print stored bits by part, and bytes by storage format.")
@click.option("--config", "config_file", type=_FILE, metavar="FILE.toml",
              help="Array for cycles and program bytes.  [default: 12×16, "
                   "for bnn with the feature binary]")
@click.option("-o", "--output", type=_FILE, required=True, metavar="FILE",
              help="Network to write, .safetensors or .npz.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write the tables as JSON.")
@form_options
@training_options
def compress(
    model: str, form: str, weights: Path | None, epochs: int, source: str | None,
    percentile: float, values: int, storage: bool, config_file: Path | None, output: Path,
    json_file: Path | None, layer_forms: dict[str, str], options: "FormOptions",
    zero_fractions: dict[str, float], train_options: "Callable[..., TrainOptions]", held: float,
    resume: bool,
) -> None:
    """Bring the network MODEL into a weight form, and say what it costs."""
    import torch

    from smartdeal.golden.datasets import load_data
    from smartdeal.golden.recipes import forms_of
    from smartdeal.golden.train_network import PACKAGE, Job, run_job
    from smartdeal.sim.costs import network_costs
    from smartdeal.sim.workload import default_images

    torch.set_num_threads(1)
    if epochs and source is None:
        raise click.UsageError("--retrain needs a data set; give --data")
    data = None if source is None else load_data(source)
    forms = forms_of(model, form, layer_forms)
    config = (AcceleratorConfig(binary="bnn" in (form, *layer_forms.values()))
              if config_file is None else AcceleratorConfig.from_toml(config_file))
    job = Job(network=model, form=forms, held=held, output=output, resume=resume,
              form_options=replace(options, percentile=percentile, shared_values=values),
              zero_fractions=zero_fractions,
              start=PACKAGE if weights is None else str(weights),
              options=None if data is None or not epochs
              else train_options(epochs, form, True, data.mirror))
    out = console()
    with training_screen(out) as screen:
        result = run_job(job, data, screen)
    images = (default_images(result.model, 0) if data is None else data.train.images[:64])
    costs = network_costs(result.model, images, "int8", config)
    out.print(fitting(out, [cost_table(costs)]))
    if storage:
        out.print(fitting(out, [part_table(costs)]))
        out.print(fitting(out, [format_table(costs)]))
    out.print(total_line(costs), soft_wrap=True)
    out.print(describe(result, output), soft_wrap=True)
    if json_file is not None:
        said: dict[str, Any] = as_json(result, model, form, source)
        write_text(json_file, json.dumps({**said, **costs_as_json(costs)}, indent=2) + "\n")
