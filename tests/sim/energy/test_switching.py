"""Switching: toggles of a design that can be counted by hand, sums, tables, refusals."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.boards.gates import CountingNetlist, MemoryClass, counter_class, counting_netlist
from smartdeal.hw.accelerator import Accelerator
from smartdeal.hw.array import ProcessingArray
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import basis_format, channel_format, step_format
from smartdeal.hw.verilog import emit
from smartdeal.sim.cases import draw_case
from smartdeal.sim.energy.arithmetic import wide_sram_pj
from smartdeal.sim.energy.cells import CellTable
from smartdeal.sim.energy.events import Events
from smartdeal.sim.energy.price import COMPONENTS, step_register_bits
from smartdeal.sim.energy.switching import (
    GROUPS,
    ModuleSwitching,
    SwitchingError,
    fits,
    group_of,
    grouped,
    read_counters,
    switching_of,
)
from smartdeal.sim.energy.technology import Technology, TechnologyError
from smartdeal.sim.energy.walk import count_image
from smartdeal.sim.energy.waveform import WaveformFormatError
from smartdeal.sim.job import Job
from smartdeal.sim.latency import predict
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
    found = {module.path: module.counts for module in read_counters(waves, tiny)}
    assert found["one"]["flip_flop"] == WINDOW + WINDOW // 2 + WINDOW // 4 + WINDOW // 8
    assert found["two"]["flip_flop"] == WINDOW // 2 + WINDOW // 4 + WINDOW // 8 + WINDOW // 16
    assert found["one"]["clock"] == 4 * WINDOW
    assert found["two"]["clock"] == 4 * WINDOW // 2  # its enable is high every other cycle
    assert found[""]["write_memory_8x16"] == 8 * WINDOW
    assert found[""]["read_memory_8x16"] == 8 * WINDOW // 2  # where the address changes
    assert found["one"]["gate"] > found["two"]["gate"] > 0


def _modules() -> list[ModuleSwitching]:
    return [
        ModuleSwitching(path="", cells={"gate": 1}, counts={"gate": 3}),
        ModuleSwitching(path="array.block_0_0.row_1.pe_0.shift_add",
                        cells={"complex": 5, "flip_flop": 4},
                        counts={"complex": 100, "flip_flop": 6, "clock": 40}),
        ModuleSwitching(path="array.block_0_0.row_1.pe_0", cells={"flip_flop": 8, "gate": 2},
                        counts={"flip_flop": 20, "clock": 80, "gate": 7}),
        ModuleSwitching(path="issue", cells={}, counts={"read_weight_buffer_45x2048": 450}),
        # At sum_bits = 33 words of both tables have 76 bits.
        ModuleSwitching(path="readout", cells={}, counts={
            "read_channel_table_76x256": 5 * 76, "read_basis_table_76x256": 76}),
        ModuleSwitching(path="activations", cells={}, counts={"write_bank_3_8x2048": 8}),
    ]


def test_rows() -> None:
    technology, table = Technology.load("28nm"), CellTable.load()
    config = AcceleratorConfig(sum_bits=33)
    assert channel_format(config).bits == basis_format(config).bits == 76
    rows = {row.name: row for row in grouped(_modules(), technology, table,
                                             dict.fromkeys(COMPONENTS, 10.0))}
    assert list(rows) == list(GROUPS)
    supply = table.constants["supply"].value
    # A PE's gates are those of maximum and XNOR, which the event model counts with the adders.
    assert rows["PE shift and add"].cells_pj == pytest.approx(
        (100 * table.constants["complex"].value + 7 * table.constants["gate"].value)
        * 0.5e-3 * supply**2)
    assert rows["PE shift and add"].cells == 5 + 2
    assert rows["PE registers"].cells == 8 + 4  # those between shifter and adder, too
    assert rows["PE registers"].toggles == 20 + 6
    assert rows["PE registers"].clock_pj == pytest.approx(
        120e-3 * table.constants["clock"].value * supply**2)
    assert rows["weight buffer"].memory_pj == pytest.approx(10 * wide_sram_pj(45, 2048, technology))
    assert rows["basis"].memory_pj == pytest.approx(wide_sram_pj(76, 256, technology))
    assert rows["requantise"].memory_pj == pytest.approx(5 * wide_sram_pj(76, 256, technology))
    assert rows["activation buffer"].memory_pj == pytest.approx(technology.sram(2048))
    assert rows["control"].toggles == 3
    # Each count is in one row: the rows' sum is that of all modules.
    every = sum(table.energy_pj(counter_class(name), count, technology)
                for module in _modules() for name, count in module.counts.items())
    assert sum(row.switching_pj for row in rows.values()) == pytest.approx(every)
    assert sum(row.toggles for row in rows.values()) == 3 + 100 + 6 + 20 + 7
    assert sum(row.cells for row in rows.values()) == 1 + 5 + 4 + 8 + 2
    # Every component but DRAM, which no netlist has, stands in one row.
    named = [component for components, _ in GROUPS.values() for component in components]
    assert sorted(named) == sorted(set(COMPONENTS) - {"DRAM"})


#: All features that an accelerator without system memory can have, in a few cells.
SIZES: list[dict[str, Any]] = [
    {"rows": 3, "cols": 2, "drain_lanes": 1, "entropy": True},
    {"rows": 8, "cols": 2, "drain_lanes": 1, "binary": True, "memory_delays": True},
    {"rows": 3, "cols": 2, "basis": False, "residual": False, "reduce": False, "max_pool": False,
     "move": False, "max_slices": 1},
]


def instances(verilog: str, top: str) -> set[str]:
    """Return every instance and every memory of a design, dots between the levels."""
    modules: dict[str, list[tuple[str, str]]] = {}
    found: list[tuple[str, str]] = []
    for line in verilog.splitlines():
        if match := re.match(r"module \\?(\S+?) ?\(", line):
            found = modules.setdefault(match[1], [])
        elif match := re.match(r"  \\?(\S+) \\?(\S+) \($", line):
            found.append((match[2], match[1]))
        elif match := re.match(r"  reg (?:\[\d+:0\] )?\\?(\S+) \[\d+:0\];", line):
            found.append((match[1], ""))

    def below(module: str, path: str) -> Iterator[str]:
        yield path
        for name, kind in modules.get(module, []):
            yield from below(kind, f"{path}.{name}" if path else name)

    return set(below(top, ""))


def test_every_instance_is_in_one_row() -> None:
    """And each pattern is of something that the generator emits."""
    every: set[str] = set()
    for size in SIZES:
        config = AcceleratorConfig(**{"activation_words": 64, "weight_steps": 64, **size})
        every |= instances(emit(Accelerator(config), "top"), "top")
    assert {"", "array.block_0_0", "array.block_0_0.row_2.pe_1.shift_add",
            "readout.basis_table", "readout.channel_table",
            "issue.weight_buffer", "activations.bank_0", "loader.decoder.places"} <= every
    assert {group_of(path) for path in every} == set(GROUPS)  # refuses what is not in one row
    unused = [pattern for _, patterns in GROUPS.values() for pattern in patterns
              if not any(fits(path, pattern) for path in every)]
    assert not unused


def test_instance_without_a_row() -> None:
    for path, rows in (("oracle", "none"), ("readout.sums", "none")):
        with pytest.raises(SwitchingError, match=f"^{path} must be in one row of the comparison, "
                                                 f"not in {rows}$"):
            group_of(path)


@pytest.mark.slow
def test_a_layer_by_both_estimates() -> None:
    """From Verilog to the table: gates compute the layer, and each row has what it must have."""
    config = AcceleratorConfig(
        rows=3, cols=2, activation_words=128, weight_steps=256, basis_entries=32,
        channel_entries=16, program_words=64, acc_bits=20, sum_bits=33, exponents=4, max_slices=2,
        host_bits=32, max_pool=False, residual=False, reduce=False, move=False)
    case = draw_case(np.random.default_rng(32), config, max_steps=100, form="kernel",
                     residual=False)
    found = switching_of(LayerWork(case.layer, case.x, case.residual), config,
                         Technology.load("28nm"))
    images = [part.image for part in case.program.parts]
    assert found.cycles == sum(predict(image, config).total for image in images)
    events = sum((count_image(image, config).run for image in images), Events())
    counts = {module.path: module.counts for module in found.modules}
    # The netlist counts addresses that change: not where a word is read twice in a row, but also
    # where the address moves without a read, as before and behind a layer.
    basis = counts["readout"]["read_basis_table_76x32"] / 76
    assert 0 < basis <= events.basis_reads + 2 * len(images)
    weights = next(name for name in counts["issue"] if name.startswith("read_weight_buffer_"))
    step = step_format(config).bits
    reads = counts["issue"][weights] / step
    assert events.weight_reads <= reads <= events.weight_reads + 2 * len(images)
    rows = {row.name: row for row in found.groups}
    for name in rows:
        assert rows[name].switching_pj > 0, name
        assert rows[name].events_pj > 0, name
    assert rows["PE registers"].cells == step_register_bits(config) + (
        2 * config.acc_bits * config.rows * config.cols)
    assert found.total.switching_pj == pytest.approx(sum(row.switching_pj for row in found.groups))


@pytest.mark.parametrize("features", [
    {"max_pool": False}, {"max_pool": True}, {"max_pool": True, "binary": True, "rows": 8},
    {"max_pool": True, "rows": 9, "cols": 10},
], ids=["plain", "maximum", "binary", "blocks"])
def test_register_bits_are_those_of_the_netlist(features: dict[str, Any]) -> None:
    config = AcceleratorConfig(**{"rows": 2, "cols": 3, "acc_bits": 17, "basis": False, **features})
    cells = counting_netlist(ProcessingArray(config), "array", "last").cells
    found = sum(module.get("flip_flop", 0) for path, module in cells.items()
                if path.startswith("block_"))
    accumulators = 2 * config.acc_bits * config.rows * config.cols
    assert found == step_register_bits(config) + accumulators


def test_counters_have_classes() -> None:
    assert counter_class("clock") == "clock"
    memory = MemoryClass("read", "weight_buffer", 45, 2048)
    assert counter_class(str(memory)) == memory
    with pytest.raises(ValueError, match=r"^No counter is called 'glitches'$"):
        counter_class("glitches")


def _netlist(**counters: set[str]) -> CountingNetlist:
    return CountingNetlist(verilog="", cells={path: {} for path in ("", *counters)}, counters={
        "": frozenset({"gate"}), **{path: frozenset(names) for path, names in counters.items()}})


@pytest.mark.parametrize(("netlist", "message"), [
    (_netlist(one={"gate"}), "no counter gate of one"),
    (CountingNetlist(verilog="", cells={"": {}}, counters={"": frozenset({"gate", "clock"})}),
     "no counter clock of smartdeal"),
    (CountingNetlist(verilog="", cells={"": {}}, counters={"": frozenset()}),
     "a counter gate of smartdeal"),
])
def test_counters_that_do_not_belong(
    netlist: CountingNetlist, message: str, tmp_path: Path,
) -> None:
    waves = tmp_path / "counters.vcd"
    waves.write_text("$scope module tiny $end\n$var wire 48 # switching_shown_gate $end\n"
                     "$upscope $end\n$enddefinitions $end\n#1\nb101 #\n")
    assert read_counters(waves, _netlist())[0].counts == {"gate": 5}
    with pytest.raises(SwitchingError, match=f"^the waveform has {message}; waveform and netlist "
                                             "do not belong together$"):
        read_counters(waves, netlist)


def test_counters_with_unknown_bits(tmp_path: Path) -> None:
    waves = tmp_path / "counters.vcd"
    waves.write_text("$scope module tiny $end\n$var wire 48 # switching_shown_gate $end\n"
                     "$upscope $end\n$enddefinitions $end\n#1\nbx01 #\n")
    with pytest.raises(WaveformFormatError, match="switching_shown_gate ends with unknown bits"):
        read_counters(waves, _netlist())


def test_system_memory_is_refused() -> None:
    config = AcceleratorConfig(rows=6, cols=16, memory=True)
    work = LayerWork(None, np.zeros(1, np.int8))  # type: ignore[arg-type]
    with pytest.raises(SwitchingError, match="leave --memory out"):
        switching_of(work, config, Technology.load("28nm"))
    with pytest.raises(SwitchingError, match=r"^the table of cells is of 28nm, so .* not by zc706"):
        switching_of(work, AcceleratorConfig(), Technology.load("fpga"))


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
