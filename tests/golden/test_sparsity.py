"""Dead filters: the same function with fewer channels, and what must stay."""

from dataclasses import replace

import pytest
import torch

from smartdeal.golden.checkpoints import noise_images, seeded_weights
from smartdeal.golden.graph import FloatGraph, FloatNode, float_graph, run_float
from smartdeal.golden.integer import run_network
from smartdeal.golden.networks import NetworkError, ResNet, build_network
from smartdeal.golden.quantise import quantise_network
from smartdeal.golden.sparsity import Removal, remove_dead_filters


def with_dead(name: str, dead: dict[str, dict[int, float]]) -> ResNet:
    """Return a network where filters of some normalisations have gamma 0 and a given beta."""
    model = build_network(name)
    seeded_weights(model, 1)
    with torch.no_grad():
        for layer, filters in dead.items():
            norm = model.get_submodule(layer)
            for index, beta in filters.items():
                norm.weight[index] = 0  # pyright: ignore[reportArgumentType, reportIndexIssue]
                norm.bias[index] = beta  # pyright: ignore[reportArgumentType, reportIndexIssue]
    return model


def check_equal(before: FloatGraph, after: FloatGraph, images: torch.Tensor) -> None:
    torch.testing.assert_close(after(images), before(images), rtol=1e-5, atol=1e-5)
    assert after.shapes[after.nodes[-1].name] == before.shapes[before.nodes[-1].name]


def test_constants_stay_before_padding_and_zeros_leave() -> None:
    model = with_dead("resnet8", {"layer1.0.bn1": {0: -0.5, 3: 0.25, 7: 0.0, 9: -0.1}})
    graph, images = float_graph(model), noise_images((1, 28, 28), 3, 2)
    thin, found = remove_dead_filters(graph)
    # After the ReLU three are zero; 0.25 would be missing in the next layer's border.
    assert found == {"layer1.0.conv1": Removal(16, 4, 3)}
    assert thin.shapes["layer1.0.conv1"] == (13, 28, 28)
    assert thin.nodes[2].weights is not None
    assert thin.nodes[2].weights.shape == (16, 13, 3, 3)
    assert thin.notes == ("3 dead filters were removed.",)
    check_equal(graph, thin, images)


def test_constants_move_where_nothing_is_padded() -> None:
    # In a bottleneck the 3×3 convolution is followed by a 1×1 convolution.
    model = with_dead("resnet50", {"layer2.1.bn2": {5: 0.75, 6: -1.0, 100: 0.5},
                                   "layer4.0.bn2": {0: 2.0}})
    graph = float_graph(model, (64, 64))
    thin, found = remove_dead_filters(graph)
    assert found == {"layer2.1.conv2": Removal(128, 3, 3), "layer4.0.conv2": Removal(512, 1, 1)}
    check_equal(graph, thin, noise_images((3, 64, 64), 2, 2))


def test_what_is_added_or_is_the_output_stays() -> None:
    model = with_dead("resnet8", {"bn1": {0: -1.0}, "layer1.0.bn2": {1: -1.0},
                                  "layer2.0.downsample.1": {2: 0.0}})
    graph = float_graph(model)
    thin, found = remove_dead_filters(graph)
    assert found == {"conv1": Removal(16, 1, 0), "layer2.0.downsample.0": Removal(32, 1, 0)}
    assert thin.shapes == graph.shapes
    assert thin.notes == ()


def plain(name: str, source: str, weights: torch.Tensor, **fields: object) -> FloatNode:
    values = {"kind": "conv", "kernel": tuple(weights.shape[2:]), "weights": weights, **fields}
    return FloatNode(name=name, input=source, **values)  # pyright: ignore[reportArgumentType]


def straight(padding: int) -> FloatGraph:
    """Return a stem, a max pool, a convolution, the mean and a linear layer, without norms."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    stem, middle = normal(6, 2, 3, 3), normal(5, 6, 3, 3)
    stem[[1, 4]] *= 0
    middle[2] *= 0
    around = (padding,) * 4
    return FloatGraph("straight", (
        plain("stem", "image", stem, bias=normal(6).abs(), relu=True),
        FloatNode(name="pool", kind="max_pool", input="stem", kernel=(3, 3), stride=2,
                  padding=(1, 1, 1, 1)),
        plain("middle", "pool", middle, bias=normal(5), padding=around),
        FloatNode(name="mean", kind="average_pool", input="middle"),
        plain("fc", "mean", normal(3, 5, 1, 1), kind="linear"),
    ), (2, 11, 11))


def test_constants_pass_pools() -> None:
    graph, images = straight(0), torch.randn(2, 2, 11, 11)
    thin, found = remove_dead_filters(graph)
    assert found == {"stem": Removal(6, 2, 2), "middle": Removal(5, 1, 1)}
    assert [thin.shapes[name][0] for name in ("stem", "pool", "middle", "mean", "fc")] == [
        4, 4, 4, 4, 3]
    check_equal(graph, thin, images)
    thin, found = remove_dead_filters(straight(1))
    assert found == {"stem": Removal(6, 2, 0), "middle": Removal(5, 1, 1)}
    check_equal(straight(1), thin, images)


def test_one_filter_stays() -> None:
    graph = straight(0)
    stem = graph.nodes[0]
    assert stem.weights is not None
    dead = replace(graph, nodes=(replace(stem, weights=0 * stem.weights), *graph.nodes[1:]))
    thin, found = remove_dead_filters(dead)
    assert found["stem"] == Removal(6, 6, 5)
    check_equal(dead, thin, torch.randn(2, 2, 11, 11))


def test_threshold() -> None:
    model = with_dead("resnet8", {})
    with torch.no_grad():
        norm = model.get_submodule("layer1.0.bn1")
        norm.weight[4] = 5e-4  # pyright: ignore[reportArgumentType, reportIndexIssue]
        norm.bias[4] = -1  # pyright: ignore[reportArgumentType, reportIndexIssue]
    graph = float_graph(model)
    assert remove_dead_filters(graph, 1e-4)[1] == {}
    thin, found = remove_dead_filters(graph)
    assert found["layer1.0.conv1"].removed == 1
    check_equal(graph, thin, noise_images((1, 28, 28), 2, 2))
    with pytest.raises(NetworkError, match=r"^threshold must be at least 0 and less than 1, not 2"):
        remove_dead_filters(graph, 2)


def test_integer_network_of_what_is_left() -> None:
    model = with_dead("resnet8", {"layer2.0.bn1": dict.fromkeys(range(8), -1.0)})
    graph, images = float_graph(model), noise_images((1, 28, 28), 4, 2)
    thin, _ = remove_dead_filters(graph)
    network = quantise_network(thin, images, "int8")
    got = run_network(network, network.input_scale.quantise(images[0].numpy()))
    assert got["layer2.0.conv1"].shape == (24, 14, 14)
    for name, real in run_float(graph.nodes, images[:1]):
        if name != "layer2.0.conv1":
            error = torch.from_numpy(network.scales[name].real(got[name])) - real[0]
            assert error.abs().max() < 12 * network.scales[name].scale, name
