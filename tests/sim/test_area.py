"""The area model against syntheses that it was not fitted to."""

import pytest

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.area import array_luts, estimate, sweep


@pytest.mark.parametrize("row", sweep(), ids=lambda row: "{rows}x{cols}-{drain_lanes}".format(
    **row["configuration"]))
def test_within_ten_percent(row):
    config = AcceleratorConfig(**row["configuration"])
    found = estimate(config)
    assert found.lut == pytest.approx(row["lut"], rel=0.1)
    assert found.array == pytest.approx(row["array_lut"], rel=0.01)
    assert row["bram"] == found.bram
    assert found.dsp == row["dsp"]


def test_sweep_holds_sizes_out():
    assert {row["group"] for row in sweep()} == {"fitted", "held out"}


def test_array_cell_by_cell():
    assert array_luts(AcceleratorConfig(rows=24, cols=32, drain_lanes=16)) == 48_512
