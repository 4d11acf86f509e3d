"""Whole networks in RTL, every tensor on chip: ``python bench/networks.py`` prints a table."""

import sys
import time

from smartdeal.compiler import compile_network
from smartdeal.golden.decompose import FORMS
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.device import accelerator_simulator
from smartdeal.sim.simulate_network import simulate_network
from smartdeal.sim.workload import default_images, load_model

NETWORKS = ("resnet8", "resnet20")


def main() -> int:
    """Print a row per network and form; return 1 if any byte or cycle differs."""
    different = 0
    config = AcceleratorConfig()
    accelerator_simulator(config)  # built before any time is taken
    print("| network | form | segments | instructions | program bytes | activation bytes | "
          "cycles in RTL | predicted | busy | exact | seconds |\n" + "|---" * 11 + "|")
    for name in NETWORKS:
        model, _ = load_model(name, None, 0)
        images = default_images(model, 0)
        for form in FORMS:
            options = FormOptions(exponents=config.exponents, group=config.filters_per_group)
            network = quantise_network(model, images, form, options, config.sum_bits)
            reused = compile_network(network, config)
            program = compile_network(network, config, keep_all=True)
            image = network.input_scale.quantise(images[0].numpy())
            start = time.perf_counter()
            report, = simulate_network(program, [image], network=network)
            seconds = time.perf_counter() - start
            measured = sum(s.measured.total for s in report.segments if s.measured is not None)
            predicted = report.predicted
            exact = report.bit_exact and report.cycle_exact
            different |= not exact
            print(f"| {name} | {form} | {len(program.segments)} | {program.instruction_count} | "
                  f"{sum(map(len, program.segments)):,} | {reused.used_words * config.cols:,} | "
                  f"{measured:,} | {predicted.total:,} | "
                  f"{predicted.busy / predicted.total:.1%} | {'yes' if exact else 'NO'} | "
                  f"{seconds:.1f} |", flush=True)
    return different


if __name__ == "__main__":
    sys.exit(main())
