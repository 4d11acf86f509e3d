"""The accelerator as gates that count how often they switch.

Yosys maps the Verilog, module by module, to two-input gates, multiplexers and flip-flops; memories
stay memories. Every module then gets counters, one per class of cells: cells whose output differs
from that of the cycle before, flip-flops that are clocked, bits of memory that are read and
written. The simulator sums them up; no waveform of the gates is ever written.
"""

import json
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from smartdeal.boards.tools import run_tool, yosys_command
from smartdeal.hw.verilog import emit

__all__ = ["CELL_CLASSES", "CLOCKED", "CountingNetlist", "MemoryClass", "counter_class",
           "counting_netlist"]

#: By class of cells, those of Yosys' gate library that belong to it, and the port that switches.
CELL_CLASSES: dict[str, tuple[tuple[str, ...], str]] = {
    "gate": (("$_NOT_", "$_BUF_", "$_AND_", "$_NAND_", "$_OR_", "$_NOR_", "$_ANDNOT_",
              "$_ORNOT_"), "Y"),
    "complex": (("$_XOR_", "$_XNOR_", "$_MUX_", "$_NMUX_"), "Y"),
    "flip_flop": (("$_DFF_P_", "$_DFFE_PP_", "$_SDFF_PP0_", "$_SDFF_PP1_", "$_SDFFE_PP0P_",
                   "$_SDFFE_PP1P_", "$_SDFFCE_PP0P_", "$_SDFFCE_PP1P_"), "Q"),
}
#: The class of a flip-flop's clock pin: a flip-flop with enable counts while that is high.
CLOCKED = "clock"
_PREFIX = "switching"
_CLASS_OF = {cell: name for name, (cells, _) in CELL_CLASSES.items() for cell in cells}
_WORD = 64  # bits of a vector that is compared at once
_COUNTER_BITS = 48
#: Not ``flatten``: equal modules are mapped once, and cells belong to their module. ABC's own
#: script would search for equal nodes by proofs, which takes minutes and changes little.
_SCRIPT = ("read_verilog design.v", "hierarchy -check -top {top}", "proc", "opt_expr", "opt_dff",
           "alumacc", "memory -nomap", "opt_clean", "techmap",
           "dfflegalize -cell $_DFF_P_ 01 -cell $_DFFE_PP_ 01 -cell $_SDFF_PP?_ 01 "
           "-cell $_SDFFE_PP?P_ 01 -cell $_SDFFCE_PP?P_ 01",
           "abc -script +strash;dc2;map,-a -g AND,NAND,OR,NOR,ANDNOT,ORNOT,XOR,XNOR,MUX",
           "opt_clean", "rename -enumerate -pattern g%", "write_json design.json",
           "write_verilog -noattr -norename design.v")


@dataclass(frozen=True)
class MemoryClass:
    """A counter of bits read or written of a memory.

    Parameters
    ----------
    access : "read" or "write"
    memory : str
        Its name in the module.
    bits, words : int
        Of the memory.
    """

    access: str
    memory: str
    bits: int
    words: int

    def __str__(self) -> str:
        return f"{self.access}_{self.memory}_{self.bits}x{self.words}"


def counter_class(name: str) -> str | MemoryClass:
    """Return what a counter of the netlist counts, from its class' name.

    Raises
    ------
    ValueError
        If no counter has this name.
    """
    if name in CELL_CLASSES or name == CLOCKED:
        return name
    found = re.fullmatch(r"(read|write)_(\w+)_(\d+)x(\d+)", name)
    if found is None:
        raise ValueError(f"No counter is called {name!r}")
    return MemoryClass(found[1], found[2], int(found[3]), int(found[4]))


@dataclass(frozen=True, kw_only=True)
class CountingNetlist:
    """A netlist that counts.

    Parameters
    ----------
    verilog : str
        The component's ports, and in each module a register ``switching_shown_CLASS`` per class: in
        a waveform nothing else is traced. It takes the counts so far when the window closes.
    cells : dict of dict of int
        By instance (dots between the levels; the top is "") and class, how many cells there are;
        for memories how many bits.
    counters : dict of set of str
        By instance, the classes that have a counter.
    """

    verilog: str
    cells: Mapping[str, Mapping[str, int]]
    counters: Mapping[str, frozenset[str]]


