"""Technology tables: the ones of the package, and every rule that a user's table may break."""

import re
from pathlib import Path
from typing import Any

import pytest

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.energy.arithmetic import add_pj, multiply_pj, wide_sram_pj
from smartdeal.sim.energy.events import Events
from smartdeal.sim.energy.price import COMPONENTS, price
from smartdeal.sim.energy.technology import (
    CERTAINTIES,
    CONSTANTS,
    TECHNOLOGIES,
    Technology,
    TechnologyError,
)


def text(**changes: str | None) -> str:
    """Return a table, with the lines of some constants replaced, or left out."""
    lines = ['title = "test"']
    for number, (name, (unit, _)) in enumerate(CONSTANTS.items()):
        macro = f", bytes = {1024 << number}" if name.startswith("sram") else ""
        line: str | None = (f'{name} = {{value = {number + 1}, unit = "{unit}", source = "s", '
                            f'certainty = "estimated"{macro}}}')
        line = changes.pop(name) if name in changes else line
        lines += [line] if line is not None else []
    return "\n".join([*lines, *(line for line in changes.values() if line)])


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_package_tables(name: str) -> None:
    table = Technology.load(name)
    assert table.name == name
    assert set(table.constants) == set(CONSTANTS)
    for constant in table.constants.values():
        assert constant.certainty in CERTAINTIES
        assert constant.source
    assert table["dram"] > table.sram(1 << 20) >= table.sram(1) > table["add"]
    assert table["multiply"] > table["add"] >= table["shift"]


def test_units_and_interpolation(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text(
        dram='dram = {value = 2, unit = "pJ/bit", source = "s", certainty = "printed"}',
        clock='clock = {value = 1.5, unit = "GHz", source = "s", certainty = "printed"}'))
    table = Technology.load(str(path))
    assert table.name == str(path)
    assert table["dram"] == 16
    assert table["clock"] == 1500
    small, large = table.constants["sram_small"], table.constants["sram_large"]
    assert table.sram(1) == small.value
    assert table.sram(large.bytes * 9) == large.value
    middle = table.sram((small.bytes * large.bytes) ** 0.5)
    assert middle == pytest.approx((small.value * large.value) ** 0.5)
    assert table.scaled("add", 2)["add"] == 2 * table["add"]


@pytest.mark.parametrize(("table", "message"), [
    ("title = ", "mine is not a TOML file: .*"),
    ("", "mine: title must be a line of text, not None"),
    (text(more="leakage = 3"), "mine: unknown constant 'leakage'; known: dram, .*, clock"),
    (text(add=None), r"mine: constant 'add' is missing \(an 8 bit addition, pJ\)"),
    (text(add="add = 3"), "mine: add must be a table with value, unit, source and certainty, "
                          "not 3"),
    (text(add='add = {value = -1, unit = "pJ", source = "s", certainty = "printed"}'),
     "mine: add must not be negative, not -1"),
    (text(add='add = {value = nan, unit = "pJ", source = "s", certainty = "printed"}'),
     "mine: add value must be a number, not nan"),
    (text(add='add = {value = "1", unit = "pJ", source = "s", certainty = "printed"}'),
     "mine: add value must be a number, not '1'"),
    (text(add='add = {value = 1, source = "s", certainty = "printed"}'),
     "mine: add has no unit; give one of pJ, fJ, nJ"),
    (text(add='add = {value = 1, unit = "pJ/byte", source = "s", certainty = "printed"}'),
     "mine: add unit must be one of pJ, fJ, nJ, not 'pJ/byte'"),
    (text(add='add = {value = 1, unit = "pJ", certainty = "printed"}'),
     "mine: add must say its source, not None"),
    (text(add='add = {value = 1, unit = "pJ", source = "s", certainty = "sure"}'),
     "mine: add certainty must be one of printed, recalled, derived, estimated, not 'sure'"),
    (text(add='add = {value = 1, unit = "pJ", source = "s", certainty = "printed", bytes = 2}'),
     "mine: add has an unknown key 'bytes'"),
    (text(clock='clock = {value = 0, unit = "MHz", source = "s", certainty = "printed"}'),
     "mine: clock must not be 0, not 0"),
    (text(dram=None, sram_small='sram_small = {value = 1, unit = "pJ/byte", source = "s", '
          'certainty = "printed"}'), "mine: constant 'dram' is missing .*"),
    (text(sram_small='sram_small = {value = 1, unit = "pJ/byte", source = "s", '
                     'certainty = "printed"}'),
     "mine: sram_small must say the macro's bytes, not 0"),
    (text(sram_small='sram_small = {value = 1, unit = "pJ/byte", source = "s", '
                     'certainty = "printed", bytes = 4096}'),
     "mine: sram_large must have more bytes than sram_small"),
])
def test_refused(table: str, message: str) -> None:
    with pytest.raises(TechnologyError, match=f"^{message}$") as caught:
        Technology.parse(table, "mine")
    assert "\n" not in str(caught.value).replace("not a TOML file", "")[:60]


def test_no_such_table() -> None:
    with pytest.raises(TechnologyError, match=r"^technology must be one of 28nm, 45nm, zc706, fpga "
                                              r"or a TOML file, not '7nm'$"):
        Technology.load("7nm")
    with pytest.raises(TechnologyError, match=re.escape(
            "cannot read technology table no/mine.toml: No such file or directory")):
        Technology.load("no/mine.toml")


@pytest.mark.parametrize(("event", "component"), [
    ("maximums", "PE add"), ("packed_signs", "requantise"), ("result_writes", "PE registers"),
    ("weight_reads", "weight buffer"), ("vector_reads", "activation buffer"),
    ("basis_reads", "basis"), ("channel_reads", "requantise"), ("partial_reads", "read-out"),
    ("instruction_words", "control"),
])
def test_each_event_costs_its_component(event: str, component: str) -> None:
    config, table = AcceleratorConfig(), Technology.load("28nm")
    counted: Any = {event: 1000}
    found = price(Events(**counted), 0, 0, config, table)
    assert list(found) == list(COMPONENTS)
    assert found[component] > 0
    assert sum(found.values()) == pytest.approx(found[component], rel=0.35)


def test_every_event_costs_something_but_cycles_do_not_count_twice() -> None:
    config, table = AcceleratorConfig(), Technology.load("45nm")
    free = {"steps", "stored_words", "moved_words"}  # counted beside their bytes and vectors
    for event in Events().as_dict():
        counted: Any = {event: 1}
        total = sum(price(Events(**counted), 0, 0, config, table).values())
        assert (total > 0) == (event not in free - {"steps"}), event
    assert price(Events(), 0, 7, config, table)["DRAM"] == 7 * table["dram"]


def test_width_rules() -> None:
    table = Technology.load("28nm")
    assert multiply_pj(8, 8, table) == table["multiply"]
    assert multiply_pj(16, 8, table) == 2 * table["multiply"]
    assert add_pj(24, table) == pytest.approx(3 * table["add"])
    # A wide word is a row of macros: per byte it costs what a macro of its share costs.
    assert wide_sram_pj(64, 1024, table) == pytest.approx(8 * table.sram(8192))
    assert wide_sram_pj(640, 1024, table) == pytest.approx(80 * table.sram(8192))
