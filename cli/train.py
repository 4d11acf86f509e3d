"""``smartdeal train``: a built-in network from a data set, in floating point or a weight form."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartdeal.cli.output import console, write_text
from smartdeal.cli.training_options import (
    DATA_HELP,
    form_options,
    training_options,
    training_screen,
)

if TYPE_CHECKING:  # what training needs takes seconds to import
    from smartdeal.golden.options import FormOptions
    from smartdeal.golden.train_options import TrainOptions

__all__ = ["train"]

_EPILOG = """\b
NET is one of resnet8, resnet20, resnet20_fashion, resnet18, resnet34 and resnet50; its images must
have one channel where the data have. FORM is float, smartdeal (train as is, decompose after each
epoch), smartdeal-train (Ce and B are the parameters), deepshift-q, deepshift-ps, shift2, int8,
binary, bnn (binary activations too), or a way of sharing values: cws, pws, uq, ecsq. After each
epoch the network is written, and beside it FILE.state.safetensors for --resume.
\b
Examples:
  smartdeal train resnet8 --data fashion-mnist --form float -o net.safetensors
  smartdeal train resnet8 --data digits --form deepshift-q --epochs 6 -o net.safetensors
  smartdeal train resnet8 --data fashion-mnist --form smartdeal-train --start package \\
      --zero-fraction 0.5 --epochs 8 -o net.safetensors
  smartdeal compile resnet8 --weights net.safetensors -o net.sdp
"""

#: Fewer zero vectors than that are chance.
_SHOWN_SHARE = 0.001
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog=_EPILOG)
@click.argument("net")
@click.option("--data", "source", required=True, metavar="DATA", help=DATA_HELP)
@click.option("--form", default="float", show_default=True, help="Weight form to train in.")
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--start", metavar="FILE|package",
              help="Weights to start from; package: the trained ones that come along. Default: "
                   "random ones.")
@click.option("-o", "--output", type=_FILE, required=True, metavar="FILE",
              help="Network to write, .safetensors or .npz.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write the result as JSON.")
@form_options
@training_options
def train(
    net: str, source: str, form: str, epochs: int, start: str | None, output: Path,
    json_file: Path | None, layer_forms: dict[str, str], options: "FormOptions",
    zero_fractions: dict[str, float], train_options: "Callable[..., TrainOptions]", held: float,
    resume: bool,
) -> None:
    """Train the network NET on a data set."""
    import torch

    from smartdeal.golden.datasets import load_data
    from smartdeal.golden.recipes import forms_of
    from smartdeal.golden.train_network import Job, run_job

    torch.set_num_threads(1)  # two threads on a busy machine are slower, and differ
    data = load_data(source)
    job = Job(network=net, form=forms_of(net, form, layer_forms), form_options=options,
              zero_fractions=zero_fractions, start=start, held=held, output=output, resume=resume,
              options=train_options(epochs, form, start is not None, data.mirror))
    out = console()
    with training_screen(out) as screen:
        result = run_job(job, data, screen)
    out.print(describe(result, output), soft_wrap=True)
    if json_file is not None:
        write_text(json_file, json.dumps(as_json(result, net, form, data.name), indent=2) + "\n")


def describe(result: Any, output: Path) -> str:
    """Return the line that tells what came out."""
    parts = [f"{output}:"]
    if result.accuracy is not None:
        parts.append(f"test images {result.accuracy:.2%} right in floating point, "
                     f"{result.integer_accuracy:.2%} in integers")
    if result.zero_vectors >= _SHOWN_SHARE:
        parts.append(f"({result.zero_vectors:.1%} of SmartDeal's vectors are zero)")
    if result.averaged:
        parts.append("(weights averaged)")
    return " ".join(parts) if len(parts) > 1 else f"{output} written; no data to judge it by"


def as_json(result: Any, net: str, form: str, data: str | None) -> dict[str, Any]:
    """Return the result for machines."""
    return {"network": net, "form": form, "data": data, "accuracy": result.accuracy,
            "integer_accuracy": result.integer_accuracy, "zero_vectors": result.zero_vectors,
            "averaged": result.averaged}
