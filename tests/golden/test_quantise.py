"""From floating point to integers: parameters, agreement with the float network, one layer."""

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from smartdeal.golden.checkpoints import load_trained, noise_images, seeded_weights
from smartdeal.golden.decompose import FormOptions, decompose
from smartdeal.golden.fashion import CHECKPOINTS, CLASSES, calibration_images, sample_images
from smartdeal.golden.formats import REQUANTISE
from smartdeal.golden.graph import float_graph, run_float
from smartdeal.golden.integer import evaluate, run_network
from smartdeal.golden.layers import TensorScale
from smartdeal.golden.networks import NetworkError, ResNet, build_network
from smartdeal.golden.quantise import folded, quantise_layer, quantise_network
from smartdeal.golden.requantise import requantisation, without_filters


def seeded(name: str, size: int) -> tuple[ResNet, torch.Tensor]:
    model = build_network(name)
    seeded_weights(model, 1)
    return model, noise_images((model.spec.input_shape[0], size, size), 2, 2)


@given(factor=st.floats(1e-12, 3e4), residual=st.floats(1e-9, 3e4), bias=st.floats(-1e3, 1e3))
def test_requantisation_approximates_the_factors(
    factor: float, residual: float, bias: float,
) -> None:
    r = requantisation(np.array([factor]), np.array([bias]), 1.0, residual)
    shift, residual_shift = int(r.shift[0]), int(r.residual_shift[0])
    multiplier, residual_multiplier = int(r.multiplier[0]), int(r.residual_multiplier[0])
    assert 1 <= shift <= REQUANTISE.max_shift
    assert 0 <= residual_shift <= REQUANTISE.max_residual_shift
    assert 0 <= multiplier <= REQUANTISE.max_multiplier
    assert 0 <= residual_multiplier <= REQUANTISE.max_multiplier
    got = Fraction(multiplier, 2**shift)
    got_residual = Fraction(residual_multiplier * 2**residual_shift, 2**shift)
    # Half a unit of the last place, of 16 bits where the shifts allow it.
    assert abs(got - Fraction(factor)) <= max(Fraction(factor) / 2**16, Fraction(1, 2**shift) / 2)
    assert abs(got_residual - Fraction(residual)) <= max(
        Fraction(residual) / 2**16, Fraction(2**residual_shift, 2**shift) / 2)
    if 1e-8 < factor < 1e3 and 1e-3 < residual < 1e3 * factor:
        assert multiplier >= 2**15
        assert residual_multiplier >= 2**15 or residual_shift == 0
    assert int(r.bias[0]) == round(bias / factor)


@pytest.mark.parametrize(("factor", "multiplier", "shift"), [
    (1.0, 1 << 15, 15), (0.5, 1 << 15, 16), (65535.9 / 65536, 1 << 15, 15),
    (0.99998, 65535, 16), (2.0**-48, 1 << 15, 63), (2.0**-50, 1 << 13, 63),
    (1e9, 65535, 1),
])
def test_multiplier_and_shift(factor: float, multiplier: int, shift: int) -> None:
    r = requantisation(np.array([factor]), np.zeros(1), 1.0, None)
    assert (int(r.multiplier[0]), int(r.shift[0])) == (multiplier, shift)
    assert int(r.residual_multiplier[0]) == 0


@pytest.mark.parametrize("form", ["int8", "smartdeal"])
def test_filters_are_removed(form: str) -> None:
    weights = decompose(form, np.random.default_rng(0).standard_normal((4, 5, 3, 3)))
    dead = np.array([False, True, False, True])
    left = without_filters(weights, dead).integer()
    assert not left[dead].any()
    np.testing.assert_array_equal(left[~dead], weights.integer()[~dead])


def test_tensor_scale() -> None:
    scale = TensorScale(0.5, -3)
    assert scale.quantise(np.array([0, 0.6, -1e9, 1e9])).tolist() == [-3, -2, -128, 127]
    assert scale.real(np.array([-3, 0], np.int8)).tolist() == [0, 1.5]


