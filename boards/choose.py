"""Which accelerator a board gets when the user does not say."""

from collections.abc import Iterator, Mapping
from typing import Any

from smartdeal.boards.catalogue import Board
from smartdeal.boards.errors import FitError
from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.area import AreaEstimate, estimate

__all__ = ["choose"]

#: Share of a device's LUTs up to which place and route still finds short wires.
_FULL = 0.75
#: LUTs of the serial bridge.
_BRIDGE_LUTS = 650
#: The bridge's request and reply buffers.
_BRIDGE_RAMS = 2
_COLS = (8, 16, 24, 32, 48, 64)


def choose(board: Board, given: Mapping[str, Any]) -> tuple[AcceleratorConfig, str]:
    """Return a board's accelerator with what the user has given, and why it is that one.

    Without sizes an ECP5 board gets the largest array that fits by the area model, with the
    board's memories; other boards get the catalogue's.

    Raises
    ------
    ConfigError
        If the parameters are not possible.
    FitError
        If the sizes that were given do not fit by the area model.
    """
    values: dict[str, Any] = dict(board.configuration)
    if not {"rows", "cols"} & given.keys():
        if board.target == "ecp5" and values.get("basis", True):
            config, area = _largest(board, values | dict(given))
            return config, (f"the largest array whose {area.lut:,} LUTs are at most {_FULL:.0%} of "
                            f"{board.capacity.lut:,}, with {area.bram} of {board.capacity.bram} "
                            f"block RAMs and {area.dsp} of {board.capacity.dsp} multipliers, by "
                            "the area model")
        return AcceleratorConfig(**{**values, **given}), "the board's default"
    if "drain_lanes" not in given:
        values.pop("drain_lanes", None)
    config = AcceleratorConfig(**{**values, **given})
    if board.target == "ecp5" and config.basis and config.exponents > 1:
        area = _whole(config)
        if area.lut > board.capacity.lut:
            best, _ = _largest(board, dict(board.configuration))
            raise FitError(
                f"a {config.rows}×{config.cols} array does not fit {board.name}: it would take "
                f"about {area.lut:,} LUTs of {board.capacity.lut:,}; the largest that fits is "
                f"{best.rows}×{best.cols}")
    return config, "as asked, the rest the board's default"


def _whole(config: AcceleratorConfig) -> AreaEstimate:
    area = estimate(config)
    return AreaEstimate(area.array, area.lut + _BRIDGE_LUTS, area.bram + _BRIDGE_RAMS, area.dsp)


def _largest(board: Board, values: dict[str, Any]) -> tuple[AcceleratorConfig, AreaEstimate]:
    fitting = [(config, area) for config in _candidates(board, values)
               for area in (_whole(config),) if area.lut <= _FULL * board.capacity.lut
               and area.bram <= board.capacity.bram and area.dsp <= board.capacity.dsp]
    if not fitting:
        raise FitError(f"no array fits {board.name} with these parameters, by the area model")
    # Of equally many PEs those with more lanes, which drain sooner; then the squarer.
    return max(fitting, key=lambda item: (
        item[0].rows * item[0].cols, item[0].drain_lanes, -abs(item[0].rows - item[0].cols)))


def _candidates(board: Board, values: dict[str, Any]) -> Iterator[AcceleratorConfig]:
    """Yield arrays with whole filters, as many bytes of activations, and any number of lanes."""
    default = AcceleratorConfig(**values)
    for cols in _COLS:
        words = max(16, default.activation_bytes // cols)
        # Much higher than wide, an array would idle on layers with few filters.
        for rows in range(BASIS_SIZE, cols + 1, BASIS_SIZE):
            for lanes in (lanes for lanes in range(1, cols + 1) if cols % lanes == 0):
                if rows * cols // lanes > 128:  # or reading out would take longer than computing
                    continue
                yield AcceleratorConfig(**{**values, "rows": rows, "cols": cols,
                                           "drain_lanes": lanes, "activation_words": words})
