"""``smartdeal report``: files, exit codes, messages of one line."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

SMALL = ("--rows", "6", "--cols", "8")


def test_help_has_examples(run: Any) -> None:
    outcome = run("report", "--help")
    assert outcome.code == 0
    assert "\n    smartdeal report " in outcome.out


def test_report_of_a_network(run: Any, tmp_path: Path) -> None:
    page, values, table = (tmp_path / name for name in ("r.html", "r.json", "r.csv"))
    outcome = run("report", "resnet8", *SMALL, "--form", "mixed", "--tech", "45nm", "-o",
                  str(page), "--json", str(values), "--csv", str(table))
    assert outcome.code == 0, outcome.err
    assert "by the table 45nm" in outcome.out
    data = json.loads(values.read_text())
    assert {layer["form"] for layer in data["layers"]} == {"", "smartdeal", "deepshift", "shift2"}
    assert page.read_text().startswith("<!doctype html>")
    assert len(table.read_text().splitlines()) == 1 + len(data["layers"])


def test_fpga_is_the_table_zc706(run: Any, tmp_path: Path) -> None:
    values = tmp_path / "r.json"
    outcome = run("report", "resnet8", *SMALL, "--tech", "fpga", "--json", str(values))
    assert outcome.code == 0, outcome.err
    assert "by the table zc706" in outcome.out
    assert json.loads(values.read_text())["technology"]["name"] == "zc706"


def test_report_of_a_program(run: Any, tmp_path: Path) -> None:
    program, values = tmp_path / "net.sdp", tmp_path / "r.json"
    assert run("compile", "resnet8", *SMALL, "-o", str(program)).code == 0
    assert run("report", str(program), "--json", str(values)).code == 0
    data = json.loads(values.read_text())
    assert data["on_chip"]
    assert data["configuration"]["rows"] == 6
    assert {one["layer"] for one in data["memory"] if one["kind"] == "output"} == {
        layer["name"] for layer in data["layers"]}
    outcome = run("report", str(program), "--rows", "9")
    assert outcome.code == 2
    assert outcome.err == ("error: a program file has its own form and configuration; leave out "
                           "--rows\n")


def test_report_with_system_memory(run: Any, tmp_path: Path) -> None:
    """A network that does not fit on chip gets system memory, unless that is refused."""
    values = tmp_path / "r.json"
    small = ("resnet8", "--rows", "6", "--cols", "10", "--activation-words", "2000")
    assert run("report", *small, "--memory-bandwidth", "4", "--json", str(values)).code == 0
    data = json.loads(values.read_text())
    assert data["memory_timing"] == {"latency_cycles": 60, "bytes_per_cycle": 4}
    assert data["configuration"]["memory"]
    assert data["events"]["spilled_words"]["count"] > 0
    outcome = run("report", *small, "--no-memory")
    assert outcome.code == 2
    assert "activation buffer" in outcome.err
    outcome = run("report", "resnet8", "--by-layer", "--memory")
    assert outcome.err == ("error: with --by-layer the host loads and stores; leave --memory "
                           "out\n")


@pytest.mark.parametrize(("arguments", "message"), [
    (("resnet9",), "network must be one of "),
    (("resnet8", "--tech", "7nm"),
     "technology must be one of 28nm, 45nm, zc706, fpga or a TOML file, not '7nm'"),
    (("resnet8", "--tech", "no.toml"),
     "cannot read technology table no.toml: No such file or directory"),
    (("none.sdp",), "none.sdp"),
    (("resnet8", "--form", "float"), "weight form must be one of "),
    (("resnet8", "--cols", "10", "--weight-steps", "16", "--activation-words", "2000"),
     "weight_steps = 16"),
    (("resnet18", "--rows", "2", "--cols", "2", "--form", "deepshift"),  # memory needs more columns
     "activation_words = 262144; set activation_words = 824544"),
])
def test_refused(run: Any, arguments: tuple[str, ...], message: str) -> None:
    outcome = run("report", *arguments)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(("change", "message"), [
    (("[add]", "[addition]"), ": unknown constant 'addition'; known: dram, "),
    (("value = 0.019", "value = -0.019"), ": add must not be negative, not -0.019"),
])
def test_table_refused(
    run: Any, tmp_path: Path, change: tuple[str, str], message: str,
) -> None:
    text = (files("smartdeal.sim.energy") / "28nm.toml").read_text()
    table = tmp_path / "mine.toml"
    table.write_text(text.replace(*change, 1))
    outcome = run("report", "resnet8", "--tech", str(table))
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {table}{message}")
    assert outcome.err.count("\n") == 1


def test_layer_is_no_network(run: Any, tmp_path: Path) -> None:
    """What ``simulate --program`` writes is a single layer, not a compiled network."""
    layer = tmp_path / "layer.sdp"
    assert run("simulate", "resnet8", *SMALL, "--layer", "conv1", "--engine", "interpreter",
               "--program", str(layer)).code == 0
    outcome = run("report", str(layer))
    assert outcome.code == 2
    assert outcome.err == (f"error: {layer} holds a single layer; make a network with smartdeal "
                           "compile\n")


@pytest.mark.parametrize(("arguments", "message"), [
    (("net.sdp", "--switching", "conv1"), "error: --switching runs a layer of a network, not a "
                                          "program file; give the network's name\n"),
    (("resnet8", "--memory", "--cols", "16", "--switching", "conv1"),
     "error: switching is counted of a layer that its host loads; leave --memory out\n"),
    (("resnet8", "--tech", "45nm", "--switching", "conv1"),
     "error: the table of cells is of 28nm, so memories and events must be priced by that table, "
     "not by 45nm; leave --tech out\n"),
    (("resnet8", "--switching", "layer2.0.conv7"),
     "error: resnet8 has no layer 'layer2.0.conv7'; the nearest are layer2.0.conv2, "
     "layer2.0.conv1, layer3.0.conv2\n"),
])
def test_switching_refused(run: Any, arguments: tuple[str, ...], message: str) -> None:
    outcome = run("report", *arguments)
    assert outcome.code == 2
    assert outcome.err == message
