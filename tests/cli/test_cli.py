"""The command: exit codes, messages of one line, files."""

import errno
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from smartdeal.cli.main import cli
from smartdeal.cli.options import CONFIGURATION_HELP
from smartdeal.golden.decompose import FORMS
from smartdeal.golden.networks import NETWORKS
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim import simulate as simulation
from smartdeal.sim.errors import SimulationError

SMALL = ("--rows", "6", "--cols", "8")


@pytest.mark.parametrize("name", [
    "generate", "simulate", "compile", "run", "report", "compare", "disasm", "config"])
def test_help_has_examples(run: Any, name: str) -> None:
    outcome = run(name, "--help")
    assert outcome.code == 0
    assert f"\n    smartdeal {name} " in outcome.out


def test_help_names_the_networks_without_torch() -> None:
    program = ("import sys\nfrom smartdeal.cli.main import main\n"
               "try:\n    main(['simulate', '--help'])\nexcept SystemExit:\n"
               "    sys.exit('torch' in sys.modules)")
    text = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True,
                          text=True).stdout
    assert f"NET is one of {', '.join(NETWORKS)}." in " ".join(text.split())


def test_help_of_the_group(run: Any) -> None:
    outcome = run("--help")
    assert outcome.code == 0
    assert all(name in outcome.out for name in cli.commands)


def test_every_parameter_has_help() -> None:
    assert list(CONFIGURATION_HELP) == [field.name for field in fields(AcceleratorConfig)]


def test_version(run: Any) -> None:
    assert run("--version").out.startswith("smartdeal, version ")


@pytest.mark.parametrize(("arguments", "message"), [
    (("generate", "--rows", "1"),
     "rows (PE rows) must be an integer from 2 to 128, not 1"),
    (("generate", "--rows", "2", "--basis"),
     "rows must be at least 3 with the basis stage, not 2; set basis = false"),
    (("generate", "--cols", "many"), "Invalid value for '--cols': 'many' is not a valid integer."),
    (("generate", "--config", "no-such.toml"),
     "cannot read configuration no-such.toml: No such file or directory"),
    (("generate", "--name", "1st"), "Module name must be a Verilog identifier, not '1st'"),
    (("simulate", "resnet9"),
     f"network must be one of {', '.join(NETWORKS)}, not 'resnet9'"),
    (("simulate", "resnet8", "--layer", "layer1.0.con1"),
     "resnet8 has no layer 'layer1.0.con1'; the nearest are layer1.0.conv1, layer3.0.conv1, "
     "layer2.0.conv1"),
    (("simulate", "resnet8", "--form", "float"),
     f"weight form must be one of {', '.join(FORMS)}, not 'float'"),
    (("simulate", "resnet8", "--zero-fraction", "1"),
     "zero_fraction must be at least 0 and less than 1, not 1.0"),
    (("simulate", "resnet8", "--weights", "no-such.pt"),
     "cannot read weights no-such.pt: No such file or directory"),
    (("simulate", "resnet8", "--idle", "nan"),
     "Invalid value for '--idle': nan is not in the range 0<=x<1."),
    (("simulate", "resnet8", "--program", "x.sdp"), "--program needs exactly one --layer"),
    (("simulate", "resnet8", "--engine", "interpreter", "--waves", "x.vcd"),
     "--waves needs --engine rtl"),
    (("simulate", "resnet8", "--layer", "fc", "--waves", "x.png"),
     "waveform file must end in .vcd or .fst, not 'x.png'"),
    (("simulate",), "Missing argument 'NET'."),
    (("translate",), "No such command 'translate'."),
])
def test_bad_input(run: Any, arguments: tuple[str, ...], message: str) -> None:
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: {message}\n"


