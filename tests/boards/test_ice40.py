"""A bitstream for a small iCE40 array: built, read back, and what is in it run."""

import json
import shutil

import numpy as np
import pytest

from smartdeal.boards import bitstream as bitstreams
from smartdeal.boards.bitstream import check_bitstream, read_configuration, recover_netlist, unpack
from smartdeal.boards.build import BuildReport, build_board
from smartdeal.boards.catalogue import board
from smartdeal.boards.core import BoardCore
from smartdeal.boards.errors import BuildStepError, ToolMissing
from smartdeal.boards.host import run_on_board
from smartdeal.boards.report import report_html
from smartdeal.boards.simulated import SimulatedPort, build_bitstream_simulator
from smartdeal.compiler import compile_network
from smartdeal.sim.networks import draw_network
from smartdeal.sim.simulate_network import simulate_network

BOARD = board("hx8k_breakout")


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> BuildReport:
    folder = tmp_path_factory.mktemp("hx8k")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return build_board(BOARD, BOARD.config, folder)


@pytest.mark.slow
def test_small_ice40(report):
    folder = report.bitstream.parent
    assert report.bitstream.name == "hx8k_breakout.bin"
    assert report.bitstream.stat().st_size == 135_100  # of every HX8K
    assert 2_000 < report.resources.lut < BOARD.capacity.lut
    assert 1_000 < report.resources.ff < BOARD.capacity.ff
    assert 8 < report.resources.bram <= BOARD.capacity.bram
    assert report.clocks[0] > BOARD.clock_mhz
    saved = json.loads((folder / "report.json").read_text())
    assert saved["resources"]["lut"] == report.resources.lut
    assert saved["clock_min_mhz"] == report.clocks[0]
    assert saved["fingerprint"] == BOARD.config.fingerprint
    assert "hx8k_breakout" in report_html(report)
    names = {path.name for path in folder.iterdir()}
    assert {"core.v", "top.il", "top.pcf", "netlist.json", "synthesis.log", "seed_1.asc",
            "seed_1.log", "config.toml", "pack.log"} <= names
    assert not [name for name in names if name.endswith(".part")]


@pytest.mark.slow
def test_bitstream_holds_what_was_routed(report, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    routed = report.bitstream.with_name("seed_1.asc")
    assert check_bitstream(report.bitstream, routed) > 500
    lines = routed.read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(".logic_tile 9 9")) + 1
    lines[place] = lines[place].translate(str.maketrans("01", "10"))
    other = tmp_path / "other.asc"
    other.write_text("\n".join(lines) + "\n")
    with pytest.raises(BuildStepError, match=(
            r"hx8k_breakout\.bin holds something else than other\.asc: 1 sections differ, the "
            r"first is \.logic_tile 9 9")):
        check_bitstream(report.bitstream, other)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("icebox_vlog") is None,
                    reason="needs icebox_vlog (Debian: fpga-icestorm)")
def test_netlist_in_the_bitstream_runs_a_network(report, monkeypatch):
    """Nothing but the bitstream and the names of its pins goes into this simulator."""
    folder = report.bitstream.parent
    monkeypatch.chdir(folder)
    clock_hz = round(report.clock_mhz * 1e6)
    core = BoardCore(report.config, clock_hz=clock_hz)
    simulator = build_bitstream_simulator(report.bitstream, core, folder / "top.pcf")
    program = compile_network(draw_network(np.random.default_rng(1), report.config, 3),
                              report.config)
    rng = np.random.default_rng(2)
    image = rng.integers(-128, 128, program.input_shape).astype(np.int8)
    (result,), _ = run_on_board(program, [image], SimulatedPort(simulator, clock_hz))
    expected, = simulate_network(program, [image], engine="interpreter")
    assert np.array_equal(result.output, expected.output)
    assert result.cycles == expected.predicted.total


def test_reads_configurations():
    text = (".comment made by hand\n.device 8k\n.logic_tile 1 2\n000\n010\n.logic_tile 1 3\n000\n"
            ".ram_data 8 1\n00a0\n.sym 4 core.x\n.extra_bit 1 330 142\n")
    assert read_configuration(text) == {
        ".device 8k": "", ".logic_tile 1 2": "000\n010", ".ram_data 8 1": "00a0",
        ".extra_bit 1 330 142": ""}


def test_not_a_bitstream(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.bin").write_text("no bits")
    with pytest.raises(BuildStepError, match="unpacking failed: "):
        unpack(tmp_path / "text.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["text.bin"]


def test_recovery_without_its_tool(tmp_path, monkeypatch):
    monkeypatch.setattr(bitstreams.shutil, "which", lambda name: None)
    with pytest.raises(ToolMissing, match=r"no icebox_vlog: .*apt install fpga-icestorm"):
        recover_netlist(tmp_path / "x.bin", tmp_path / "top.pcf")
