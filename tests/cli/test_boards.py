"""The board commands: their output, and one clear line for what goes wrong."""

import json

import pytest

from smartdeal.cli import main


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err


def test_boards(capsys, tmp_path):
    code, out, _ = run(capsys, "boards", "--json", str(tmp_path / "boards.json"))
    assert code == 0
    assert "ulx3s_85f" in out
    boards = json.loads((tmp_path / "boards.json").read_text())
    assert {"board", "device", "luts", "clock_mhz", "configuration"} <= boards[0].keys()
    code, out, _ = run(capsys, "boards", "--config", "ulx3s_25f")
    assert code == 0
    assert "weight_steps = 2048" in out


def test_networks_on_chip(capsys, tmp_path):
    """Whole networks run on every ECP5 board; the small devices say why they do not."""
    code, out, _ = run(capsys, "boards", "--networks", "--json", str(tmp_path / "boards.json"))
    assert code == 0
    assert "resnet20" in out
    for item in json.loads((tmp_path / "boards.json").read_text()):
        for network in ("resnet8", "resnet20"):
            assert (item["refusals"][network] == "") == (item["target"] == "ecp5"), item["board"]


@pytest.mark.parametrize(("arguments", "message"), [
    (("build", "ulx3s_99f"), "error: no board is called 'ulx3s_99f'; did you mean ulx3s_"),
    (("build", "ulx3s_25f", "--rows", "60", "--cols", "64"),
     "error: a 60×64 array does not fit ulx3s_25f: it would take about"),
    (("build", "ulx3s_25f", "--rows", "1"), "error: rows (PE rows) must be an integer from 2"),
    (("build", "ulx3s_25f", "--clock", "2"),
     "error: clock of 2 MHz cannot be made from 25 MHz by the PLL"),
    (("flash", "ulx3s_25f", "nowhere"), "error: no bitstream nowhere"),
    (("synth", "--target", "virtex"), "error: target must be one of ecp5, ice40, gowin, xilinx"),
    (("synth", "--target", "asic:none.lib"), "error: target asic needs a Liberty file"),
    (("synth", "--target", "ecp5", "--sweep", "4by4"),
     "error: Invalid value for '--sweep': must be sizes as 6x4,12x8"),
])
def test_bad_input(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert err.startswith(message), err
    assert err.count("\n") == 1
    assert not list(tmp_path.rglob("*.bit"))


def test_port_is_an_engine(capsys, tmp_path):
    code, _, err = run(capsys, "run", "net.sdp", "shoe.png", "--port", "sim:ulx3s_25f",
                       "--engine", "rtl")
    assert code == 2
    assert "--port and --engine exclude each other" in err
