"""Storage and energy of one training step, SmartDeal beside dense training.

    python bench/training.py

The paper's ratios are 10.56 × storage and 4.48 × energy, of a set-up that public descriptions do
not give (docs/energy.md).
"""

from smartdeal.sim.baselines.shapes import network
from smartdeal.sim.baselines.training import Scheme, training_step
from smartdeal.sim.energy.technology import Technology

_SCHEMES = (Scheme(name="dense, 32 bits", weight_bits=32, data_bits=32),
            Scheme(name="dense, 8 bits", weight_bits=8, data_bits=8),
            Scheme(name="SmartDeal, 32 bits", weight_bits=0, data_bits=32, momentum=False),
            Scheme(name="SmartDeal, 8 bits", weight_bits=0, data_bits=8, momentum=False))


def main() -> None:
    """Print the table."""
    for table in ("28nm", "45nm"):
        technology = Technology.load(table)
        print(f"\nTable {table}, batch 128; ratios to dense training in 32 bits\n\n"
              "| network | zero vectors | | weights | with the update's state | storage | energy "
              "| of it DRAM | ratio |\n|---|---|---|---|---|---|---|---|---|")
        for name, zeros in (("resnet18", 0.5), ("resnet50", 0.45), ("resnet164", 0.376)):
            net = network(name, zeros)
            base = training_step(net, _SCHEMES[0], technology)
            for scheme in _SCHEMES:
                cost = training_step(net, scheme, technology)
                print(f"| {net.title} | {zeros:.1%} | {scheme.name} | "
                      f"{cost.weight_bytes / 1e6:.2f} MB | {cost.training_bytes / 1e6:.2f} MB | "
                      f"{base.weight_bytes / cost.weight_bytes:.2f} × | "
                      f"{cost.total_pj / 1e12:.3f} J | {cost.energy['DRAM'] / cost.total_pj:.0%} "
                      f"| {base.total_pj / cost.total_pj:.2f} × |")


if __name__ == "__main__":
    main()
