"""The boards: every one can be elaborated, and what is asked of them wrongly is told."""

import itertools

import pytest

from smartdeal.boards.build import check_fit
from smartdeal.boards.catalogue import BOARDS, board
from smartdeal.boards.choose import choose
from smartdeal.boards.clocks import pll_settings
from smartdeal.boards.core import BoardCore
from smartdeal.boards.errors import BoardError, BuildStepError, FitError
from smartdeal.boards.flash import flash_board
from smartdeal.boards.flow import generate
from smartdeal.boards.technology import TARGETS, Resources
from smartdeal.boards.tools import run_tool
from smartdeal.boards.top import BoardTop
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.area import estimate
from smartdeal.sim.area_small import KINDS, estimate_on, measurements


@pytest.mark.parametrize("name", BOARDS)
def test_top_has_clock_and_serial_line(name):
    chosen = board(name)
    platform = chosen.make_platform()
    settings = pll_settings(chosen.target, platform.default_clk_frequency,
                            chosen.clock_mhz * 1e6, device=chosen.device)
    assert 0.9 * chosen.clock_mhz <= settings.frequency_hz / 1e6 <= chosen.clock_mhz
    core = BoardCore(chosen.config, clock_hz=round(settings.frequency_hz))
    plan = platform.prepare(BoardTop(core, chosen.target, settings, pll_pad=chosen.pll_pad), "top")
    constraints = next(text for file, text in plan.files.items()
                       if file.endswith((".lpf", ".pcf", ".cst")))
    if isinstance(constraints, bytes):
        constraints = constraints.decode()
    for pin in ("clk", "rx", "tx"):
        assert pin in constraints


def test_unknown_board():
    with pytest.raises(BoardError, match=r"no board is called 'ulx3s_84f'; did you mean ulx3s_"):
        board("ulx3s_84f")
    with pytest.raises(BoardError, match="no board is called 'zzzzzz'; known: colorlight"):
        board("zzzzzz")


def test_array_that_does_not_fit():
    chosen = board("tang_nano_9k")
    needed = Resources(lut=9_000, ff=6_000, bram=27, dsp=2)
    with pytest.raises(FitError, match=r"a 12×16 array does not fit tang_nano_9k: it takes 9,000 "
                                       r"LUTs of 8,640 and 27 block RAMs of 26"):
        check_fit(chosen, AcceleratorConfig(), needed)


def test_clock_that_no_pll_makes():
    with pytest.raises(BoardError, match=r"clock of 3 MHz cannot be made from 25 MHz"):
        pll_settings("ecp5", 25e6, 3e6)


def test_choice():
    chosen = board("ulx3s_85f")
    config, why = choose(chosen, {})
    area = estimate(config)
    assert 0.6 * chosen.capacity.lut < area.lut < 0.75 * chosen.capacity.lut
    assert area.bram <= chosen.capacity.bram
    assert area.dsp <= chosen.capacity.dsp
    assert why.startswith("the largest array whose ")
    small = board("ulx3s_25f")
    assert choose(small, {})[0].rows * choose(small, {})[0].cols < config.rows * config.cols
    given, why = choose(chosen, {"rows": 6, "cols": 8})
    assert (given.rows, given.cols) == (6, 8)
    assert given.weight_steps == chosen.config.weight_steps
    assert given.activation_bytes == chosen.config.activation_bytes == 65_536
    assert choose(chosen, {"cols": 8, "activation_words": 512})[0].activation_words == 512
    assert why == "as asked, the rest the board's default"
    tang = board("tang_nano_9k")
    assert choose(tang, {}) == (tang.config, "the board's default")


def test_sizes_that_cannot_fit():
    with pytest.raises(FitError, match=r"a 48×64 array does not fit ulx3s_85f: it would take about "
                                       r"[\d,]+ LUTs of 83,640 and [\d,]+ block RAMs of 208 and "
                                       r"[\d,]+ multipliers of 156; the largest that fits is "
                                       r"24×24"):
        choose(board("ulx3s_85f"), {"rows": 48, "cols": 64})


