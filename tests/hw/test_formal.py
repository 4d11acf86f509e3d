"""Proofs with Yosys: what holds for all inputs and states, not for those that a test draws."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from amaranth import *
from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from smartdeal.golden.formats import CoefficientFormat
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.pe import ProcessingElement
from smartdeal.hw.reader import Reader
from smartdeal.hw.registerfile import RegisterFile

_RUN = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in open(sys.argv[1]).read().splitlines():
    libyosys.run_pass(command, design)
"""


def yosys(folder: Path, modules, commands) -> subprocess.CompletedProcess[str]:
    """Run Yosys commands on components, given by the names that their modules get."""
    script = []
    for name, component in modules.items():
        netlist = folder / f"{name}.il"
        netlist.write_text(rtlil.convert(component, name=name))
        script.append(f"read_rtlil {netlist}")
    script += ["setattr -mod -unset top", "proc", "flatten", "memory_map", "opt_clean"]
    (folder / "script.ys").write_text("\n".join([*script, *commands]))
    return subprocess.run([sys.executable, "-c", _RUN, str(folder / "script.ys")], text=True,
                          capture_output=True, check=False)


class NaiveElement(wiring.Component):
    """The PE as its documentation says it, with a multiplication by the coefficient."""

    operand:     Signal
    coefficient: Any
    last:        Signal
    maximum:     Signal
    result:      Signal

    def __init__(self, pe: ProcessingElement, *, mistake: bool):
        self.pe      = pe
        self.mistake = mistake
        super().__init__(pe.signature)

    def elaborate(self, platform):
        m = Module()
        bits    = self.pe.acc_bits
        acc     = Signal(signed(bits), name="running_sum")
        total   = Signal(signed(bits))
        biased  = Signal(8)
        power   = Signal(range(self.pe.fmt.max_magnitude + 1))
        # Registers by the names that they have in the PE, so that Yosys finds them.
        own_operand, code, own_maximum = (
            Signal.like(getattr(self, name), name=f"own_{name}") for name in
            ("operand", "coefficient", "maximum"))
        m.d.sync += [
            own_operand.eq(self.operand), code.eq(self.coefficient),
            own_maximum.eq(self.maximum),
        ]
        m.d.comb += [
            power.eq(Mux(code.valid, 1 << code.exponent, 0)),
            biased.eq(own_operand + 128),
        ]
        with m.If(own_maximum & (biased > acc[:8])):
            m.d.comb += total.eq(biased)
        with m.Else():
            product = own_operand * power
            m.d.comb += total.eq(Mux(code.sign, acc - product, acc + product + self.mistake))
        m.d.sync += acc.eq(Mux(self.last, 0, total))
        with m.If(self.last):
            m.d.sync += self.result.eq(total)
        return m


class SignOfValid(wiring.Component):
    """The PE with what its documentation asks for: no sign without a valid coefficient."""

    operand:     Signal
    coefficient: Any
    last:        Signal
    maximum:     Signal
    result:      Signal

    def __init__(self, pe: ProcessingElement | NaiveElement):
        self.pe = pe
        super().__init__(pe.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.pe = pe = self.pe
        m.d.comb += [
            pe.operand.eq(self.operand), pe.coefficient.eq(self.coefficient),
            pe.coefficient.sign.eq(self.coefficient.sign & self.coefficient.valid),
            pe.last.eq(self.last), pe.maximum.eq(self.maximum), self.result.eq(pe.result),
        ]
        return m


@pytest.mark.parametrize("exponents", [1, 4, 8])
@pytest.mark.parametrize("mistake", [False, True])
def test_pe_is_multiply_accumulate(tmp_path, mistake, exponents):
    pe = ProcessingElement(fmt=CoefficientFormat(exponents), acc_bits=18, max_pool=True)
    gold = SignOfValid(NaiveElement(pe, mistake=mistake))
    result = yosys(tmp_path, {"gold": gold, "gate": SignOfValid(pe)}, [
        "equiv_make gold gate both", "hierarchy -top both", "equiv_simple", "equiv_induct",
        "equiv_status",
    ])
    assert ("Equivalence successfully proven" in result.stdout) == (not mistake), result.stdout
    assert ("and 0 are unproven" in result.stdout) == (not mistake), result.stdout
    assert "are unproven" in result.stdout, result.stdout


class HeldStream(wiring.Component):
    """Watch the rules of a stream's sender: valid and payload hold until the transfer."""

    ready:  Signal
    broken: Signal

    def __init__(self, dut, stream):
        self.dut, self.stream = dut, stream
        inputs = {path[0]: In(member.shape) for path, member, _ in dut.signature.flatten(dut)
                  if member.flow is In and len(path) == 1}
        super().__init__({**inputs, "ready": In(1), "broken": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self.dut
        for name in self.signature.members:
            if name not in ("ready", "broken"):
                m.d.comb += getattr(self.dut, name).eq(getattr(self, name))
        waiting, payload = Signal(), Signal.like(self.stream.payload)
        m.d.comb += [
            self.stream.ready.eq(self.ready),
            self.broken.eq(waiting & (~self.stream.valid | (self.stream.payload != payload))),
        ]
        m.d.sync += [
            waiting.eq(self.stream.valid & ~self.stream.ready),
            payload.eq(self.stream.payload),
        ]
        return m


@pytest.mark.parametrize("cols", [3, 16])
def test_store_stream_never_takes_back_a_beat(tmp_path, cols):
    config = AcceleratorConfig(rows=3, cols=cols, host_bits=32, activation_words=16)
    reader = Reader(config, read_latency=4)
    result = yosys(tmp_path, {"top": HeldStream(reader, reader.o)}, [
        "hierarchy -top top", "flatten",
        "sat -tempinduct -maxsteps 3 -prove broken 0 -set rst 0 top",
    ])
    assert "Induction step proven: SUCCESS!" in result.stdout, result.stdout + result.stderr


class AnswersWithin(wiring.Component):
    """Watch that a register transfer ends in time."""

    valid:  Signal
    broken: Signal

    def __init__(self, dut, cycles):
        self.dut, self.cycles = dut, cycles
        super().__init__({"valid": In(1), "write": In(1), "address": In(8), "write_data": In(32),
                          "broken": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self.dut
        waited = Signal(range(self.cycles + 2))
        for name in ("valid", "write", "address", "write_data"):
            m.d.comb += getattr(self.dut.bus, name).eq(getattr(self, name))
        with m.If(~self.valid | self.dut.bus.ready):
            m.d.sync += waited.eq(0)
        with m.Elif(waited <= self.cycles):
            m.d.sync += waited.eq(waited + 1)
        m.d.comb += self.broken.eq(waited > self.cycles)
        return m


@pytest.mark.parametrize(("cycles", "holds"), [(3, True), (2, False)])
def test_register_bus_always_answers(tmp_path, cycles, holds):
    registers = RegisterFile(AcceleratorConfig(rows=3, cols=4))
    result = yosys(tmp_path, {"top": AnswersWithin(registers, cycles)}, [
        "hierarchy -top top", "flatten",
        "sat -tempinduct -maxsteps 8 -prove broken 0 -set-init-zero top",
    ])
    assert ("Induction step proven: SUCCESS!" in result.stdout) == holds, result.stdout
    assert ("SAT temporal induction proof finished - model found" in result.stdout) != holds
