"""The area model against syntheses that it was not fitted to."""

import pytest

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.area import array_luts, estimate, sweep
from smartdeal.sim.area_features import FEATURES, added, differences
from smartdeal.sim.explore.silicon import area_mm2


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


@pytest.mark.parametrize("row", differences(), ids=lambda row: "{}-{rows}x{cols}".format(
    row["feature"], **row["configuration"]))
def test_what_features_add(row):
    """Within a tenth of what synthesis finds, also in sizes that the model is not fitted to."""
    config = AcceleratorConfig(**row["configuration"])
    without = config.replace(**{row["feature"]: False, "drain_lanes": config.drain_lanes})
    found, before = estimate(config), estimate(without)
    assert found.lut - before.lut == pytest.approx(row["added"]["lut"], rel=0.1)
    assert found.array - before.array == pytest.approx(row["added"]["array_lut"], rel=0.05)
    assert added(config, "ff") == pytest.approx(row["added"]["ff"], rel=0.1)
    assert found.bram - before.bram == row["added"]["bram"]
    assert found.dsp - before.dsp == row["added"]["dsp"]
    assert area_mm2(config) > area_mm2(without)


def test_features_hold_sizes_out():
    assert {(row["feature"], row["group"]) for row in differences()} == {
        (feature, group) for feature in FEATURES for group in ("fitted", "held out")}
