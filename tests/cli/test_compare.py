"""``smartdeal compare``: tables, files, messages of one line."""

import json
from pathlib import Path
from typing import Any

import pytest


def test_help_has_examples(run: Any) -> None:
    outcome = run("compare", "--help")
    assert outcome.code == 0
    assert "\n    smartdeal compare " in outcome.out


def test_comparison(run: Any, tmp_path: Path) -> None:
    page, values = tmp_path / "c.html", tmp_path / "c.json"
    outcome = run("compare", "resnet20", "resnet20", "--zero-fraction", "0.5", "--json",
                  str(values), "-o", str(page))
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("DianNao  ") == 1
    assert "50.0% of the weights zero (given)" in outcome.out
    assert "Energies by the table 28nm" in outcome.out
    data = json.loads(values.read_text())
    assert [net["name"] for net in data["networks"]] == ["resnet20"]
    assert page.read_text().lstrip().startswith("<!doctype html>")


@pytest.mark.parametrize(("arguments", "message"), [
    (("lenet",), "network must be one of vgg11, vgg19, resnet50, resnet164, resnet18, resnet20, "
                 "not 'lenet'"),
    (("resnet20", "--zero-fraction", "1.5"),
     "zero fraction must be at least 0 and less than 1, not 1.5"),
    (("resnet20", "--tech", "3nm"),
     "technology must be one of 28nm, 45nm, zc706, fpga or a TOML file, not '3nm'"),
])
def test_refused(run: Any, arguments: tuple[str, ...], message: str) -> None:
    outcome = run("compare", *arguments)
    assert (outcome.code, outcome.err) == (2, f"error: {message}\n")
