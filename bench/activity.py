"""A second estimate of one layer's energy: switching activity of our own netlist.

    python bench/activity.py

The accelerator's Verilog becomes gates (Yosys, not optimised; memories stay memories), the gates
run a layer under Verilator, and every net's toggles are counted per module while the program runs.
A toggle charges one net of a capacitance class, a flip-flop's clock pin is charged every cycle.
Beside it stands the event model of the same run. Memories themselves are in neither.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from smartdeal.hw import verilog
from smartdeal.hw.accelerator import Accelerator
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.cases import draw_case
from smartdeal.sim.device import TOP
from smartdeal.sim.energy.price import price
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.energy.walk import count_image
from smartdeal.sim.energy.waveform import edges, header
from smartdeal.sim.host import Host
from smartdeal.sim.latency import predict
from smartdeal.sim.runner import build_simulator, run_job

CONFIG = AcceleratorConfig(rows=6, cols=4, activation_words=256, weight_steps=128,
                           channel_entries=16, basis_entries=16, program_words=32)
#: Capacitance classes, 28 nm at 0.9 V: a local net with the pins of its two or three readers, and
#: a flip-flop's clock pin with its share of the tree.
NET_FF, CLOCK_FF, VOLTS = 1.8, 1.2, 0.9
NET_PJ = NET_FF * VOLTS**2 / 2 / 1000
CLOCK_PJ = CLOCK_FF * VOLTS**2 / 1000

_SCRIPT = ("read_verilog -sv {source}; hierarchy -top {top}; proc; opt; memory -nomap; opt -full; "
           "techmap; opt -fast; opt_clean; "
           "tee -q -o {stat} stat -json -hierarchy; write_verilog -noattr {target}")
_RUN = ("import sys; from pyosys import libyosys as ys; d = ys.Design()\n"
        "for p in sys.argv[1].split(';'): ys.run_pass(p.strip(), d)")

#: Scopes below the top by the component of the event model that they are.
_SCOPES = (("array.row", "PEs"), ("array", "read-out"), ("readout.basis", "basis"),
           ("readout.requantise", "requantise"), ("readout.channel", "requantise"),
           ("readout.residual", "requantise"), ("readout", "read-out"),
           ("activations", "activation rotator"), ("", "control"))
_EVENTS = {"PEs": ("PE shift", "PE add", "PE registers"), "read-out": ("read-out",),
           "basis": ("basis",), "requantise": ("requantise",), "control": ("control",)}


def component(path: str) -> str:
    """Return the component that a signal or instance belongs to."""
    return next(name for start, name in _SCOPES if path.startswith(start))


def gates(folder: Path) -> tuple[str, dict]:
    """Return the netlist, and Yosys' statistics of it."""
    source, target, stat = (folder / name for name in ("rtl.v", "gates.v", "stat.json"))
    source.write_text(verilog.emit(Accelerator(CONFIG), TOP))
    subprocess.run([sys.executable, "-c", _RUN, _SCRIPT.format(
        source=source, target=target, stat=stat, top=TOP)], check=True, capture_output=True)
    text = stat.read_text()
    # Names that begin with an underscore would not be in the waveform.
    netlist = re.sub(r"\b_(\d+)_(?=\W)", r"net\1", target.read_text())
    return netlist, json.loads(text[text.index("{"):])


def flip_flops(statistics: dict) -> Counter[str]:
    """Return the flip-flops of each component."""
    modules = {name.lstrip("\\"): module["num_cells_by_type"]
               for name, module in statistics["modules"].items()}
    found: Counter[str] = Counter()

    def visit(module: str, path: str) -> None:
        for cell, count in modules[module].items():
            if cell.startswith(("$_DFF", "$_SDFF", "$_ALDFF")):
                found[component(path)] += count
            elif cell.lstrip("\\") in modules:
                name = cell.lstrip("\\")
                for _ in range(count):
                    visit(name, f"{path}.{name.rpartition('.')[2]}" if path else
                          name.rpartition(".")[2])

    visit(TOP, "")
    return found


def toggles(waves: Path) -> Counter[str]:
    """Return toggled bits of each component while the program runs; a joined net counts once."""
    owner: dict[str, str] = {}
    busy = clock = ""
    for variable in header(waves):
        path = variable.path.removeprefix(f"{TOP}.")
        if path == "control.busy":
            busy = variable.key
        clock = variable.key if path == "clk" else clock
        depth = path.count(".")
        if "[" not in path or depth > owner.get(variable.key, "").count("."):
            owner[variable.key] = max(owner.get(variable.key, ""), path,
                                      key=lambda p: p.count("."))
    owner.pop(clock, None)
    found: Counter[str] = Counter()
    running = False

    def changed(key: str, old: int, new: int) -> None:
        nonlocal running
        running = bool(new) if key == busy else running
        if running:
            found[owner[key].rpartition(".")[0]] += (old ^ new).bit_count()

    for _ in edges(waves, clock, owner, changed):
        pass
    total: Counter[str] = Counter()
    for scope, count in found.items():
        total[component(scope)] += count
    return total


def main() -> None:
    """Print the table."""
    case = draw_case(np.random.default_rng(4), CONFIG, form="kernel", channels=4, filters=4,
                     height=6, width=6, stride=1, padding=(1, 1, 1, 1), residual=True,
                     density=0.8)
    part, = case.program.parts
    # Activations as behind a ReLU: half of them the zero point, the rest small.
    rng = np.random.default_rng(5)
    x = np.clip(np.maximum(rng.normal(0, 40, case.x.shape), 0), 0, 127).astype(np.int8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        netlist, statistics = gates(folder)
        host = Host(CONFIG)
        host.load(part.image)
        host.load(part.data_image(x, case.residual))
        host.start()
        host.finish(1_000_000)
        waves = folder / "run.vcd"
        ports = ["clk", "rst", *(port.name for port in verilog.ports(Accelerator(CONFIG)))]
        built = build_simulator(netlist, TOP, ports, waves=waves)
        outcome, = host.outcomes(run_job(built, host.job()))
        cycles = predict(part.image, CONFIG).total
        if not outcome.finished or outcome.cycles.total != cycles:
            raise SystemExit("the netlist does not run the layer as the Verilog does")
        switched = toggles(waves)
    clocked = flip_flops(statistics)
    table = Technology.load("28nm")
    model = price(count_image(part.image, CONFIG).run, cycles, 0, CONFIG, table)
    print(f"{CONFIG.rows} × {CONFIG.cols}, 3×3 layer 4 → 4 on 6 × 6, {cycles:,} cycles; a toggle "
          f"{NET_PJ * 1000:.2f} fJ, a clock pin {CLOCK_PJ * 1000:.2f} fJ per cycle\n")
    print("| module | flip-flops | toggles per cycle | nets | clock pins | netlist | event model "
          "(28nm) | ratio |\n|---|---|---|---|---|---|---|---|")
    for name in ("PEs", "read-out", "basis", "requantise", "control", "activation rotator"):
        nets, pins = switched[name] * NET_PJ, clocked[name] * cycles * CLOCK_PJ
        counted = sum(model[part] for part in _EVENTS.get(name, ()))
        ratio = f"{(nets + pins) / counted:.2f}" if counted else "–"
        print(f"| {name} | {clocked[name]:,} | {switched[name] / cycles:,.1f} | {nets / 1e3:.2f} nJ"
              f" | {pins / 1e3:.2f} nJ | {(nets + pins) / 1e3:.2f} nJ | "
              f"{counted / 1e3:.2f} nJ | {ratio} |")


if __name__ == "__main__":
    main()
