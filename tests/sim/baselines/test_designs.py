"""Models of published accelerators: invariants that each must keep, and small cases by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from smartdeal.sim.baselines.activity import Activity, energy
from smartdeal.sim.baselines.cambricon_x import CambriconX
from smartdeal.sim.baselines.compare import baselines
from smartdeal.sim.baselines.design import BUDGET, Budget, Design, buffered_traffic, run
from smartdeal.sim.baselines.diannao import DianNao
from smartdeal.sim.baselines.digits import booth_digits, essential_bits, mean_and_most
from smartdeal.sim.baselines.pragmatic import Pragmatic
from smartdeal.sim.baselines.scnn import Scnn
from smartdeal.sim.baselines.shapes import (
    NETWORKS,
    ShapeError,
    ShapeNetwork,
    Sparsity,
    WeightShape,
    network,
)
from smartdeal.sim.baselines.smartexchange import SmartExchange
from smartdeal.sim.baselines.spread import largest_binomial
from smartdeal.sim.energy.technology import Technology

NAMES = [design.name for design in baselines()]
DENSE = Sparsity(weights=0.0, activations=0.0, source="")


def layer(**changes: Any) -> WeightShape:
    values: dict[str, Any] = dict(name="conv", kind="conv", input="x", input_shape=(64, 32, 32),
                                  filters=64, kernel=3, padding=1)
    return WeightShape(**{**values, **changes})


@pytest.mark.parametrize(("name", "macs", "weights"), [
    ("resnet50", 4.09e9, 25.5e6), ("resnet18", 1.81e9, 11.7e6), ("resnet20", 40.8e6, 0.27e6),
    ("vgg11", 7.61e9, 132.9e6), ("vgg19", 398e6, 20.0e6), ("resnet164", 248e6, 1.68e6)])
def test_networks_have_the_known_size(name: str, macs: float, weights: float) -> None:
    net = network(name)
    assert net.macs == pytest.approx(macs, rel=0.01)
    assert net.weights == pytest.approx(weights, rel=0.01)
    shapes = {"image": net.layers[0].input_shape}
    for shape in net.layers:
        given = shapes[shape.input]
        assert shape.input_shape == given or (
            shape.kind == "linear" and shape.input_shape[0] == int(np.prod(given)))
        if shape.residual is not None:
            assert shapes[shape.residual] == shape.output_shape
        shapes[shape.name] = shape.output_shape


def test_no_such_network() -> None:
    with pytest.raises(ShapeError, match=rf"^network must be one of {', '.join(NETWORKS)}, not "
                                         r"'lenet'$"):
        network("lenet")
    with pytest.raises(ShapeError, match=r"^zero fraction must be at least 0 and less than 1, not "
                                         r"1\.0$"):
        network("vgg11", 1.0)


@pytest.mark.parametrize("design", baselines(), ids=NAMES)
@pytest.mark.parametrize("shape", [
    layer(), layer(kernel=1, padding=0), layer(stride=2), layer(filters=1),
    layer(input_shape=(3, 32, 32), first=True),
    layer(kind="linear", kernel=1, padding=0, input_shape=(512, 1, 1), filters=1000)])
def test_no_faster_than_its_units(design: Design, shape: WeightShape) -> None:
    """A cycle does no more products than there are units, whatever is dense."""
    activity = design.compute(shape, DENSE)
    serial = design.name in ("pragmatic", "smartexchange")
    # A serial unit takes a cycle per digit at least, and there are eight for each multiplier.
    assert activity.cycles * BUDGET.multipliers * (8 if serial else 1) >= shape.macs
    assert activity.adds >= (shape.macs if not serial else shape.macs / 16)
    assert all(size >= 0 for size in activity.sram.values())


@pytest.mark.parametrize("design", baselines(), ids=NAMES)
def test_zeros_never_cost(design: Design) -> None:
    table = Technology.load("28nm")
    found = []
    for zeros in (0.0, 0.3, 0.6, 0.9):
        sparsity = Sparsity(weights=zeros, activations=zeros, source="")
        net = ShapeNetwork(name="one", title="one", layers=(layer(),), sparsity=sparsity)
        (_, activity), = run(design, net)
        found.append((activity.cycles, sum(energy(activity, table).values())))
    assert found == sorted(found, reverse=True)


def test_diannao_by_hand() -> None:
    """64 channels and 64 filters are 2 × 2 tiles of 32 × 32."""
    activity = DianNao().compute(layer(), DENSE)
    assert activity.cycles == 2 * 2 * 9 * 32 * 32
    assert activity.multiplies == 64 * 64 * 9 * 32 * 32
    assert DianNao(Budget(multipliers=256)).compute(layer(), DENSE).cycles == 4 * 4 * 9 * 32 * 32


def test_cambricon_x_by_hand() -> None:
    """Dense, it is DianNao but for the order of the taps."""
    assert CambriconX().compute(layer(), DENSE).cycles == 2 * (64 * 9 // 32) * 32 * 32
    assert CambriconX().weight_bytes(layer(), DENSE) == layer().weights * 1.5


def test_scnn_by_hand() -> None:
    """Each PE has 4 × 4 pixels; 6144 // 36 filters at once are all 64."""
    assert Scnn().compute(layer(), DENSE).cycles == 64 * (64 * 9 // 4) * (16 // 4)
    assert Scnn().keeps_bytes + Scnn().weights + 64 * 6144 * 3 // 4 == BUDGET.sram_bytes


def test_serial_designs_wait_for_the_slowest_lane() -> None:
    sparsity = Sparsity(weights=0.0, activations=0.51, source="")
    for design, kind, lanes in ((Pragmatic(), "bits", 16), (SmartExchange(), "booth", 8)):
        mean, most = mean_and_most(kind, lanes, 0.51)
        assert most > 2 * mean
        dense, sparse = (design.compute(layer(), s).cycles for s in (DENSE, sparsity))
        assert sparse / dense == pytest.approx(most / mean_and_most(kind, lanes, 0.0)[1])


def test_smartexchange_weights_by_hand() -> None:
    """192 vectors of 3 × 4 bits, a bit each, and one B of 9 bytes."""
    half = Sparsity(weights=0.5, activations=0.0, source="")
    assert SmartExchange().weight_bytes(layer(), DENSE) == 64 * (192 * 12 + 192 + 72) / 8
    assert SmartExchange().weight_bytes(layer(), half) == 64 * (96 * 12 + 192 + 72) / 8


def test_digits() -> None:
    values = np.arange(-128, 128)
    digits = booth_digits(values, 8)
    assert digits.max() == 4
    assert digits[values == 0] == 0
    assert all(booth_digits(np.array([1 << power]), 8) in (1, 2) for power in range(7))
    assert list(essential_bits(np.array([0, 1, 3, 255]), 8)) == [0, 1, 2, 8]
    assert mean_and_most("booth", 8, 0.51) == mean_and_most("booth", 8, 0.51)
    # More lanes wait longer, and never longer than the longest value.
    waits = [mean_and_most("booth", lanes, 0.51)[1] for lanes in (1, 4, 16, 64)]
    assert waits == sorted(waits)
    assert waits[-1] <= 4


def test_largest_binomial() -> None:
    assert largest_binomial(100, 0.5, 1) == 50
    assert largest_binomial(100, 1.0, 64) == 100
    assert largest_binomial(4, 0.5, 1000) == 4
    rng = np.random.default_rng(1)
    drawn = rng.binomial(576, 0.3, (2000, 32)).max(axis=1).mean()
    assert largest_binomial(576, 0.3, 32) == pytest.approx(drawn, rel=0.05)


def test_traffic_when_nothing_fits() -> None:
    design = DianNao(Budget(multipliers=1024, sram_bytes=36 * 1024))  # 2 KB in, 32 KB weights
    shape = layer()  # 64 KB in, 36 KB weights
    traffic = buffered_traffic(design, shape, DENSE)
    assert traffic.weights == shape.weights
    assert traffic.reads == 2 * shape.input_bytes  # twice the inputs is less than 32 × the weights
    assert traffic.writes == shape.output_bytes


def test_a_pool_stores_only_its_output() -> None:
    pool = WeightShape(name="pool", kind="max_pool", input="conv", input_shape=(64, 32, 32),
                       filters=64, kernel=2, stride=2)
    after = layer(name="next", input="pool", input_shape=(64, 16, 16))
    net = ShapeNetwork(name="n", title="n", layers=(layer(input="image"), pool, after),
                       sparsity=DENSE)
    (_, first), (_, second) = run(DianNao(), net)
    assert first.traffic.writes == 64 * 16 * 16 == second.traffic.reads


def test_activities_add_up() -> None:
    one = Activity(cycles=1, sram={8: 1.0, 16: 2.0})
    two = replace(one, cycles=2, sram={8: 3.0})
    assert (one + two).cycles == 3
    assert (one + two).sram == {8: 4.0, 16: 2.0}
