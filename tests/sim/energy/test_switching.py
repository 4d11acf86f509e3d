"""Switching: toggles of a design that can be counted by hand, sums, tables, refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.boards.gates import CountingNetlist, MemoryClass, counter_class, counting_netlist
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.energy.arithmetic import wide_sram_pj
from smartdeal.sim.energy.cells import CellTable
from smartdeal.sim.energy.price import COMPONENTS
from smartdeal.sim.energy.switching import (
    GROUPS,
    ModuleSwitching,
    SwitchingError,
    grouped,
    read_counters,
    switching_of,
)
from smartdeal.sim.energy.technology import Technology, TechnologyError
from smartdeal.sim.energy.waveform import WaveformFormatError
from smartdeal.sim.job import Job
from smartdeal.sim.runner import build_simulator, run_job
from smartdeal.sim.simulate import LayerWork

#: Of counting_bench.py, which only the simulator can import.
WINDOW = 32


class Count(wiring.Component):
    """A counter of four bits."""

    enable: In(1)
    o: Out(4)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        with m.If(self.enable):
            m.d.sync += self.o.eq(self.o + 1)
        return m


class Tiny(wiring.Component):
    """A counter, one that counts every other cycle, and a memory that they address."""

    busy: In(1)
    o: Out(8)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.one = one = Count()
        m.submodules.two = two = Count()
        m.submodules.memory = store = memory.Memory(shape=8, depth=16, init=[])
        read, write = store.read_port(), store.write_port()
        m.d.comb += [
            one.enable.eq(1), two.enable.eq(one.o[0]), read.addr.eq(two.o), self.o.eq(read.data),
            write.addr.eq(one.o), write.data.eq(two.o), write.en.eq(self.busy)]
        return m


@pytest.fixture(scope="module")
def tiny() -> CountingNetlist:
    return counting_netlist(Tiny(), "tiny", "busy")


def test_cells_are_counted_by_instance(tiny: CountingNetlist) -> None:
    assert set(tiny.cells) == {"", "one", "two"}
    assert tiny.cells[""]["memory"] == 8 * 16
    assert tiny.cells["one"] == tiny.cells["two"]
    assert tiny.cells["one"]["flip_flop"] == 4


@pytest.mark.slow
def test_toggles_by_hand(
    tiny: CountingNetlist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bit n of a counter changes once in 2^n counts, wherever the window begins."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    waves = tmp_path / "counters.vcd"
    simulator = build_simulator(tiny.verilog, "tiny", ["clk", "rst", "busy", "o"], waves=waves)
    run_job(simulator, Job((), 32), bench="counting_bench")
    found = {module.path: module.counts for module in read_counters(waves, tiny.cells)}
    assert found["one"]["flip_flop"] == WINDOW + WINDOW // 2 + WINDOW // 4 + WINDOW // 8
    assert found["two"]["flip_flop"] == WINDOW // 2 + WINDOW // 4 + WINDOW // 8 + WINDOW // 16
    assert found["one"]["clock"] == 4 * WINDOW
    assert found["two"]["clock"] == 4 * WINDOW // 2  # its enable is high every other cycle
    assert found[""]["write_8x16"] == 8 * WINDOW
    assert found[""]["read_8x16"] == 8 * WINDOW // 2  # where the address changes
    assert found["one"]["gate"] > found["two"]["gate"] > 0


def _modules() -> list[ModuleSwitching]:
    return [
        ModuleSwitching(path="", cells={"gate": 1}, counts={"gate": 3}),
        ModuleSwitching(path="array.row_1.pe_0.shift_add", cells={"complex": 5},
                        counts={"complex": 100}),
        ModuleSwitching(path="array.row_1.pe_0", cells={"flip_flop": 8},
                        counts={"flip_flop": 20, "clock": 80}),
        ModuleSwitching(path="issue", cells={}, counts={"read_45x2048": 450}),
        ModuleSwitching(path="readout", cells={}, counts={"read_83x256": 83, "read_76x256": 76}),
        ModuleSwitching(path="activations", cells={}, counts={"write_8x2048": 8}),
    ]


def test_rows() -> None:
    technology, table = Technology.load("28nm"), CellTable.load()
    config = AcceleratorConfig(rows=6, cols=8)
    rows = {row.name: row for row in grouped(_modules(), config, technology, table,
                                             dict.fromkeys(COMPONENTS, 10.0))}
    assert list(rows) == list(GROUPS)
    supply = table.constants["supply"].value
    assert rows["PE shift and add"].cells_pj == pytest.approx(
        100 * 0.5e-3 * table.constants["complex"].value * supply**2)
    assert rows["PE registers"].clock_pj == pytest.approx(
        80e-3 * table.constants["clock"].value * supply**2)
    assert rows["weight buffer"].memory_pj == pytest.approx(10 * wide_sram_pj(45, 2048, technology))
    assert rows["basis"].memory_pj == pytest.approx(wide_sram_pj(76, 256, technology))
    assert rows["requantise"].memory_pj == pytest.approx(wide_sram_pj(83, 256, technology))
    assert rows["activation buffer"].memory_pj == pytest.approx(technology.sram(2048))
    assert rows["control"].toggles == 3
    # Each count is in one row: the rows' sum is that of all modules.
    every = sum(table.energy_pj(counter_class(name), count, technology)
                for module in _modules() for name, count in module.counts.items())
    assert sum(row.switching_pj for row in rows.values()) == pytest.approx(every)
    assert sum(row.toggles for row in rows.values()) == 3 + 100 + 20
    assert sum(row.cells for row in rows.values()) == 1 + 5 + 8
    # Every component but DRAM, which no netlist has, stands in one row.
    named = [component for components, _ in GROUPS.values() for component in components]
    assert sorted(named) == sorted(set(COMPONENTS) - {"DRAM"})


def test_counters_have_classes() -> None:
    assert counter_class("clock") == "clock"
    assert counter_class(str(MemoryClass("read", 45, 2048))) == MemoryClass("read", 45, 2048)
    with pytest.raises(ValueError, match=r"^No counter is called 'glitches'$"):
        counter_class("glitches")


def test_counters_that_are_missing(tmp_path: Path) -> None:
    waves = tmp_path / "counters.vcd"
    waves.write_text("$scope module tiny $end\n$var wire 48 # switching_shown_gate $end\n"
                     "$upscope $end\n$enddefinitions $end\n#1\nb101 #\n")
    assert read_counters(waves, {"": {"gate": 2}})[0].counts == {"gate": 5}
    with pytest.raises(SwitchingError, match=r"^the waveform has no counters of one$"):
        read_counters(waves, {"": {"gate": 2}, "one": {"gate": 1}})


def test_counters_with_unknown_bits(tmp_path: Path) -> None:
    waves = tmp_path / "counters.vcd"
    waves.write_text("$scope module tiny $end\n$var wire 48 # switching_shown_gate $end\n"
                     "$upscope $end\n$enddefinitions $end\n#1\nbx01 #\n")
    with pytest.raises(WaveformFormatError, match="switching_shown_gate ends with unknown bits"):
        read_counters(waves, {"": {"gate": 2}})


def test_system_memory_is_refused() -> None:
    config = AcceleratorConfig(rows=6, cols=16, memory=True)
    with pytest.raises(SwitchingError, match="leave --memory out"):
        switching_of(LayerWork(None, np.zeros(1, np.int8)), config,  # type: ignore[arg-type]
                     Technology.load("28nm"))


_GOOD = "\n".join(f'{name} = {{value = 1, unit = "{"V" if name == "supply" else "fF"}", '
                  f'source = "s", certainty = "estimated"}}'
                  for name in ("supply", "gate", "complex", "flip_flop", "clock"))


@pytest.mark.parametrize(("text", "message"), [
    ("title = ", "mine is not a TOML file: .*"),
    (_GOOD, "mine: title must be a line of text, not None"),
    (f'title = "t"\n{_GOOD}\nlatch = 1', "mine: unknown constant 'latch'; known: supply, .*"),
    ('title = "t"', "mine: constant 'supply' is missing"),
    ('title = "t"\n' + _GOOD.replace("value = 1", "value = -1"),
     "mine: supply must not be negative, not -1"),
    ('title = "t"\n' + _GOOD.replace('"V"', '"mV"'), "mine: supply unit must be V, not 'mV'"),
    ('title = "t"\n' + _GOOD.replace("estimated", "sure"), "mine: supply certainty must be .*"),
    ('title = "t"\n' + _GOOD.replace("value = 1, ", ""), "mine: supply must be a table with .*"),
])
def test_table_refused(text: str, message: str) -> None:
    with pytest.raises(TechnologyError, match=f"^{message}"):
        CellTable.parse(text, "mine")
