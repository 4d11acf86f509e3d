"""``smartdeal compile`` and ``smartdeal run``: from weights and images to classes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from smartdeal.boards import host
from smartdeal.compiler import NetworkProgram, container
from smartdeal.golden.fashion import CLASSES, sample_images
from smartdeal.golden.networks import NETWORKS
from smartdeal.golden.pictures import PREPROCESSING
from smartdeal.hw.timing import END_CYCLES
from smartdeal.sim import simulate_network as simulation
from smartdeal.sim.errors import SimulationError
from smartdeal.sim.picture import SUFFIXES

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:PIL")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a network and images."""
    from smartdeal.cli.main import main

    folder = tmp_path_factory.mktemp("networks")
    with pytest.raises(SystemExit):
        main(["compile", "resnet8", "-o", str(folder / "net.sdp")])
    normal, _ = sample_images()
    mean, deviation = PREPROCESSING["resnet8"].mean[0], PREPROCESSING["resnet8"].deviation[0]
    pixels = np.rint((normal.numpy() * deviation + mean) * 255).astype(np.uint8)
    np.save(folder / "pixels.npy", pixels[:, 0])
    np.savez(folder / "inputs.npz", images=normal.numpy())
    (folder / "pictures").mkdir()
    for number in range(3):
        Image.fromarray(pixels[number, 0]).save(folder / "pictures" / f"{number}.png")
    Image.fromarray(pixels[0, 0]).resize((32, 30)).save(folder / "large.png")
    (folder / "short.png").write_bytes((folder / "pictures" / "0.png").read_bytes()[:150])
    (folder / "text.png").write_text("no picture")
    return folder


def test_compile(run: Any, tmp_path: Path) -> None:
    file, table = tmp_path / "net.sdp", tmp_path / "t.json"
    outcome = run("compile", "resnet8", "-o", str(file), "--json", str(table), "--rows", "9",
                  "--layer-form", "fc=int8", "--keep-all")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1].startswith(f"{file}: 1 segment, 26 instructions, ")
    values = json.loads(table.read_text())
    forms = {layer["name"]: layer["form"] for layer in values["layers"]}
    assert (forms["conv1"], forms["avgpool"], forms["fc"]) == ("smartdeal", "", "int8")
    assert values["cycles"] == END_CYCLES + sum(
        layer["cycles"]["total"] for layer in values["layers"])
    program = NetworkProgram.load(file)
    assert len(program.outputs) == len(values["layers"]) == 11
    assert program.about["network"] == "resnet8"
    fc = values["layers"][-1]
    assert fc["weight_error"] < 0.01 < values["layers"][1]["weight_error"]
    assert fc["bytes_before"] == 4 * 640


def test_pictures_that_can_be_drawn(run: Any) -> None:
    """The help names every kind that is accepted."""
    kinds = "FILE." + "|".join(suffix.removeprefix(".") for suffix in SUFFIXES)
    assert run("compile", "--help").out.count(kinds) == 2


def test_every_network_has_preprocessing() -> None:
    assert PREPROCESSING.keys() == NETWORKS.keys()
    for name, spec in NETWORKS.items():
        assert len(PREPROCESSING[name].mean) == len(PREPROCESSING[name].deviation) \
            == spec.input_shape[0]