def test_choice_on_ice40():
    """The parts that grow with the array are measured, and so is what is around them."""
    chosen = board("hx8k_breakout")
    built = next(row for row in measurements() if row["what"] == chosen.name)
    same = estimate_on(chosen.name, "ice40", AcceleratorConfig(**built["configuration"]))
    assert same is not None
    assert (same.lut, same.ff, same.bram, same.dsp) == tuple(built[kind] for kind in KINDS)
    parts = [row for row in measurements() if row["what"] == "ice40 parts"]
    for one, other in itertools.pairwise(parts):
        small, large = (estimate_on(chosen.name, "ice40", AcceleratorConfig(**row["configuration"]))
                        for row in (one, other))
        assert small is not None
        assert large is not None
        assert large.lut - small.lut == pytest.approx(other["lut"] - one["lut"], abs=2)

    config, why = choose(chosen, {})
    area = estimate_on(chosen.name, "ice40", config)
    assert area is not None
    assert area.lut <= 0.95 * chosen.capacity.lut
    assert config.rows * config.cols >= chosen.config.rows * chosen.config.cols
    assert config.activation_bytes == chosen.config.activation_bytes
    assert why.startswith(f"the largest array whose {area.lut:,} logic cells are at most 95% of")
    with pytest.raises(FitError, match=(
            r"a 16×16 array does not fit hx8k_breakout: it would take about [\d,]+ logic cells of "
            rf"7,680 and .*; the largest that fits is {config.rows}×{config.cols}")):
        choose(chosen, {"rows": 16, "cols": 16, "activation_words": 128})
    other, why = choose(chosen, {"acc_bits": 18})
    assert (other.rows, other.cols, why) == (2, 2, "the board's default")


BOARD_FILE = """
from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import SiliconBluePlatform
from amaranth_boards.resources import UARTResource
from smartdeal.boards.catalogue import BOARDS, Board


class MyPlatform(SiliconBluePlatform):
    device      = "iCE40HX8K"
    package     = "CT256"
    default_clk = "clk12"
    resources   = [
        Resource("clk12", 0, Pins("J3", dir="i"), Clock(12e6), Attrs(IO_STANDARD="SB_LVCMOS")),
        UARTResource(0, rx="B10", tx="B12", attrs=Attrs(IO_STANDARD="SB_LVCMOS", PULLUP=1)),
    ]
    connectors  = []


known = BOARDS["hx8k_breakout"]
BOARD = Board("my_board", "My board", MyPlatform, "ice40", "iCE40HX8K-CT256", known.capacity, 24,
              known.configuration)
"""


def test_board_in_one_file(tmp_path):
    file = tmp_path / "my_board.py"
    file.write_text(BOARD_FILE)
    chosen = board(str(file))
    assert chosen.name == "my_board"
    sources = generate(chosen, chosen.config, chosen.clock_mhz, tmp_path)
    assert sources.device_options == ("--hx8k", "--package", "ct256")
    assert "set_io uart_0__rx__io B10" in (tmp_path / "top.pcf").read_text()
    assert choose(chosen, {}) == (chosen.config, "the board's default")


@pytest.mark.parametrize(("text", "message"), [
    ("BOARD = 3", r"must define BOARD as a smartdeal\.boards\.catalogue\.Board, not 3"),
    ("import nothing_of_that_name", r"does not run: ModuleNotFoundError: No module named"),
])
def test_file_that_is_no_board(tmp_path, text, message):
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(BoardError, match=message):
        board(str(file))
    with pytest.raises(BoardError, match=r"no board file other\.py; it must be a Python file"):
        board("other.py")


def test_no_bitstream_to_flash(tmp_path):
    with pytest.raises(BoardError, match=r"no bitstream .*; build it with smartdeal build ulx3s"):
        flash_board(board("ulx3s_85f"), tmp_path)


def test_device_options(tmp_path):
    config = AcceleratorConfig(rows=2, cols=2, activation_words=64, weight_steps=64,
                               channel_entries=16, basis=False, program_words=64)
    for name, wanted in {"ulx3s_25f": "--25k", "hx8k_breakout": "--hx8k",
                         "tang_nano_9k": "family=GW1N-9C"}.items():
        chosen = board(name)
        sources = generate(chosen, config, chosen.clock_mhz, tmp_path)
        assert wanted in sources.device_options
        assert (tmp_path / "core.v").read_text().count("module smartdeal_core(") == 1


def test_tool_that_fails(tmp_path):
    with pytest.raises(BuildStepError, match=r"place failed: ERROR: no room \(log: .*tool.log\)"):
        run_tool(["sh", "-c", "echo ERROR: no room; exit 3"], what="place", folder=tmp_path,
                 log=tmp_path / "tool.log")


def test_cells_count():
    cells = {"LUT4": 10, "CCU2C": 3, "TRELLIS_FF": 7, "TRELLIS_DPR16X4": 1, "DP16KD": 2}
    assert TARGETS["ecp5"].count(cells) == Resources(lut=22, carry=6, ff=7, bram=2, lutram=6)
