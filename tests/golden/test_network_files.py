"""Files of trained networks: round trips, damage, and the retrained networks of the package."""

import re
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smartdeal.golden.accuracy import integer_accuracy
from smartdeal.golden.checkpoints import load_weights
from smartdeal.golden.convert import TRAINED_FORMS, convert
from smartdeal.golden.datasets import load_data
from smartdeal.golden.decompose import FormOptions, decompose
from smartdeal.golden.fashion import RETRAINED, calibration_images, normalise
from smartdeal.golden.form_layers import form_layers
from smartdeal.golden.forms import BasisWeights, select_filters, select_inputs
from smartdeal.golden.graph import float_graph
from smartdeal.golden.network_files import (
    pack_weights,
    read_arrays,
    unpack_weights,
    write_arrays,
    write_network,
)
from smartdeal.golden.networks import NetworkError, build_network
from smartdeal.golden.quantise import quantise_network
from smartdeal.golden.sparsity import remove_dead_filters

#: Least share of 300 test images that a retrained network gets right, where it is not 0.88.
FLOOR = {"bnn": 0.84}
RETRAINED_NETWORKS = [(network, form) for network, forms in RETRAINED.items() for form in forms]


@settings(max_examples=40, deadline=None)
@given(form=st.sampled_from(("smartdeal", "deepshift", "shift2", "int8")),
       seed=st.integers(0, 2**32 - 1), kernel=st.sampled_from((1, 3)))
def test_packed_weights_come_back(form: str, seed: int, kernel: int) -> None:
    weights = np.random.default_rng(seed).standard_normal((3, 7, kernel, kernel))
    formed = decompose(form, weights, FormOptions(slice_rows=4, restarts=0))
    arrays, said = pack_weights("a", formed)
    again = unpack_weights("a", arrays, said)
    assert not arrays
    np.testing.assert_array_equal(formed.integer(), again.integer())
    np.testing.assert_array_equal(formed.scale, again.scale)
    np.testing.assert_array_equal(formed.sign, again.sign)


@pytest.mark.parametrize(("form", "suffix"), [
    *((form, ".safetensors") for form in sorted(TRAINED_FORMS)), ("smartdeal", ".npz")])