def counting_netlist(component: wiring.Component, name: str, window: str) -> CountingNetlist:
    """Map a component to gates and let it count.

    Parameters
    ----------
    component : wiring.Component
        Not elaborated before.
    name : str
        Of the top module.
    window : str
        Counted are the cycles in which this is 1: a port of the component, or INSTANCE.PORT.

    Raises
    ------
    ToolMissing, BuildStepError
        If Yosys is missing, or fails.
    """
    # Not in the system's folder for temporary files: WebAssembly builds do not see it.
    folder = Path(tempfile.mkdtemp(prefix=".smartdeal-gates-", dir=Path.cwd()))
    try:
        (folder / "design.v").write_text(emit(component, name))
        (folder / "gates.ys").write_text("\n".join(_SCRIPT).format(top=name) + "\n")
        run_tool(yosys_command("gates.ys"), what="synthesis", folder=folder,
                 log=folder / "gates.log")
        modules = json.loads((folder / "design.json").read_text())["modules"]
        verilog = (folder / "design.v").read_text()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    counting = {module: _Module(found) for module, found in modules.items()}
    gate = counting[name].window(window)
    instances = dict(_instances(counting, name, ""))
    classes = {module: frozenset(one[0] for one in found.counters())
               for module, found in counting.items()}
    return CountingNetlist(
        verilog=_with_counters(verilog, counting, name, gate),
        cells={path: counting[module].census() for path, module in instances.items()},
        counters={path: classes[module] for path, module in instances.items()})


def _instances(
    modules: Mapping[str, "_Module"], module: str, path: str,
) -> Iterator[tuple[str, str]]:
    yield path, module
    for instance, kind in modules[module].children(modules):
        yield from _instances(modules, kind, f"{path}.{instance}" if path else instance)


class _Module:
    """A module of Yosys' JSON netlist.

    Parameters
    ----------
    found : dict
        Its entry in the netlist.
    """

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._cells = found["cells"]
        self._names = _bit_names(found["netnames"])
        self.outputs: dict[str, list[str]] = defaultdict(list)
        self.enables: dict[str, int] = defaultdict(int)
        self.memories: list[Mapping[str, Any]] = []
        for cell in self._cells.values():
            kind = cell["type"]
            if kind == "$mem_v2":
                self.memories.append(cell)
            elif kind in _CLASS_OF:
                name = _CLASS_OF[kind]
                self.outputs[name].append(self._bit(cell["connections"][CELL_CLASSES[name][1]][0]))
                if name == "flip_flop":
                    enable = cell["connections"].get("E", ["1"])[0]
                    self.enables[self._bit(enable)] += 1
            elif kind.startswith("$"):
                raise ValueError(f"cell {kind} is of no class")

    def _bit(self, bit: int | str) -> str:
        if isinstance(bit, str):
            return "1'b1" if bit == "1" else "1'b0"
        return self._names[bit]

    def _bits(self, bits: Iterable[int | str]) -> str:
        return "{" + ", ".join(self._bit(bit) for bit in reversed(list(bits))) + "}"

    def children(self, modules: Mapping[str, "_Module"]) -> list[tuple[str, str]]:
        """Return instance and module of each submodule."""
        return [(name, cell["type"]) for name, cell in self._cells.items()
                if cell["type"] in modules]

    def window(self, window: str) -> str:
        """Return the Verilog of the bit at a port of the module or of an instance in it."""
        instance, _, port = window.rpartition(".")
        if not instance:
            return f"\\{port} "
        return self._bit(self._cells[instance]["connections"][port][0])

    def census(self) -> dict[str, int]:
        """Return the number of cells by class; bits of memories."""
        found = {name: len(outputs) for name, outputs in self.outputs.items()}
        for cell in self.memories:
            bits, words = _size(cell)
            found["memory"] = found.get("memory", 0) + bits * words
        return found

    def counters(self) -> Iterator[tuple[str, str, str]]:
        """Yield class, declarations, and how many of the class switch in a cycle."""
        for name, outputs in self.outputs.items():
            text, terms = "", []
            for at in range(0, len(outputs), _WORD):
                bits = outputs[at:at + _WORD]
                now = f"{_PREFIX}_{name}_{at}"
                text += (f"  wire [{len(bits) - 1}:0] {now} = {{{', '.join(bits)}}};\n"
                         f"  reg [{len(bits) - 1}:0] {now}_before = 0;\n"
                         f"  always @(posedge {{clock}}) {now}_before <= {now};\n")
                terms.append(_ones(f"{now} ^ {now}_before"))
            yield name, text, " + ".join(terms)
        if self.enables:
            yield CLOCKED, "", " + ".join(
                f"(({enable}) ? {_COUNTER_BITS}'d{count} : {_COUNTER_BITS}'d0)"
                for enable, count in self.enables.items())
        yield from self._memory_counters()

    def _memory_counters(self) -> Iterator[tuple[str, str, str]]:
        declarations: dict[str, str] = defaultdict(str)
        terms: dict[str, list[str]] = defaultdict(list)
        for number, cell in enumerate(self.memories):
            bits, words = _size(cell)
            memory = re.sub(r"\W", "_", cell["parameters"]["MEMID"].removeprefix("\\"))
            wires, places = cell["connections"], _parameter(cell, "ABITS")
            for port in range(_parameter(cell, "RD_PORTS")):
                last = f"{_PREFIX}_last_{number}_{port}"
                address = self._bits(wires["RD_ADDR"][port * places:(port + 1) * places])
                enable = self._bit(wires["RD_EN"][port])
                name = str(MemoryClass("read", memory, bits, words))
                # The output does not change where the address does not: no macro would be read.
                declarations[name] += (
                    f"  reg [{places}:0] {last} = 0;\n"
                    f"  always @(posedge {{clock}}) if ({enable}) {last} <= {{1'b1, {address}}};\n")
                terms[name].append(f"(({enable}) && {last} != {{1'b1, {address}}} ? "
                                   f"{_COUNTER_BITS}'d{bits} : {_COUNTER_BITS}'d0)")
            name = str(MemoryClass("write", memory, bits, words))
            terms[name] += [_ones(self._bits(wires["WR_EN"][at:at + bits]))
                            for at in range(0, len(wires["WR_EN"]), bits)]
        for name, found in terms.items():
            if found:
                yield name, declarations[name], " + ".join(found)


