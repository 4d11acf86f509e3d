"""What a user may choose in quantisation: ranges, forms and zeroed vectors by layer."""

import re

import numpy as np
import pytest
import torch

from smartdeal.golden.calibrate import tensor_scale
from smartdeal.golden.checkpoints import noise_images, seeded_weights
from smartdeal.golden.forms import BasisWeights, TermWeights
from smartdeal.golden.graph import float_graph, layer_names
from smartdeal.golden.layers import TensorScale
from smartdeal.golden.networks import NetworkError, ResNet, build_network
from smartdeal.golden.options import (
    RESNET18_ZERO_FRACTIONS,
    FormError,
    FormOptions,
    QuantiseOptions,
    Ranges,
)
from smartdeal.golden.quantise import quantise_layer, quantise_network


def network() -> tuple[ResNet, torch.Tensor]:
    model = build_network("resnet8")
    seeded_weights(model, 1)
    return model, noise_images((1, 28, 28), 4, 2)


def squared_error(scale: TensorScale, values: torch.Tensor) -> float:
    real = values.numpy()
    return float(np.mean((scale.real(scale.quantise(real)) - real) ** 2))


@pytest.mark.parametrize("positive", [False, True])
def test_ranges(positive: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    # A normal distribution with a few values far out.
    values = torch.randn(1, 4, 100, 100, generator=generator)
    values[0, 0, 0, :3] *= 30
    values = values.abs() if positive else values
    by_range = {ranges: tensor_scale("x", values, QuantiseOptions(ranges=ranges))
                for ranges in ("min_max", "percentile", "mse")}
    extremes = by_range["min_max"].real(np.array([-128, 127], np.int8))
    assert extremes[0] <= float(values.min()) + by_range["min_max"].scale
    assert extremes[1] >= float(values.max()) - by_range["min_max"].scale
    assert by_range["percentile"].scale < 0.5 * by_range["min_max"].scale
    errors = {ranges: squared_error(scale, values) for ranges, scale in by_range.items()}
    assert errors["mse"] <= 1.05 * min(errors.values())
    for scale in by_range.values():
        assert scale.real(scale.quantise(np.zeros(1)))[0] == 0


@pytest.mark.parametrize("ranges", ["min_max", "percentile", "mse"])
def test_a_constant_tensor_has_a_scale(ranges: Ranges) -> None:
    for value in (0.0, 3.0, -2.0):
        values = torch.full((1, 1, 2, 2), value)
        scale = tensor_scale("x", values, QuantiseOptions(ranges=ranges))
        assert scale.real(scale.quantise(values.numpy())).ravel()[0] == pytest.approx(value)


def test_forms_by_layer() -> None:
    model, images = network()
    quantised = quantise_network(
        model, images, {"*": "int8", "layer1.0.conv1": "smartdeal", "fc": "deepshift"})
    weights = {node.layer.name: node.layer.weights for node in quantised.nodes}
    assert isinstance(weights["layer1.0.conv1"], BasisWeights)
    assert isinstance(weights["fc"], TermWeights)
    assert len(weights["fc"].sign) == 1
    assert isinstance(weights["conv1"], TermWeights)
    assert len(weights["conv1"].sign) == 4
    case = quantise_layer(model, "fc", images, {"fc": "shift2"})
    assert isinstance(case.node.layer.weights, TermWeights)
    assert len(case.node.layer.weights.sign) == 2


def test_layers_without_a_form_and_forms_without_a_layer() -> None:
    model, images = network()
    message = ("conv1: no weight form is given for it; name one, or one for all others as '*'")
    with pytest.raises(FormError, match=f"^{re.escape(message)}$"):
        quantise_network(model, images, {"fc": "int8"})
    with pytest.raises(NetworkError, match=r"^resnet8 has no layer 'fx'; the nearest are fc$"):
        quantise_network(model, images, {"fx": "int8", "*": "int8"})
    message = "resnet8: layer 'layer2.0.downsample' must be given as 'layer2.0.downsample.0'"
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        quantise_network(model, images, "int8", quantise=QuantiseOptions(
            zero_fractions={"layer2.0.downsample": 0.5}))


def test_zeroed_vectors_by_layer() -> None:
    model, images = network()
    quantised = quantise_network(
        model, images, "int8", FormOptions(zero_fraction=0.5),
        quantise=QuantiseOptions(zero_fractions={"layer1.0.conv2": 0.0, "conv1": 0.34}))
    zeros = {node.layer.name: float(np.mean(node.layer.weights.integer() == 0))
             for node in quantised.nodes if node.layer.weights is not None}
    assert zeros["layer1.0.conv1"] > 0.5
    assert zeros["layer1.0.conv2"] < 0.1
    assert 0.33 < zeros["conv1"] < 0.5
    assert zeros["fc"] < 0.1


def test_published_fractions_name_the_layers_of_resnet18() -> None:
    names = set(layer_names(build_network("resnet18")))
    assert set(RESNET18_ZERO_FRACTIONS) == names - {"maxpool", "avgpool"}
    QuantiseOptions(zero_fractions=RESNET18_ZERO_FRACTIONS)


def test_bias_correction_can_be_left_out() -> None:
    model, images = network()
    options = QuantiseOptions(bias_correction=False)
    plain = quantise_layer(model, "layer1.0.conv1", images, "deepshift", quantise=options)
    corrected = quantise_layer(model, "layer1.0.conv1", images, "deepshift")
    unit = plain.scales["conv1"].scale
    node = float_graph(model).nodes[1]
    assert node.norm is not None
    layers = plain.node.layer, corrected.node.layer
    biases = []
    for layer in layers:
        assert layer.requantisation is not None
        assert layer.weights is not None
        biases.append(layer.requantisation.bias * unit * layer.weights.scale)
    gain = node.norm.gamma / torch.sqrt(node.norm.variance + node.norm.eps)
    want = (node.norm.beta - node.norm.mean * gain).numpy()
    np.testing.assert_allclose(biases[0], want, atol=1e-3)
    assert np.abs(biases[1] - want).max() > 0.01


@pytest.mark.parametrize(("options", "message"), [
    ({"ranges": "max"}, "ranges must be one of min_max, percentile, mse, not 'max'"),
    ({"percentile": 50}, "percentile must be more than 50 and at most 100, not 50"),
    ({"zero_fractions": {"fc": 1.0}},
     "zero_fractions: fc must have at least 0 and less than 1, not 1.0"),
])
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(FormError, match=f"^{re.escape(message)}$"):
        QuantiseOptions(**options)


def test_images_that_are_not_finite_are_refused() -> None:
    model, images = network()
    images[1, 0, 3, 4] = float("nan")
    images[2, 0, 3, 4] = float("inf")
    message = ("images must be finite, but 2 of 3136 values are not; leave out or repair the "
               "images that hold them")
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        quantise_network(model, images, "int8")
