"""One point: a network in a form on an accelerator, by the models alone."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from smartdeal.compiler import CompileError, NetworkProgram, compile_network
from smartdeal.golden.decompose import FormError
from smartdeal.golden.graph import float_graph
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.golden.sensitivity import agreement
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.energy.model import cost_of_program
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.explore.space import Candidate
from smartdeal.sim.workload import default_images, load_model

__all__ = ["Task", "evaluate", "integer_network", "program_of"]

#: Networks and programs that a process keeps: the order of candidates makes neighbours share them.
_KEPT = 16


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every point of an exploration has in common.

    Parameters
    ----------
    network : str
    technology : str
        Table of energies.
    clock_mhz : float or None
        None takes the table's.
    memory : bool
        Programs load from system memory by themselves; otherwise the network stays on chip.
    seed : int
        Of seeded weights.
    """

    network: str
    technology: str
    clock_mhz: float | None
    memory: bool
    seed: int = 0

    @property
    def mode(self) -> str:
        """What a point's program does about external memory, in words."""
        return "system memory" if self.memory else "on chip"


@lru_cache(maxsize=2)
def _model(network: str, seed: int) -> tuple[Any, str, torch.Tensor]:
    model, source = load_model(network, None, seed)
    return model, source, default_images(model, seed)


@lru_cache(maxsize=_KEPT)
def integer_network(network: str, seed: int, form: str, exponents: int) -> IntegerNetwork:
    """Return the network in integers; the accelerator's sizes do not matter to it."""
    model, _, images = _model(network, seed)
    options = FormOptions(exponents=exponents, restarts=0)
    return quantise_network(model, images, form, options, AcceleratorConfig().sum_bits)


@lru_cache(maxsize=_KEPT)
def _fidelity(network: str, seed: int, form: str, exponents: int) -> tuple[float, float] | None:
    """Return loss and share of equal classes on calibration images; None for seeded weights."""
    model, source, images = _model(network, seed)
    if "trained" not in source:
        return None
    found = agreement(float_graph(model), integer_network(network, seed, form, exponents), images)
    return found.loss, found.same


@lru_cache(maxsize=2)
def _technology(name: str) -> Technology:
    return Technology.load(name)


def program_of(candidate: Candidate, task: Task) -> NetworkProgram:
    """Compile a candidate; :exc:`CompileError` if the network does not fit it."""
    network = integer_network(task.network, task.seed, candidate.form, candidate.exponents)
    return compile_network(network, candidate.config(memory=task.memory))


def evaluate(candidate: Candidate, task: Task) -> dict[str, Any]:
    """Return latency, energy and fidelity of a candidate, as JSON values.

    ``cycles`` of a point on chip include the host's loading and storing; ``compute_cycles`` are
    what the accelerator's counter shows. A network that does not fit gives ``refusal``.
    """
    torch.set_num_threads(1)
    try:
        program = program_of(candidate, task)
    except (CompileError, FormError) as error:
        return {"refusal": str(error)}
    technology = _technology(task.technology)
    cost = cost_of_program(program)
    picojoules = sum(cost.energy(technology).values())
    clock = task.clock_mhz or technology["clock"]
    milliseconds = cost.cycles / clock / 1e3
    fidelity = _fidelity(task.network, task.seed, candidate.form, candidate.exponents)
    loss, same = fidelity or (None, None)
    # Only the energy of events: no table knows leakage.
    return {"cycles": cost.cycles, "compute_cycles": cost.compute_cycles,
            "latency_ms": milliseconds, "energy_uj": picojoules * 1e-6,
            "mw": picojoules * 1e-6 / milliseconds,
            "loss": loss, "same": same}
