"""``smartdeal compile`` of users' models: ONNX files and archives of torch.export."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn

from smartdeal.compiler import NetworkProgram
from smartdeal.compiler.importers.files import import_model
from smartdeal.compiler.models import fingerprint
from smartdeal.golden.store import load_network

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:PIL")
ARRAY = ("--rows", "6", "--cols", "8")
SIZE = (3, 8, 6)


class Tiny(nn.Module):
    """Convolution, normalisation, a block with a shortcut, pool and classes."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.fc = nn.Linear(6, 4)
        with torch.no_grad():
            self.bn1.weight[2] = 1e-5  # a dead filter
            self.bn1.bias[2] = -1

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        return self.fc((self.conv2(x).relu()).mean((2, 3)))


def onnx_model(model: Tiny) -> ModelProto:
    """Return the same network as ONNX, by hand: exporting needs another library."""
    constants = {name: value.detach().numpy() for name, value in model.state_dict().items()
                 if value.ndim}
    nodes = [
        helper.make_node("Conv", ["x", "conv1.weight"], ["a"], name="conv1", pads=[1] * 4),
        helper.make_node("BatchNormalization", ["a", "bn1.weight", "bn1.bias", "bn1.running_mean",
                                                "bn1.running_var"], ["b"], name="bn1"),
        helper.make_node("Relu", ["b"], ["c"], name="relu1"),
        helper.make_node("Conv", ["c", "conv2.weight", "conv2.bias"], ["d"], name="conv2",
                         pads=[1] * 4),
        helper.make_node("Relu", ["d"], ["e"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["e"], ["f"], name="pool"),
        helper.make_node("Flatten", ["f"], ["g"], name="flatten"),
        helper.make_node("Gemm", ["g", "fc.weight", "fc.bias"], ["y"], name="fc", transB=1)]
    graph = helper.make_graph(
        nodes, "tiny", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (count, *SIZE), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the network in both formats, and images."""
    folder = tmp_path_factory.mktemp("models")
    model = Tiny().eval()
    onnx.save(onnx_model(model), folder / "tiny.onnx")
    torch.export.save(torch.export.export(model, (torch.zeros(1, *SIZE),)), folder / "tiny.pt2")
    np.save(folder / "pixels.npy", pixels(9))
    (folder / "pictures").mkdir()
    for number, image in enumerate(pixels(9)):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / "pictures" / f"{number}.png")
    (folder / "labels.txt").write_text("cat\ndog\nship\ntruck\n")
    return folder


def compile_tiny(run: Any, folder: Path, output: Path, *more: str, model: str = "tiny.onnx") -> Any:
    return run("compile", str(folder / model), "-o", str(output), "--calibration",
               str(folder / "pixels.npy"), "--preprocessing", "signed", *ARRAY, *more)


@pytest.mark.parametrize("model", ["tiny.onnx", "tiny.pt2"])
def test_compile_and_run(run: Any, folder: Path, tmp_path: Path, model: str) -> None:
    """Classes and float classes are those of the network itself."""
    net, table, classes = (tmp_path / name for name in ("net.sdp", "t.json", "c.json"))
    outcome = compile_tiny(run, folder, net, "--form", "int8", "--labels",
                           str(folder / "labels.txt"), "--json", str(table), model=model)
    assert (outcome.code, outcome.err) == (0, "")
    assert "calibrated with 9 images of" in outcome.out
    assert "conv1: 1 of 6 filters are dead, 1 left the network\n" in outcome.out
    values = json.loads(table.read_text())
    assert [(row["name"], row["form"]) for row in values["layers"]] == [
        ("conv1", "int8"), ("conv2", "int8"), (values["layers"][2]["name"], ""), ("fc", "int8")]
    assert values["layers"][0]["bytes_before"] == 6 * 27 * 4  # as they were before
    assert values["layers"][0]["output_shape"] == [5, 8, 6]
    assert values["dead_filters"] == {"conv1": {"filters": 6, "dead": 1, "removed": 1}}
    outcome = run("run", str(net), str(folder / "pictures"), "--compare", "--json", str(classes))
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(classes.read_text())["images"]
    with torch.no_grad():
        logits = Tiny().eval()(torch.from_numpy(pixels(9)).float() / 127.5 - 1)
    names = ("cat", "dog", "ship", "truck")
    assert [image["float"]["class"] for image in found] == [names[i] for i in logits.argmax(1)]
    probabilities = torch.softmax(logits, 1).numpy()
    for image, expected in zip(found, probabilities, strict=True):
        for entry in image["classes"]:
            assert abs(entry["probability"] - expected[names.index(entry["class"])]) < 0.02


def test_formats_give_the_same_program(run: Any, folder: Path, tmp_path: Path) -> None:
    programs: list[NetworkProgram] = []
    for model in ("tiny.onnx", "tiny.pt2"):
        compile_tiny(run, folder, tmp_path / "net.sdp", model=model)
        programs.append(NetworkProgram.load(tmp_path / "net.sdp"))
    assert programs[0].segments == programs[1].segments
    assert programs[0].about["sha256"] == programs[1].about["sha256"]


def test_ways_to_name_images(run: Any, folder: Path, tmp_path: Path) -> None:
    """A folder, a pattern and an array of the same pixels give the same program."""
    found: list[tuple[bytes, ...]] = []
    for data in ("pixels.npy", "pictures", "pictures/*.png"):
        outcome = run("compile", str(folder / "tiny.pt2"), "-o", str(tmp_path / "n.sdp"), *ARRAY,
                      "--calibration", str(folder / data), "--mean", "0.5,0.5,0.5",
                      "--deviation", "0.5")
        assert (outcome.code, outcome.err) == (0, "")
        found.append(NetworkProgram.load(tmp_path / "n.sdp").segments)
    assert found[0] == found[1] == found[2]
    outcome = compile_tiny(run, folder, tmp_path / "n.sdp", "--calibration-images", "4")
    assert "calibrated with 4 of 9 images of" in outcome.out


def test_integer_network_is_written(run: Any, folder: Path, tmp_path: Path) -> None:
    compile_tiny(run, folder, tmp_path / "net.sdp", "--keep-dead-filters", "--ranges", "mse")
    program = NetworkProgram.load(tmp_path / "net.sdp")
    network = load_network(tmp_path / "net.integer.npz", program.about["integer_sha256"])
    assert network.nodes[0].layer.output_shape == (6, 8, 6)
    assert program.about["quantise"]["ranges"] == "mse"


@pytest.mark.parametrize("ranges", ["percentile", "mse"])
def test_ranges_change_the_scales(run: Any, folder: Path, tmp_path: Path, ranges: str) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2000, *SIZE)).astype(np.float32)
    images[3, 1, 2, 0] = 3  # not worth its steps
    np.save(tmp_path / "tails.npy", images)
    data = ("--calibration", str(tmp_path / "tails.npy"), "--calibration-images", "2000")
    compile_tiny(run, folder, tmp_path / "a.sdp", *data)
    compile_tiny(run, folder, tmp_path / "b.sdp", *data, "--ranges", ranges, "--percentile", "95")
    one, other = (load_network(tmp_path / f"{name}.integer.npz") for name in "ab")
    assert all(other.scales[name].scale <= scale.scale for name, scale in one.scales.items())
    assert other.scales["image"].scale < one.scales["image"].scale


def test_another_model_is_refused(run: Any, folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "mine.onnx"
    onnx.save(onnx_model(Tiny().eval()), model)
    compile_tiny(run, tmp_path, tmp_path / "net.sdp", "--calibration", str(folder / "pixels.npy"),
                 model="mine.onnx")
    sha = NetworkProgram.load(tmp_path / "net.sdp").about["sha256"]
    onnx.save(onnx_model(Tiny(seed=1).eval()), model)
    image = str(folder / "pictures" / "0.png")
    outcome = run("run", str(tmp_path / "net.sdp"), image, "--compare")
    assert outcome.code == 2
    assert outcome.err.startswith(
        f"error: {model} is not what the program was compiled from: its layers and weights have "
        "the SHA-256 ")
    assert outcome.err.endswith(f"…, not {sha[:12]}…; compile it again\n")
    model.unlink()
    outcome = run("run", str(tmp_path / "net.sdp"), image, "--compare")
    assert outcome.err == f"error: cannot read model {model}: No such file or directory\n"
    assert run("run", str(tmp_path / "net.sdp"), image).code == 0


def test_budget(run: Any, folder: Path, tmp_path: Path) -> None:
    table, curve = tmp_path / "t.json", tmp_path / "curve.svg"
    outcome = compile_tiny(run, folder, tmp_path / "net.sdp", "--budget", "loss=0.01", "--json",
                           str(table), "--curve", str(curve), "--candidates", "shift2,int8")
    assert (outcome.code, outcome.err) == (0, "")
    values = json.loads(table.read_text())
    chosen = values["trade_off"]["chosen"]
    assert (chosen["loss"] <= 0.01, chosen["cycles"]) == (True, values["cycles"])
    assert {row["name"]: row["form"] for row in values["layers"] if row["form"]} == chosen["forms"]
    assert "\nbudget loss=0.01: " in outcome.out
    assert curve.read_text().startswith("<?xml")


def test_unsupported_operators_are_all_named(run: Any, folder: Path, tmp_path: Path) -> None:
    graph = onnx_model(Tiny().eval())
    graph.graph.node[2].op_type = "Sigmoid"
    graph.graph.node[4].op_type = "HardSwish"
    onnx.save(graph, tmp_path / "odd.onnx")
    outcome = run("compile", str(tmp_path / "odd.onnx"), "-o", str(tmp_path / "n.sdp"))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[:3] == [
        "error: odd cannot be imported, for 2 reasons:",
        "  operator Sigmoid (node 'relu1') is not supported",
        "  operator HardSwish (node 'relu2') is not supported"]
    assert outcome.err.splitlines()[3].startswith("  supported are Add, ")
    assert not (tmp_path / "n.sdp").exists()


def dynamic(model: ModelProto) -> ModelProto:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    return model


def not_finite() -> NDArray[np.float32]:
    images = np.zeros((2, *SIZE), np.float32)
    images[1, 0, 3, 4] = np.nan
    return images


@pytest.fixture
def bad(folder: Path, tmp_path: Path) -> Path:
    """Return a folder with files of every kind of damage, and good ones."""
    whole = (folder / "tiny.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[:len(whole) // 2])
    archive = (folder / "tiny.pt2").read_bytes()
    (tmp_path / "cut.pt2").write_bytes(archive[:len(archive) // 2])
    onnx.save(dynamic(onnx_model(Tiny().eval())), tmp_path / "dynamic.onnx")
    np.save(tmp_path / "nan.npy", not_finite())
    np.save(tmp_path / "size.npy", np.zeros((2, 3, 9, 9), np.uint8))
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "size.png")
    picture = (folder / "pictures" / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(picture[:len(picture) // 2])
    (tmp_path / "three.txt").write_text("a\nb\nc\n")
    (tmp_path / "empty").mkdir()
    for name in ("tiny.onnx", "tiny.pt2", "pixels.npy"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize(("model", "calibration", "more", "message"), [
    ("cut.onnx", "pixels.npy", (), "{}cut.onnx is not a whole and valid ONNX file; export or copy "
                                   "it again: "),
    ("cut.pt2", "pixels.npy", (), "{}cut.pt2 is not a whole archive of torch.export; save or copy "
                                  "it again: "),
    ("none.onnx", "pixels.npy", (), "cannot read model {}none.onnx: No such file or directory"),
    ("dynamic.onnx", "pixels.npy", (),
     "dynamic: the size of input 'x' must be fixed but for the batch, not 1×3×height×6; export the "
     "model for one image size"),
    ("tiny.onnx", "nan.npy", (), "{}nan.npy: image 1 must be finite, but 1 of 144 values are not; "
                                 "leave out or repair the image"),
    ("tiny.onnx", "size.npy", (), "{}size.npy must hold images of shape (3, 8, 6), not an array of "
                                  "shape (2, 3, 9, 9)"),
    ("tiny.onnx", "two.npz", (), "{}two.npz must hold an array 'images', not a, b"),
    ("tiny.onnx", "size.png", ("--mean", "0"), "{}size.png must have 6×8 pixels, not 9×9; scale it "
                                               "first"),
    ("tiny.onnx", "cut.png", ("--mean", "0"), "cannot read picture {}cut.png: "),
    ("tiny.onnx", "empty", (), "{}empty must hold images (.png, "),
    ("tiny.onnx", "*.jpg", (), "no file matches {}*.jpg"),
    ("tiny.onnx", "pixels.npy", (),
     "{}pixels.npy holds pixels, and nothing says how they become the network's input; give "
     "smartdeal compile a --preprocessing (unit, signed, raw, imagenet, cifar10, fashion), or "
     "--mean and --deviation"),
    ("tiny.onnx", "pixels.npy", ("--preprocessing", "vgg"),
     "preprocessing must be one of unit, signed, raw, imagenet, cifar10, fashion, not 'vgg'"),
    ("tiny.onnx", "pixels.npy", ("--mean", "0,0"),
     "mean must have 1 or 3 numbers for an image of 3 channels, not 2"),
    ("tiny.onnx", "pixels.npy", ("--deviation", "0"), "deviation must be positive, not 0.0"),
    ("tiny.onnx", "pixels.npy", ("--mean", "a"),
     "Invalid value for '--mean': must be numbers with commas between them, not 'a'"),
    ("tiny.onnx", "pixels.npy", ("--mean", "0", "--labels", "three.txt"),
     "three.txt must name the 4 outputs of the network, but has 3 names"),
    ("tiny.onnx", "pixels.npy", ("--weights", "tiny.pt2"),
     "{}tiny.onnx has weights of its own; --weights is for built-in networks"),
    ("tiny.onnx", "pixels.npy", ("--mean", "0", "--layer-form", "fc2=int8"),
     "tiny has no layer 'fc2'; the nearest are fc, "),
    ("tiny.onnx", "pixels.npy", ("--mean", "0", "--layer-form", "fc2=int8", "--budget", "loss=1"),
     "tiny has no layer 'fc2'; the nearest are fc, "),
    ("tiny.onnx", "pixels.npy", ("--budget", "cycles=-1"),
     "budget must be cycles=N or loss=X with a positive number, not 'cycles=-1'"),
    ("tiny.onnx", "pixels.npy", ("--budget", "cycles=9", "--form", "int8"),
     "--form is for all layers, --budget chooses one for each: give only one of them "
     "(--layer-form goes with either)"),
    ("tiny.onnx", "pixels.npy", ("--candidates", "int8"), "--candidates needs --budget"),
    ("tiny.onnx", "pixels.npy", ("--curve", "x.svg"), "--curve needs --budget"),
    ("tiny.onnx", "pixels.npy", ("--curve", "x.gif", "--budget", "cycles=9"),
     "picture must be a file .svg, .png, .pdf, not 'x.gif'"),
    ("tiny.onnx", "pixels.npy", ("--timeline", "x.gif"),
     "picture must be a file .svg, .png, .pdf, not 'x.gif'"),
    ("tiny.onnx", "pixels.npy", ("--mean", "0", "--budget", "cycles=9", "--candidates", "int7"),
     "weight form must be one of smartdeal, deepshift, shift2, shift3, int8, not 'int7'"),
    ("tiny.onnx", "pixels.npy", ("--percentile", "40"),
     "percentile must be more than 50 and at most 100, not 40.0"),
    ("tiny.onnx", "pixels.npy", ("--mean", "0", "--dead-threshold", "2"),
     "threshold must be at least 0 and less than 1, not 2.0"),
    ("tiny.onnx", "pixels.npy", ("--mean", "0", "--zero-fraction", "1"),
     "zero_fraction must be at least 0 and less than 1, not 1.0"),
])
def test_bad_input(
    run: Any, bad: Path, monkeypatch: pytest.MonkeyPatch, model: str, calibration: str,
    more: tuple[str, ...], message: str,
) -> None:
    monkeypatch.chdir(bad)
    outcome = run("compile", str(bad / model), "-o", "n.sdp", "--calibration",
                  str(bad / calibration), *ARRAY, *more)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: " + message.format(f"{bad}/"))
    assert outcome.err.count("\n") == 1
    assert not (bad / "n.sdp").exists()


def test_a_file_needs_calibration(run: Any, folder: Path, tmp_path: Path) -> None:
    outcome = run("compile", str(folder / "tiny.pt2"), "-o", str(tmp_path / "n.sdp"))
    assert outcome.err == (f"error: {folder / 'tiny.pt2'} needs --calibration: images like those "
                           "that it will see\n")


def test_floats_need_no_preprocessing(run: Any, folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "real.npy", pixels(4) / np.float32(255))
    outcome = run("compile", str(folder / "tiny.pt2"), "-o", str(tmp_path / "n.sdp"), *ARRAY,
                  "--calibration", str(tmp_path / "real.npy"))
    assert (outcome.code, outcome.err) == (0, "")
    assert run("run", str(tmp_path / "n.sdp"), str(tmp_path / "real.npy")).code == 0
    outcome = run("run", str(tmp_path / "n.sdp"), str(folder / "pixels.npy"))
    assert outcome.err.startswith(f"error: {folder / 'pixels.npy'} holds pixels, and nothing says ")


def test_graphs_are_told_apart(folder: Path, tmp_path: Path) -> None:
    other = onnx_model(Tiny().eval())
    other.graph.node[3].attribute[0].CopyFrom(helper.make_attribute("pads", [2, 1, 0, 1]))
    onnx.save(other, tmp_path / "other.onnx")
    shas = [fingerprint(import_model(path)) for path in (
        folder / "tiny.onnx", folder / "tiny.pt2", tmp_path / "other.onnx")]
    assert shas[0] == shas[1] != shas[2]


@pytest.fixture(scope="module")
def labelled(folder: Path) -> Path:
    """Return labelled images whose labels are the float network's classes, but for two."""
    with torch.no_grad():
        logits = Tiny().eval()(torch.from_numpy(pixels(9)).float() / 127.5 - 1)
    labels = logits.argmax(1).numpy()
    labels[[2, 7]] = (labels[[2, 7]] + 1) % 4
    np.savez(folder / "labelled.npz", images=pixels(9), labels=labels)
    return folder / "labelled.npz"


def test_accuracy(run: Any, folder: Path, labelled: Path, tmp_path: Path) -> None:
    net, table = tmp_path / "net.sdp", tmp_path / "t.json"
    compile_tiny(run, folder, net, "--form", "int8")
    outcome = run("accuracy", str(net), "--data", str(labelled), "--compare", "--check", "2",
                  "--json", str(table))
    assert (outcome.code, outcome.err) == (0, "")
    values = json.loads(table.read_text())
    assert values["float"]["top1"] == 7 / 9
    assert values["integer"]["top5"] == 1  # of four classes
    same = np.mean(np.array(values["integer"]["classes"]) == values["float"]["classes"])
    assert values["same_class"] == same
    lines = outcome.out.splitlines()
    assert lines[0] == f"tiny, 9 images of {labelled}"
    assert lines[-1] == "OK: the interpreter gives the same output for 2 images"
    outcome = run("accuracy", str(net), "--data", str(labelled), "--images", "4")
    assert outcome.out.startswith("tiny, 4 images of")
    assert "float" not in outcome.out


def test_accuracy_notices_a_program_that_computes_something_else(
    run: Any, folder: Path, labelled: Path, tmp_path: Path,
) -> None:
    """The program of one network, the integer network of another: --check finds out."""
    compile_tiny(run, folder, tmp_path / "a.sdp", "--form", "int8")
    compile_tiny(run, folder, tmp_path / "b.sdp", "--form", "deepshift")
    (tmp_path / "a.integer.npz").replace(tmp_path / "b.integer.npz")
    outcome = run("accuracy", str(tmp_path / "b.sdp"), "--data", str(labelled))
    assert (outcome.code, outcome.err) == (2, (
        f"error: {tmp_path / 'b.integer.npz'} is not the network that was written with the "
        "program; compile it again\n"))
    program = NetworkProgram.load(tmp_path / "b.sdp")
    sha = NetworkProgram.load(tmp_path / "a.sdp").about["integer_sha256"]
    dataclasses.replace(program, about={**program.about, "integer_sha256": sha}).save(
        tmp_path / "b.sdp")
    outcome = run("accuracy", str(tmp_path / "b.sdp"), "--data", str(labelled), "--check", "9")
    assert outcome.code == 1
    assert outcome.out.splitlines()[-1].startswith("FAILED: ")


def test_accuracy_without_its_network(
    run: Any, folder: Path, labelled: Path, tmp_path: Path,
) -> None:
    compile_tiny(run, folder, tmp_path / "net.sdp")
    (tmp_path / "net.integer.npz").unlink()
    outcome = run("accuracy", str(tmp_path / "net.sdp"), "--data", str(labelled))
    assert (outcome.code, outcome.err) == (2, (
        f"error: cannot read {tmp_path / 'net.integer.npz'}: No such file or directory; smartdeal "
        "compile writes it beside the program\n"))
    outcome = run("accuracy", str(tmp_path / "none.sdp"), "--data", str(labelled))
    assert "none.sdp: cannot be read: No such file or directory\n" in outcome.err
