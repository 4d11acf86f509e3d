"""Networks: names and sizes as torchvision has them, checkpoints, and the list of layers."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from smartdeal.golden.checkpoints import load_trained, load_weights, noise_images, seeded_weights
from smartdeal.golden.graph import find_layer, float_graph, layer_names, run_float
from smartdeal.golden.networks import NETWORKS, NetworkError, ResNet, build_network


@pytest.mark.parametrize(("name", "parameters", "tensors"), [
    ("resnet18", 11_689_512, 62), ("resnet34", 21_797_672, 110), ("resnet50", 25_557_032, 161),
    ("resnet20", 272_474, 65), ("resnet8", 77_754, 29),
])
def test_sizes(name: str, parameters: int, tensors: int) -> None:
    model = build_network(name)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(list(model.parameters())) == tensors
    assert not model.training


def test_names_are_torchvisions() -> None:
    def batch_norm(prefix: str) -> list[str]:
        return [f"{prefix}.{n}" for n in (
            "weight", "bias", "running_mean", "running_var", "num_batches_tracked")]

    state = build_network("resnet50").state_dict()
    assert list(state)[:6] == ["conv1.weight", *batch_norm("bn1")]
    block = [n.removeprefix("layer2.0.") for n in state if n.startswith("layer2.0.")]
    assert block == [
        "conv1.weight", *batch_norm("bn1"), "conv2.weight", *batch_norm("bn2"),
        "conv3.weight", *batch_norm("bn3"), "downsample.0.weight", *batch_norm("downsample.1")]
    assert list(state)[-2:] == ["fc.weight", "fc.bias"]
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer2.0.conv2.weight"] == (128, 128, 3, 3)
    assert shapes["layer4.2.conv3.weight"] == (2048, 512, 1, 1)
    assert shapes["fc.weight"] == (1000, 2048)
    strides = {name: module.stride for name, module in build_network("resnet50").named_modules()
               if isinstance(module, nn.Conv2d)}
    assert strides["layer2.0.conv1"] == (1, 1)
    assert strides["layer2.0.conv2"] == (2, 2)


def test_layers_of_resnet18() -> None:
    names = layer_names(build_network("resnet18"))
    assert names[:4] == ["conv1", "maxpool", "layer1.0.conv1", "layer1.0.conv2"]
    assert names[6:9] == ["layer2.0.conv1", "layer2.0.downsample.0", "layer2.0.conv2"]
    assert names[-2:] == ["avgpool", "fc"]
    assert len(names) == 23
    last = float_graph(build_network("resnet18")).nodes[8]
    assert (last.input, last.residual) == ("layer2.0.conv1", "layer2.0.downsample.0")


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "resnet50"])
def test_list_of_layers_computes_the_network(name: str) -> None:
    model = build_network(name)
    seeded_weights(model, 3)
    channels, size, _ = model.spec.input_shape
    images = noise_images((channels, min(size, 64), min(size, 64)), 2, 4)
    *_, (output, logits) = run_float(float_graph(model).nodes, images)
    assert output == "fc"
    torch.testing.assert_close(logits[:, :, 0, 0], model(images), rtol=0, atol=0)


@pytest.mark.parametrize(("name", "found"), [
    ("layer2.0.conv1", "layer2.0.conv1"), ("layer2.0.downsample", "layer2.0.downsample.0"),
    ("layer2.0.downsample.0", "layer2.0.downsample.0"), ("fc", "fc"), ("maxpool", "maxpool"),
])
def test_layer_is_found(name: str, found: str) -> None:
    assert find_layer(build_network("resnet18"), name) == found


def test_statistics_of_seeded_weights() -> None:
    model, twin = build_network("resnet20"), build_network("resnet20")
    seeded_weights(model, 5)
    seeded_weights(twin, 5)
    for name, value in model.state_dict().items():
        assert torch.equal(value, twin.state_dict()[name]), name
    assert not model.training
    weight = model.state_dict()["layer3.1.conv1.weight"]
    kurtosis = float(((weight - weight.mean()) / weight.std()).pow(4).mean())
    assert 4 < kurtosis < 10  # a normal distribution has 3
    for name, tensor in run_float(float_graph(model).nodes, noise_images((3, 32, 32), 4, 6)):
        assert 0.1 < float(tensor.std()) < 3, name
        assert float((tensor == 0).float().mean()) < 0.8, name


def test_checkpoints_of_both_kinds_load(tmp_path: Path) -> None:
    model = build_network("resnet20")
    seeded_weights(model, 5)
    state = model.state_dict()
    torch.save(state, tmp_path / "plain.pt")
    torch.save({"epoch": 3, "state_dict": {f"module.{n}": v for n, v in state.items()}},
               tmp_path / "wrapped.pth")
    np.savez(tmp_path / "arrays.npz", **{
        n: v.numpy() for n, v in state.items() if not n.endswith("num_batches_tracked")})
    for file in ("plain.pt", "wrapped.pth", "arrays.npz"):
        other = build_network("resnet20")
        load_weights(other, tmp_path / file)
        assert all(torch.equal(v, state[n]) for n, v in other.state_dict().items()
                   if not n.endswith("num_batches_tracked")), file


class Malicious:
    """Executes when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


