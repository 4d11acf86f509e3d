"""Hold each model of a published accelerator against a number that its own paper printed.

    python bench/baselines.py

The table stands in docs/baselines.md with the reasons for what differs.
"""

from dataclasses import replace

from smartdeal.sim.baselines.activity import Activity, energy
from smartdeal.sim.baselines.cambricon_x import CambriconX
from smartdeal.sim.baselines.design import run
from smartdeal.sim.baselines.diannao import DianNao
from smartdeal.sim.baselines.digits import mean_and_most
from smartdeal.sim.baselines.scnn import Scnn
from smartdeal.sim.baselines.shapes import NETWORKS, Sparsity, network
from smartdeal.sim.baselines.smartexchange import SmartExchange
from smartdeal.sim.energy.technology import Technology

_TABLE = Technology.load("28nm")


def _total(design, net) -> tuple[float, float, int]:
    total = sum((activity for _, activity in run(design, net)), Activity())
    return total.cycles, sum(energy(total, _TABLE).values()), total.traffic.total


def diannao() -> str:
    """Return the share of DRAM in layers that use each weight once."""
    linear = [a for layer, a in run(DianNao(), network("vgg11")) if layer.kind == "linear"]
    parts = energy(sum(linear, Activity()), _TABLE)
    return f"{parts['DRAM'] / sum(parts.values()):.1%} in the linear layers of VGG11"


def cambricon_x() -> str:
    """Return the speed-up over dense at the zeros of pruned AlexNet and VGG16."""
    found = []
    for zeros in (0.89, 0.925):
        net = network("vgg11", zeros)
        found.append(f"{_total(DianNao(), net)[0] / _total(CambriconX(), net)[0]:.2f} × at "
                     f"{zeros:.1%} zero weights")
    return ", ".join(found)


def scnn() -> str:
    """Return the speed-up of the convolutions of VGG11 over its own dense version."""
    def cycles(weights: float, activations: float) -> float:
        net = network("vgg11")
        net = replace(net, layers=tuple(x for x in net.layers if x.kind != "linear"),
                      sparsity=Sparsity(weights=weights, activations=activations, source=""))
        return _total(Scnn(), net)[0]

    return f"{cycles(0, 0) / cycles(0.65, 0.55):.2f} × at 65 % zero weights, 55 % activations"


def pragmatic() -> str:
    """Return the speed-up over bit-parallel lanes of the same width, by the digits alone."""
    found = []
    for bits in (16, 8):
        mean, most = mean_and_most("bits", 16, 0.51, bits)
        found.append(f"{bits} bits: {bits / most:.2f} × (by the mean it would be "
                     f"{bits / mean:.2f} ×)")
    return "; ".join(found)


def smartexchange() -> str:
    """Return the ranges over networks against DianNao."""
    rows = []
    for name in NETWORKS:
        net = network(name)
        base, mine = _total(DianNao(), net), _total(SmartExchange(), net)
        rows.append([a / b for a, b in zip(base, mine, strict=True)])
    return "; ".join(f"{what} {min(column):.1f}–{max(column):.1f} ×" for what, column in zip(
        ("speed", "energy", "DRAM"), zip(*rows, strict=True), strict=True))


def main() -> None:
    """Print the table."""
    printed = {
        "DianNao": ("more than 95 % of the energy is DRAM", diannao),
        "Cambricon-X": ("7.23 × speed over its dense baseline", cambricon_x),
        "SCNN": ("2.7 × speed over dense", scnn),
        "Bit-Pragmatic": ("2.6–3.1 × over DaDianNao", pragmatic),
        "SmartExchange": ("over DianNao: speed 8.8–19.2 ×, energy 2.0–6.7 ×, DRAM 1.1–3.5 ×",
                          smartexchange),
    }
    print("| | its paper | this model |\n|---|---|---|")
    for name, (paper, model) in printed.items():
        print(f"| {name} | {paper} | {model()} |")


if __name__ == "__main__":
    main()
