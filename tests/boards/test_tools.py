"""Which tools a build takes, and what it says of them."""

import sys
from importlib import metadata
from pathlib import Path

import pytest

from smartdeal.boards.errors import ToolMissing
from smartdeal.boards.tools import command, tool_version, yosys_command
from smartdeal.cli.main import main

TOOLS = [("yosys", "YOSYS"), ("nextpnr-ecp5", "NEXTPNR_ECP5"), ("icepack", "ICEPACK")]


def ask(tool: str) -> list[str]:
    return yosys_command("some.ys") if tool == "yosys" else command(tool)


@pytest.mark.parametrize(("tool", "variable"), TOOLS)
def test_a_variable_names_the_tool(
    tool: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = tmp_path / tool
    own.write_text("#!/bin/sh\necho own tool, version 7\n")
    own.chmod(0o755)
    monkeypatch.setenv(variable, str(own))
    assert ask(tool)[0] == str(own)
    assert tool_version(tool) == "own tool, version 7"
    monkeypatch.setenv(variable, tool)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask(tool)[0] == str(own)


@pytest.mark.parametrize(("tool", "variable"), TOOLS)
def test_without_it_the_package_runs(
    tool: str, variable: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(variable, raising=False)
    assert ask(tool)[0] == sys.executable
    package, version = tool_version(tool).split()
    assert metadata.version(package) == version


def test_a_tool_that_says_no_version_is_named_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = tmp_path / "icepack"
    own.write_text("#!/bin/sh\nexit 1\n")
    own.chmod(0o755)
    monkeypatch.setenv("ICEPACK", str(own))
    assert tool_version("icepack") == str(own)


def test_a_variable_that_names_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTPNR_ECP5", "/nowhere/nextpnr-ecp5")
    for asked in (command, tool_version):
        with pytest.raises(ToolMissing, match=r"NEXTPNR_ECP5=/nowhere/nextpnr-ecp5: there is no "
                                              r"such program; give its path, or unset"):
            asked("nextpnr-ecp5")


def test_a_build_says_so_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ECPPACK", "no-such-packer")
    with pytest.raises(SystemExit) as stopped:
        main(["build", "ulx3s_85f", "-o", str(tmp_path / "made")])
    assert stopped.value.code == 2
    assert "ECPPACK=no-such-packer: there is no such program" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
