"""Transistors of a PE, of a multiply-accumulate and of a bit-serial MAC, by Yosys' CMOS estimate.

    python bench/gates.py

Equal compute budgets of `smartdeal compare` rest on these numbers (docs/baselines.md). All three
have a 24-bit accumulator; the PE also has the result register of its double buffering and registers
for what it is given.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from smartdeal.golden.formats import CoefficientFormat
from smartdeal.hw import verilog
from smartdeal.hw.pe import ProcessingElement

_MAC = """
module mac(input clk, input rst, input signed [7:0] x, input signed [7:0] w, input last,
           output reg signed [23:0] acc);
  wire signed [23:0] sum = acc + x * w;
  always @(posedge clk) if (rst | last) acc <= 0; else acc <= sum;
endmodule
"""
# One Booth digit (-2…2) a cycle, at one of four places: SmartExchange, section IV, as recalled.
_SERIAL = """
module serial(input clk, input rst, input signed [7:0] w, input minus, input two, input valid,
              input [1:0] place, input last, output reg signed [23:0] acc);
  wire signed [8:0] once = two ? {w, 1'b0} : {w[7], w};
  wire signed [8:0] gated = (once & {9{valid}}) ^ {9{minus}};
  wire signed [15:0] moved = {gated, {7{minus}}} >>> (2'd3 - place) * 2 + 1;
  wire signed [23:0] sum = acc + moved + minus;
  always @(posedge clk) if (rst | last) acc <= 0; else acc <= sum;
endmodule
"""
_SCRIPT = ("read_verilog -sv {file}; synth -flatten -noabc -top {top}; "
           "dfflegalize -cell $_DFF_P_ 01; abc -g cmos4; opt_clean; "
           "delete t:$scopeinfo; stat -tech cmos")


def transistors(text: str, top: str) -> int:
    """Return the transistors of a module, registers included."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "design.v"
        file.write_text(text)
        report = subprocess.run(
            [sys.executable, "-c",
             "import sys; from pyosys import libyosys as ys; d = ys.Design(); "
             "[d.run_pass(p.strip()) if hasattr(d, 'run_pass') else ys.run_pass(p.strip(), d) "
             "for p in sys.argv[1].split(';')]",
             _SCRIPT.format(file=file, top=top)],
            check=True, capture_output=True, text=True).stdout
    found = re.search(r"Estimated number of transistors:\s+(\d+)$", report, re.MULTILINE)
    if found is None:
        raise SystemExit(f"Yosys gave no estimate for {top}:\n{report[-2000:]}")
    return int(found[1])


def main() -> None:
    """Print the table."""
    pe = ProcessingElement(fmt=CoefficientFormat(8), acc_bits=24, max_pool=False)
    designs = {"8 × 8 multiply-accumulate": (_MAC, "mac"), "shift-and-add PE":
               (verilog.emit(pe, "pe"), "pe"), "bit-serial Booth MAC": (_SERIAL, "serial")}
    counts = {name: transistors(*design) for name, design in designs.items()}
    mac = counts["8 × 8 multiply-accumulate"]
    print("| | transistors | of a multiply-accumulate |\n|---|---|---|")
    for name, count in counts.items():
        print(f"| {name} | {count:,} | {count / mac:.2f} |")


if __name__ == "__main__":
    main()
