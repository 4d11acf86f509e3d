"""Filters that die in training: ``python bench/dead_filters.py NETWORK.safetensors --data DATA``.

NETWORK is a ResNet-8 of ``smartdeal train resnet8 --optimiser adam --rate 0.02 --weight-decay
0.02``. Prints, by layer, the filters that died and left, and the cycles before and
after; and the accuracy of both networks in integers. With ``--rtl`` both run in RTL, and the exit
code is 0 if every byte and cycle is equal.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from smartdeal.compiler import compile_network
from smartdeal.golden.accuracy import integer_accuracy
from smartdeal.golden.checkpoints import load_weights
from smartdeal.golden.datasets import load_data
from smartdeal.golden.fading import bury, dead_filters
from smartdeal.golden.graph import float_graph
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import build_network
from smartdeal.golden.training import accuracy, settle
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.dead_filters import measure_fading
from smartdeal.sim.simulate_network import simulate_network


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Dead filters of a trained ResNet-8.")
    parser.add_argument("network", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--form", default="int8", help="weight form of the cycles")
    parser.add_argument("--rtl", action="store_true", help="run both networks in RTL, too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data(options.data)
    model = build_network("resnet8")
    load_weights(model, options.network)
    counts = dead_filters(model)
    print(f"test images right: {accuracy(model, data.test):.2%} as trained")
    bury(model)
    settle(model, data.train.images)
    print(f"{accuracy(model, data.test):.2%} with the dead filters' constants gone")
    _, height, width = data.train.images.shape[1:]
    fading = measure_fading(float_graph(model, (height, width)), data.train.images[:64],
                            options.form, AcceleratorConfig())
    print("\n| layer | filters | dead | removed | cycles before | after |\n" + "|---" * 6 + "|")
    for name, cycles in fading.cycles_before.items():
        filters, dead = counts.get(name, (0, 0))
        removed = fading.removals[name].removed if name in fading.removals else 0
        print(f"| {name} | {filters or '–'} | {dead} | {removed} | {cycles:,} | "
              f"{fading.cycles_after[name]:,} |")
    print(f"| all | | | | {sum(fading.cycles_before.values()):,} | "
          f"{sum(fading.cycles_after.values()):,} |\n")
    exact = True
    for label, network in (("before", fading.before), ("after", fading.after)):
        right = integer_accuracy(network, data.test.images, data.test.labels)
        print(f"test images right in integers, {label}: {right:.2%}")
        if options.rtl:
            exact &= _runs(label, network, data.test.images[0])
    return 0 if exact else 1


def _runs(label: str, network: IntegerNetwork, image: Tensor) -> bool:
    """Run a network in RTL; return whether every byte and cycle is as it must be."""
    program = compile_network(network, AcceleratorConfig(), keep_all=True)
    report, = simulate_network(program, [network.input_scale.quantise(image.numpy())],
                               network=network)
    counted = [segment.measured for segment in report.segments]
    exact = report.bit_exact and report.cycle_exact
    print(f"RTL, {label}: {sum(c.total for c in counted if c is not None):,} cycles, "
          f"{'all as predicted' if exact else report.failure or 'NOT as predicted'}")
    return exact


if __name__ == "__main__":
    sys.exit(main())
