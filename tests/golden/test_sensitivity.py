"""Losses of layers and networks, against the plain definition."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from smartdeal.golden.checkpoints import noise_images, seeded_weights
from smartdeal.golden.graph import FloatGraph, float_graph
from smartdeal.golden.integer import run_network
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import build_network
from smartdeal.golden.quantise import (
    approximated,
    combine,
    folded,
    quantise_forms,
    quantise_network,
)
from smartdeal.golden.sensitivity import agreement, divergence, layer_losses

FORMS = ("smartdeal", "deepshift", "shift3")
Case = tuple[FloatGraph, dict[str, IntegerNetwork], Tensor]


@pytest.fixture(scope="module")
def case() -> Case:
    """Return a network, its integer networks by form, and more images than a chunk."""
    model = build_network("resnet8")
    seeded_weights(model, 3)
    images = noise_images((1, 28, 28), 11, 4)
    graph = float_graph(model)
    networks = quantise_forms(graph, images, FORMS)
    return graph, dict(zip(FORMS, networks, strict=True)), images


def test_divergence() -> None:
    p, q = torch.tensor([[0.2, 0.3, 0.5]]), torch.tensor([[0.4, 0.4, 0.2]])
    expected = 0.2 * np.log(0.2 / 0.4) + 0.3 * np.log(0.3 / 0.4) + 0.5 * np.log(0.5 / 0.2)
    np.testing.assert_allclose(divergence(p.log() + 7, q.log() - 3), [expected], rtol=1e-6)
    assert divergence(p, p).tolist() == [0.0]


def test_layers_of_one_calibration_combine(case: Case) -> None:
    """A combination is the network that is quantised in these forms at once."""
    graph, networks, images = case
    names = [node.name for node in graph.nodes if node.weights is not None]
    forms = {name: FORMS[i % 3] for i, name in enumerate(names)}
    combined, direct = combine(networks, forms), quantise_network(graph, images, forms)
    x = direct.input_scale.quantise(images[0].numpy())
    expected = run_network(direct, x)
    for name, tensor in run_network(combined, x).items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


def test_approximated_is_what_the_integers_mean(case: Case) -> None:
    graph, networks, _ = case
    for index, node in enumerate(graph.nodes):
        if node.weights is None:
            continue
        weights, _ = folded(node)
        near = approximated(node, networks["shift3"].nodes[index], networks["shift3"])
        assert near.weights is not None
        assert near.norm is None
        error = np.linalg.norm(near.weights.numpy() - weights) / np.linalg.norm(weights)
        assert 0 < error < 0.02, node.name


def test_layer_losses_are_those_of_the_changed_network(case: Case) -> None:
    graph, networks, images = case
    wanted = {"conv1": ["smartdeal", "deepshift"], "layer2.0.downsample.0": ["shift3"],
              "layer3.0.conv2": ["deepshift"], "fc": ["smartdeal", "shift3"]}
    done: list[float] = []
    losses = layer_losses(graph, networks, images, wanted, done.append)
    assert done == sorted(done)
    assert done[-1] == 1
    for layer, forms in wanted.items():
        index = [node.name for node in graph.nodes].index(layer)
        for form in forms:
            nodes = list(graph.nodes)
            nodes[index] = approximated(nodes[index], networks[form].nodes[index], networks[form])
            changed = replace(graph, nodes=tuple(nodes))
            expected = divergence(graph(images), changed(images)).mean()
            np.testing.assert_allclose(losses[layer][form], expected, rtol=1e-3, atol=1e-9)


def test_agreement_is_that_of_the_integer_network(case: Case) -> None:
    graph, networks, images = case
    network = networks["deepshift"]
    found = agreement(graph, network, images)
    x = network.input_scale.quantise(images.numpy())
    logits = torch.from_numpy(np.stack([
        network.output_scale.real(run_network(network, image)["fc"]).ravel() for image in x]))
    assert found.loss == pytest.approx(divergence(graph(images), logits).mean(), rel=1e-9)
    assert found.same == float((graph(images).argmax(1) == logits.argmax(1)).double().mean())
    assert agreement(graph, networks["shift3"], images).loss < found.loss