def _ones(vector: str) -> str:
    return f"{{{{{_COUNTER_BITS - 32}'d0}}, $countones({vector})}}"


def _parameter(cell: Mapping[str, Any], name: str) -> int:
    return int(cell["parameters"][name], 2)


def _size(cell: Mapping[str, Any]) -> tuple[int, int]:
    return _parameter(cell, "WIDTH"), _parameter(cell, "SIZE")


def _bit_names(nets: Mapping[str, Any]) -> dict[int, str]:
    """Return a Verilog name of every bit of a module."""
    names: dict[int, str] = {}
    for name, net in nets.items():
        bits = net["bits"]
        for place, bit in enumerate(bits):
            index = f"[{place + net.get('offset', 0)}]" if len(bits) > 1 else ""
            # Yosys keeps the backslash of a public name that begins with a dollar sign.
            names.setdefault(bit, f"\\{name.removeprefix(chr(92))} {index}")
    return names


def _with_counters(
    verilog: str, modules: Mapping[str, _Module], top: str, window: str,
) -> str:
    """Return the Verilog with counters at the end of each module."""
    clock, opened = f"{top}.clk", f"{top}.{_PREFIX}_open"
    parts: list[str] = []
    module = ""
    header = within = False
    for line in verilog.splitlines(keepends=True):
        if line.startswith("module "):
            module = line.split()[1].split("(")[0].removeprefix("\\")
            header = True
        if header:  # of one line or many
            parts.append(line)
            header = not line.rstrip().endswith(");")
            if not header:  # no_inline: compiled once, not once per instance
                parts.append("  /* verilator no_inline_module */\n"
                             "  /* verilator tracing_off */\n")
            continue
        first = line.split(maxsplit=1)[:1]
        if first and first[0].removeprefix("\\") in modules:  # an instance, and all that is in it
            parts.append("  /* verilator tracing_on */\n")
            within = True
        elif within and line.startswith("  );"):
            parts.append(line + "  /* verilator tracing_off */\n")
            within = False
            continue
        if line.startswith("endmodule"):
            if module == top:
                parts.append(f"  wire {_PREFIX}_open = {window};\n"
                             f"  reg {_PREFIX}_was_open = 0;\n"
                             f"  always @(posedge clk) {_PREFIX}_was_open <= {_PREFIX}_open;\n"
                             f"  wire {_PREFIX}_close = {_PREFIX}_was_open & ~{_PREFIX}_open;\n")
            for name, declarations, switched in modules[module].counters():
                total, shown = f"{_PREFIX}_total_{name}", f"{_PREFIX}_shown_{name}"
                width = _COUNTER_BITS - 1
                parts.append(
                    declarations.replace("{clock}", clock)
                    + f"  reg [{width}:0] {total} = 0;\n"
                    f"  /* verilator tracing_on */\n"
                    f"  reg [{width}:0] {shown} = 0;\n"
                    f"  /* verilator tracing_off */\n"
                    f"  always @(posedge {clock}) begin\n"
                    f"    if ({opened}) {total} <= {total} + ({switched});\n"
                    f"    if ({top}.{_PREFIX}_close) {shown} <= {total};\n"
                    "  end\n")
            parts.append("  /* verilator tracing_on */\n")  # or the next module is not traced
        parts.append(line)
    return "".join(parts)
