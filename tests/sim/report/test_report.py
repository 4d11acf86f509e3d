"""The report: one page that needs nothing else, and numbers that add up."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from smartdeal.compiler import compile_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.energy.model import cost_of_layers, cost_of_program
from smartdeal.sim.energy.switching import Group, Switching
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.energy.work import compile_integer
from smartdeal.sim.networks import draw_network
from smartdeal.sim.report import numbers
from smartdeal.sim.report.data import report_csv, report_data
from smartdeal.sim.report.page import render

CONFIG = AcceleratorConfig(rows=6, cols=4, activation_words=4096, weight_steps=4096)
MEMORY = CONFIG.replace(cols=10, activation_words=50, host_bits=32, memory=True)
VOID = {"meta", "path", "br", "circle"}


class _Page(HTMLParser):
    """Checks that tags are closed in order, and collects text and references."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module", params=["layers", "program", "memory"])
def data(request: pytest.FixtureRequest) -> dict[str, Any]:
    network = draw_network(np.random.default_rng(3), CONFIG, blocks=3)
    cost = (cost_of_layers("<drawn & odd>", "seeded", compile_integer(network, CONFIG, "shift2"),
                           CONFIG) if request.param == "layers" else
            cost_of_program(compile_network(network, MEMORY if request.param == "memory"
                                            else CONFIG)))
    return report_data(cost, Technology.load("28nm"), "shift2")


def test_page_shows_the_second_estimate(data: dict[str, Any]) -> None:
    assert "gates that switch" not in render(data)
    groups = tuple(Group(name=name, cells=1234, toggles=56_789, cells_pj=160.0, clock_pj=4.0,
                         memory_pj=0.0, events_pj=events) for name, events in
                   (("basis", 82.0), ("control", 0.0)))
    found = Switching(layer="conv<1>", technology="28nm", cells="cells", cycles=771, groups=groups,
                      modules=())
    page = _Page()
    page.feed(render({**data, "switching": json.loads(json.dumps(found.as_dict()))}))
    page.close()
    assert not page.open
    text = " ".join(page.text)
    assert "conv<1> alone, 771 cycles" in text
    for cell in ("1,234", "56,789", "164 pJ", "82.0 pJ", "2.00", "–", "4.00"):
        assert cell in page.text, cell



def test_page_stands_alone(data: dict[str, Any]) -> None:
    page = _Page()
    text = render(data)
    page.feed(text)
    assert page.open == []
    assert page.references == []
    assert not re.search(r"https?://|@import|url\(", text)
    shown = "".join(page.text)
    assert "28nm" in shown
    assert data["network"] in shown  # escaped, so that it reads as it is
    for layer in data["layers"]:
        assert layer["name"] in shown
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert render(data) == text


def test_numbers_add_up(data: dict[str, Any]) -> None:
    totals, layers = data["totals"], data["layers"]
    assert totals["cycles"] == sum(data["cycles"].values())
    assert totals["energy_pj"] == pytest.approx(sum(layer["total_pj"] for layer in layers))
    assert totals["dram_bytes"] == sum(data["dram_bytes"].values())
    for name, event in data["events"].items():
        assert event["count"] == sum(layer["events"][name] for layer in layers)
    for layer in layers:
        assert layer["total_cycles"] == sum(layer["cycles"].values())
    assert data["technology"]["constants"]["dram"]["certainty"] == "recalled"
    assert json.loads(json.dumps(data)) == data


def test_memory_map(data: dict[str, Any]) -> None:
    """Every layer that computes into the buffer has a place; what is used is no more than all."""
    depth = data["configuration"]["activation_words"]
    layers = {layer["name"] for layer in data["layers"]}
    spilled = {one["name"] for one in data["system_memory"] if one["kind"] == "tensor"}
    placed = {one["layer"] for one in data["memory"] if one["kind"] == "output"}
    assert placed | spilled == layers
    for one in data["memory"]:
        assert 0 <= one["first"] < one["end"] <= depth
    for memory in data["memories"]:
        assert 0 <= memory["used"] <= memory["depth"]
    ranges = data["system_memory"]
    assert bool(ranges) == (data["memory_timing"] is not None)
    for one, other in pairwise(ranges):
        assert one["end"] <= other["first"]
    assert not ranges or {"steps", "image", "tensor"} <= {one["kind"] for one in ranges}


def test_csv(data: dict[str, Any]) -> None:
    header, *rows = csv.reader(io.StringIO(report_csv(data)))
    assert len(rows) == len(data["layers"])
    assert {len(row) for row in rows} == {len(header)}
    assert "energy pJ (28nm)" in header
    cycles = header.index("cycles")
    assert sum(int(row[cycles]) for row in rows) == data["totals"]["cycles"]


@pytest.mark.parametrize(("text", "wanted"), [
    (numbers.energy(1.234e9), "1.23 mJ"), (numbers.energy(56_700), "56.7 nJ"),
    (numbers.energy(0.5), "0.50 pJ"), (numbers.data_size(999), "999 B"),
    (numbers.data_size(15_500_000), "15.5 MB"), (numbers.seconds(0.0105), "10.5 ms"),
    (numbers.seconds(2e-9), "2.00 ns"), (numbers.count(1.82e9), "1.82 G"),
    (numbers.percent(0.1234), "12.3 %"), (numbers.cycles(1234567), "1,234,567"),
])
def test_numbers(text: str, wanted: str) -> None:
    assert text == wanted
