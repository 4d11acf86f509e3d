"""Cycles of binary layers and of one-term layers of the same shape: ``python bench/binary.py``.

Shapes of ResNet-18's 3×3 layers; seeded weights; predicted cycles. With ``--rtl`` both of the
first shape, on a smaller map, run in RTL, and the exit code is 0 if every byte and cycle is equal.
"""

import argparse
import sys

import numpy as np

from smartdeal.compiler import compile_layer
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.binary_pairs import binary_pair
from smartdeal.sim.cases import draw_operands
from smartdeal.sim.latency import predict
from smartdeal.sim.simulate import LayerWork, simulate_layers

_SHAPES = ((64, 56), (128, 28), (256, 14), (512, 7))
_RTL_SIZE = 14


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Cycles of binary layers.")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--cols", type=int, default=16)
    parser.add_argument("--rtl", action="store_true")
    arguments = parser.parse_args()
    config = AcceleratorConfig(rows=arguments.rows, cols=arguments.cols, acc_bits=24, binary=True)
    print("| 3×3, channels, map | one term | binary | times |")
    print("|---|---|---|---|")
    exact = True
    for channels, size in _SHAPES[:1] if arguments.rtl else _SHAPES:
        if arguments.rtl:
            size = _RTL_SIZE
        binary, one_term = binary_pair(channels, channels, size, config)
        cycles = [sum(predict(part.image, config).total for part in
                      compile_layer(layer, config).parts) for layer in (one_term, binary)]
        print(f"| {channels}, {size} × {size} | {cycles[0]:,} | {cycles[1]:,} "
              f"| {cycles[0] / cycles[1]:.2f} |")
        if arguments.rtl:
            rng = np.random.default_rng(1)
            works = [LayerWork(layer, *draw_operands(rng, layer)) for layer in (one_term, binary)]
            for report in simulate_layers(works, config):
                exact &= report.bit_exact and bool(report.cycle_exact)
                print(f"RTL: {report.measured}, bytes wrong {report.bytes_wrong}")
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
