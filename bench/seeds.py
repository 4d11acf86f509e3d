"""Several seeds of one training in several forms: median and range of what they reach.

Run: ``python bench/seeds.py resnet8 --data fashion-mnist --start package --form smartdeal
--form deepshift-q --epochs 3 --seeds 1 2 3 --folder runs``. It does what ``smartdeal train`` does,
with the form's usual optimiser and rate. What is in the folder already is not trained again,
and an interrupted training goes on, so that the command can be called until all is there.
"""

import argparse
import json
import statistics
from pathlib import Path

import torch

from smartdeal.golden.datasets import DataError, DataSet, load_data
from smartdeal.golden.files import write_whole
from smartdeal.golden.options import FormOptions
from smartdeal.golden.recipes import forms_of, recipe
from smartdeal.golden.train_network import PACKAGE, Job, run_job, state_file
from smartdeal.golden.train_options import EpochReport, TrainOptions


class _Lines:
    """Prints a line per epoch."""

    def __init__(self, label: str) -> None:
        self._label = label

    def progress(self, epoch: int, share: float, loss: float) -> None:
        """Ignore it."""

    def epoch(self, report: EpochReport) -> None:
        """Print it."""
        print(f"{self._label}: epoch {report.epoch} of {report.epochs}, loss {report.loss:.4f}, "
              f"{report.seconds:.0f} s", flush=True)


def _job(given: argparse.Namespace, data: DataSet, form: str, seed: int) -> Job:
    usual = recipe(form)
    retraining = given.start is not None
    output = given.folder / f"{given.network}-{data.name}-{form}-{given.epochs}-{seed}.npz"
    return Job(
        network=given.network, form=forms_of(given.network, form, {}), start=given.start,
        form_options=FormOptions(
            zero_fraction=given.zero_fraction if form.startswith("smartdeal") else 0.0),
        options=TrainOptions(
            epochs=given.epochs, seed=seed, batch=given.batch, optimiser=usual.optimiser,
            rate=usual.retraining_rate if retraining else usual.rate, mirror=data.mirror,
            weight_decay=usual.weight_decay, half=given.half),
        output=output, resume=state_file(output).exists())


def _reached(given: argparse.Namespace, data: DataSet, form: str, seed: int) -> tuple[float, float]:
    """Return what one training reaches on the test images: as trained, and in integers."""
    job = _job(given, data, form, seed)
    kept = job.output.with_suffix(".json")
    if not kept.exists():
        result = run_job(job, data, _Lines(f"{form}, seed {seed}"))
        write_whole(kept, json.dumps([result.accuracy, result.integer_accuracy]).encode())
    trained, integers = json.loads(kept.read_text())
    return trained, integers


def _row(form: str, reached: list[tuple[float, float]], epochs: int) -> str:
    cells = [f"{statistics.median(values):.2%} | {min(values):.2%} – {max(values):.2%}"
             for values in zip(*reached, strict=True)]
    return f"| {form} | {epochs} | {len(reached)} | {' | '.join(cells)} |"


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description="Several seeds of one training.")
    parser.add_argument("network")
    parser.add_argument("--data", required=True)
    parser.add_argument("--form", action="append", required=True)
    parser.add_argument("--start", help=f"checkpoint, or {PACKAGE} (default: from scratch)")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--zero-fraction", type=float, default=0.52, help="of SmartDeal's forms")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--bf16", dest="half", action="store_true")
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        data = load_data(given.data)
    except DataError as error:
        parser.error(str(error))
    given.folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(form, [_reached(given, data, form, seed) for seed in given.seeds], given.epochs)
            for form in given.form]
    print("| form | epochs | seeds | as trained: median | range | in integers: median | range |\n"
          "|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
