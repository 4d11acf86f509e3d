"""The configuration: defaults, choices, every refusal."""

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from smartdeal.hw.config import AcceleratorConfig, ConfigError


def test_defaults() -> None:
    config = AcceleratorConfig()
    assert (config.rows, config.cols) == (12, 16)
    assert config.basis is True
    assert config.activation_bytes == 512 * 1024
    assert config.filters_per_group == 4
    assert config.coefficient.bits == 5


@pytest.mark.parametrize(("rows", "cols", "lanes"), [
    (2, 2, 1), (8, 8, 1), (12, 16, 4), (16, 16, 4), (32, 32, 16), (128, 128, 128), (128, 7, 7),
    (9, 8, 2), (13, 11, 11),
])
def test_drain_lanes_are_chosen(rows: int, cols: int, lanes: int) -> None:
    """The smallest divisor that reads the array out in 64 cycles, or all columns."""
    config = AcceleratorConfig(rows=rows, cols=cols)
    assert config.drain_lanes == lanes
    assert config.chunks * lanes == cols


@pytest.mark.parametrize(("values", "message"), [
    ({"rows": 1}, "rows (PE rows) must be an integer from 2 to 128, not 1"),
    ({"rows": 129}, "rows (PE rows) must be an integer from 2 to 128, not 129"),
    ({"cols": 8.0}, "cols (PE columns) must be an integer from 2 to 128, not 8.0"),
    ({"cols": True}, "cols (PE columns) must be an integer from 2 to 128, not True"),
    ({"exponents": 17}, "exponents (exponents 0..E-1 of a power-of-two coefficient) must be an "
                        "integer from 1 to 16, not 17"),
    ({"host_bits": 48}, "host_bits must be one of (32, 64, 128, 256), not 48"),
    ({"max_pool": 1}, "max_pool must be true or false, not 1"),
    ({"rows": 2, "basis": True},
     "rows must be at least 3 with the basis stage, not 2; set basis = false"),
    ({"cols": 6, "drain_lanes": 4},
     "drain_lanes must divide cols = 6 (one of [1, 2, 3, 6]), not 4"),
    ({"checksum_bits": 8, "entropy": True},
     "checksum_bits must be 0 with the feature entropy, not 8"),
    ({"checksum_bits": 24},
     "checksum_bits must be a multiple of 8 that divides host_bits = 64, or 0, not 24"),
    ({"field_bits": 12, "memory": True},
     "field_bits must be 32 with the feature memory, not 12"),
    ({"field_bits": 12, "activation_words": 4097},
     "activation_words must be at most 4096 with field_bits = 12, not 4097"),
    ({"activation_words": 15}, "activation_words must be at least 16, not 15"),
])
def test_refusals(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        AcceleratorConfig(**values)
    assert str(caught.value) == message


def test_basis_is_off_where_it_does_not_fit() -> None:
    assert AcceleratorConfig(rows=2, cols=2).basis is False


def test_fingerprint_tells_every_parameter() -> None:
    config = AcceleratorConfig()
    changes: list[dict[str, Any]] = [
        {"rows": 13}, {"cols": 32}, {"exponents": 7}, {"acc_bits": 25}, {"sum_bits": 41},
        {"drain_lanes": 8}, {"max_slices": 15}, {"activation_words": 100}, {"weight_steps": 100},
        {"channel_entries": 100}, {"basis_entries": 100}, {"program_words": 100},
        {"host_bits": 32}, {"basis": False}, {"max_pool": False}, {"residual": False},
        {"reduce": False}, {"move": False},
        {"memory": True, "drain_lanes": config.cols // 2}, {"entropy": True}, {"binary": True},
        {"field_bits": 20}, {"counter_bits": 47}, {"checksum_bits": 8}, {"memory_delays": True},
        {"single_port_weights": True}]
    assert [next(iter(change)) for change in changes] == list(config.as_dict())
    prints = {config.replace(**change).fingerprint for change in changes}
    assert len(prints | {config.fingerprint}) == len(changes) + 1


def test_entropy_without_memory() -> None:
    with pytest.raises(ConfigError, match=r"^entropy must be false with the feature memory: LOAD "
                                          r"takes plain steps only; set entropy = false, or "
                                          r"memory = false$"):
        AcceleratorConfig(memory=True, entropy=True)


def test_one_port_without_memory() -> None:
    with pytest.raises(ConfigError, match=r"^single_port_weights must be false with the feature "
                                          r"memory, which loads weights while layers run$"):
        AcceleratorConfig(memory=True, single_port_weights=True)


def test_equal_hardware_is_equal() -> None:
    """A choice that is written out gives the same configuration."""
    chosen = AcceleratorConfig()
    assert AcceleratorConfig(**chosen.as_dict()) == chosen
    assert AcceleratorConfig(**chosen.as_dict()).fingerprint == chosen.fingerprint


def test_replace_chooses_anew() -> None:
    config = AcceleratorConfig().replace(cols=10)
    assert config.drain_lanes == 2
    assert config.activation_words == 512 * 1024 // 10
    assert AcceleratorConfig().replace(cols=10, drain_lanes=5).drain_lanes == 5
    with pytest.raises(ConfigError, match=r"^unknown parameter 'columns'; known: rows, cols, "):
        config.replace(columns=4)


def test_replace_chooses_the_basis_anew() -> None:
    config = AcceleratorConfig()
    assert config.replace(rows=2) == AcceleratorConfig(rows=2)
    assert config.replace(rows=2).replace(rows=12) == config
    with pytest.raises(ConfigError, match=r"^rows must be at least 3 with the basis stage"):
        config.replace(rows=2, basis=True)


def test_replace_keeps_a_basis_off() -> None:
    """Somebody's wish, unless there are too few rows for one."""
    config = AcceleratorConfig(basis=False)
    assert config.replace(rows=24).basis is False
    assert config.replace(cols=8).basis is False
    assert config.replace(rows=24, basis=True).basis is True


def test_frozen() -> None:
    name = "rows"
    with pytest.raises(FrozenInstanceError):
        setattr(AcceleratorConfig(), name, 4)


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("rows = 9\ncols = 8\nmax_pool = false\n")
    assert AcceleratorConfig.from_toml(path) == AcceleratorConfig(rows=9, cols=8, max_pool=False)
    assert AcceleratorConfig.from_toml(path, rows=6).rows == 6


@pytest.mark.parametrize("changes", [
    {"rows": 2}, {"cols": 10}, {"rows": 5, "cols": 7}, {"cols": 10, "drain_lanes": 5},
    {"rows": 16, "cols": 32, "activation_words": 64, "basis": False}, {"host_bits": 32},
    {"drain_lanes": 8},
])
def test_overrides_of_a_whole_file(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A file that holds every value can be overridden as the defaults can."""
    path = tmp_path / "c.toml"
    path.write_text("".join(f"{name} = {str(value).lower()}\n"
                            for name, value in AcceleratorConfig().as_dict().items()))
    assert AcceleratorConfig.from_toml(path) == AcceleratorConfig()
    assert AcceleratorConfig.from_toml(path, **changes) == AcceleratorConfig(**changes)
    assert AcceleratorConfig().replace(**changes) == AcceleratorConfig(**changes)
    path.write_text("basis = false\nrows = 12\n")
    assert AcceleratorConfig.from_toml(path, rows=6).basis is False


@pytest.mark.parametrize(("text", "message"), [
    ("rows = ", r"^.*c\.toml is not a TOML file: "),
    ("row = 3", r"^unknown parameter 'row'; known: rows, "),
    ("rows = '3'", r"^rows \(PE rows\) must be an integer from 2 to 128, not '3'$"),
])
def test_bad_toml(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        AcceleratorConfig.from_toml(path)


def test_no_toml() -> None:
    with pytest.raises(ConfigError, match=r"^cannot read configuration no\.toml: No such file or "
                                          r"directory$"):
        AcceleratorConfig.from_toml(Path("no.toml"))
