"""A drawn 3×3 layer in SmartDeal form, by events and by gates that switch, on a small accelerator.

    python bench/switching.py

For a layer of a network and an accelerator of your own use
`smartdeal report NET --switching LAYER`.
"""

import numpy as np

from smartdeal.cli.output import console
from smartdeal.cli.switching_table import switching_table, switching_verdict
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.cases import draw_case
from smartdeal.sim.energy.switching import switching_of
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.simulate import LayerWork

CONFIG = AcceleratorConfig(
    rows=3, cols=2, activation_words=256, weight_steps=256, basis_entries=32, channel_entries=32,
    program_words=64, acc_bits=20, sum_bits=32, exponents=4, max_slices=4, host_bits=32,
    max_pool=False)
MAX_STEPS = 800


def main() -> None:
    """Print the table."""
    case = draw_case(np.random.default_rng(31), CONFIG, max_steps=MAX_STEPS, form="kernel",
                     residual=False)
    layer = case.layer
    found = switching_of(LayerWork(layer, case.x, case.residual), CONFIG, Technology.load("28nm"))
    out = console()
    out.print(f"{CONFIG.rows}×{CONFIG.cols} array, {layer.kind}, {layer.input_shape} to "
              f"{layer.output_shape}, kernel {layer.kernel}", soft_wrap=True)
    out.print(switching_table(found))
    out.print(switching_verdict(found), soft_wrap=True)


if __name__ == "__main__":
    main()
