"""Accuracy and cycles on Fashion-MNIST: every form, and mixes that a budget chooses.

Run: ``python bench/accuracy.py DATA [--images N]``. DATA is the folder of the four IDX files, for
example that of the Debian package dataset-fashion-mnist. It does what ``smartdeal compile`` (with
``--form`` or ``--budget``) and ``smartdeal accuracy --compare`` do, for many forms at once.
"""

import argparse
from pathlib import Path

import torch

from smartdeal.compiler.models import open_model
from smartdeal.golden.accuracy import float_logits, integer_logits, scores
from smartdeal.golden.labelled import read_labelled
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.budget import Budget
from smartdeal.sim.compilation import CANDIDATES, Compiled, Recipe, compile_model
from smartdeal.sim.summary import network_cycles
from smartdeal.sim.workload import default_images

#: Budgets as shares of the cycles of a form for all layers.
_SHARES = (("deepshift", 1.0), ("smartdeal", 1.0), ("shift2", 0.75), ("shift2", 1.0))


def _report(network: str, data: Path, images: int) -> None:
    model = open_model(network)
    calibration = default_images(model.network, 0)

    def made(**given: object) -> Compiled:
        recipe = Recipe(config=AcceleratorConfig(), dead_threshold=1e-3,
                        **given)  # pyright: ignore[reportArgumentType]
        return compile_model(model, calibration, recipe, {})

    compiled = {form: made(form=form) for form in CANDIDATES}
    cycles = {form: network_cycles(result.program) for form, result in compiled.items()}
    for form, share in _SHARES:
        limit = int(cycles[form] * share)
        compiled[f"mix, cycles={limit}"] = made(budget=Budget("cycles", limit))
    labelled = read_labelled(data, model.graph.input_shape, model.preprocessing, outputs=10)
    logits = {name: integer_logits(result.network) for name, result in compiled.items()}
    found = scores({**logits, "float": float_logits(model.network)}, labelled.spread(images))
    for name, score in found.items():
        result = compiled.get(name)
        shown = "–" if result is None else f"{network_cycles(result.program):,}"
        print(f"| {network} | {name} | {shown} | {score.top1:.2%} | "
              f"{score.interval[0]:.1%} – {score.interval[1]:.1%} | "
              f"{score.same(found['float']):.2%} | {score.rate:,.0f} |", flush=True)


def _main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy and cycles on Fashion-MNIST.")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the four IDX files")
    parser.add_argument("--images", type=int, default=10000, help="test images (default: 10000)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | form | cycles | top-1 | 95 % interval | class as float | images/s |\n"
          "|---|---|---|---|---|---|---|")
    for network in ("resnet8", "resnet20_fashion"):
        _report(network, options.data, options.images)


if __name__ == "__main__":
    _main()
