"""Points of the front, measured again: by synthesis and by simulating the whole network."""

from dataclasses import replace

import pytest

from smartdeal.sim.explore.exploration import Exploration, Plan, explore
from smartdeal.sim.explore.space import Space
from smartdeal.sim.explore.target import Budget, Target
from smartdeal.sim.explore.verify import chosen, verify

_ONE = ("rows=4", "cols=8", "exponents=4", "acc_bits=20", "activation_kib=64",
        "weight_steps=2048", "drain_lanes=1,2", "form=deepshift")


def _explored(target: str, budget: str) -> Exploration:
    where = Target.find(target)
    return explore(Plan(network="resnet8", target=where, budget=Budget.parse([budget], where),
                        space=Space.parse(_ONE), points=10))


def test_chosen() -> None:
    front = _explored("28nm", "mm2=3").front * 3
    assert chosen(front, 0) == []
    assert chosen(front, 1) == [front[0]]
    assert chosen(front, 2) == [front[0], front[-1]]
    assert chosen(front, 100) == list(front)


@pytest.mark.slow
def test_a_point_is_measured() -> None:
    """LUTs by Yosys, cycles and bytes of ResNet-8 in RTL; a model that is off is found out."""
    found = _explored("ulx3s_85f", "lut=30000")
    told: list[str] = []
    measured, = verify(found, 1, lambda what, done: told.append(what))
    assert measured.equal
    assert not measured.failure
    assert measured.cycles_rtl == measured.cycles_model == found.front[0].result["compute_cycles"]
    assert measured.lut_synthesis is not None
    assert measured.lut_synthesis == pytest.approx(measured.lut_model, rel=0.1)
    assert told[0] == "1: RTL"


@pytest.mark.slow
def test_a_stale_point_is_found_out() -> None:
    found = _explored("28nm", "mm2=3")
    first = found.front[0]
    stale = replace(first, result={**first.result,
                                   "compute_cycles": first.result["compute_cycles"] - 1})
    measured, = verify(replace(found, front=(stale,)), 1, lambda what, done: None)
    assert not measured.equal
    assert measured.cycles_rtl == measured.cycles_model + 1
    assert measured.lut_synthesis is None
