"""A second estimate of a layer's energy: how often the cells of our own netlist switch.

The accelerator is mapped to gates, runs the layer under the simulator, and counts. The result
stands beside the event model, component by component; the two have no count in common.
"""

import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartdeal.boards.gates import (
    CELL_CLASSES,
    CLOCKED,
    CountingNetlist,
    MemoryClass,
    counter_class,
    counting_netlist,
)
from smartdeal.compiler import Program
from smartdeal.hw.accelerator import Accelerator
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.verilog import ports
from smartdeal.sim.device import TOP
from smartdeal.sim.energy.cells import CellTable
from smartdeal.sim.energy.events import Events
from smartdeal.sim.energy.price import price
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.energy.walk import count_image
from smartdeal.sim.energy.waveform import final, header
from smartdeal.sim.latency import predict
from smartdeal.sim.runner import Simulator, build_simulator
from smartdeal.sim.simulate import LayerWork, Progress, simulate_layers

__all__ = ["GROUPS", "Group", "ModuleSwitching", "Switching", "SwitchingError",
           "check_switching", "fits", "group_of", "grouped", "read_counters", "switching_of"]

#: The program runs; that a layer is loaded is not counted on either side.
_WINDOW = "control.busy"
_SHOWN = "switching_shown_"
_FLIP_FLOP = "flip_flop"


class SwitchingError(ValueError):
    """A layer whose switching cannot be counted; the message says why."""


#: What stands in a row: components of the event model, and the instances and memories that are the
#: same hardware. ``*`` stands for anything between two dots, ``**`` for dots, too.
GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "PE shift and add": (("PE shift", "PE add"), ("array.block_*.row_*.pe_*.shift_add**",)),
    "PE registers": (("PE registers",), ("array.block_*", "array.block_*.row_*",
                                         "array.block_*.row_*.pe_*")),
    "read-out": (("read-out",), ("array", "array.chunk_delay", "array.column_**", "array.lane_**",
                                 "readout.sum_stage**")),
    "basis": (("basis",), ("readout.basis_**",)),
    "requantise": (("requantise",), ("readout.requantise_*", "readout.channel_**")),
    "activation buffer": (("activation buffer",), ("activations**",)),
    "weight buffer": (("weight buffer",), ("issue.weight_buffer",)),
    "control": (("control", "transfers"), (
        "", "control**", "issue", "issue.coefficient_delay**", "loader**", "mover**", "reader**",
        "readout", "readout.read_delay**", "readout.vector_delay**", "readout.residual_delay**",
        "readout.sum_delay**", "readout.sum_index_delay**", "readout.pack_delay**",
        "readout.store_delay**", "readout_control**", "registers**")),
}
#: Rows whose gates, or flip-flops, stand in another one: beside its shifter and adder a PE has the
#: gates of its maximum and its count of equal bits; between the two stand registers.
_GATES     = {"PE registers": "PE shift and add"}
_REGISTERS = {"PE shift and add": "PE registers"}


@dataclass(frozen=True, kw_only=True)
class ModuleSwitching:
    """An instance of the netlist.

    Parameters
    ----------
    path : str
        Dots between the levels; the top is "".
    cells : dict of int
        By class; ``memory`` in bits.
    counts : dict of int
        How often cells of each class switched, flip-flops were clocked, bits of memories were read
        and written.
    """

    path: str
    cells: Mapping[str, int]
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Group:
    """A row of the comparison.

    Parameters
    ----------
    name : str
        A key of :data:`GROUPS`.
    cells, toggles : int
        Gates and flip-flops, and how often the output of one changed.
    cells_pj, clock_pj, memory_pj : float
        Energy of outputs, of clock pins, and of memories.
    events_pj : float
        By the event model.
    """

    name: str
    cells: int
    toggles: int
    cells_pj: float
    clock_pj: float
    memory_pj: float
    events_pj: float

    @property
    def switching_pj(self) -> float:
        """Energy by switching."""
        return self.cells_pj + self.clock_pj + self.memory_pj

    @property
    def ratio(self) -> float | None:
        """Switching over events; None where the model has no events."""
        return self.switching_pj / self.events_pj if self.events_pj else None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**vars(self), "switching_pj": self.switching_pj, "ratio": self.ratio}


@dataclass(frozen=True, kw_only=True)
class Switching:
    """A layer by both estimates.

    Parameters
    ----------
    layer : str
    technology, cells : str
        Titles of the tables.
    cycles : int
        In which a program ran.
    groups : tuple of Group
    modules : tuple of ModuleSwitching
    """

    layer: str
    technology: str
    cells: str
    cycles: int
    groups: tuple[Group, ...]
    modules: tuple[ModuleSwitching, ...]

    @property
    def total(self) -> Group:
        """The sum of all rows."""
        sums = {name: sum(vars(group)[name] for group in self.groups)
                for name in vars(self.groups[0]) if name != "name"}
        return Group(name="total", **sums)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"layer": self.layer, "technology": self.technology, "cells": self.cells,
                "cycles": self.cycles, "total": self.total.as_dict(),
                "groups": [group.as_dict() for group in self.groups],
                "modules": [vars(module) for module in self.modules]}


def check_switching(config: AcceleratorConfig, technology: Technology) -> None:
    """Raise :exc:`SwitchingError` if :func:`switching_of` would refuse them."""
    if config.memory:
        raise SwitchingError("switching is counted of a layer that its host loads; leave --memory "
                             "out")
    if technology.name != CellTable.TECHNOLOGY:
        raise SwitchingError(f"the table of cells is of {CellTable.TECHNOLOGY}, so memories and "
                             f"events must be priced by that table, not by {technology.name}; "
                             "leave --tech out")


