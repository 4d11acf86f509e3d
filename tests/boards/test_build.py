"""A bitstream for a small ECP5 array, by the tools of the package index."""

import json
import os
from dataclasses import replace

import pytest

from smartdeal.boards import flow
from smartdeal.boards.build import build_board
from smartdeal.boards.catalogue import board
from smartdeal.boards.effective import Effective, measure_effective
from smartdeal.boards.errors import BuildStepError, FitError, TimingError
from smartdeal.boards.flow import Routed
from smartdeal.boards.report import report_html
from smartdeal.boards.technology import Resources
from smartdeal.boards.tools import run_tool
from smartdeal.compiler import compile_network
from smartdeal.golden.checkpoints import load_trained
from smartdeal.golden.networks import build_network
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.network_latency import predict_network
from smartdeal.sim.workload import default_images

SMALL = AcceleratorConfig(
    rows=2, cols=2, acc_bits=18, sum_bits=32, max_slices=1, activation_words=256,
    weight_steps=256, channel_entries=64, program_words=128, host_bits=32, basis=False,
    max_pool=False, residual=False, reduce=False, move=False)


@pytest.mark.slow
def test_small_ecp5(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = board("ulx3s_25f")
    report = build_board(chosen, SMALL, tmp_path / "ulx3s", clock_mhz=25)
    assert report.bitstream.stat().st_size > 100_000
    assert 3_000 < report.resources.lut < 10_000
    assert report.clocks[0] > 25
    assert report.peak_gops == pytest.approx(2 * 4 * 0.025)
    saved = json.loads((tmp_path / "ulx3s" / "report.json").read_text())
    assert saved["fingerprint"] == SMALL.fingerprint
    assert saved["seeds"][0]["critical_path"]
    assert "2 × 2 on ulx3s_25f" in report_html(report)
    names = {path.name for path in (tmp_path / "ulx3s").iterdir()}
    assert {"core.v", "top.il", "top.lpf", "netlist.json", "synthesis.log", "seed_1.config",
            "seed_1.log", "config.toml", "ulx3s_25f.bit"} <= names


@pytest.fixture
def shortcuts(monkeypatch):
    """Let synthesis and place and route take no time."""
    def synthesise(chosen, config, folder):
        (folder / "stat.json").write_text('{"design": {"num_cells_by_type": {"LUT4": 5000}}}')
        return 1.0

    def route(chosen, sources, seed, folder, **options):
        return Routed(seed, 20.0 + seed, 1.0, {}, ("core.accelerator.issue", "core.accelerator"))

    monkeypatch.setattr(flow, "synthesise", synthesise)
    monkeypatch.setattr(flow, "route", route)


def test_slow_clock_leaves_no_bitstream(tmp_path, shortcuts):
    chosen = board("ulx3s_25f")
    old = tmp_path / "ulx3s_25f.bit"
    old.write_bytes(b"an older one")
    with pytest.raises(TimingError, match=(
            r"ulx3s_25f reaches 22\.0 MHz, not 37\.5 MHz, with the best of 2 seeds; critical path: "
            r"core\.accelerator\.issue → core\.accelerator; say --clock 21")):
        build_board(chosen, SMALL, tmp_path, seeds=(1, 2))
    assert not old.exists()
    assert not (tmp_path / "report.json").exists()


def test_too_large_stops_before_routing(tmp_path, shortcuts, monkeypatch):
    monkeypatch.setattr(flow, "route", lambda *arguments, **options: pytest.fail("routed"))
    with pytest.raises(FitError, match="2×2 array does not fit"):
        build_board(replace(board("ulx3s_25f"), capacity=Resources()), SMALL, tmp_path)


def test_no_room_is_told(tmp_path, monkeypatch):
    def failing(arguments, *, log, **options):
        log.write_text("ERROR: Failed to expand region (0, 0) |_> (33, 33) of 8839 ICESTORM_LCs\n")
        raise BuildStepError("place and route failed")

    monkeypatch.setattr(flow, "run_tool", failing)
    chosen = board("hx8k_breakout")
    sources = flow.generate(chosen, SMALL, chosen.clock_mhz, tmp_path)
    with pytest.raises(FitError, match=r"does not fit hx8k_breakout: .*8839 ICESTORM_LCs"):
        flow.route(chosen, sources, 1, tmp_path)


@pytest.fixture
def packing(tmp_path, shortcuts, monkeypatch):
    """Let the packer write half a bitstream and then end with an exception."""
    def prepare(error: BaseException) -> None:
        def run_tool(arguments, *, folder, log, **options):
            half = next(name for name in arguments if name.endswith(".part"))
            (folder / half).write_bytes(b"half of the")
            raise error

        (tmp_path / "ulx3s_25f.bit").write_bytes(b"an older one")
        monkeypatch.setattr(flow, "run_tool", run_tool)

    return prepare


@pytest.mark.parametrize("error", [BuildStepError("packing failed"), KeyboardInterrupt()])
def test_half_a_bitstream_is_none(tmp_path, packing, error):
    packing(error)
    with pytest.raises(type(error)):
        build_board(board("ulx3s_25f"), SMALL, tmp_path, clock_mhz=25, seeds=(6,))
    names = {path.name for path in tmp_path.iterdir()}
    assert "core.v" in names
    assert not [name for name in names if "ulx3s_25f.bit" in name or name.startswith("report")]


def test_interrupted_tool_ends(tmp_path):
    """Whoever presses ^C leaves no place and route behind that goes on for an hour."""
    def interrupt(line: str) -> None:
        pid.append(int(line))
        raise KeyboardInterrupt

    pid: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        run_tool(["sh", "-c", "echo $$; exec sleep 600"], what="route", folder=tmp_path,
                 log=tmp_path / "tool.log", watch=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(pid[0], 0)


def test_report(tmp_path, shortcuts, monkeypatch):
    def pack(chosen, sources, seed, folder, bitstream):
        bitstream.write_bytes(b"bits")
        return 1.0

    monkeypatch.setattr(flow, "pack", pack)
    report = build_board(board("ulx3s_25f"), SMALL, tmp_path, seeds=(5, 6), clock_mhz=25)
    assert report.best == 6
    assert report.clocks == (25.0, 25.5, 26.0)
    assert report.bitstream.read_bytes() == b"bits"
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["clock_median_mhz"] == 25.5
    assert saved["resources"]["lut"] == 5_000
    assert dict(report.rows())["peak"] == "0.20 GOPS"
    refusal = "layer 'layer1.0.conv1': with acc_bits = 18 the reduction takes 8 slices, the " \
        "accelerator has max_slices = 1; set acc_bits = 21"
    assert dict(report.rows())["ResNet-8 does not run on it"] == refusal
    assert saved["effective"] == {"refusal": refusal}
    page = report_html(report)
    assert "5,000 of 24,288" in page
    assert "core.accelerator.issue → core.accelerator" in page
    assert AcceleratorConfig.from_toml(tmp_path / "config.toml") == SMALL


def test_effective_is_what_the_models_say():
    """15 × 32: cycles of the compiled network, twice its multiply-accumulates in that time."""
    config = AcceleratorConfig(rows=15, cols=32)
    found = measure_effective(config, 50)
    assert isinstance(found, Effective)
    network = build_network("resnet8")
    load_trained(network)
    program = compile_network(quantise_network(
        network, default_images(network, 0), "deepshift", FormOptions(group=5), config.sum_bits),
        config)
    cycles = predict_network(program).cycles.total
    assert found.cycles == cycles
    assert found.macs == sum(layer.macs for layer in program.layers)
    assert found.gops == pytest.approx(2 * found.macs * 50e6 / cycles / 1e9)
    twice = measure_effective(config, 100)
    assert isinstance(twice, Effective)
    assert (twice.gops, twice.watts) == pytest.approx((2 * found.gops, 2 * found.watts))
    assert 0 < found.gops < 2 * 15 * 32 * 0.05
