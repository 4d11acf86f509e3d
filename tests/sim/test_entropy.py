"""Entropy-coded programs in RTL: a layer of every form, a network of mixed forms."""

import numpy as np
import pytest
import torch

from smartdeal.compiler import compile_layer, compile_network
from smartdeal.compiler.image import read_image
from smartdeal.golden.binary_layers import BinaryConv2d
from smartdeal.golden.decompose import decompose
from smartdeal.golden.forms import Weights
from smartdeal.golden.layers import IntegerLayer, Requantisation
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.golden.shared_layers import SHARED_LAYERS
from smartdeal.golden.shift_layers import DeepShiftConv2d, DeepShiftPSConv2d
from smartdeal.golden.smartdeal_layers import SmartDealConv2d
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind
from smartdeal.sim.simulate import LayerWork, simulate_layers
from smartdeal.sim.simulate_network import simulate_network
from smartdeal.sim.workload import default_images, load_model

CONFIG = AcceleratorConfig(rows=9, cols=8, activation_words=4096, weight_steps=4096, acc_bits=28,
                           channel_entries=64, basis_entries=256, program_words=512,
                           entropy=True)
FORMS = ("int8", "shift2", "shift3", "deepshift", "smartdeal", "smartdeal-train", "deepshift-q",
         "deepshift-ps", "binary", *sorted(SHARED_LAYERS))


def weights_of(form: str, shape: tuple[int, int, int, int]) -> Weights:
    """Return seeded weights in a form: by its layer where it is trained, else decomposed."""
    real = np.random.default_rng(11).laplace(0, 0.1, shape)
    options = FormOptions(exponents=CONFIG.exponents, group=3, percentile=60.0, shared_values=8)
    layers = {"deepshift-q": DeepShiftConv2d, "deepshift-ps": DeepShiftPSConv2d,
              "smartdeal-train": SmartDealConv2d, "binary": BinaryConv2d,
              **{name: pair[0] for name, pair in SHARED_LAYERS.items()}}
    if form not in layers:
        return decompose(form, real, options)
    plain = torch.nn.Conv2d(shape[1], shape[0], shape[2:], bias=False)
    with torch.no_grad():
        plain.weight.copy_(torch.from_numpy(real))
    return layers[form].from_float(plain, options).export()


def layer_of(form: str) -> IntegerLayer:
    weights = weights_of(form, (20, 12, 3, 3))
    spread = np.sqrt((weights.integer().astype(float) ** 2).sum(axis=(1, 2, 3)) + 1) * 74
    multiplier = np.full(20, 40_000)
    shift = np.rint(np.log2(spread * multiplier / 60)).astype(np.int64)
    zero = np.zeros(20, np.int64)
    return IntegerLayer(
        name=form, kind="conv", weights=weights, kernel=(3, 3), stride=1, padding=(1, 1, 1, 1),
        input_shape=(12, 9, 10), output_shape=(20, 9, 10),
        requantisation=Requantisation(zero, multiplier, zero, shift, zero),
        input_zero_point=-3, output_zero_point=5, residual_zero_point=0, residual=False, lo=-128,
        hi=127)


@pytest.mark.slow
def test_a_layer_of_every_form() -> None:
    """Every byte and every cycle, from steps that the hardware decodes."""
    rng = np.random.default_rng(2)
    work = [LayerWork(layer_of(form), rng.integers(-128, 128, (12, 9, 10)).astype(np.int8))
            for form in FORMS]
    for one in work:
        sections = [section for part in compile_layer(one.layer, CONFIG).parts
                    for section in read_image(part.image, CONFIG).sections
                    if section.kind == SectionKind.STEPS]
        assert all(section.coded for section in sections), one.layer.name
    for report in simulate_layers(work, CONFIG, idle=0.1, seed=3):
        assert (report.name, report.failure, report.bytes_wrong) == (report.name, "", 0)
        assert report.measured == report.predicted


@pytest.mark.slow
def test_a_network_of_mixed_forms() -> None:
    """First layer int8, last two terms, the rest SmartDeal, DeepShift and three terms."""
    config = AcceleratorConfig(rows=12, cols=16, entropy=True)
    model, _ = load_model("resnet8", None, 0)
    form = {"*": "smartdeal", "conv1": "int8", "fc": "shift2", "layer1.0.conv2": "deepshift",
            "layer2.0.conv1": "shift3", "layer2.0.downsample.0": "deepshift"}
    images = default_images(model, 0)
    network = quantise_network(model, images, form, FormOptions(group=4), config.sum_bits)
    program = compile_network(network, config)
    assert sum(bool(layer.saved_bytes) for layer in program.layers) >= 8
    image = network.input_scale.quantise(images[0].numpy())
    for report in simulate_network(program, [image], network=network):
        assert report.failure == ""
        assert report.bytes_wrong == 0
        assert report.cycle_exact
