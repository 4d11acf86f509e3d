"""The comparison: our side is compiled and counted, ratios are what they say."""

import json

import pytest

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.baselines.compare import OURS, compare, compare_data
from smartdeal.sim.baselines.design import BUDGET, Budget
from smartdeal.sim.baselines.ours import PES_PER_MULTIPLIER, budget_config, cost
from smartdeal.sim.baselines.shapes import network
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.report.comparison import render_comparison


@pytest.mark.parametrize("budget", [BUDGET, Budget(multipliers=256, sram_bytes=512 * 1024)])
def test_our_configuration_keeps_the_budget(budget: Budget) -> None:
    config = budget_config(budget)
    assert config.rows * config.cols <= budget.multipliers * PES_PER_MULTIPLIER
    assert config.rows * config.cols >= 0.85 * budget.multipliers * PES_PER_MULTIPLIER
    assert config.activation_bytes < budget.sram_bytes


def test_a_budget_without_room_for_activations() -> None:
    with pytest.raises(ValueError, match=r"^a budget of 1024 bytes holds no activations beside "):
        budget_config(Budget(sram_bytes=1024))


def test_our_counts_follow_the_zeros() -> None:
    config = AcceleratorConfig(rows=24, cols=16)
    dense, half = (cost(network("resnet20", zeros), config) for zeros in (0.0, 0.5))
    assert [layer.macs for layer in dense.layers] == [layer.macs for layer in half.layers]
    assert dense.events.shift_adds > 1.8 * half.events.shift_adds
    assert dense.traffic.weights > 1.6 * half.traffic.weights
    assert dense.events.stored_bytes == half.events.stored_bytes
    # No weight has more than one coefficient, but for the first layer's two.
    first, *rest = dense.layers
    assert first.nonzero_terms <= 2 * first.weights
    assert all(layer.nonzero_terms <= layer.weights for layer in rest)


def test_comparison() -> None:
    net, table = network("resnet20"), Technology.load("45nm")
    config = AcceleratorConfig(rows=24, cols=16)
    results = compare(net, table, config=config)
    assert [result.design for result in results] == [
        "diannao", "scnn", "cambricon_x", "pragmatic", "smartexchange", "smartexchange_kept",
        OURS]
    ours = results[-1]
    counted = cost(net, config)
    assert ours.cycles == counted.compute_cycles
    assert ours.total_pj == pytest.approx(sum(counted.energy(table).values()))
    data = compare_data([(net, results)], table, BUDGET, config)
    first, *_, last = data["networks"][0]["results"]
    assert first["speedup"] == first["energy_efficiency"] == first["fewer_dram_bytes"] == 1
    assert last["speedup"] == pytest.approx(first["cycles"] / last["cycles"])
    for result in data["networks"][0]["results"]:
        assert result["bound_cycles"] >= result["cycles"]
    assert json.loads(json.dumps(data)) == data
    page = render_comparison(data)
    assert "this accelerator" in page
    assert "45nm" in page
    assert "http" not in page
