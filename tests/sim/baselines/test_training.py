"""One training step by hand, and what must not cost more."""

import pytest

from smartdeal.sim.baselines.shapes import ShapeNetwork, Sparsity, WeightShape
from smartdeal.sim.baselines.training import Scheme, training_step
from smartdeal.sim.energy.arithmetic import add_pj, multiply_pj
from smartdeal.sim.energy.technology import Technology

DENSE = Scheme(name="dense", weight_bits=32, data_bits=32)
FACTORED = Scheme(name="smartdeal", weight_bits=0, data_bits=32, momentum=False)
TABLE = Technology.load("45nm")


def one(zeros: float) -> ShapeNetwork:
    layer = WeightShape(name="c", kind="conv", input="x", input_shape=(64, 8, 8), filters=64,
                        kernel=3, padding=1)
    return ShapeNetwork(name="n", title="n", layers=(layer,), sparsity=Sparsity(
        weights=zeros, activations=0.5, source=""))


def test_dense_by_hand() -> None:
    cost, net = training_step(one(0.5), DENSE, TABLE, batch=2), one(0.5)
    assert cost.weight_bytes == net.weights * 4
    assert cost.training_bytes == net.weights * 8
    assert cost.energy["computing"] == pytest.approx(3 * net.macs * 2 * (
        multiply_pj(32, 32, TABLE) + add_pj(48, TABLE)))
    moved = 3 * net.weights * 4 + 2 * net.weights * 4 + 2 * net.weights * 4
    assert cost.energy["DRAM"] == pytest.approx(TABLE["dram"] * (moved + 4 * 4096 * 4 * 2))


def test_smartdeal_storage_by_hand() -> None:
    cost = training_step(one(0.5), FACTORED, TABLE)
    bits = 64 * (192 + 192 * 3 * 0.5 * 4 + 9 * 32)
    assert cost.weight_bytes == bits / 8


def test_factored_is_cheaper_and_zeros_help() -> None:
    dense = training_step(one(0.5), DENSE, TABLE)
    found = [training_step(one(zeros), FACTORED, TABLE) for zeros in (0.0, 0.4, 0.8)]
    energies = [cost.total_pj for cost in found]
    assert energies == sorted(energies, reverse=True)
    assert energies[0] < dense.total_pj
    # Dense training does not see zeros.
    assert training_step(one(0.9), DENSE, TABLE) == dense


def test_an_empty_batch() -> None:
    with pytest.raises(ValueError, match=r"^batch must be at least 1, not 0$"):
        training_step(one(0), DENSE, TABLE, batch=0)