def switching_of(
    work: LayerWork, config: AcceleratorConfig, technology: Technology, *,
    progress: Progress | None = None,
) -> Switching:
    """Run a layer on the netlist and price how often its cells switch.

    Every byte and every cycle of the netlist is compared with interpreter and model on the way.

    Raises
    ------
    SwitchingError
        If the netlist computes something else, the accelerator uses system memory, or the
        technology is not that of the table of cells.
    CompileError, ToolMissing, BuildStepError, ToolError, BuildError, SimulationError
        If the layer does not fit, or a tool is missing or fails.
    """
    check_switching(config, technology)
    table = CellTable.load()
    tell = progress or (lambda stage, done: None)
    programs: list[Program] = []
    tell("gates", 0.0)
    netlist = counting_netlist(Accelerator(config), TOP, _WINDOW)
    tell("gates", 1.0)
    with tempfile.TemporaryDirectory(prefix="smartdeal-") as folder:
        waves = Path(folder) / "counters.vcd"

        def device() -> Simulator:
            names = ["clk", "rst", *(port.name for port in ports(Accelerator(config)))]
            return build_simulator(netlist.verilog, TOP, names, waves=waves, quick=True)

        report, = simulate_layers([work], config, programs=programs, progress=tell, device=device)
        if not report.bit_exact or not report.cycle_exact:
            raise SwitchingError(f"the netlist does not compute {work.layer.name} as it should "
                                 f"({report.failure or f'{report.bytes_wrong} wrong bytes'}): "
                                 "there is nothing to count")
        modules = read_counters(waves, netlist)
    images = [part.image for part in programs[0].parts]
    events = sum((count_image(image, config).run for image in images), Events())
    cycles = sum(predict(image, config).total for image in images)
    priced = price(events, cycles, 0, config, technology)
    return Switching(
        layer=work.layer.name, technology=technology.name, cells=table.title,
        cycles=cycles, modules=tuple(modules),
        groups=tuple(grouped(modules, technology, table, priced)))


def read_counters(waves: Path, netlist: CountingNetlist) -> list[ModuleSwitching]:
    """Return what the netlist's counters say at the end, instance by instance.

    Raises
    ------
    SwitchingError
        If the waveform does not have exactly the counters of the netlist.
    """
    found = [variable for variable in header(waves) if _SHOWN in variable.path]
    values = final(waves, [variable.key for variable in found])
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for variable in found:
        path, _, name = variable.path.rpartition(".")
        counts[path][name.removeprefix(_SHOWN)] = values[variable.key]
    for path in sorted(counts.keys() | netlist.counters.keys()):
        wanted, there = netlist.counters.get(path, frozenset()), counts.get(path, {}).keys()
        for name in sorted(wanted ^ there):
            raise SwitchingError(f"the waveform has {'a' if name in there else 'no'} counter "
                                 f"{name} of {path or TOP}; waveform and netlist do not belong "
                                 "together")
    if not counts:
        raise SwitchingError("the waveform has no counters")
    return [ModuleSwitching(path=path, cells=dict(classes), counts=counts.get(path, {}))
            for path, classes in netlist.cells.items()]


def grouped(
    modules: Sequence[ModuleSwitching], technology: Technology, table: CellTable,
    priced: Mapping[str, float],
) -> list[Group]:
    """Return the rows: each class of each instance is in exactly one of them.

    Parameters
    ----------
    priced : mapping
        Energy by the event model's components, in pJ.

    Raises
    ------
    SwitchingError
        If an instance or a memory is in no row, or in several.
    """
    sums: dict[str, dict[str, float]] = {name: defaultdict(float) for name in GROUPS}
    for module in modules:
        own = group_of(module.path)
        rows = {name: (_REGISTERS if name == _FLIP_FLOP else _GATES).get(own, own)
                for name in CELL_CLASSES}
        for name, row in rows.items():
            sums[row]["cells"] += module.cells.get(name, 0)
        for name, count in module.counts.items():
            counted = counter_class(name)
            energy = table.energy_pj(counted, count, technology)
            if isinstance(counted, MemoryClass):
                path = f"{module.path}.{counted.memory}" if module.path else counted.memory
                sums[group_of(path)]["memory_pj"] += energy
            elif counted == CLOCKED:
                sums[rows[_FLIP_FLOP]]["clock_pj"] += energy
            else:
                sums[rows[counted]]["cells_pj"] += energy
                sums[rows[counted]]["toggles"] += count
    return [Group(name=name, cells=int(found["cells"]), toggles=int(found["toggles"]),
                  cells_pj=found["cells_pj"], clock_pj=found["clock_pj"],
                  memory_pj=found["memory_pj"],
                  events_pj=sum(priced[component] for component in GROUPS[name][0]))
            for name, found in sums.items()]


def group_of(path: str) -> str:
    """Return the row that an instance or a memory is in.

    Raises
    ------
    SwitchingError
        If it is in none, or in several.
    """
    found = [name for name, (_, patterns) in GROUPS.items()
             if any(fits(path, pattern) for pattern in patterns)]
    if len(found) != 1:
        raise SwitchingError(f"{path or TOP} must be in one row of the comparison, not in "
                             f"{' and '.join(found) or 'none'}")
    return found[0]


def fits(path: str, pattern: str) -> bool:
    """Return whether an instance is meant by a pattern of :data:`GROUPS`."""
    text = re.escape(pattern).replace(r"\*\*", ".*").replace(r"\*", "[^.]*")
    return re.fullmatch(text, path) is not None
