"""What entropy coding saves on the trained networks of the package, and sHAM's formula beside it.

Run: ``python bench/entropy.py [--rows R --cols N] [--network NET]``. Each network is compiled
twice, with plain and with coded steps; bytes are those of the program images, load cycles those of
the loader when the host never pauses. Below: the integer weights of all layers as matrices in HAM
and sHAM, real bytes against the published bounds.
"""

import argparse
from collections.abc import Iterator
from importlib.resources import as_file, files

import torch

from smartdeal.compiler import compile_network
from smartdeal.golden.checkpoints import load_weights
from smartdeal.golden.fashion import CHECKPOINTS, RETRAINED, calibration_images
from smartdeal.golden.form_layers import binarises
from smartdeal.golden.networks import ResNet, build_network
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.costs import network_costs
from smartdeal.sim.loading import load_cycles

_IMAGE = ("network", "weights", "float32", "plain image", "coded image", "saved", "float32 / coded",
          "coded layers", "load cycles plain", "coded")
_FORMULA = ("network", "weights", "HAM bytes", "bound", "sHAM bytes", "bound", "CSC bytes")


def _networks(only: str | None) -> Iterator[tuple[str, ResNet]]:
    for name, float_file in CHECKPOINTS.items():
        if only not in (None, name):
            continue
        for form, file in {"int8": float_file, **RETRAINED.get(name, {})}.items():
            model = build_network(name)
            with as_file(files("smartdeal.golden") / file) as path:
                load_weights(model, path)
            yield f"{name}, {form}", model


def _print(columns: tuple[str, ...]) -> None:
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--cols", type=int, default=16)
    parser.add_argument("--network", choices=tuple(CHECKPOINTS), help="only this one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[list[str]] = []
    _print(_IMAGE)
    for label, model in _networks(arguments.network):
        plain = AcceleratorConfig(rows=arguments.rows, cols=arguments.cols,
                                  binary=any(map(binarises, model.modules())))
        coded = plain.replace(entropy=True)
        images = calibration_images()
        options = FormOptions(exponents=plain.exponents, group=max(1, plain.filters_per_group))
        network = quantise_network(model, images, "int8", options, plain.sum_bits)
        sizes, cycles = [], []
        for config in (plain, coded):
            program = compile_network(network, config)
            sizes.append(sum(map(len, program.segments)))
            cycles.append(sum(load_cycles(image, config) for image in program.segments))
        layers = [layer for layer in program.layers if layer.weights]
        dense = 4 * sum(layer.weights for layer in layers)
        used = sum(bool(layer.saved_bytes) for layer in layers)
        print(f"| {label} | {dense // 4:,} | {dense:,} | {sizes[0]:,} | {sizes[1]:,} | "
              f"{1 - sizes[1] / sizes[0]:.1%} | {dense / sizes[1]:.2f} | {used} of {len(layers)} | "
              f"{cycles[0]:,} | {cycles[1]:,} |", flush=True)
        costs = network_costs(model, images, "int8", plain, options)
        total = {name: sum(layer.formats[name] for layer in costs.layers)
                 for name in ("ham", "sham", "csc")}
        ham, sham = (sum(4 * layer.weights * getattr(layer, bound) for layer in costs.layers)
                     for bound in ("ham_bound", "sham_bound"))
        rows.append([label, f"{costs.weights:,}", f"{total['ham']:,}", f"{ham:,.0f}",
                     f"{total['sham']:,}", f"{sham:,.0f}", f"{total['csc']:,}"])
    print()
    _print(_FORMULA)
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
