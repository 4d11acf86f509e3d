"""``smartdeal explore`` as a user sees it."""

import json
from pathlib import Path

import pytest

from smartdeal.cli.main import main

_SMALL = ("--set", "rows=6", "--set", "cols=8,16", "--set", "exponents=8", "--set", "acc_bits=24",
          "--set", "activation_kib=64", "--set", "weight_steps=2048", "--set", "drain_lanes=2",
          "--set", "form=deepshift")


def _exit(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["explore", *arguments])
    return int(stopped.value.code or 0)


def test_table_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: tmp_path / f"front.{name}" for name in ("svg", "csv", "json", "jsonl")}
    command = ("resnet8", "--target", "28nm", "--budget", "mm2=3", *_SMALL,
               "--picture", str(files["svg"]), "--csv", str(files["csv"]),
               "--json", str(files["json"]), "--results", str(files["jsonl"]))
    assert _exit(*command) == 0
    first = capsys.readouterr().out
    contents = {name: file.read_bytes() for name, file in files.items()}
    assert _exit(*command) == 0
    assert capsys.readouterr().out == first
    assert {name: file.read_bytes() for name, file in files.items()} == contents
    values = json.loads(contents["json"])
    assert values["mode"] == "on chip"
    assert len(values["points"]) == values["counts"]["candidates"] == 2
    for point in values["front"]:
        assert f"{point['rows']}×{point['cols']}" in first
        assert f"{point['cycles']:,}" in first


def test_what_no_model_knows_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    command = ("resnet8", "--target", "28nm", "--budget", "mm2=3", "--memory", *_SMALL, "--set",
               "cols=16")
    assert _exit(*command) == 0
    assert "areas without the DMA and the bus around the accelerator" in " ".join(
        capsys.readouterr().out.split())


@pytest.mark.parametrize(("arguments", "message"), [
    (("resnet8", "--target", "ulx3s_58f", "--budget", "lut=3"), "did you mean ulx3s_85f"),
    (("resnet8", "--target", "28nm", "--budget", "mm2=-1"), "must be a positive number, not '-1'"),
    (("resnet8", "--target", "28nm", "--budget", "area=1"), "unknown budget 'area'"),
    (("resnet", "--target", "28nm", "--budget", "mm2=1"), "no network is called 'resnet'"),
    (("resnet8", "--target", "28nm", "--budget", "mm2=1", "--picture", "front.gif"), "front.gif"),
    (("resnet8", "--target", "28nm", "--budget", "mm2=1", "--jobs", "2", "--scheduler",
      "tcp://localhost:1"), "give one"),
    (("resnet8", "--target", "28nm", "--budget", "mm2=0.01", *_SMALL),
     "no point fits the budget; the nearest is 6×8, 8 exponents"),
    (("resnet8", "--target", "28nm", "--budget", "mw=0.001", *_SMALL, "--set", "cols=8"),
     "no point fits the budget; the nearest is 6×8, 8 exponents"),
    (("resnet8", "--target", "28nm", "--budget", "mm2=3", *_SMALL, "--scheduler",
      "tcp://127.0.0.1:9"), "no Dask scheduler answers at tcp://127.0.0.1:9: Connection refused"),
])
def test_refusals(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str],
) -> None:
    assert _exit(*arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
