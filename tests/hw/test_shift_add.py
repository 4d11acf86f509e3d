"""The shift-and-add of each technology, proven equal to a multiply-accumulate for all inputs."""

import subprocess
import sys
from pathlib import Path

import pyosys
import pytest
from amaranth import *
from amaranth.lib import wiring

from smartdeal.golden.formats import CoefficientFormat
from smartdeal.hw.shift_add import ShiftAdd
from smartdeal.hw.technology import Technology
from smartdeal.hw.verilog import emit

_RUN = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in open(sys.argv[1]).read().splitlines():
    libyosys.run_pass(command, design)
"""
#: Simulation models of the cells that a technology names.
_MODELS = {Technology.GENERIC: None, Technology.ECP5: "lattice/cells_sim_ecp5.v"}


class MultiplyAdd(wiring.Component):
    """What the documentation says, with a multiplication."""

    running_sum: Signal
    operand:     Signal
    valid:       Signal
    sign:        Signal
    exponent:    Signal
    total:       Signal

    def __init__(self, dut: ShiftAdd, *, mistake: bool):
        self.dut, self.mistake = dut, mistake
        super().__init__(dut.signature)

    def elaborate(self, platform):
        m = Module()
        valid, sign, operand, exponent = (
            Signal.like(getattr(self, name), name=f"own_{name}")
            for name in ("valid", "sign", "operand", "exponent"))
        m.d.sync += [
            valid.eq(self.valid), sign.eq(self.sign), operand.eq(self.operand),
            exponent.eq(self.exponent),
        ]
        power = Signal(1 << self.dut.fmt.exponent_bits)
        m.d.comb += power.eq(1 << exponent)
        product = operand * power
        with m.If(valid):
            m.d.comb += self.total.eq(Mux(sign, self.running_sum - product,
                                          self.running_sum + product + self.mistake))
        with m.Else():
            m.d.comb += self.total.eq(self.running_sum)
        return m


class SignOfValid(wiring.Component):
    """The component with what its documentation asks for: no sign without ``valid``."""

    running_sum: Signal
    operand:     Signal
    valid:       Signal
    sign:        Signal
    exponent:    Signal
    total:       Signal

    def __init__(self, dut: ShiftAdd):
        self.dut = dut
        super().__init__(dut.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [
            dut.running_sum.eq(self.running_sum), dut.operand.eq(self.operand),
            dut.exponent.eq(self.exponent),
            dut.valid.eq(self.valid), dut.sign.eq(self.sign & self.valid),
            self.total.eq(dut.total),
        ]
        return m


def proof(folder: Path, technology: Technology, exponents: int, mistake: bool) -> str:
    """Return what Yosys prints of a proof."""
    fmt = CoefficientFormat(exponents)
    designs = {
        "gold": (MultiplyAdd(ShiftAdd(fmt=fmt, acc_bits=20), mistake=mistake), None),
        "gate": (SignOfValid(ShiftAdd(fmt=fmt, acc_bits=20)), technology),
    }
    script = []
    for name, (component, cells) in designs.items():
        (folder / f"{name}.v").write_text(emit(component, name, technology=cells))
        script.append(f"read_verilog {folder / name}.v")
    if models := _MODELS[technology]:
        script.append(f"read_verilog -D NO_INCLUDES {Path(pyosys.__file__).parent}/share/{models}")
    script += ["hierarchy", "proc", "flatten", "opt_clean",
               "miter -equiv -flatten -make_outputs gold gate both",
               "sat -verify -tempinduct -set-init-zero -prove trigger 0 both"]
    (folder / "script.ys").write_text("\n".join(script))
    return subprocess.run([sys.executable, "-c", _RUN, str(folder / "script.ys")], text=True,
                          capture_output=True, check=False).stdout


@pytest.mark.parametrize("technology", Technology)
@pytest.mark.parametrize("exponents", [2, 4, 8])
def test_is_multiply_add(tmp_path, technology, exponents):
    said = proof(tmp_path, technology, exponents, mistake=False)
    assert "Induction step proven: SUCCESS!" in said, said[-3000:]


@pytest.mark.parametrize("technology", Technology)
def test_proof_can_fail(tmp_path, technology):
    said = proof(tmp_path, technology, 8, mistake=True)
    assert "model found for base case: FAIL!" in said, said[-3000:]
