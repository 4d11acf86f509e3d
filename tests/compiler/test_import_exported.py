"""Torch modules and their archives: what they compute after import, against torch."""

import io
import json
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from smartdeal.compiler.importers.errors import UnsupportedModel
from smartdeal.compiler.importers.exported import import_exported, import_module
from smartdeal.compiler.importers.files import import_model
from smartdeal.golden.checkpoints import noise_images, seeded_weights
from smartdeal.golden.decompose import FORMS
from smartdeal.golden.forms import TermWeights
from smartdeal.golden.graph import FloatGraph, float_graph
from smartdeal.golden.integer import run_network
from smartdeal.golden.networks import NetworkError, build_network
from smartdeal.golden.quantise import quantise_network

SHAPE = (3, 17, 17)


class Net(nn.Module):
    """A stem, whatever a test puts behind it, and a classifier."""

    def __init__(self, tail: Callable[["Net", Tensor], Tensor], features: int = 8) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding="same")
        self.conv3 = nn.Conv2d(8, 16, 1, 2)
        self.pool = nn.MaxPool2d(3, 2, 1, ceil_mode=True)
        self.drop = nn.Dropout()
        self.fc = nn.Linear(features, 5)
        self.tail = tail
        with torch.no_grad():
            for values in (self.bn.weight, self.bn.bias, self.bn.running_mean):
                assert values is not None
                values.normal_()
        self.eval()

    def stem(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.tail(self, self.stem(x))))


def mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def shortcut(net: Net, x: Tensor) -> Tensor:
    """Return an option-A block: every other pixel, and channels of zeros on both sides."""
    narrow = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4), "constant", 0)
    return mean(functional.relu(net.conv3(x) + narrow))


def joined(net: Net, x: Tensor) -> Tensor:
    half = functional.avg_pool2d(x, 1, 2)
    return mean(torch.cat([half, torch.zeros_like(half)], 1).add(net.conv3(x)))


def in_place(net: Net, x: Tensor) -> Tensor:
    y = net.conv2(x)
    y += x
    functional.relu(y, inplace=True)
    return mean(y)


TAILS: dict[str, tuple[Callable[[Net, Tensor], Tensor], int]] = {
    "mean": (lambda net, x: mean(x), 8),
    "residual": (lambda net, x: mean(functional.relu(x + net.conv2(x))), 8),
    "shortcut": (shortcut, 16),
    "joined": (joined, 16),
    "in place": (in_place, 8),
    "pool": (lambda net, x: torch.flatten(functional.adaptive_avg_pool2d(net.pool(x), 1), 1), 8),
    "whole pool": (lambda net, x: functional.avg_pool2d(x, 9).squeeze(3).squeeze(2), 8),
    "flat map": (lambda net, x: net.pool(x).reshape(x.size(0), -1), 200),
    "clamp": (lambda net, x: mean(torch.clamp(net.conv2(x), min=0)), 8),
    "padding": (lambda net, x: mean(net.conv3(functional.pad(x, (1, 0, 2, 3)))), 16),
    "scaled": (lambda net, x: mean((net.conv2(x) * 0.5 - 1) / 2), 8),
}


@pytest.mark.parametrize("name", TAILS)
def test_equals_torch(name: str) -> None:
    net = Net(*TAILS[name])
    graph = import_module(net, SHAPE)
    images = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(graph(images), net(images), rtol=1e-4, atol=1e-5)
    assert graph.name == "Net"
    assert graph.nodes[0].name == "conv"
    assert graph.nodes[-1].name == "fc"
    assert graph.shapes["fc"] == (5, 1, 1)


@pytest.mark.parametrize("form", FORMS)
def test_shortcut_without_weights_is_exact_in_every_form(form: str) -> None:
    graph = import_module(Net(*TAILS["shortcut"]), SHAPE)
    node = next(n for n in graph.nodes if n.exact)
    images = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(2))
    network = quantise_network(graph, images, form)
    tensors = run_network(network, network.input_scale.quantise(images[0].numpy()))
    assert network.scales[node.name] is network.scales[node.input]
    got, source = tensors[node.name], tensors[node.input]
    np.testing.assert_array_equal(got[4:12], source[:, ::2, ::2])
    assert (got[:4] == network.scales[node.name].zero_point).all()
    assert (got[12:] == network.scales[node.name].zero_point).all()


def save(module: nn.Module, path: Path, images: Tensor, **options: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module, (images,), **options), path)


@pytest.mark.parametrize(("name", "size"), [
    ("resnet8", 28), ("resnet20", 32), pytest.param("resnet50", 64, marks=pytest.mark.slow),
])
def test_built_in_networks_come_back(name: str, size: int, tmp_path: Path) -> None:
    network = build_network(name)
    seeded_weights(network, 1)
    images = noise_images((network.spec.input_shape[0], size, size), 2, 2)
    path = tmp_path / f"{name}.pt2"
    save(network, path, images[:1])
    graph = import_model(path)
    with torch.no_grad():
        torch.testing.assert_close(graph(images), network(images), rtol=1e-5, atol=1e-5)
    expected = float_graph(network, (size, size))
    assert graph.shapes == expected.shapes
    assert ([(n.name, n.input, n.residual, n.relu) for n in graph.nodes]
            == [(n.name, n.input, n.residual, n.relu) for n in expected.nodes])


