"""The results file: resumed, repaired, or refused."""

from pathlib import Path

import pytest

from smartdeal.sim.explore.errors import ExploreError
from smartdeal.sim.explore.records import Records

_PLAN = {"network": "resnet8", "points": 3}


def _filled(path: Path) -> None:
    records = Records(path, _PLAN)
    records.add(0, {"cycles": 7})
    records.add(2, {"cycles": 9})
    records.add(2, {"cycles": 10})  # a worker that was thought dead
    records.close()


def test_points_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "run.jsonl"
    _filled(path)
    again = Records(path, _PLAN)
    again.close()
    assert again.found == {0: {"cycles": 7}, 2: {"cycles": 9}}


def test_every_cut_of_the_last_line_is_repaired(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    _filled(path)
    whole = path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        again = Records(path, _PLAN)
        assert again.found == {0: {"cycles": 7}}
        again.add(2, {"cycles": 9})
        again.close()
        assert path.read_bytes() == whole


def test_another_exploration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    _filled(path)
    with pytest.raises(ExploreError, match="holds another exploration: points differ"):
        Records(path, {**_PLAN, "points": 4})


@pytest.mark.parametrize("content", [b"", b"no JSON\n", b"[1]\n", b'{"plan": 3}\n'])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    with pytest.raises(ExploreError, match="no results file of an exploration"):
        Records(path, _PLAN)
    assert path.read_bytes() == content


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    _filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{broken\n" + lines[2])
    with pytest.raises(ExploreError, match="line 2 is damaged"):
        Records(path, _PLAN)