def test_no_compiler(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    from smartdeal.sim import toolchain

    toolchain.compiler.cache_clear()
    toolchain.compiler_version.cache_clear()
    try:
        outcome = run("simulate", "resnet8", "--layer", "fc", *SMALL)
    finally:
        toolchain.compiler.cache_clear()
        toolchain.compiler_version.cache_clear()
    assert outcome.code == 2
    assert outcome.err == ("error: no C++ compiler: CXX is 'no-such-compiler', which is not on the "
                           "path; unset it or install that compiler\n")


def test_unexpected_error_is_a_bug(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(simulation, "simulate_layers", fail)
    outcome = run("simulate", "resnet8", "--layer", "fc")
    assert (outcome.code, outcome.err) == (3, "error: this is a bug in smartdeal: KeyError: 'oops' "
                                              "(smartdeal --debug … shows where)\n")
    outcome = run("--debug", "simulate", "resnet8", "--layer", "fc")
    assert outcome.code == 3
    assert outcome.err.startswith("Traceback")
    assert outcome.err.endswith("error: this is a bug in smartdeal: KeyError: 'oops'\n")


def test_missing_package() -> None:
    program = ("import sys\nsys.modules['torch'] = None\n"
               "from smartdeal.cli.main import main\nmain(sys.argv[1:])")
    result = subprocess.run([sys.executable, "-c", program, "simulate", "resnet8"],
                            capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (
        2, "", "error: this needs the package torch; install it with pip install "
               "'smartdeal[sim]'\n")


def test_generate(run: Any, tmp_path: Path) -> None:
    outcome = run("generate", *SMALL, "-o", str(tmp_path / "new"), "--name", "tiny")
    assert outcome.code == 0
    verilog = (tmp_path / "new" / "tiny.v").read_text()
    description = json.loads((tmp_path / "new" / "tiny.json").read_text())
    assert verilog.startswith("// tiny: generated by smartdeal ")
    assert "\nmodule tiny(" in verilog
    assert description["configuration"]["rows"] == 6
    assert {port["name"] for port in description["ports"]} >= {"clk", "rst", "load__payload"}
    assert description["errors"]["CHECKSUM"] == 6
    assert (sorted(path.name for path in (tmp_path / "new").iterdir())
            == ["tiny.h", "tiny.json", "tiny.py", "tiny.v"])


def test_generate_for_axi(run: Any, tmp_path: Path) -> None:
    assert run("generate", *SMALL, "--interface", "axi", "-o", str(tmp_path)).code == 0
    description = json.loads((tmp_path / "smartdeal.json").read_text())
    ports = {port["name"]: port for port in description["ports"]}
    assert ports["memory__wdata"]["width"] == 64
    assert ports["control__awaddr"]["meaning"] == "AXI4-Lite slave for the registers: AWADDR"
    registers = {row["name"]: row["address"] for row in description["registers"]["map"]}
    header = (tmp_path / "smartdeal.h").read_text()
    for name, address in registers.items():
        assert re.search(rf"^#define SMARTDEAL_REG_{name} +{address:#x}u$", header, re.MULTILINE)
    compiled = subprocess.run(["c++", "-x", "c++", "-fsyntax-only", "-Wall", "-Werror",
                               str(tmp_path / "smartdeal.h")], capture_output=True, text=True,
                              check=False)
    assert compiled.returncode == 0, compiled.stderr


def test_documented_driver(run: Any, tmp_path: Path) -> None:
    """The driver in docs/integration.md compiles with the header."""
    page = (Path(__file__).parents[2] / "docs" / "integration.md").read_text()
    driver, = re.findall(r"^```c\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert run("generate", *SMALL, "--interface", "axi", "-o", str(tmp_path)).code == 0
    use = "uint32_t use(volatile uint32_t *r) { return run(r, 0, 0, 0, 0); }\n"
    (tmp_path / "driver.c").write_text(driver + use)
    compiled = subprocess.run(["cc", "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
                               str(tmp_path / "driver.c")], capture_output=True, text=True,
                              check=False)
    assert compiled.returncode == 0, compiled.stderr


@pytest.mark.parametrize(("arguments", "lanes"), [
    (("--rows", "6", "--cols", "8"), "1 read-out lane"),
    (("--rows", "6", "--cols", "8", "--drain-lanes", "8"), "8 read-out lanes"),
    (("--rows", "4", "--cols", "23"),
     "23 read-out lanes: cols = 23 has no smaller divisor that drains in 64 cycles"),
])
def test_generate_tells_the_lanes(
    run: Any, tmp_path: Path, arguments: tuple[str, ...], lanes: str,
) -> None:
    outcome = run("generate", *arguments, "-o", str(tmp_path))
    assert outcome.out.splitlines()[-1] == lanes


def test_generate_cannot_write(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = run("generate", *SMALL, "-o", str(tmp_path / "file" / "folder"))
    assert outcome.code == 2
    assert outcome.err == f"error: {tmp_path / 'file' / 'folder'}: Not a directory\n"


def test_generate_imports_no_torch(tmp_path: Path) -> None:
    program = ("import sys\nfrom smartdeal.cli.main import main\n"
               "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n"
               "    sys.exit('torch' in sys.modules)")
    subprocess.run([sys.executable, "-c", program, "generate", *SMALL, "-o", str(tmp_path)],
                   check=True, stdout=subprocess.DEVNULL)


def test_config_prints_what_it_reads(run: Any, tmp_path: Path) -> None:
    outcome = run("config", *SMALL, "--no-max-pool")
    values = tomllib.loads(outcome.out)
    assert AcceleratorConfig(**values) == AcceleratorConfig(rows=6, cols=8, max_pool=False)
    (tmp_path / "c.toml").write_text(outcome.out)
    again = run("config", "--config", str(tmp_path / "c.toml"), "--host-bits", "128")
    assert tomllib.loads(again.out) == {**values, "host_bits": 128}


def test_simulate_interpreter(run: Any, tmp_path: Path) -> None:
    table, program = tmp_path / "t.json", tmp_path / "fc.sdp"
    outcome = run("simulate", "resnet8", "--layer", "fc", "--engine", "interpreter", *SMALL,
                  "--json", str(table), "--program", str(program))
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1] == (
        "OK: 1 layer, all 80 bytes of the output regions equal in integer network and "
        "interpreter")
    values = json.loads(table.read_text())
    assert values["equal"] is True
    assert values["layers"][0]["name"] == "fc"
    assert values["layers"][0]["macs"] == 640
    assert values["layers"][0]["form"] == "smartdeal"
    assert values["layers"][0]["cycle_exact"] is None
    assert {name: values[name] for name in ("network", "form", "zero_fraction", "weights",
                                            "engine", "simulator", "seed", "idle")} == {
        "network": "resnet8", "form": "smartdeal", "zero_fraction": 0.0, "weights": None,
        "engine": "interpreter", "simulator": None, "seed": 0, "idle": 0.0}
    assert values["source"] == "trained weights, Fashion-MNIST image"
    assert values["version"] == metadata.version("smartdeal")
    listing = run("disasm", str(program))
    assert listing.code == 0
    assert "LAYER" in listing.out
    assert run("disasm", str(program), "--part", "9").err == (
        f"error: Invalid value for --part: {program} has 1 part, numbered from 0\n")


def test_what_options_do_not_reach_is_said(run: Any, tmp_path: Path) -> None:
    arguments = ("--engine", "interpreter", "--json", str(tmp_path / "t.json"), "--rows", "12")
    outcome = run("simulate", "resnet18", "--layer", "conv1", "--layer", "maxpool", "--layer",
                  "layer1.0.conv1", "--zero-fraction", "0.5", *arguments)
    assert outcome.code == 0
    assert outcome.out.splitlines()[-3:-1] == [
        "conv1: int8, the smartdeal form has 3×3, 1×1 and linear layers",
        "conv1, maxpool: --zero-fraction has no effect, it is for 3×3 and 1×1 layers but the first "
        "and the linear one"]
    values = json.loads((tmp_path / "t.json").read_text())
    assert [layer["form"] for layer in values["layers"]] == ["int8", None, "smartdeal"]


@pytest.mark.parametrize(("option", "suffix"), [("--json", "x.json"), ("--program", "x.sdp")])
def test_output_is_tried_first(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str, suffix: str,
) -> None:
    """No result is computed that could not be written; the message names the file asked for."""
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError

    monkeypatch.setattr(simulation, "simulate_layers", never)
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / suffix
    outcome = run("simulate", "resnet8", "--layer", "fc", option, str(target))
    assert (outcome.code, outcome.err) == (2, f"error: {target}: Not a directory\n")


def test_results_are_shown_even_if_writing_fails(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source)

    monkeypatch.setattr(os, "replace", full)
    outcome = run("simulate", "resnet8", "--layer", "fc", "--engine", "interpreter", *SMALL,
                  "--json", str(tmp_path / "new" / "t.json"))
    assert outcome.code == 2
    assert "OK: 1 layer" in outcome.out
    assert outcome.err == f"error: {tmp_path / 'new' / 't.json'}: No space left on device\n"
    assert list((tmp_path / "new").iterdir()) == []


def test_layer_given_twice_runs_once(run: Any) -> None:
    outcome = run("simulate", "resnet8", "--layer", "fc", "--layer", "fc", "--engine",
                  "interpreter", *SMALL)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1].startswith("OK: 1 layer, ")


@pytest.mark.parametrize("columns", [None, 200, 60, 50, 20])
def test_table_drops_columns_but_cuts_nothing(
    run: Any, monkeypatch: pytest.MonkeyPatch, columns: int | None,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", str(columns))
    outcome = run("simulate", "resnet8", "--layer", "layer3.0.downsample.0", "--layer", "fc",
                  "--engine", "interpreter", *SMALL)
    assert outcome.code == 0
    rows = [line.rstrip() for line in outcome.out.splitlines()[1:-1]]
    first, = (row for row in rows if row.lstrip().startswith("layer3.0.downsample.0"))
    assert first.endswith("yes")
    assert "…" not in outcome.out
    assert ("100,352" in first) is (columns in (None, 200))  # MACs
    if columns and columns >= 50:
        assert max(map(len, rows)) <= columns


def _command(arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a shell; SMARTDEAL stands for it."""
    command = f"{shlex.quote(sys.executable)} -c 'from smartdeal.cli import main; main()'"
    return subprocess.run(["bash", "-c", "set -o pipefail; "
                           + arguments.replace("SMARTDEAL", command)],
                          capture_output=True, text=True, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [
    "config", "simulate --help",
    "simulate resnet8 --layer fc --engine interpreter --rows 6 --cols 8"])
def test_full_output(arguments: str) -> None:
    result = _command(f"SMARTDEAL {arguments} > /dev/full")
    assert (result.returncode, result.stderr) == (
        2, "error: cannot write the output: No space left on device; write it elsewhere or make "
           "room\n")


@pytest.mark.parametrize("arguments", [
    "config", "simulate resnet8 --layer fc --engine interpreter --rows 6 --cols 8"])
def test_closed_pipe(arguments: str) -> None:
    """As of a command that the signal ends: nothing is said."""
    result = _command(f"SMARTDEAL {arguments} | true")
    assert (result.returncode, result.stderr) == (141, "")


def test_disasm_of_something_else(run: Any, tmp_path: Path) -> None:
    (tmp_path / "x.sdp").write_bytes(b"nothing of the kind")
    outcome = run("disasm", str(tmp_path / "x.sdp"))
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1


@pytest.mark.slow
def test_simulate(run: Any, tmp_path: Path) -> None:
    waves = tmp_path / "fc.vcd"
    outcome = run("simulate", "resnet8", "--layer", "fc", "--layer", "avgpool", *SMALL,
                  "--waves", str(waves), "--idle", "0.2", "--seed", "4")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1].startswith("OK: 2 layers, all ")
    assert "avgpool" in outcome.out
    assert waves.read_text().startswith("$version")


@pytest.mark.parametrize(("change", "verdict"), [
    ({"bytes_wrong": 3}, "FAILED: fc has 3 wrong bytes of 80"),
    ({"failure": "stopped with OPCODE at instruction word 0"},
     "FAILED: fc stopped with OPCODE at instruction word 0"),
    ({"overhead": 1}, "FAILED: fc counted Cycles("),
])
def test_difference_exits_with_one(
    run: Any, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], verdict: str,
) -> None:
    honest = simulation.simulate_layers

    def wrong(*arguments: Any, **options: Any) -> list[simulation.LayerReport]:
        report, = honest(*arguments, **{**options, "engine": "interpreter"})
        return [replace(report, **{"measured": report.predicted, **change})]

    monkeypatch.setattr(simulation, "simulate_layers", wrong)
    outcome = run("simulate", "resnet8", "--layer", "fc", *SMALL)
    assert outcome.code == 1
    assert outcome.out.splitlines()[-1].startswith(verdict)


def test_broken_port_exits_with_one(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise SimulationError("store: beat 3 was withdrawn", seed=0, log=Path("x.log"))

    monkeypatch.setattr(simulation, "simulate_layers", broken)
    outcome = run("simulate", "resnet8", "--layer", "fc")
    assert (outcome.code, outcome.err) == (
        1, "error: store: beat 3 was withdrawn (seed 0, log x.log)\n")


def test_command_is_installed() -> None:
    path = Path(sys.executable).with_name("smartdeal")
    subprocess.run([path, "config"], check=True, stdout=subprocess.DEVNULL)