def test_networks_come_back(form: str, suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / f"net{suffix}"
    model = convert(build_network("resnet8"), form, FormOptions(restarts=0))
    for layer in form_layers(model).values():
        layer.refit()
    pixels = torch.randint(0, 255, (4, 1, 8, 8), dtype=torch.uint8)
    write_network(path, model, {"mean": 0.5, "deviation": 0.25}, pixels)
    again = build_network("resnet8")
    load_weights(again, path)
    assert again.calibration is not None
    torch.testing.assert_close(again.calibration, (pixels / 255 - 0.5) / 0.25)
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(again(x), model.eval()(x))
    content = path.read_bytes()
    write_network(path, model, {"mean": 0.5, "deviation": 0.25}, pixels)
    assert path.read_bytes() == content


def test_loaded_networks_are_trained_on(tmp_path: Path) -> None:
    """What a file holds may be converted to another form, or to the same."""
    torch.manual_seed(0)
    path = tmp_path / "net.npz"
    write_network(path, convert(build_network("resnet8"), "shift2"), {})
    loaded = build_network("resnet8")
    load_weights(loaded, path)
    assert not list(form_layers(loaded)["conv1"].parameters())
    again = convert(loaded, "shift2")
    weight = form_layers(again)["layer2.0.conv1"].effective_weight()
    was = form_layers(loaded)["layer2.0.conv1"].effective_weight()
    assert (weight - was).norm() < 0.03 * was.norm()
    again(torch.randn(2, 1, 8, 8)).sum().backward()


def damaged(path: Path, change: str) -> None:
    arrays, header = read_arrays(path)
    if change == "missing":
        del arrays["conv1.scale"]
    elif change == "type":
        arrays["conv1.code"] = arrays["conv1.code"].astype(np.int16)
    elif change == "scale":
        arrays["conv1.scale"] = -arrays["conv1.scale"]
    elif change == "layer":
        header["forms"]["conv9"] = header["forms"].pop("conv1")
    elif change == "shape":
        arrays["conv1.code"] = arrays["conv1.code"][:, :, :, :1]
    elif change == "version":
        header["version"] = 7
    write_arrays(path, arrays, header)


@pytest.mark.parametrize(("change", "message"), [
    ("missing", "FILE is not a checkpoint of resnet8: array conv1.scale is missing"),
    ("type", "FILE is not a checkpoint of resnet8: array conv1.code must be int8 with 5 axes, not "
             "int16 with 5"),
    ("scale", "FILE is not a checkpoint of resnet8: array conv1.scale must hold a positive number "
              "per filter"),
    ("layer", "FILE is not a checkpoint of resnet8: there is no layer conv9"),
    ("shape", "FILE is not a checkpoint of resnet8: conv1 has shape (16, 1, 1, 3), not "
              "(16, 1, 3, 3)"),
    ("version", "FILE has version 7 of this format; this smartdeal reads version 1"),
])
def test_damaged_files_are_refused(change: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    write_network(path, convert(build_network("resnet8"), "deepshift-q"), {})
    damaged(path, change)
    with pytest.raises(NetworkError, match=f"^{re.escape(message.replace('FILE', str(path)))}$"):
        load_weights(build_network("resnet8"), path)


@pytest.mark.parametrize("content", [
    b"", b"nothing", b"\xff" * 64, b"\x08" + b"\0" * 7 + b"{}" * 4])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    for suffix in (".safetensors", ".npz"):
        path = tmp_path / f"net{suffix}"
        path.write_bytes(content)
        with pytest.raises(NetworkError, match=f"^{re.escape(str(path))} is not a "):
            load_weights(build_network("resnet8"), path)


def test_dead_filters_leave_trained_forms_exactly() -> None:
    """Filters and input channels of a form leave without a new decomposition."""
    torch.manual_seed(0)
    model = convert(build_network("resnet8"), {"*": "smartdeal-train", "layer2.0.conv2": "shift2"},
                    FormOptions(restarts=0, slice_rows=20)).eval()
    dead = {"layer1.0.bn1": [2, 3, 4], "layer2.0.bn1": list(range(9))}
    for name, filters in dead.items():
        norm = model.get_submodule(name)
        with torch.no_grad():
            norm.get_parameter("weight")[filters] = 0
            norm.get_parameter("bias")[filters] = 0
    graph = float_graph(model, (8, 8))  # pyright: ignore[reportArgumentType]
    smaller, found = remove_dead_filters(graph)
    assert {name: removal.removed for name, removal in found.items()} == {
        "layer1.0.conv1": 3, "layer2.0.conv1": 9}
    images = torch.randn(4, 1, 8, 8)
    networks = [quantise_network(g, images, "int8") for g in (graph, smaller)]
    labels = torch.arange(4)
    assert networks[1].nodes[1].layer.output_shape[0] == 13
    for node in (1, 2):
        whole, part = (n.nodes[node].layer.weights for n in networks)
        assert whole is not None
        assert part is not None
        keep = np.ones(16, bool)
        keep[dead["layer1.0.bn1"]] = False
        wanted = whole.integer()[keep] if node == 1 else whole.integer()[:, keep]
        np.testing.assert_array_equal(part.integer(), wanted)
    assert integer_accuracy(networks[0], images, labels) == integer_accuracy(
        networks[1], images, labels)


def test_selection_by_hand() -> None:
    formed = decompose("smartdeal", np.random.default_rng(0).standard_normal((4, 5, 3, 3)),
                       FormOptions(slice_rows=4, restarts=0))
    keep = np.array([True, False, False, True, True])
    part = select_inputs(select_filters(formed, np.array([True, False, True, True])), keep)
    assert isinstance(part, BasisWeights)
    np.testing.assert_array_equal(part.integer(), formed.integer()[[0, 2, 3]][:, keep])
    assert all(a < b for a, b in zip(part.slice_starts, part.slice_starts[1:], strict=False))
    channel = decompose("smartdeal", np.random.default_rng(0).standard_normal((4, 5, 1, 1)))
    with pytest.raises(ValueError, match=r"^vectors of three input channels cannot lose one$"):
        select_inputs(channel, keep)


@pytest.mark.parametrize(("network", "form"), RETRAINED_NETWORKS)
def test_retrained_networks_of_the_package(network: str, form: str) -> None:
    """300 test images that were never trained on; docs/results.md has all 10,000."""
    model = build_network(network)
    with as_file(files("smartdeal.golden") / RETRAINED[network][form]) as path:
        load_weights(model, path)
    with np.load(Path(__file__).parent / "fashion_sample.npz") as sample:
        images, labels = normalise(sample["images"]), torch.from_numpy(sample["labels"]).long()
    integer = quantise_network(model, calibration_images(), "int8")
    assert integer_accuracy(integer, images, labels) > FLOOR.get(form, 0.88)
    if form == "sparse":
        vectors = [node.layer.weights.sign.any(axis=2) for node in integer.nodes
                   if isinstance(node.layer.weights, BasisWeights)]
        assert 1 - np.mean(np.concatenate([v.ravel() for v in vectors])) >= 0.5


@pytest.mark.slow
@pytest.mark.skipif(not Path("/usr/share/datasets/fashion-mnist").is_dir(),
                    reason="Debian's dataset-fashion-mnist is not installed")
@pytest.mark.parametrize(("network", "form"), RETRAINED_NETWORKS)
def test_retrained_networks_on_all_test_images(network: str, form: str) -> None:
    model = build_network(network)
    with as_file(files("smartdeal.golden") / RETRAINED[network][form]) as path:
        load_weights(model, path)
    data = load_data("fashion-mnist")
    integer = quantise_network(model, calibration_images(), "int8")
    least = 0.88 if form == "bnn" else 0.91
    assert integer_accuracy(integer, data.test.images, data.test.labels) > least
