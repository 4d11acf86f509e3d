"""Networks with binary activations in RTL: every tensor and every cycle, forms mixed by layer."""

import pytest

from smartdeal.compiler import compile_network
from smartdeal.golden.checkpoints import load_trained
from smartdeal.golden.convert import convert
from smartdeal.golden.decompose import FormOptions
from smartdeal.golden.fashion import calibration_images, sample_images
from smartdeal.golden.networks import ResNet, build_network
from smartdeal.golden.quantise import quantise_network
from smartdeal.golden.recipes import forms_of
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.simulate_network import simulate_network

CONFIG = AcceleratorConfig(binary=True)
#: First layer int8, then binary weights and activations, SmartDeal with half of its vectors zero,
#: DeepShift and binary weights alone, last layer two terms.
MIXED = {"*": "smartdeal", "conv1": "int8", "layer1.0.conv1": "bnn", "layer1.0.conv2": "bnn",
         "layer2.0.downsample.0": "deepshift-q", "layer3.0.conv1": "binary",
         "layer3.0.conv2": "bnn", "fc": "shift2"}


def network_of(forms: str | dict[str, str], zero_fractions: dict[str, float]) -> ResNet:
    model = build_network("resnet8")
    load_trained(model)
    made = convert(model, forms, FormOptions(restarts=1), zero_fractions=zero_fractions)
    assert isinstance(made, ResNet)
    made.train()
    made(calibration_images())  # statistics near those of the signs
    return made.eval()


@pytest.mark.slow
@pytest.mark.parametrize(("forms", "zero_fractions", "entropy"), [
    (forms_of("resnet8", "bnn", {}), {}, False),
    (forms_of("resnet8", "bnn", {}), {}, True),
    ({"*": "bnn", "conv1": "int8", "fc": "int8"}, {}, False),
    (MIXED, {"layer2.0.conv1": 0.5, "layer2.0.conv2": 0.5}, False),
])
def test_every_tensor_and_cycle(
    forms: str | dict[str, str], zero_fractions: dict[str, float], entropy: bool,
) -> None:
    """Steps of binary layers, entropy coded or plain, beside those of all others."""
    model = network_of(forms, zero_fractions)
    config = CONFIG.replace(entropy=entropy)
    network = quantise_network(model, calibration_images(), "int8", sum_bits=config.sum_bits)
    program = compile_network(network, config, keep_all=True)
    assert len(program.outputs) == len(network.nodes)
    coded = {layer.name for layer in program.layers if layer.saved_bytes}
    assert ({"conv1", "layer1.0.conv1", "layer2.0.conv2", "fc"} <= coded) == entropy
    image = network.input_scale.quantise(sample_images()[0][0].numpy())
    report, = simulate_network(program, [image], network=network)
    assert report.failure == ""
    assert report.bit_exact
    assert report.cycle_exact


