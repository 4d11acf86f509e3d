"""Cycles of ResNet-8 with binary activations beside other forms: ``bench/binary_network.py``.

Cycles, program bytes and energy (28nm) of an image, by the models that tests hold against RTL. None
depends on the values of the weights, so none is trained here. ``--rtl`` runs each network.
"""

import argparse

from smartdeal.compiler import compile_network
from smartdeal.golden.checkpoints import load_trained
from smartdeal.golden.convert import convert
from smartdeal.golden.fashion import calibration_images, sample_images
from smartdeal.golden.networks import ResNet, build_network
from smartdeal.golden.quantise import quantise_network
from smartdeal.golden.recipes import forms_of
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.energy.model import cost_of_program
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.network_latency import predict_network
from smartdeal.sim.simulate_network import simulate_network

_ARRAYS = ((12, 16, 0), (16, 16, 4), (16, 16, 16))
_FORMS = (("DeepShift-Q", "deepshift-q", {}), ("binary weights", "binary", {}),
          ("bnn", "bnn", {}),
          ("bnn, shortcuts too", "bnn", {"layer2.0.downsample.0": "bnn",
                                         "layer3.0.downsample.0": "bnn"}))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Cycles of ResNet-8 with binary activations.")
    parser.add_argument("--rtl", action="store_true", help="Compare every byte and cycle in RTL.")
    arguments = parser.parse_args()
    technology = Technology.load("28nm")
    print("| array, lanes | form | cycles | of these the array steps | program bytes | µJ | RTL |\n"
          "|---|---|---|---|---|---|---|")
    for rows, cols, lanes in _ARRAYS:
        config = AcceleratorConfig(rows=rows, cols=cols, drain_lanes=lanes, binary=True)
        for title, form, others in _FORMS:
            model = build_network("resnet8")
            load_trained(model)
            made = convert(model, forms_of("resnet8", form, others))
            assert isinstance(made, ResNet)
            network = quantise_network(made.eval(), calibration_images(), "int8",
                                       sum_bits=config.sum_bits)
            program = compile_network(network, config)
            energy = sum(sum(layer.energy(config, technology).values())
                         for layer in cost_of_program(program).layers)
            equal = "–"
            if arguments.rtl:
                image = network.input_scale.quantise(sample_images()[0][0].numpy())
                report, = simulate_network(program, [image], network=network)
                equal = "equal" if report.bit_exact and report.cycle_exact else "DIFFERENT"
            cycles = predict_network(program).cycles
            print(f"| {rows} × {cols}, {config.drain_lanes} | {title} | {cycles.total:,} | "
                  f"{cycles.busy / cycles.total:.0%} | {sum(map(len, program.segments)):,} | "
                  f"{energy / 1e6:.2f} | {equal} |", flush=True)


if __name__ == "__main__":
    main()
