"""Drawn 3×3 layers in SmartDeal form, by events and by gates that switch, on two small arrays.

    python bench/switching.py [ROWSxCOLS…]

For a layer of a network and an accelerator of your own use
`smartdeal report NET --switching LAYER`.
"""

import sys

import numpy as np

from smartdeal.cli.output import console
from smartdeal.cli.switching_table import switching_table, switching_verdict
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.cases import draw_case
from smartdeal.sim.energy.switching import switching_of
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.simulate import LayerWork

SIZES = {"3x2": (3, 2, 1), "6x4": (6, 4, 2)}
MAX_STEPS = 800


def main() -> None:
    """Print a table for each size."""
    for size in sys.argv[1:] or SIZES:
        rows, cols, lanes = SIZES[size]
        measure(AcceleratorConfig(
            rows=rows, cols=cols, drain_lanes=lanes, activation_words=256, weight_steps=256,
            basis_entries=32, channel_entries=32, program_words=64, acc_bits=20, sum_bits=32,
            exponents=4, max_slices=4, host_bits=32, max_pool=False))


def measure(config: AcceleratorConfig) -> None:
    """Print the table of one array."""
    case = draw_case(np.random.default_rng(31), config, max_steps=MAX_STEPS, form="kernel",
                     residual=False)
    layer = case.layer
    found = switching_of(LayerWork(layer, case.x, case.residual), config, Technology.load("28nm"))
    out = console()
    out.print(f"{config.rows}×{config.cols} array, {config.drain_lanes} lanes, {layer.kind}, "
              f"{layer.input_shape} to {layer.output_shape}, kernel {layer.kernel}",
              soft_wrap=True)
    out.print(switching_table(found))
    out.print(switching_verdict(found), soft_wrap=True)


if __name__ == "__main__":
    main()