def test_folding_keeps_the_function() -> None:
    model, images = seeded("resnet8", 28)
    node = float_graph(model).nodes[0]
    weights, bias = folded(node)
    got = nn.functional.conv2d(
        images.double(), torch.from_numpy(weights), torch.from_numpy(bias), padding=1).relu()
    with torch.no_grad():
        torch.testing.assert_close(got.float(), node.forward(images, None), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "size"), [
    ("resnet8", 28), ("resnet20", 32), pytest.param("resnet50", 64, marks=pytest.mark.slow),
])
def test_every_layer_follows_the_float_layer(name: str, size: int) -> None:
    model, images = seeded(name, size)
    started: list[str] = []
    network = quantise_network(model, images, "int8", progress=started.append)
    assert started == [node.layer.name for node in network.nodes]
    tensors = run_network(network, network.input_scale.quantise(images[0].numpy()))
    real = {tensor: torch.from_numpy(network.scales[tensor].real(value)).float()[None]
            for tensor, value in tensors.items()}
    for node in float_graph(model).nodes:
        residual = real[node.residual] if node.residual is not None else None
        with torch.no_grad():
            expected = node.forward(real[node.input], residual)
        error = torch.linalg.norm(real[node.name] - expected) / torch.linalg.norm(expected)
        assert error < 0.05, node.name
    for node in network.nodes:
        parameters = node.layer.requantisation
        if parameters is not None:
            assert (parameters.multiplier >= 1 << 15).all(), node.layer.name
            assert (np.abs(parameters.bias) < 1 << 39).all(), node.layer.name
    assert network.output_scale is network.scales["fc"]


def test_one_layer_equals_the_networks() -> None:
    model, images = seeded("resnet20", 32)
    network = quantise_network(model, images, "shift2")
    for name in ("conv1", "layer2.0.downsample", "layer2.0.conv2", "avgpool", "fc"):
        case = quantise_layer(model, name, images, "shift2")
        node = next(n for n in network.nodes if n.layer.name.startswith(name))
        assert (case.node.input, case.node.residual) == (node.input, node.residual)
        layer = case.node.layer
        for field in ("kernel", "stride", "padding", "input_shape", "output_shape", "lo", "hi",
                      "input_zero_point", "output_zero_point", "residual_zero_point"):
            assert getattr(layer, field) == getattr(node.layer, field), field
        if layer.weights is not None and node.layer.weights is not None:
            np.testing.assert_array_equal(
                layer.weights.integer(), node.layer.weights.integer())
        out = case.scales[layer.name].real(evaluate(layer, case.x, case.residual))
        assert np.isfinite(out).all()
        assert set(case.scales) == {node.input, node.residual, layer.name} - {None}


def test_padding_is_what_the_kernel_reaches() -> None:
    model, images = seeded("resnet18", 64)
    network = quantise_network(model, images, "int8")
    padding = {node.layer.name: node.layer.padding for node in network.nodes}
    assert padding["conv1"] == (3, 3, 2, 2)
    assert padding["maxpool"] == (1, 1, 0, 0)
    assert padding["layer1.0.conv1"] == (1, 1, 1, 1)
    assert padding["layer2.0.conv1"] == (1, 1, 0, 0)
    assert padding["layer2.0.downsample.0"] == (0, 0, 0, 0)


def test_zero_vectors_spare_the_first_and_the_last_layer() -> None:
    model, images = seeded("resnet8", 28)
    options = FormOptions(zero_fraction=0.5, group=4)
    network = quantise_network(model, images, "int8", options)
    for node in network.nodes:
        if node.layer.weights is not None:
            zeros = float(np.mean(node.layer.weights.integer() == 0))
            spared = node.layer.name in ("conv1", "fc")
            assert zeros < 0.2 if spared else zeros > 0.4, node.layer.name


