"""Binary activations from torch to integers: every decision, thresholds, files, refusals."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from smartdeal.golden.batch import run_batch
from smartdeal.golden.binary_layers import BinaryConv2d
from smartdeal.golden.checkpoints import load_weights, seeded_weights
from smartdeal.golden.convert import convert, shift_norms
from smartdeal.golden.fashion import calibration_images, sample_images
from smartdeal.golden.form_layers import form_layers
from smartdeal.golden.forms import TermWeights
from smartdeal.golden.graph import FloatNode, float_graph
from smartdeal.golden.integer import run_network
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.network_files import read_arrays, write_arrays, write_network
from smartdeal.golden.networks import NetworkError, ResNet, build_network
from smartdeal.golden.options import FormError
from smartdeal.golden.quantise import quantise_layer, quantise_network
from smartdeal.golden.recipes import forms_of
from smartdeal.golden.signs import threshold, with_signs
from smartdeal.golden.sparsity import remove_dead_filters

#: All but the ends binary, shortcuts too: then sums are packed with their residual operand.
ALL = {"*": "bnn", "conv1": "int8", "fc": "int8"}


def binarised(forms: str | dict[str, str], *, shifts: bool = False, seed: int = 1) -> ResNet:
    """Return a network with normalisations as uneven as trained ones, some of them negative."""
    model = build_network("resnet8")
    seeded_weights(model, seed)
    torch.manual_seed(seed)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight.data *= torch.where(torch.rand_like(norm.weight) < 0.2, -1.0, 1.0)
    made = convert(model, forms)
    assert isinstance(made, ResNet)
    made.train()
    made(calibration_images())  # statistics near those of the signs
    if shifts:
        made = shift_norms(made)
        assert isinstance(made, ResNet)
    return made.eval()


def double(node: FloatNode, x: torch.Tensor) -> torch.Tensor:
    """Return what the signs of a layer are taken of, in double precision."""
    assert node.weights is not None
    assert node.norm is not None
    pad, norm = node.padding[0], node.norm
    padded = nn.functional.pad(x.double(), (pad,) * 4, value=node.pad_value)
    sums = nn.functional.conv2d(padded, node.weights.double(), stride=node.stride)
    return nn.functional.batch_norm(
        sums, norm.mean.double(), norm.variance.double(), norm.gamma.double(), norm.beta.double(),
        eps=norm.eps)


@pytest.mark.parametrize("shifts", [False, True])
def test_every_decision_is_that_of_torch(shifts: bool) -> None:
    """But for sums that single precision cannot tell from the threshold."""
    model = binarised(forms_of("resnet8", "bnn", {}), shifts=shifts)
    graph = float_graph(model)
    images, _ = sample_images()
    assert torch.allclose(graph(images), model(images).detach(), atol=1e-3)
    network = quantise_network(model, calibration_images(), "int8")
    names = [IntegerNetwork.IMAGE, *(node.layer.name for node in network.nodes)]
    tensors = run_batch(network, network.input_scale.quantise(images.numpy()), names)
    compared = 0
    for node, integer in zip(graph.nodes, network.nodes, strict=True):
        assert integer.layer.binary_input == node.binary_input
        assert integer.layer.binary_output == bool(node.signs)
        if not (node.binary_input and node.signs):
            continue
        x = torch.from_numpy(tensors[node.input]).float()
        real = double(node, x).numpy()
        certain = np.abs(real) > 1e-5
        assert certain.mean() > 0.999
        decided = tensors[node.name] > 0
        np.testing.assert_array_equal(decided[certain], (real > 0)[certain], err_msg=node.name)
        single = node.forward(x, None).numpy() > 0
        np.testing.assert_array_equal(decided[certain], single[certain], err_msg=node.name)
        assert 0.05 < decided.mean() < 0.95
        compared += decided.size
    assert compared > 100_000


def test_signs_beside_8_bits_are_those_of_the_rounded_numbers() -> None:
    network = quantise_network(binarised(forms_of("resnet8", "bnn", {})), calibration_images(),
                               "int8")
    tensors = run_network(network, network.input_scale.quantise(sample_images()[0][0].numpy()))
    for name in ("conv1", "layer1.0.conv2", "layer2.0.conv2"):
        expected = np.where(tensors[name] >= network.scales[name].zero_point, 1, -1)
        np.testing.assert_array_equal(tensors[f"{name}.sign"], expected)


def test_sums_that_nobody_else_needs_are_packed_with_their_residual() -> None:
    model = binarised(ALL)
    graph = float_graph(model)
    signs = {node.name for node in graph.nodes if node.signs}
    assert signs == {"conv1.sign", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1",
                     "layer2.0.conv2", "layer3.0.conv1"}
    network = quantise_network(model, calibration_images(), "int8")
    layers = {node.layer.name: node.layer for node in network.nodes}
    assert layers["layer2.0.conv2"].residual
    assert layers["layer2.0.conv2"].binary_output
    images = network.input_scale.quantise(sample_images()[0].numpy())
    kept = run_batch(network, images, list(layers))
    for name in ("layer2.0.conv2", "layer3.0.conv2"):
        node = next(node for node in graph.nodes if node.name == name)
        scale = network.scales[str(node.residual)]
        residual = torch.from_numpy(scale.real(kept[str(node.residual)]))
        real = (double(node, torch.from_numpy(kept[node.input])) + residual).numpy()
        weights = layers[name].weights
        assert weights is not None
        unit = weights.scale[:, None, None]
        # The bias is a whole number of units, and the multipliers have 16 bits.
        if node.signs:
            wrong = (real >= 0) != (kept[name] > 0)
            assert np.abs(real / unit)[wrong].max(initial=0) <= 0.5 + 1e-2
            assert wrong.mean() < 0.02
            assert 0.1 < (kept[name] > 0).mean() < 0.9
        else:
            step = network.scales[name].scale
            inside = (kept[name] > layers[name].lo) & (kept[name] < layers[name].hi)
            error = np.abs(network.scales[name].real(kept[name]) - real)
            assert (error <= 0.51 * unit + 0.51 * step)[inside].all()
            assert inside.mean() > 0.2


@given(weights=st.lists(st.sampled_from([-1, 1]), min_size=1, max_size=8),
       unit=st.floats(1e-6, 1e3), bias=st.floats(-50, 50), near=st.integers(-9, 9))
def test_thresholds_are_exact(
    weights: list[int], unit: float, bias: float, near: int,
) -> None:
    """Also where bias / unit is nearly a whole number."""
    matrix = np.array(weights)[None, :, None, None]
    for real in (bias, unit * near, np.nextafter(unit * near, 99), np.nextafter(unit * near, -99)):
        given = threshold(matrix, np.array([unit]), np.array([real]), 1)
        assert given.multiplier.tolist() == [1]
        for total in range(-len(weights), len(weights) + 1):
            exact = Fraction(unit) * total + Fraction(float(real)) >= 0
            assert (total + int(given.bias[0]) >= 0) == exact


def test_a_filter_without_gain_is_constant() -> None:
    model = binarised(forms_of("resnet8", "bnn", {}))
    norm = model.get_submodule("layer1.0.bn1")
    assert isinstance(norm, nn.BatchNorm2d)
    norm.weight.data[:3] = torch.tensor([0.0, -0.0, 1e-30])
    norm.bias.data[:3] = torch.tensor([0.0, -1.0, 2.0])
    last = model.get_submodule("layer1.0.bn2")
    assert isinstance(last, nn.BatchNorm2d)
    last.weight.data[0] = 0
    network = quantise_network(model, calibration_images(), "int8")
    tensors = run_network(network, network.input_scale.quantise(sample_images()[0][0].numpy()))
    signs = tensors["layer1.0.conv1"]
    assert [set(signs[m].ravel().tolist()) for m in range(3)] == [{1}, {-1}, {1}]
    layer = next(n.layer for n in network.nodes if n.layer.name == "layer1.0.conv2")
    assert layer.weights is not None
    assert np.all(np.abs(layer.weights.integer()) == 1)


def test_filters_before_signs_stay() -> None:
    model = binarised(forms_of("resnet8", "bnn", {}))
    norm = model.get_submodule("layer1.0.bn1")
    assert isinstance(norm, nn.BatchNorm2d)
    norm.weight.data[0] = norm.bias.data[0] = 0
    _, found = remove_dead_filters(float_graph(model))
    assert found["layer1.0.conv1"].dead == 1
    assert found["layer1.0.conv1"].removed == 0


def test_one_layer_is_that_of_the_network() -> None:
    model = binarised(ALL)
    whole = quantise_network(model, calibration_images(), "int8")
    for node in whole.nodes:
        case = quantise_layer(model, node.layer.name, calibration_images(), "int8")
        one, other = case.node.layer, node.layer
        assert (one.binary_input, one.binary_output, one.input_zero_point) == (
            other.binary_input, other.binary_output, other.input_zero_point)
        if one.binary_input:
            assert set(np.unique(case.x).tolist()) <= {-1, 1}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files_keep_what_is_binary(suffix: str, tmp_path: Path) -> None:
    model, path = binarised(ALL), tmp_path / f"net{suffix}"
    layer = model.get_submodule("layer1.0.conv1")
    assert isinstance(layer, BinaryConv2d)
    layer.pad_value = 1
    write_network(path, model, {})
    again = build_network("resnet8")
    load_weights(again, path)
    forms = {name: (one.form, one.binary_input, one.pad_value)
             for name, one in form_layers(again).items()}
    assert forms == {name: (one.form, one.binary_input, one.pad_value)
                     for name, one in form_layers(model).items()}
    images, _ = sample_images()
    assert torch.equal(again(images), model(images))
    arrays, header = read_arrays(path)
    for name, value in (("layer1.0.conv1", 0), ("conv1", 1)):
        said = {**header["forms"], name: {**header["forms"][name], "pad_value": value}}
        write_arrays(path, arrays, {**header, "forms": said})
        with pytest.raises(NetworkError, match=f"{name} has a binary input, so its weights and"):
            load_weights(build_network("resnet8"), path)


def test_other_weights_do_not_take_signs() -> None:
    model = convert(build_network("resnet8"), {"*": "smartdeal", "layer1.0.conv1": "shift2"})
    assert isinstance(model, ResNet)
    for name, form in (("layer1.0.conv1", "shift2"), ("layer2.0.conv2", "smartdeal")):
        layer = form_layers(model)[name]
        layer.binary_input = True
        with pytest.raises(FormError, match=rf"^{name}: a layer with binary input must have "
                                            rf"weights of \+1 or -1 \(form bnn\), not of form "
                                            rf"{form}$"):
            quantise_network(model.eval(), calibration_images(), "int8")
        layer.binary_input = False


def node(name: str, source: str, channels: int, pad: int | None = None) -> FloatNode:
    """Return a layer of weights +1; with ``pad`` it takes signs."""
    ones = np.ones((1, channels, channels, 1, 1), np.int8)
    return FloatNode(name=name, kind="conv", input=source, weights=torch.ones(channels, channels,
                                                                              1, 1),
                     trained=TermWeights(ones, ones * 0, np.ones(channels)),
                     binary_input=pad is not None, pad_value=pad or -1)


def test_paddings_of_the_same_signs() -> None:
    def nodes(channels: int) -> list[FloatNode]:
        return [node("a", "image", channels), node("b", "a", channels, 1),
                node("c", "a", channels, -1), node("d", "c", channels)]

    made = with_signs(nodes(8), (8, 4, 4))
    assert [(one.name, one.signs) for one in made] == [("a", -1), ("b", 0), ("c", 0), ("d", 0)]
    with pytest.raises(NetworkError, match=r"^a: its signs are padded with \+1 by one layer and -1 "
                                           r"by another, which takes a multiple of 8 channels"):
        with_signs(nodes(9), (9, 4, 4))


def test_signs_of_an_image() -> None:
    first, second = with_signs([node("a", "image", 3, 1)], (3, 2, 2))
    assert (first.name, first.input, first.signs, first.exact) == ("image.sign", "image", 1, True)
    assert second.input == "image.sign"
