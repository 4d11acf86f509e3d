"""``smartdeal train``, ``compress`` and ``shootout``: files, seeds, interruptions and messages."""

import errno
import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smartdeal.compiler import NetworkProgram
from smartdeal.golden.network_files import read_arrays
from smartdeal.golden.train_network import state_file
from smartdeal.golden.training import Trainer


def idx(values: np.ndarray) -> bytes:
    header = b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return gzip.compress(header + values.astype(np.uint8).tobytes())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder of 8×8 images: the label's column is bright."""
    folder = tmp_path_factory.mktemp("toys")
    rng = np.random.default_rng(0)
    for split, count in (("train", 160), ("t10k", 40)):
        labels = rng.integers(0, 8, count)
        images = rng.integers(0, 80, (count, 8, 8))
        images[np.arange(count), :, labels] += 150
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    return str(folder)


@pytest.fixture(autouse=True)
def threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def train(run: Any, data: str, output: Path, *more: str, epochs: int = 2) -> Any:
    return run("train", "resnet8", "--data", data, "--epochs", str(epochs), "--batch", "32",
               "--rate", "0.05", "-o", str(output), *more)


def test_the_same_seed_gives_the_same_file(run: Any, data: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.safetensors" for name in ("a", "b", "c")]
    outcomes = [train(run, data, file, "--form", "deepshift-q", "--seed", seed,
                      "--json", str(tmp_path / "result.json"))
                for file, seed in zip(files, ("3", "3", "4"), strict=True)]
    assert [(outcome.code, outcome.err) for outcome in outcomes] == [(0, "")] * 3
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
    lines = outcomes[-1].out.splitlines()
    assert lines[0].startswith("epoch 1 of 2: loss ")
    assert lines[-1].startswith(f"{files[2]}: test images ")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["form"] == "deepshift-q"
    assert 0 <= result["integer_accuracy"] <= 1


def test_an_interrupted_training_is_resumed(
    run: Any, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    options = ("--form", "smartdeal", "--average-from", "0.3")
    assert train(run, data, whole, *options, epochs=2).code == 0
    run_epoch = Trainer.run_epoch

    def interrupted(self: Trainer, progress: Any = None) -> Any:
        if self.epoch == 1:
            raise KeyboardInterrupt
        return run_epoch(self, progress)

    monkeypatch.setattr(Trainer, "run_epoch", interrupted)
    outcome = train(run, data, cut, *options, epochs=2)
    assert (outcome.code, outcome.err.strip()) == (130, "error: interrupted")
    assert cut.exists()
    monkeypatch.undo()
    outcome = train(run, data, cut, *options, "--resume", epochs=2)
    assert (outcome.code, outcome.err) == (0, "")
    assert "epoch 1 of 2" not in outcome.out
    assert cut.read_bytes() == whole.read_bytes()
    # Once more: all epochs are done, and the file stays what it is.
    assert train(run, data, cut, *options, "--resume", epochs=2).code == 0
    assert cut.read_bytes() == whole.read_bytes()
    outcome = train(run, data, cut, *options, "--resume", epochs=3)
    assert outcome.code == 2
    assert outcome.err == (f"error: cannot resume from {state_file(cut)}: its epochs is 2, "
                           "not 3\n")


def test_a_diverged_training_keeps_the_last_checkpoint(
    run: Any, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "net.safetensors"
    run_epoch = Trainer.run_epoch
    good: list[bytes] = []

    def broken(self: Trainer, progress: Any = None) -> Any:
        if self.epoch == 1:
            good.append(file.read_bytes())
            with torch.no_grad():
                next(self.model.parameters()).fill_(torch.nan)
        return run_epoch(self, progress)

    monkeypatch.setattr(Trainer, "run_epoch", broken)
    outcome = train(run, data, file)
    assert outcome.code == 2
    assert outcome.err == ("error: the loss became nan in epoch 2 of 2; the checkpoint of epoch 1 "
                           "stays. Lower the rate (0.05)\n")
    assert file.read_bytes() == good[0]
    outcome = train(run, data, tmp_path / "other.safetensors", "--rate", "1e12")
    assert outcome.code == 2
    assert "no checkpoint was written. Lower the rate" in outcome.err


def test_a_full_disk_leaves_the_old_file(
    run: Any, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "net.safetensors"
    file.write_bytes(b"old")

    def full(source: str, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source)

    monkeypatch.setattr(os, "replace", full)
    outcome = train(run, data, file)
    assert outcome.code == 2
    assert outcome.err == f"error: {state_file(file)}: No space left on device\n"
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_an_interrupt_while_saving_leaves_the_old_file(
    run: Any, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The network is being written when the user stops: the state is new, and goes on."""
    file = tmp_path / "net.safetensors"
    assert train(run, data, file, epochs=1).code == 0
    old, replace = file.read_bytes(), os.replace

    def interrupted(source: str, target: Path) -> None:
        if target == file:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    outcome = train(run, data, file, epochs=2)
    assert (outcome.code, outcome.err.strip()) == (130, "error: interrupted")
    assert file.read_bytes() == old
    monkeypatch.undo()
    outcome = train(run, data, file, "--resume", epochs=2)
    assert outcome.code == 0
    assert "epoch 1 of 2" not in outcome.out
    assert file.read_bytes() != old


def test_what_was_trained_is_compiled(run: Any, data: str, tmp_path: Path) -> None:
    """Mixed forms, from training through compress to a program; another form is refused."""
    net, again = tmp_path / "net.safetensors", tmp_path / "again.npz"
    outcome = train(run, data, net, "--form", "smartdeal-train", "--layer-form", "conv1=int8",
                    "--layer-form", "fc=shift2", "--zero-fraction", "0.5", epochs=1)
    assert outcome.code == 0
    assert "of SmartDeal's vectors are zero" in outcome.out
    table = tmp_path / "t.json"
    outcome = run("compile", "resnet8", "--weights", str(net), "-o", str(tmp_path / "net.sdp"),
                  "--json", str(table))
    assert (outcome.code, outcome.err) == (0, "")
    layers = {layer["name"]: layer for layer in json.loads(table.read_text())["layers"]}
    assert layers["conv1"]["form"] == "int8"
    assert layers["fc"]["form"] == "shift2"
    assert layers["layer3.0.conv2"]["form"] == "smartdeal"
    assert layers["layer3.0.conv2"]["zero_vectors"] == 0.5
    assert max(layer["weight_error"] for layer in layers.values()) < 1e-6
    assert layers["conv1"]["output_shape"] == [16, 8, 8]  # calibrated with the file's images
    outcome = run("simulate", "resnet8", "--weights", str(net), "--engine", "interpreter")
    assert (outcome.code, outcome.err) == (0, "")
    assert "image of the checkpoint" in outcome.out
    outcome = run("compile", "resnet8", "--weights", str(net), "-o", str(tmp_path / "net.sdp"),
                  "--form", "deepshift", "--layer-form", "conv1=int8")
    assert outcome.code == 2
    assert outcome.err == (
        "error: layer1.0.conv1: the checkpoint holds weights of form smartdeal, not deepshift; do "
        "not ask for a form, or give a checkpoint in floating point\n")
    outcome = run("compress", "resnet8", "--weights", str(net), "--form", "shift2", "--storage",
                  "-o", str(again), "--json", str(table))
    assert (outcome.code, outcome.err) == (0, "")
    assert "zero map" in outcome.out
    assert "sHAM" in outcome.out
    costs = json.loads(table.read_text())
    assert costs["stored_bits"] == sum(costs["bits"].values()) == sum(
        layer["stored_bits"] for layer in costs["layers"])
    stored = f"{-(-costs['stored_bits'] // 8):,}"
    assert re.search(rf"^ total .* {stored} ", outcome.out, re.MULTILINE)
    assert f"\n{stored} bytes of weights, " in outcome.out
    assert costs["form"] == "shift2"


def test_a_program_knows_the_images_that_its_network_was_trained_on(
    run: Any, data: str, tmp_path: Path,
) -> None:
    """Size, normalisation and classes go from training through compress to what is run."""
    net, again, program = (tmp_path / name for name in ("net.npz", "again.npz", "net.sdp"))
    assert train(run, data, net, epochs=1).code == 0
    assert run("compress", "resnet8", "--weights", str(net), "--form", "shift2", "-o",
               str(again)).code == 0
    about = [read_arrays(path)[1]["about"] for path in (net, again)]
    for name in ("data", "mean", "deviation", "classes"):
        assert about[0][name] == about[1][name]
    assert about[0]["classes"] == [str(digit) for digit in range(10)]
    assert about[0]["mean"] != pytest.approx(0.286, abs=0.01)  # not what the network usually gets
    first, second = (read_arrays(path)[0]["calibration"] for path in (net, again))
    np.testing.assert_array_equal(first, second)
    assert run("compile", "resnet8", "--weights", str(again), "-o", str(program)).code == 0
    compiled = NetworkProgram.load(program)
    assert compiled.inputs[0].shape == (1, 8, 8)
    assert compiled.about["mean"] == [about[0]["mean"]]
    assert compiled.about["deviation"] == [about[0]["deviation"]]
    assert compiled.about["classes"] == about[0]["classes"]


def test_binary_activations_from_training_to_the_array(
    run: Any, data: str, tmp_path: Path,
) -> None:
    net, program, table = tmp_path / "net.npz", tmp_path / "net.sdp", tmp_path / "t.json"
    outcome = train(run, data, net, "--form", "bnn", epochs=1)
    assert outcome.code == 0
    compile_it = ("compile", "resnet8", "--weights", str(net), "-o", str(program))
    outcome = run(*compile_it)
    assert outcome.code == 2
    assert outcome.err == ("error: layer 'conv1.sign': it needs the feature binary, which the "
                           "configuration leaves out; set binary = true\n")
    outcome = run(*compile_it, "--binary", "--memory")
    assert outcome.code == 2
    assert "runs in programs on chip only; set memory = false" in outcome.err
    outcome = run(*compile_it, "--binary", "--json", str(table))
    assert (outcome.code, outcome.err) == (0, "")
    layers = {layer["name"]: layer for layer in json.loads(table.read_text())["layers"]}
    assert layers["conv1"]["form"] == layers["layer2.0.downsample.0"]["form"] == "int8"
    assert layers["layer1.0.conv1"]["form"] == layers["layer3.0.conv2"]["form"] == "bnn"
    assert layers["layer2.0.conv2.sign"]["form"] == "exact"
    assert layers["layer2.0.conv2.sign"]["bytes_before"] == 0
    assert max(layer["weight_error"] for layer in layers.values()) < 1e-6
    outcome = run("simulate", "resnet8", "--weights", str(net), "--binary", "--engine",
                  "interpreter")
    assert (outcome.code, outcome.err) == (0, "")
    outcome = run("accuracy", str(program), "--data", data, "--check", "2")
    assert outcome.code == 0
    outcome = run("compress", "resnet8", "--weights", str(net), "--form", "bnn", "-o",
                  str(tmp_path / "again.npz"), "--json", str(table))
    assert (outcome.code, outcome.err) == (0, "")
    costs = json.loads(table.read_text())
    assert costs["cycles"] > 0
    assert costs["energy_pj"] > 0
    assert "conv1.sign" not in {layer["name"] for layer in costs["layers"]}


def test_shared_values_are_compressed(run: Any, tmp_path: Path) -> None:
    table = tmp_path / "t.json"
    outcome = run("compress", "resnet8", "--form", "cws", "--percentile", "90", "--values", "8",
                  "-o", str(tmp_path / "net.safetensors"), "--json", str(table))
    assert (outcome.code, outcome.err) == (0, "")
    for layer in json.loads(table.read_text())["layers"]:
        assert layer["zero_weights"] >= 0.88
        if layer["weights"] > 2000:  # the tables weigh little
            formats = layer["formats"]
            assert formats["sham"] < formats["ham"] < formats["csc"] < formats["dense"]
            assert formats["ham"] <= layer["ham_bound"] * 4 * layer["weights"]
            assert formats["sham"] <= layer["sham_bound"] * 4 * layer["weights"]


@pytest.mark.parametrize(("arguments", "message"), [
    ("train resnet8 --data nowhere -o n.npz",
     "data must be one of fashion-mnist, digits, mnist5k, or a folder of IDX files, but there is "
     "no folder 'nowhere'"),
    ("train resnet8 --data {data} --form nil -o {tmp}/n.npz",
     "conv1: weight form must be one of float, smartdeal, smartdeal-train, deepshift-q, "
     "deepshift-ps, shift2, int8, binary, bnn, cws, pws, uq, ecsq, not 'nil'"),
    ("train resnet18 --data {data} -o {tmp}/n.npz",
     "resnet18 takes 1000 classes, {name} has 10; resnet8 and resnet20_fashion are for grey images "
     "of 10 classes"),
    ("train resnet20 --data {data} -o {tmp}/n.npz",
     "resnet20 takes 3 channels, {name} has 1; resnet8 and resnet20_fashion are for grey images of "
     "10 classes"),
    ("train resnet8 --data {data} -o {tmp}/n.zip",
     "a trained network must be written to a file .safetensors or .npz, not '{tmp}/n.zip'"),
    ("train resnet8 --data {data} --batch 500 -o {tmp}/n.npz",
     "batch must be at most the 152 images, not 500"),
    ("train resnet8 --data {data} --held 1 -o {tmp}/n.npz",
     "held must be at least 0 and less than 1, not 1.0"),
    ("train resnet8 --data {data} --batch 32 --switch-bar 3 -o {tmp}/n.npz",
     "switch_bar needs layers of form smartdeal-train"),
    ("train resnet8 --data {data} --rate 0 -o {tmp}/n.npz", "rate must be positive, not 0.0"),
    ("train resnet8 --data {data} --batch 32 --resume -o {tmp}/n.npz",
     "cannot resume from {tmp}/n.state.safetensors: [Errno 2] No such file or directory: "
     "'{tmp}/n.state.safetensors'"),
    ("train resnet8 --data {data} --layer-form fc -o {tmp}/n.npz",
     "Invalid value for --layer-form: must be LAYER=VALUE, not 'fc'"),
    ("train resnet8 --data {data} --layer-zero-fraction fc=x -o {tmp}/n.npz",
     "Invalid value for --layer-zero-fraction: must be LAYER=VALUE, not 'fc=x'"),
    ("compress resnet8 --form shift2 --retrain 2 -o {tmp}/n.npz",
     "--retrain needs a data set; give --data"),
    ("compress resnet18 --form shift2 -o {tmp}/n.npz",
     "trained weights come with resnet8 and resnet20_fashion, not with resnet18; give a "
     "checkpoint"),
    ("compress resnet8 --form cws --values 1 -o {tmp}/n.npz",
     "shared_values must be from 2 to 254, not 1"),
    ("shootout --data {data} --picture {tmp}/p.gif",
     "picture must be a file .svg, .png, .pdf, not '{tmp}/p.gif'"),
    ("shootout --data {data} --form nil",
     "Invalid value for --form: must be one of float, shift2, smartdeal, deepshift-q, "
     "deepshift-ps, binary, bnn, not 'nil'"),
])
def test_bad_input_is_told_in_a_line(
    run: Any, data: str, tmp_path: Path, arguments: str, message: str,
) -> None:
    places = {"data": data, "tmp": str(tmp_path), "name": Path(data).name}
    outcome = run(*(part.format(**places) for part in arguments.split()))
    assert outcome.code == 2
    assert outcome.err == f"error: {message.format(**places)}\n"


def test_fashion_mnist_is_missing(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smartdeal.golden.datasets._FASHION_FOLDER", Path("/no/such/folder"))
    outcome = run("train", "resnet8", "--data", "fashion-mnist", "-o", "n.npz")
    assert outcome.code == 2
    assert "install Debian's package: apt-get install dataset-fashion-mnist" in outcome.err


@pytest.mark.slow
def test_shootout(run: Any, data: str, tmp_path: Path) -> None:
    table, picture, folder = tmp_path / "t.json", tmp_path / "p.svg", tmp_path / "nets"
    arguments = ("shootout", "--data", data, "--form", "float", "--form", "smartdeal", "--form",
                 "binary", "--epochs", "2", "--retrain", "1", "--folder", str(folder))
    outcome = run(*arguments, "--json", str(table), "--picture", str(picture))
    assert (outcome.code, outcome.err) == (0, "")
    entries = json.loads(table.read_text())["entries"]
    assert [entry["form"] for entry in entries] == ["float", "smartdeal", "smartdeal", "binary"]
    dense, sparse = entries[1:3]
    assert sparse["cycles"] < dense["cycles"]
    assert sparse["stored_bytes"] < dense["stored_bytes"]
    assert 0.5 <= sparse["zero_vectors"] < 0.52
    assert entries[3]["stored_bytes"] < sparse["stored_bytes"]
    assert entries[0]["source"] == "trained here, 2 epochs"
    assert entries[3]["source"] == "retrained here, 1 epochs"
    first = picture.read_bytes()
    assert first.startswith(b"<?xml")
    # Again: the networks are found, and everything is the same.
    stamps = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = run(*arguments, "--json", str(table), "--picture", str(picture))
    assert again.out == outcome.out
    assert picture.read_bytes() == first
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps
