"""Large networks with external memory, whole, in RTL: bytes, cycles, busy share and traffic.

    python bench/memory_rtl.py [NETWORK…] [--form FORM…] [--keep-all] [--no-rtl]

With --keep-all no tensor is overwritten, and every one is compared with the integer network.

The memory is regular: 60 cycles latency, 8 bytes per cycle. Weights are seeded; the image is noise.
"""

import argparse
import sys
import time

from smartdeal.compiler import compile_network
from smartdeal.compiler.models import load_model
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.network_latency import predict_network
from smartdeal.sim.simulate_network import simulate_network
from smartdeal.sim.workload import default_images


def main() -> int:
    """Print a row per network and form; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=["resnet18"])
    parser.add_argument("--form", dest="forms", action="append")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--cols", type=int, default=16)
    parser.add_argument("--latency", type=int, default=60, help="cycles")
    parser.add_argument("--bandwidth", type=int, default=8, help="bytes per cycle")
    parser.add_argument("--keep-all", action="store_true", help="compare every tensor")
    parser.add_argument("--no-rtl", action="store_true", help="predict only")
    arguments = parser.parse_args()
    config = AcceleratorConfig(rows=arguments.rows, cols=arguments.cols, memory=True)
    timing = MemoryTiming(latency_cycles=arguments.latency, bytes_per_cycle=arguments.bandwidth)
    print("| network | form | instructions | region bytes | cycles | busy | waiting for memory "
          "| loaded | stored | compile s | predict s | RTL s | exact |")
    print("|" + "---|" * 13)
    good = True
    for name in arguments.networks:
        for form in arguments.forms or ["deepshift"]:
            good &= row(name, form, config, timing, rtl=not arguments.no_rtl,
                        keep_all=arguments.keep_all)
    return 0 if good else 1


def row(
    name: str, form: str, config: AcceleratorConfig, timing: MemoryTiming, *, rtl: bool,
    keep_all: bool,
) -> bool:
    """Print one row; return whether everything is equal."""
    model, _ = load_model(name, None, 0)
    images = default_images(model, 0)
    options = FormOptions(exponents=config.exponents, group=max(1, config.filters_per_group))
    network = quantise_network(model, images[:2], form, options, config.sum_bits)
    start = time.monotonic()
    program = compile_network(network, config, keep_all=keep_all)
    compiled = time.monotonic()
    predicted = predict_network(program, timing)
    known = time.monotonic()
    exact, seconds = True, 0.0
    if rtl:
        image = network.input_scale.quantise(images[0].numpy())
        report, = simulate_network(program, [image], network=network, timing=timing)
        seconds = time.monotonic() - known
        exact = report.bit_exact and report.cycle_exact
        if report.failure:
            print(report.failure, file=sys.stderr)
    cycles = predicted.cycles
    told = ("yes" if exact else "NO") if rtl else "–"
    print(f"| {name} | {form} | {program.instruction_count:,} | {program.memory_bytes:,} "
          f"| {cycles.total:,} | {cycles.busy / cycles.total:.1%} "
          f"| {cycles.stall_memory / cycles.total:.1%} | {predicted.bytes_loaded:,} "
          f"| {predicted.bytes_stored:,} | {compiled - start:.1f} | {known - compiled:.2f} "
          f"| {seconds:.0f} | {told} |", flush=True)
    return exact


if __name__ == "__main__":
    sys.exit(main())
