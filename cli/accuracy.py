"""``smartdeal accuracy``: a compiled network on labelled images."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.table import Table

from smartdeal.cli.output import console, fitting, stages, write_text
from smartdeal.cli.run import about, float_network, preprocessing_about
from smartdeal.golden.files import check_apart, check_target

if TYPE_CHECKING:  # what evaluation needs takes seconds to import
    from smartdeal.compiler import NetworkProgram
    from smartdeal.golden.accuracy import Score
    from smartdeal.golden.labelled import Labelled
    from smartdeal.golden.layers import IntegerNetwork

__all__ = ["accuracy"]

_EPILOG = """\b
DATA is a folder of IDX files in the format of MNIST, an .npz with images and labels, a folder with
one folder for each class, or pictures whose name ends in their number and label, as
cifar10_07_3.png: a folder of them, or a pattern in quotes.
\b
The integer network beside the program, FILE.integer.npz, is evaluated: it computes what the program
computes, many images at a time. --check K lets the interpreter run the program itself, bit by bit,
on K of the images; the exit code is 1 if any output differs.
\b
Examples:
  smartdeal accuracy net.sdp --data fashion-mnist/ --compare --check 5
  smartdeal accuracy net.sdp --data 'pictures/cifar10_*.png' --json accuracy.json
  smartdeal accuracy net.sdp --data imagenet/val --images 5000
"""

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog=_EPILOG)
@click.argument("program", type=_FILE, metavar="FILE.sdp")
@click.option("--data", type=click.Path(path_type=Path), required=True, metavar="DATA",
              help="Labelled images.")
@click.option("--split", type=click.Choice(("t10k", "train")), default="t10k", show_default=True,
              help="Which half of a data set in the format of MNIST.")
@click.option("--images", "most", type=click.IntRange(min=1), metavar="N",
              help="Only so many images, evenly spaced over all.  [default: all]")
@click.option("--compare", is_flag=True, help="Evaluate the float network, too.")
@click.option("--check", type=click.IntRange(min=0), default=0, show_default=True, metavar="K",
              help="Let the interpreter run the program on K of the images.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write the table as JSON.")
def accuracy(
    program: Path, data: Path, split: str, most: int | None, compare: bool, check: int,
    json_file: Path | None,
) -> int:
    """Count how often a network that smartdeal compile made is right."""
    from smartdeal.golden.store import beside, load_network

    if json_file is not None:
        check_apart({"--json": json_file}, {
            "the program": program, "the integer network": beside(program), "--data": data})
        check_target(json_file)
    with stages() as tell:
        from smartdeal.compiler import NetworkProgram
        from smartdeal.golden.accuracy import float_logits, integer_logits, scores
        from smartdeal.golden.labelled import read_labelled

        loaded = NetworkProgram.load(program)
        network = load_network(beside(program), about(loaded, program, "integer_sha256"))
        outputs = network.nodes[-1].layer.output_shape[0]
        images = read_labelled(
            data, loaded.input_shape, preprocessing_about(loaded, program), split=split,
            classes=about(loaded, program, "classes"), outputs=outputs)
        images = images.spread(most or len(images))
        models = {"integer": integer_logits(network)}
        if compare:
            models["float"] = float_logits(float_network(loaded, program))
        found = scores(models, images, lambda done: tell("evaluate", done))
        checked = images.spread(check) if check else None
        wrong = _wrong(loaded, network, checked, tell) if checked is not None else []
    out = console()
    out.print(f"{loaded.name}, {len(images):,} images of {data}", soft_wrap=True, markup=False)
    out.print(fitting(out, [_table(found)]))
    same = found["integer"].same(found["float"]) if compare else None
    if same is not None:
        out.print(f"{same:.2%} of the images in the same class as in floating point")
    if checked is not None:
        out.print(_told(len(checked), wrong), soft_wrap=True)
    if json_file is not None:
        write_text(json_file, json.dumps({
            "network": loaded.name, "program": str(program), "data": str(data),
            "images": len(images), "same_class": same,
            "checked": len(checked) if checked is not None else 0, "wrong": wrong,
            **{name: _as_json(score) for name, score in found.items()}}, indent=2) + "\n")
    return 1 if wrong else 0


def _wrong(
    program: "NetworkProgram", network: "IntegerNetwork", images: "Labelled", tell: Any,
) -> list[int]:
    """Return which images the interpreter and the integer network answer differently."""
    import numpy as np

    from smartdeal.golden.batch import run_batch
    from smartdeal.sim.simulate_network import simulate_network

    inputs = np.concatenate([program.quantise(x) for x, _ in images.batches(len(images))])
    expected = run_batch(network, inputs)[program.output]
    reports = simulate_network(program, list(inputs), engine="interpreter", progress=tell)
    return [number for number, (report, output) in enumerate(zip(reports, expected, strict=True))
            if not np.array_equal(report.output, output)]


def _told(count: int, wrong: list[int]) -> str:
    if wrong:
        return (f"FAILED: {len(wrong)} of {count} images have another output in the interpreter, "
                f"the first is number {wrong[0]} of them")
    return f"OK: the interpreter gives the same output for {count} images"


def _table(found: "dict[str, Score]") -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, collapse_padding=True)
    table.add_column("network", no_wrap=True)
    for name in ("top-1", "95 % interval", "top-5", "images/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, score in found.items():
        low, high = score.interval
        table.add_row(name, f"{score.top1:.2%}", f"{low:.1%} – {high:.1%}", f"{score.top5:.2%}",
                      f"{score.rate:,.0f}")
    return table


def _as_json(score: "Score") -> dict[str, Any]:
    values = {name: value for name, value in asdict(score).items() if name != "classes"}
    return {**values, "top1_interval": score.interval, "images_per_second": score.rate,
            "classes": score.classes.tolist()}
