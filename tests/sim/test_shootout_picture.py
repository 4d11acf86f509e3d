"""The frontier as a picture: its panels, and entries that are far below or do not fit."""

import re
from pathlib import Path

import pytest

from smartdeal.sim.picture import DrawingError
from smartdeal.sim.shootout import Entry
from smartdeal.sim.shootout_picture import draw_shootout, frontier


def entry(label: str, accuracy: float, stored: int, cycles: int | None,
          energy_pj: float | None) -> Entry:
    return Entry(label=label, form="float", source="", float_accuracy=accuracy, accuracy=accuracy,
                 stored_bytes=stored, ratio=1.0, zero_vectors=0.0, cycles=cycles,
                 program_bytes=cycles, energy_pj=energy_pj)


ENTRIES = (entry("full", 0.92, 128_000, 248_000, 45e6), entry("half", 0.91, 24_000, 91_000, 21e6),
           entry("poor", 0.60, 9_000, 36_000, 8e6), entry("too large", 0.915, 30_000, None, None))


def test_frontier_by_hand() -> None:
    assert frontier([(3, 90), (1, 80), (2, 79), (2, 85), (4, 89)]) == [(1, 80), (2, 85), (3, 90)]
    assert frontier([]) == []


def test_every_cost_has_a_panel(tmp_path: Path) -> None:
    path = tmp_path / "p.svg"
    draw_shootout(ENTRIES, "four networks", path)
    text = re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())
    for label in ("weights in kB", "thousand cycles per image", "energy of an image in µJ",
                  "four networks", *(one.label for one in ENTRIES)):
        assert text.count(label) == 1
    assert text.count("60.0 %") == 3  # far below: at the edge of each panel, with its number


def test_nothing_fits_the_array(tmp_path: Path) -> None:
    path = tmp_path / "p.svg"
    draw_shootout([ENTRIES[3]], "one network", path)
    assert "energy of an image" in path.read_text()


def test_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DrawingError, match=r"^picture must be a file \.svg, \.png, \.pdf, not"):
        draw_shootout(ENTRIES, "", tmp_path / "p.gif")