NOT_PLAIN = ("FILE must be a checkpoint of plain tensors; write it with "
             "torch.save(model.state_dict(), ...)")


def refuse(path: Path, name: str = "resnet20") -> str:
    """Return the one-line message with which a checkpoint is refused, the path as FILE."""
    with pytest.raises(NetworkError) as error:
        load_weights(build_network(name), path)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(path), "FILE")


def test_unreadable_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "junk.pt"
    for content in (b"", b"junk", b"\x80\x02]q", bytes(range(256))):
        path.write_bytes(content)
        assert refuse(path) == NOT_PLAIN
    path.unlink()
    path.mkdir()
    assert refuse(path) == "cannot read weights FILE: Is a directory"


def test_negative_variance_is_named(tmp_path: Path) -> None:
    state = build_network("resnet20").state_dict()
    state["layer1.0.bn1.running_var"][3] = -0.5
    torch.save(state, tmp_path / "x.pt")
    assert refuse(tmp_path / "x.pt") == (
        "FILE: layer1.0.bn1.running_var must not be negative, but 1 of 16 values are; use a "
        "checkpoint of a trained network")


def test_wrong_checkpoints_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "weights.pt"
    assert refuse(path) == "cannot read weights FILE: No such file or directory"
    assert refuse(tmp_path / "a.onnx") == (
        "weights must be a file .safetensors, .npz, .pt, .pth, not 'FILE'")
    path.write_bytes(b"nothing")
    assert refuse(path) == NOT_PLAIN
    torch.save({"conv1.weight": Malicious()}, path)
    assert refuse(path) == NOT_PLAIN
    assert "executed" not in capfd.readouterr().out
    torch.save([torch.zeros(1)], path)
    assert refuse(path) == "FILE must hold a dictionary of tensors by parameter name"
    arrays = tmp_path / "weights.npz"
    for content in (b"nothing", b"PK\3\4 cut", b""):
        arrays.write_bytes(content)
        assert refuse(arrays).startswith("FILE is not a file of named arrays: ")
    np.savez(arrays, fc=np.array([Malicious()], object))
    assert refuse(arrays).startswith("FILE is not a file of named arrays: ")
    assert "executed" not in capfd.readouterr().out


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(build_network("resnet8").state_dict(), path)
    assert refuse(path) == (
        "FILE is not a checkpoint of resnet20: missing layer1.1.conv1.weight and 59 more; "
        "conv1.weight has shape (16, 1, 3, 3), not (16, 3, 3, 3)")
    state = build_network("resnet20").state_dict()
    torch.save({**state, "fc.scale": torch.ones(1)}, path)
    assert refuse(path) == "FILE is not a checkpoint of resnet20: unexpected fc.scale"
    state["layer2.0.bn1.weight"][3] = float("nan")
    torch.save(state, path)
    assert refuse(path) == (
        "FILE: layer2.0.bn1.weight must be finite, but 1 of 32 values are not")


def change(**attributes: object) -> ResNet:
    """Return a ResNet-8 whose ``layer1.0.conv1`` has other attributes."""
    model = build_network("resnet8")
    for name, value in attributes.items():
        setattr(model.get_submodule("layer1.0.conv1"), name, value)
    return model


@pytest.mark.parametrize(("attributes", "message"), [
    ({"groups": 4}, "layer1.0.conv1: groups must be 1, not 4"),
    ({"dilation": (2, 2)}, "layer1.0.conv1: dilation must be 1, not (2, 2)"),
    ({"stride": (3, 3)}, "layer1.0.conv1: stride must be 1 or 2, not (3, 3)"),
    ({"padding": "same"},
     "layer1.0.conv1: padding must be a number of zeros, not 'same' of 'zeros'"),
    ({"padding_mode": "circular"},
     "layer1.0.conv1: padding must be a number of zeros, not (1, 1) of 'circular'"),
])
def test_unsupported_convolutions(attributes: dict[str, object], message: str) -> None:
    model = change(**attributes)
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        layer_names(model)


def test_unsupported_modules() -> None:
    model = build_network("resnet8")
    model.conv1 = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(NetworkError, match=r"^conv1: must be a Conv2d, not Identity$"):
        layer_names(model)
    model = build_network("resnet8")
    model.bn1 = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(NetworkError, match=r"^bn1: must be a BatchNorm2d, not Identity$"):
        layer_names(model)


def test_unknown_names() -> None:
    known = ", ".join(NETWORKS)
    with pytest.raises(NetworkError, match=f"^network must be one of {known}, not 'vgg16'$"):
        build_network("vgg16")
    message = ("resnet18 has no layer 'layer1.0.con1'; the nearest are "
               "layer1.0.conv1, layer4.0.conv1, layer3.0.conv1")
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        find_layer(build_network("resnet18"), "layer1.0.con1")


def test_trained_weights_load() -> None:
    model = build_network("resnet8")
    load_trained(model)
    assert not model.training
    message = ("trained weights come with resnet8 and resnet20_fashion, not with resnet20; give a "
               "checkpoint")
    with pytest.raises(NetworkError, match=f"^{message}$"):
        load_trained(build_network("resnet20"))
