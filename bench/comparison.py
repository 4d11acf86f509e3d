"""Our side of the comparison with other open accelerators, as Markdown: one layer, one table.

The layer is ResNet-18's first 3×3 convolution (layer1.0.conv1, 115.6 M multiply-accumulates, seeded
weights). Cycles are predicted as ``smartdeal simulate`` checks them; LUTs come from a build in
``build/boards/rows.json`` (``bench/boards.py``) if it has the array, or else from the area model;
the clock from that build, or from ``--clock``.

    python bench/comparison.py --array 15x32 --clock 50
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from smartdeal.boards.catalogue import board
from smartdeal.compiler.layer import compile_layer
from smartdeal.golden.checkpoints import noise_images, seeded_weights
from smartdeal.golden.networks import build_network
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_layer
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.area import estimate
from smartdeal.sim.latency import predict

LAYER = "layer1.0.conv1"
BUILT = Path("build/boards/rows.json")
#: What others reach on it, MARLANN on another: units, MACs per unit and cycle, and so on.
OTHERS = {
    "NNgen 1.3.4, 8 bits, ECP5-85": ("72", "89.8 %", "612 (+80 DSP)", "36", "4.7", "0.11"),
    "CFU-Playground hps_accel, 8 bits, ECP5-85": ("32", "99 %", "175 (+36 DSP)", "63", "4.0",
                                                  "0.72"),
    "NVDLA nv_small, 8 bits": ("64", "", "1,946: does not fit", "", "", ""),
    "MARLANN, 8 bits, iCE40 UP5K": ("16", "80 %", "256", "29.4", "0.75", "0.18"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--array", default="15x32", metavar="RxC")
    parser.add_argument("--clock", type=float, metavar="MHZ")
    parser.add_argument("--forms", nargs="+", default=["deepshift", "smartdeal", "int8"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows, cols = map(int, arguments.array.split("x"))
    found = built(rows, cols)
    # As the board has it, but for the activations: a whole map stays in the buffer.
    config = AcceleratorConfig(**{**board("ulx3s_85f").configuration, "rows": rows, "cols": cols,
                                  "activation_words": 0, "drain_lanes": 0,
                                  "weight_steps": 20_480, "basis_entries": 4096})
    lut = found["resources"]["lut"] if found else estimate(config).lut
    clock = arguments.clock or (min(seed["mhz"] for seed in found["seeds"]) if found else 0.0)
    if not clock:
        parser.error(f"no build of {arguments.array} in {BUILT}: say --clock")
    print("| | units | MACs per unit and cycle | LUTs per unit | MHz | GOPS | GOPS/kLUT |")
    print("|---|---|---|---|---|---|---|")
    for name, numbers in OTHERS.items():
        print(f"| {name} | {' | '.join(numbers)} |")
    for form in arguments.forms:
        macs, cycles = layer(form, config)
        gops = 2 * macs / cycles * clock / 1e3
        share = macs / cycles / (rows * cols)
        print(f"| smartdeal {arguments.array}, {form}, {cycles:,} cycles | {rows * cols} | "
              f"{share:.1%} | {lut / rows / cols:.0f} | {clock:.1f} | {gops:.1f} | "
              f"{gops / lut * 1e3:.2f} |", flush=True)
    source = f"build for {found['board']}" if found else "area model"
    print(f"\n{lut:,} LUTs: {source}")


def layer(form: str, config: AcceleratorConfig) -> tuple[int, int]:
    """Return the layer's multiply-accumulates, and the cycles that it takes."""
    model = build_network("resnet18")
    seeded_weights(model, 0)
    images = torch.as_tensor(noise_images(model.spec.input_shape, 1, 0))
    options = FormOptions(exponents=config.exponents, group=config.filters_per_group,
                          zero_fraction=0.6 if form == "smartdeal" else 0.0)
    case = quantise_layer(model, LAYER, images, form, options, config.sum_bits)
    program = compile_layer(case.node.layer, config)
    return case.node.layer.macs, sum(predict(part.image, config).total for part in program.parts)


def built(rows: int, cols: int) -> dict[str, Any] | None:
    """Return the report of a build with the array on an ECP5, if there is one."""
    reports = json.loads(BUILT.read_text()).values() if BUILT.exists() else ()
    return next((report for report in reports if "resources" in report
                 and (report["rows"], report["cols"]) == (rows, cols)
                 and board(report["board"]).target == "ecp5"), None)


if __name__ == "__main__":
    sys.exit(main())