def test_core_operators_are_the_same_network(tmp_path: Path) -> None:
    net = Net(*TAILS["residual"])
    images = torch.randn(2, *SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(net, (images[:1],)).run_decompositions()
        torch.export.save(program, tmp_path / "net.pt2")
    graph = import_exported(tmp_path / "net.pt2")
    with torch.no_grad():
        torch.testing.assert_close(graph(images), net(images), rtol=1e-4, atol=1e-5)
    assert [n.name for n in graph.nodes][:2] == ["conv", "conv2"]


def test_batch_may_be_dynamic(tmp_path: Path) -> None:
    net = Net(*TAILS["flat map"])
    images = torch.randn(2, *SHAPE)
    path = tmp_path / "net.pt2"
    save(net, path, images, dynamic_shapes=({0: torch.export.Dim("batch")},))
    with torch.no_grad():
        torch.testing.assert_close(import_exported(path)(images), net(images))
    fully = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1))
    save(fully.eval(), path, images, dynamic_shapes=({2: torch.export.Dim("height", min=8)},))
    with pytest.raises(NetworkError, match=(
            r"^net: the size of input 'input' must be fixed but for the batch, not 2×3×\?×17; "
            "export the model for one image size$")):
        import_exported(path)


def test_all_problems_are_told_at_once() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6), nn.GELU(), nn.Conv2d(6, 6, 3, dilation=2),
        nn.ReLU6(), nn.GELU(), nn.AvgPool2d(2)).eval()
    with pytest.raises(UnsupportedModel) as error:
        import_module(net, SHAPE)
    assert list(error.value.problems) == [
        "operator gelu (node '2' and 1 more) is not supported",
        "conv2d '0': groups must be 1, not 3",
        "conv2d '3': dilation must be 1, not (2, 2)",
        "hardtanh '4': the bounds must be 0 and infinity, not 0.0 and 6.0",
        "avg_pool2d '6': an average pool must cover the whole map of 11×11 without padding, not "
        "2×2 with padding (0, 0, 0, 0)",
    ]
    lines = str(error.value).splitlines()
    assert lines[0] == "Sequential cannot be imported, for 5 reasons:"
    assert lines[-1].startswith("  supported are adaptive_avg_pool2d, add, ")


class Signs(nn.Module):
    """The activation function of binary networks, as torch has it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sign()


def test_signs_are_told_where_to_come_from() -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 3), Signs(), nn.Conv2d(6, 6, 3)).eval()
    with pytest.raises(UnsupportedModel, match=(
            r"^Sequential cannot be imported: operator sign \(node '1.sign'\) is not supported: "
            r"binary activations have no zero; they are those of drop-in layers of the form bnn")):
        import_module(net, SHAPE)


def test_training_mode_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"^Net must be in evaluation mode; call eval\(\) first"):
        import_module(Net(*TAILS["mean"]).train(), SHAPE)


def test_wrong_shape_is_told() -> None:
    with pytest.raises(NetworkError, match=(
            r"^Net cannot be exported by torch for images of shape \(4, 17, 17\): .*channels")):
        import_module(Net(*TAILS["mean"]), (4, 17, 17))


def rewrite(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Change the files of an archive."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, change(name, content))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "net.pt2"
    save(Net(*TAILS["mean"]), path, torch.zeros(1, *SHAPE))
    return path


def refused(path: Path) -> str:
    with pytest.raises(NetworkError) as error:
        import_exported(path)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(path), "FILE")


def test_broken_archives(archive: Path) -> None:
    whole = archive.read_bytes()
    start = "FILE is not a whole archive of torch.export; save or copy it again: "
    for content in (b"", whole[:len(whole) // 2], b"nothing"):
        archive.write_bytes(content)
        assert refused(archive).startswith(start)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as empty:
        empty.writestr("version", "1")
    archive.write_bytes(buffer.getvalue())
    assert refused(archive) == ("FILE: it must hold one model in the layout pt2, not 0; save it "
                                "with torch.export.save of a newer torch")
    archive.write_bytes(whole)
    rewrite(archive, lambda name, data: data[:8] if name.endswith("weight_0") else data)
    assert refused(archive) == (f"{start}ValueError conv.weight has 2 numbers, fewer than its "
                                "shape needs")
    archive.write_bytes(whole)
    rewrite(archive, lambda name, data: data.replace(b'"conv.weight": ', b'"other": ')
            if name.endswith("weights_config.json") else data)
    assert refused(archive) == f"{start}ValueError conv.weight is missing"
    archive.unlink()
    assert refused(archive) == "cannot read model FILE: No such file or directory"


def test_pickles_and_other_schemas_are_not_read(archive: Path) -> None:
    whole = archive.read_bytes()

    def pickled(name: str, data: bytes) -> bytes:
        if not name.endswith("weights_config.json"):
            return data
        content = json.loads(data)
        content["config"]["conv.weight"]["use_pickle"] = True
        return json.dumps(content).encode()

    rewrite(archive, pickled)
    assert refused(archive) == (
        "FILE: conv.weight is stored as a pickle, which is not read: it could run code; save the "
        "model with plain tensors")
    archive.write_bytes(whole)
    rewrite(archive, lambda name, data: re.sub(rb'"major": \d+', b'"major": 99', data))
    assert refused(archive) == ("FILE: its schema must have version 8, not 99; save it with "
                                "another version of torch")


def test_layers_are_found_and_quantised_by_name() -> None:
    graph = import_module(Net(*TAILS["residual"]), SHAPE, "mine")
    assert isinstance(graph, FloatGraph)
    images = torch.randn(2, *SHAPE)
    network = quantise_network(graph, images, {"*": "int8", "conv2": "deepshift"})
    assert network.name == "mine"
    terms = {n.layer.name: n.layer.weights for n in network.nodes}
    assert isinstance(terms["conv2"], TermWeights)
    assert len(terms["conv2"].sign) == 1
    message = re.escape("images must have shape (B, 3, 17, 17), not (2, 3, 16, 17)")
    with pytest.raises(NetworkError, match=f"^{message}$"):
        quantise_network(graph, images[:, :, 1:], "int8")