def test_compile_with_images(run: Any, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.sdp"
    outcome = run("compile", "resnet8", "-o", str(file), "--calibration", str(folder / "pictures"))
    assert (outcome.code, outcome.err) == (0, "")
    assert "calibrated with 3 images of" in outcome.out


def test_run(run: Any, folder: Path, tmp_path: Path) -> None:
    """Pictures, pixels and inputs give the same classes."""
    _, labels = sample_images()
    outcome = run("run", str(folder / "net.sdp"), str(folder / "pixels.npy"), "--top", "1",
                  "--compare", "--json", str(tmp_path / "t.json"))
    assert (outcome.code, outcome.err) == (0, "")
    results = json.loads((tmp_path / "t.json").read_text())["images"]
    right = sum(result["classes"][0]["class"] == CLASSES[label]
                for result, label in zip(results, labels, strict=True))
    assert right >= 0.85 * len(labels)
    same = sum(result["classes"][0]["class"] == result["float"]["class"] for result in results)
    assert outcome.out.splitlines()[-1] == (
        f"{same} of {len(labels)} images in the same class as in floating point")
    for source in ("inputs.npz", "pictures"):
        again = run("run", str(folder / "net.sdp"), str(folder / source), "--top", "1")
        lines = zip(again.out.splitlines(), outcome.out.splitlines(), strict=False)
        assert all(one.split(": ")[1] == other.split(": ")[1].split("  ")[0]
                   for one, other in list(lines)[:3])


@pytest.mark.slow
def test_run_in_rtl(run: Any, folder: Path) -> None:
    outcome = run("run", str(folder / "net.sdp"), str(folder / "pictures"), "--engine", "rtl")
    assert (outcome.code, outcome.err) == (0, "")
    last = outcome.out.splitlines()[-1]
    assert last.startswith("OK: all ")
    assert last.endswith(" cycles as predicted")


@pytest.mark.parametrize(("change", "verdict"), [
    ({"bytes_wrong": 3, "bytes_compared": 80}, "FAILED: image 0 has 3 wrong bytes of 80"),
    ({"segment": {"failure": "did not finish: watchdog expired"}},
     "FAILED: image 0: segment 0 did not finish: watchdog expired"),
    ({"segment": {"overhead": 1}}, "FAILED: image 0, segment 0 counted Cycles("),
    ({"bytes_loaded": 4096, "traffic_as_predicted": False},
     "FAILED: image 0 loaded 4,096 bytes of system memory and stored 0, which is not what was "
     "predicted"),
])
def test_difference_exits_with_one(
    run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], verdict: str,
) -> None:
    honest = simulation.simulate_network

    def wrong(*arguments: Any, **options: Any) -> list[simulation.NetworkReport]:
        report, = honest(*arguments, **options)
        segment = replace(report.segments[0], measured=report.segments[0].predicted,
                          **{"overhead": report.segments[0].predicted.overhead,
                             **change.get("segment", {})})
        rest = {name: value for name, value in change.items() if name != "segment"}
        return [replace(report, segments=(segment,), **rest)]

    monkeypatch.setattr(simulation, "simulate_network", wrong)
    outcome = run("run", str(folder / "net.sdp"), str(folder / "pictures" / "0.png"))
    assert outcome.code == 1
    assert outcome.out.splitlines()[-1].startswith(verdict)


