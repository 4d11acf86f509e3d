"""Accelerators side by side: equal compute, equal storage, one technology table."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.baselines.activity import Activity, energy
from smartdeal.sim.baselines.cambricon_x import CambriconX
from smartdeal.sim.baselines.design import BUDGET, Budget, Design, run
from smartdeal.sim.baselines.diannao import DianNao
from smartdeal.sim.baselines.ours import budget_config, cost
from smartdeal.sim.baselines.pragmatic import Pragmatic
from smartdeal.sim.baselines.scnn import Scnn
from smartdeal.sim.baselines.shapes import ShapeNetwork
from smartdeal.sim.baselines.smartexchange import SmartExchange
from smartdeal.sim.energy.residency import Traffic
from smartdeal.sim.energy.technology import Technology

__all__ = ["OURS", "Result", "baselines", "compare", "compare_data"]

#: Name of this accelerator in results.
OURS = "smartdeal"
#: Components of our accelerator, as the coarser ones that all designs have.
_COARSE = {"DRAM": "DRAM", "weight buffer": "buffers", "activation buffer": "buffers",
           "PE shift": "computing", "PE add": "computing", "PE registers": "registers",
           "read-out": "computing", "basis": "computing", "requantise": "computing",
           "control": "registers", "transfers": "registers"}

#: Called with a stage's name and how much of it is done, 0…1.
Progress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Result:
    """A network on an accelerator.

    Parameters
    ----------
    design, title : str
    cycles : float
        Of computing, with all data on chip.
    bound_cycles : float
        Per layer the longer of computing and external memory, summed: both overlap.
    energy : dict of float
        In pJ: DRAM, buffers, computing, registers.
    traffic : Traffic
    """

    design: str
    title: str
    cycles: float
    bound_cycles: float
    energy: dict[str, float]
    traffic: Traffic

    @property
    def total_pj(self) -> float:
        """All energy."""
        return sum(self.energy.values())


def baselines(budget: Budget = BUDGET) -> tuple[Design, ...]:
    """Return the published accelerators, DianNao, to which others are compared, first."""
    return (DianNao(budget), Scnn(budget), CambriconX(budget), Pragmatic(budget),
            SmartExchange(budget))


def _published(
    design: Design, network: ShapeNetwork, technology: Technology, budget: Budget,
) -> Result:
    layers = [activity for _, activity in run(design, network)]
    total = sum(layers, Activity())
    return Result(
        design=design.name, title=design.title, cycles=total.cycles,
        bound_cycles=sum(max(a.cycles, a.traffic.total / budget.dram_bytes_per_cycle)
                         for a in layers),
        energy=energy(total, technology), traffic=total.traffic)


def _own(
    network: ShapeNetwork, config: AcceleratorConfig, technology: Technology, budget: Budget,
    seed: int, progress: Progress | None,
) -> Result:
    found = cost(network, config, seed=seed, progress=progress)
    coarse: dict[str, float] = dict.fromkeys(("DRAM", "buffers", "computing", "registers"), 0.0)
    for name, value in found.energy(technology).items():
        coarse[_COARSE[name]] += value
    return Result(
        design=OURS, title="this accelerator", cycles=found.compute_cycles, energy=coarse,
        bound_cycles=sum(max(layer.cycles.total, layer.traffic.total
                             / budget.dram_bytes_per_cycle) for layer in found.layers),
        traffic=found.traffic)


def compare(
    network: ShapeNetwork, technology: Technology, *, budget: Budget = BUDGET,
    config: AcceleratorConfig | None = None, seed: int = 0, progress: Progress | None = None,
) -> list[Result]:
    """Return the network's results on every accelerator, DianNao first, ours last.

    Parameters
    ----------
    config : AcceleratorConfig, optional
        Ours; what the budget allows by default.

    Raises
    ------
    CompileError
        If a layer does not fit our accelerator.
    """
    results = [_published(design, network, technology, budget) for design in baselines(budget)]
    # What SmartExchange would gain from the rule by which our activations stay on chip.
    kept = SmartExchange(budget, keeps_bytes=SmartExchange(budget).input_bytes)
    kept.name, kept.title = "smartexchange_kept", "SmartExchange, keeping"
    results.append(_published(kept, network, technology, budget))
    return [*results, _own(network, config or budget_config(budget), technology, budget, seed,
                           progress)]


def compare_data(
    found: Sequence[tuple[ShapeNetwork, Sequence[Result]]], technology: Technology,
    budget: Budget, config: AcceleratorConfig,
) -> dict[str, Any]:
    """Return the comparison as JSON values; ratios are to DianNao, larger is better."""
    return {
        "version": metadata.version("smartdeal"), "budget": asdict(budget),
        "technology": {"name": technology.name, "title": technology.title},
        "configuration": config.as_dict(),
        "networks": [{
            "name": network.name, "title": network.title, "macs": network.macs,
            "weights": network.weights, "zero_weights": network.sparsity.weights,
            "zero_activations": network.sparsity.activations, "zeros_from": network.sparsity.source,
            "results": [{
                "design": result.design, "title": result.title, "cycles": result.cycles,
                "bound_cycles": result.bound_cycles, "energy_pj": result.total_pj,
                "energy_by_component_pj": result.energy,
                "dram_bytes": {"weights": result.traffic.weights,
                               "activations in": result.traffic.reads,
                               "activations out": result.traffic.writes},
                "speedup": results[0].cycles / result.cycles,
                "bound_speedup": results[0].bound_cycles / result.bound_cycles,
                "energy_efficiency": results[0].total_pj / result.total_pj,
                "fewer_dram_bytes": results[0].traffic.total / result.traffic.total,
            } for result in results],
        } for network, results in found],
    }
