"""Run real ResNet-18 layers on arrays of several sizes and print one table in Markdown.

    python bench/real_layers.py [--forms smartdeal deepshift] [--arrays 8x9 9x8 12x16 16x16]

Every layer runs in RTL on activations of the network with seeded weights; each byte and each cycle
is compared (as `smartdeal simulate` does), and the exit code is 1 if any differs. The pool has no
weights and is run once for each array.
"""

import argparse
import sys
import time

import torch

from smartdeal.golden.checkpoints import noise_images, seeded_weights
from smartdeal.golden.decompose import FORMS, FormOptions
from smartdeal.golden.networks import build_network
from smartdeal.golden.quantise import quantise_layer
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.simulate import LayerReport, LayerWork, simulate_layers

LAYERS = ("conv1", "maxpool", "layer1.0.conv1", "layer2.0.conv1", "layer2.0.downsample",
          "layer4.1.conv2")
ARRAYS = ("8x9", "9x8", "12x16", "16x16")
ZERO_FRACTION = 0.6
SEED = 0


def work_of(model, images, layer: str, form: str, config: AcceleratorConfig) -> LayerWork:
    zero = ZERO_FRACTION if form == "smartdeal" else 0.0
    options = FormOptions(exponents=config.exponents, zero_fraction=zero,
                          group=config.filters_per_group)
    case = quantise_layer(model, layer, images, form, options, config.sum_bits)
    return LayerWork(case.node.layer, case.x, case.residual)


def row(array: str, form: str, report: LayerReport, seconds: float) -> str:
    measured = report.measured
    cycles = f"{measured.total:,}" if measured is not None else "failed"
    verdict = "yes" if report.bit_exact and report.cycle_exact else "NO"
    return (f"| {array} | {report.name} | {form} | {report.macs / 1e6:.1f} | {cycles} | "
            f"{report.predicted.total:,} | {100 * report.busy:.1f} % | {verdict} | {seconds:.1f} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forms", nargs="+", default=["smartdeal", "deepshift"],
                        choices=sorted(FORMS))
    parser.add_argument("--arrays", nargs="+", default=list(ARRAYS), metavar="RxN")
    parser.add_argument("--layers", nargs="+", default=list(LAYERS), metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = build_network("resnet18")
    seeded_weights(model, SEED)
    images = torch.as_tensor(noise_images(model.spec.input_shape, 1, SEED))
    print("| array | layer | form | MMAC | cycles | predicted | busy | exact | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    wrong = 0
    for array in arguments.arrays:
        rows, cols = map(int, array.split("x"))
        config = AcceleratorConfig(rows=rows, cols=cols)
        for layer in arguments.layers:
            for form in arguments.forms if layer != "maxpool" else ["max"]:
                work = work_of(model, images, layer, "int8" if form == "max" else form, config)
                start = time.perf_counter()
                report, = simulate_layers([work], config)
                print(row(array, form, report, time.perf_counter() - start), flush=True)
                wrong += not (report.bit_exact and report.cycle_exact)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
