"""A ResNet-50 that comes with the onnx library, of full width; a layer's weights are all equal."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from smartdeal.compiler import compile_network, import_model, quantise_network
from smartdeal.golden.batch import BatchNetwork
from smartdeal.golden.checkpoints import noise_images
from smartdeal.golden.graph import FloatGraph
from smartdeal.golden.store import load_network, save_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.network_latency import predict_network
from smartdeal.sim.simulate import LayerWork, simulate_layers


@pytest.fixture(scope="module")
def graph() -> FloatGraph:
    return import_model(
        Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx")


def test_import(graph: FloatGraph) -> None:
    """The layers of ResNet-50 v1: stem, 16 blocks of three, four shortcuts, pools, classes."""
    kinds = [node.kind for node in graph.nodes]
    assert (kinds.count("conv"), kinds.count("linear"), len(kinds)) == (53, 1, 56)
    assert sum(node.residual is not None for node in graph.nodes) == 16
    assert graph.input_shape == (3, 224, 224)
    assert graph.shapes[graph.nodes[-1].name] == (1000, 1, 1)
    assert sum(node.weights.numel() for node in graph.nodes if node.weights is not None) \
        == 25_502_912
    assert graph.notes == (
        "Softmax at the end is left out: the order of the classes is the same.",)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["int8", "deepshift"])
def test_integer_network(graph: FloatGraph, form: str, tmp_path: Path) -> None:
    """Its numbers grow to 10^19 and its ranges collapse to a point; each layer still follows."""
    images = noise_images(graph.input_shape, 1, 0)
    network = quantise_network(graph, images, form)
    logits = BatchNetwork(network).logits(images.numpy())
    np.testing.assert_allclose(logits, graph(images).double().numpy(), rtol=0.05)
    save_network(network, tmp_path / "net.npz")
    again = BatchNetwork(load_network(tmp_path / "net.npz")).logits(images.numpy())
    np.testing.assert_array_equal(again, logits)


@pytest.mark.slow
def test_program(graph: FloatGraph) -> None:
    """It compiles for system memory, its cycles are predicted, and two of its layers run in RTL."""
    config = AcceleratorConfig(rows=16, cols=16, memory=True)
    network = quantise_network(graph, noise_images(graph.input_shape, 1, 0), "deepshift")
    program = compile_network(network, config)
    predicted = predict_network(program)
    assert predicted.cycles.busy == program.steps
    assert predicted.cycles.busy > 0.9 * predicted.cycles.total
    rng = np.random.default_rng(0)
    layers = [node.layer for node in network.nodes
              if node.layer.name in ("res4_1_branch2b", "res5_2_branch2c")]
    assert [layer.residual for layer in layers] == [False, True]
    work = []
    for layer in layers:
        x, residual = (rng.integers(-128, 128, shape).astype(np.int8)
                       for shape in (layer.input_shape, layer.output_shape))
        work.append(LayerWork(layer, x, residual if layer.residual else None))
    for report in simulate_layers(work, config.replace(memory=False)):
        assert report.bit_exact
        assert report.cycle_exact