def test_bias_makes_up_for_the_mean_error_of_the_weights() -> None:
    model, images = seeded("resnet20", 32)
    network = quantise_network(model, images, "deepshift", FormOptions(exponents=3))
    node = float_graph(model).nodes[1]
    layer = network.nodes[1].layer
    assert layer.weights is not None
    assert layer.requantisation is not None
    weights, bias = folded(node)
    unit = network.scales[node.input].scale * layer.weights.scale
    corrected = layer.requantisation.bias * unit
    values = dict(run_float(float_graph(model).nodes[:1], images))[node.input].double()
    rebuilt = layer.weights.integer() * layer.weights.scale[:, None, None, None]
    want = nn.functional.conv2d(values, torch.from_numpy(weights)).mean((0, 2, 3)).numpy() + bias
    got = nn.functional.conv2d(values, torch.from_numpy(rebuilt)).mean((0, 2, 3)).numpy()
    # What remains is the border, which the channels' means do not know.
    assert np.linalg.norm(got + corrected - want) < 0.1 * np.linalg.norm(got + bias - want)


def test_dead_filters_become_constants() -> None:
    model, images = seeded("resnet8", 28)
    norm = model.get_submodule("layer1.0.bn1")
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        norm.weight[:3] = torch.tensor([0, 1e-20, -1e-12])
        norm.bias[:3] = torch.tensor([0.25, 0.5, -0.5])
    network = quantise_network(model, images, "smartdeal")
    tensors = run_network(network, network.input_scale.quantise(images[0].numpy()))
    layer = next(n.layer for n in network.nodes if n.layer.name == "layer1.0.conv1")
    assert layer.weights is not None
    assert not layer.weights.integer()[:3].any()
    assert layer.requantisation is not None
    assert (np.abs(layer.requantisation.bias) < 1 << 39).all()
    scale = network.scales[layer.name]
    expected = scale.quantise(np.array([0.25, 0.5, 0]))
    np.testing.assert_array_equal(
        tensors[layer.name][:3], np.broadcast_to(expected[:, None, None], (3, 28, 28)))


def test_a_dead_network_still_quantises() -> None:
    model, images = seeded("resnet8", 28)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    network = quantise_network(model, images, "smartdeal")
    tensors = run_network(network, network.input_scale.quantise(images[0].numpy()))
    assert not network.output_scale.real(tensors["fc"]).any()


def test_wrong_values_are_refused() -> None:
    model, images = seeded("resnet8", 28)
    message = "images must have shape (B, 1, H, W), not (2, 3, 28, 28)"
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        quantise_network(model, images.expand(2, 3, 28, 28), "int8")
    with pytest.raises(NetworkError, match=r"^resnet8 has no layer 'fd'; the nearest are fc$"):
        quantise_layer(model, "fd", images, "int8")
    with torch.no_grad():
        model.bn1.weight[0] = float("nan")
    message = ("conv1: weights and normalisation must be finite, but folding them gives values "
               "that are not")
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        folded(float_graph(model).nodes[0])
    for layer in ("conv1", "fc"):
        with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
            quantise_layer(model, layer, images, "int8")
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        quantise_network(model, images, "int8")
    model, images = seeded("resnet8", 28)
    with torch.no_grad():
        model.fc.weight[0, 0] = float("nan")
    quantise_layer(model, "conv1", images, "int8")  # which does not depend on fc


def test_convolution_bias_and_plain_normalisation_fold() -> None:
    model = build_network("resnet8")
    model.conv1 = nn.Conv2d(1, 16, 3)
    model.bn1 = nn.BatchNorm2d(16, affine=False).eval()
    node = float_graph(model).nodes[0]
    weights, bias = folded(node)
    assert node.bias is not None
    np.testing.assert_allclose(bias, node.bias.numpy(), rtol=1e-4)
    plain = folded(replace(node, norm=None))
    np.testing.assert_allclose(weights, plain[0], rtol=1e-4)


@pytest.mark.parametrize(("form", "least"), [
    ("int8", 15), ("shift2", 15), ("smartdeal", 13), ("deepshift", 12),
])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_trained_network_recognises_images(name: str, form: str, least: int) -> None:
    model = build_network(name)
    load_trained(model)
    images, labels = sample_images()
    network = quantise_network(model, calibration_images(), form)
    right = 0
    for image, label in zip(images.numpy(), labels, strict=True):
        tensors = run_network(network, network.input_scale.quantise(image))
        right += int(tensors["fc"].argmax()) == label
    assert right >= least
    assert len(CLASSES) == 10