def test_boards_without_system_memory(
    run: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the port nor a simulator is opened for what no board can run."""
    def opened(*arguments: object) -> None:
        raise AssertionError("the port was opened")

    monkeypatch.setattr(host, "open_port", opened)
    assert run("compile", "resnet8", "--memory", "--form", "deepshift", "-o",
               str(tmp_path / "memory.sdp")).code == 0
    size = NetworkProgram.load(tmp_path / "memory.sdp").memory_bytes
    image = str(folder / "pictures" / "0.png")
    outcome = run("run", str(tmp_path / "memory.sdp"), image, "--port", "sim:ulx3s_85f")
    assert (outcome.code, outcome.err) == (
        2, f"error: the program of resnet8 needs {size:,} bytes of system memory, which no board "
           "has; compile it without --memory\n")
    outcome = run("run", str(folder / "net.sdp"), image, "--port", "sim:ulx3s_85f", "--compare")
    assert (outcome.code, outcome.err) == (
        2, "error: --port and --compare exclude each other; leave out --port to compare the "
           "interpreter's classes\n")


def test_broken_port_exits_with_one(
    run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise SimulationError("store: beat 3 was withdrawn", seed=0, log=Path("x.log"))

    monkeypatch.setattr(simulation, "simulate_network", broken)
    outcome = run("run", str(folder / "net.sdp"), str(folder / "pictures" / "0.png"))
    assert (outcome.code, outcome.err) == (
        1, "error: store: beat 3 was withdrawn (seed 0, log x.log)\n")


@pytest.mark.parametrize(("image", "message"), [
    ("large.png", "{} must have 28×28 pixels, not 32×30; scale it first"),
    ("short.png", "cannot read picture {}: image file is truncated"),
    ("text.png", "{} is not a picture that can be read"),
    ("none.png", "cannot read picture {}: No such file or directory"),
    ("none.npy", "cannot read image {}: No such file or directory"),
    ("none.txt", "image {} must be a file .png, .jpg, .jpeg, .bmp, .webp, .npy, .npz"),
])
def test_bad_images(run: Any, folder: Path, image: str, message: str) -> None:
    outcome = run("run", str(folder / "net.sdp"), str(folder / image))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: {message.format(folder / image)}\n"


def test_bad_calibration(run: Any, tmp_path: Path) -> None:
    images = np.zeros((2, 1, 28, 28))
    images[1, 0, 3, 4] = np.nan
    np.save(tmp_path / "nan.npy", images)
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("nan.npy", "{}: image 1 must be finite, but 1 of 784 values are not; leave out or repair "
                    "the image"),
        ("empty", "{} must hold images (.png, .jpg, .jpeg, .bmp, .webp, .npy, .npz), but has none"),
    ):
        outcome = run("compile", "resnet8", "-o", str(tmp_path / "n.sdp"), "--calibration",
                      str(tmp_path / name))
        assert (outcome.code, outcome.err) == (2, f"error: {message.format(tmp_path / name)}\n")


@pytest.mark.parametrize(("arguments", "message"), [
    (("resnet9", "-o", "x.sdp"),
     f"MODEL must be a file .onnx or .pt2, or one of {', '.join(NETWORKS)}, not 'resnet9'"),
    (("resnet8", "-o", "no-such/x.sdp"),
     "Invalid value for --output: folder no-such does not exist"),
    (("resnet8", "-o", "x.sdp", "--layer-form", "fc"),
     "Invalid value for --layer-form: must be LAYER=FORM, not 'fc'"),
    (("resnet8", "-o", "x.sdp", "--no-move"),
     "layer 'conv1': it needs the feature move, which the configuration leaves out; set move = "
     "true"),
    (("resnet8", "-o", "x.sdp", "--activation-words", "100"),
     "layer 'conv1': its input and output alone take 13328 bytes on chip, the accelerator has "
     "activation_words = 100 of 16 bytes; set activation_words = 833 or more, or memory = true"),
])
def test_bad_arguments(run: Any, arguments: tuple[str, ...], message: str) -> None:
    outcome = run("compile", *arguments)
    assert (outcome.code, outcome.err) == (2, f"error: {message}\n")
    assert not Path("x.sdp").exists()


def test_target_is_checked_before_the_run(run: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    target = tmp_path / "file" / "t.json"
    for options in ((), ("--port", "sim:no-such")):
        outcome = run("run", str(folder / "net.sdp"), str(folder / "pictures" / "0.png"), "--json",
                      str(target), *options)
        assert (outcome.code, outcome.out, outcome.err) == (
            2, "", f"error: {target}: Not a directory\n")


@pytest.mark.parametrize(("arguments", "first", "second", "file"), [
    (("compile", "resnet8", "-o", "x.sdp", "--json", "./x.sdp"), "--json", "--output", "./x.sdp"),
    (("compile", "resnet8", "-o", "x.sdp", "--json", "x.integer.npz"), "--json",
     "the integer network", "x.integer.npz"),
    (("compile", "resnet8", "-o", "x.sdp", "--timeline", "t.svg", "--curve", "t.svg", "--budget",
      "loss=1"), "--timeline", "--curve", "t.svg"),
    (("compile", "my.onnx", "-o", "my.onnx"), "--output", "MODEL", "my.onnx"),
    (("compile", "resnet8", "-o", "x.sdp", "--calibration", "x.npz", "--json", "x.npz"), "--json",
     "--calibration", "x.npz"),
    (("run", "net.sdp", "a.png", "--json", "net.sdp"), "--json", "the program", "net.sdp"),
    (("run", "net.sdp", "a.png", "--json", "a.png"), "--json", "IMAGE a.png", "a.png"),
    (("accuracy", "net.sdp", "--data", "x.npz", "--json", "net.sdp"), "--json", "the program",
     "net.sdp"),
    (("accuracy", "net.sdp", "--data", "x.npz", "--json", "net.integer.npz"), "--json",
     "the integer network", "net.integer.npz"),
])
def test_no_file_is_written_over(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...],
    first: str, second: str, file: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(*arguments)
    assert (outcome.code, outcome.err) == (
        2, f"error: {first} and {second} must be different files, not both {Path(file)}; give "
           f"{first} another name\n")
    assert not list(tmp_path.iterdir())


def test_disasm(run: Any, folder: Path) -> None:
    outcome = run("disasm", str(folder / "net.sdp"), "--part", "0")
    assert outcome.code == 0
    assert outcome.out.startswith(
        "network resnet8, 1 segment, rows 12, cols 16\n\nsegment 0: layers conv1 to fc, 25 "
        "instructions\n")
    assert "  MOVE DECIMATE\n" in outcome.out
    outcome = run("disasm", str(folder / "net.sdp"), "--part", "1")
    assert outcome.err == (f"error: Invalid value for --part: {folder / 'net.sdp'} has 1 segment, "
                           "numbered from 0\n")


def test_program_of_another_version(run: Any, folder: Path, tmp_path: Path) -> None:
    """The fingerprint is that of a configuration with fewer parameters: the file is named."""
    manifest, images = container.unpack((folder / "net.sdp").read_bytes())
    manifest["config"]["weight_steps"] += 1
    old = tmp_path / "old.sdp"
    old.write_bytes(container.pack(manifest, images))
    for arguments in (("run", str(old), str(folder / "pixels.npy")), ("disasm", str(old))):
        outcome = run(*arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith(
            f"error: {old}: segment 0 is for another accelerator than the file's configuration, or "
            "from another version of smartdeal: configuration fingerprint must be 0x")
        assert outcome.err.endswith("; compile it again\n")


def test_layer_is_not_a_network(run: Any, folder: Path, tmp_path: Path) -> None:
    layer = tmp_path / "fc.sdp"
    run("simulate", "resnet8", "--layer", "fc", "--engine", "interpreter", "--program", str(layer))
    outcome = run("run", str(layer), str(folder / "large.png"))
    assert outcome.err == (f"error: {layer}: holds a single layer; make a network with smartdeal "
                           "compile\n")
