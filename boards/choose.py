"""Which accelerator a board gets when the user does not say."""

from collections.abc import Iterator, Mapping
from typing import Any

from smartdeal.boards.catalogue import Board
from smartdeal.boards.errors import FitError
from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.hw.config import AcceleratorConfig, ConfigError
from smartdeal.sim.area import AreaEstimate, estimate
from smartdeal.sim.area_small import estimate_on

__all__ = ["KINDS", "choose", "largest", "shortage"]

#: Share of a device's LUTs up to which place and route still finds short wires.
_FULL = {"ecp5": 0.75, "gowin": 0.8, "ice40": 0.95}
#: LUTs of the serial bridge.
_BRIDGE_LUTS = 650
#: The bridge's request and reply buffers.
_BRIDGE_RAMS = 2
_COLS = (2, 4, 8, 16, 24, 32, 48, 64)
#: Cycles of a read-out beyond which it would take longer than computing.
_DRAIN_CYCLES = 128
#: What a device has, as messages call it; LUTs of an iCE40 are logic cells.
KINDS = {"lut": "LUTs", "ff": "flip-flops", "bram": "block RAMs", "dsp": "multipliers"}


def choose(board: Board, given: Mapping[str, Any]) -> tuple[AcceleratorConfig, str]:
    """Return a board's accelerator with what the user has given, and why it is that one.

    Without sizes a board gets the largest array that fits by the area model, with the board's
    memories; the catalogue's, where there is no model for the parameters. With other columns than
    the catalogue's the activation buffer keeps its bytes.

    Raises
    ------
    ConfigError
        If the parameters are not possible.
    FitError
        If the sizes that were given do not fit by the area model.
    """
    values: dict[str, Any] = dict(board.configuration)
    if not {"rows", "cols"} & given.keys():
        config = AcceleratorConfig(**{**values, **given})
        if _whole(board, config) is None:
            return config, "the board's default"
        config, area = _largest(board, values | dict(given))
        return config, (f"the largest array whose {area.lut:,} {_called(board)['lut']} are at most "
                        f"{_FULL[board.target]:.0%} of {board.capacity.lut:,}, with {area.bram} of "
                        f"{board.capacity.bram} block RAMs and {area.dsp} of {board.capacity.dsp} "
                        "multipliers, by the area model")
    if "drain_lanes" not in given and board.target == "ecp5":
        values.pop("drain_lanes", None)
    values["activation_words"] = _words(board.config, given.get("cols", board.config.cols))
    config = AcceleratorConfig(**{**values, **given})
    area = _whole(board, config)
    if area is not None and (short := shortage(board, area)):
        best = largest(board)
        hint = f"the largest that fits is {best.rows}×{best.cols}" if best else "none fits"
        raise FitError(f"a {config.rows}×{config.cols} array does not fit {board.name}: it would "
                       f"take about {short}; {hint}")
    return config, "as asked, the rest the board's default"


def _words(default: AcceleratorConfig, cols: int) -> int:
    """Return the words of an activation buffer with as many bytes as the default one."""
    return max(16, default.activation_bytes // max(1, cols))


def largest(board: Board) -> AcceleratorConfig | None:
    """Return the largest array that fits a board by the area model, None if that knows of none."""
    if _whole(board, board.config) is None:
        return None
    try:
        return _largest(board, dict(board.configuration))[0]
    except FitError:
        return None


def shortage(board: Board, needed: Any) -> str:
    """Say what of a device is less than a design needs; nothing if it fits.

    Parameters
    ----------
    board : Board
    needed : Resources or AreaEstimate
    """
    return " and ".join(
        f"{getattr(needed, name):,} {what} of {getattr(board.capacity, name):,}"
        for name, what in _called(board).items()
        if getattr(needed, name) > getattr(board.capacity, name))


def _called(board: Board) -> dict[str, str]:
    return KINDS | ({"lut": "logic cells"} if board.target == "ice40" else {})


def _whole(board: Board, config: AcceleratorConfig) -> AreaEstimate | None:
    """Return what a build takes by the model of the board's technology, if that knows."""
    if board.target != "ecp5":
        return estimate_on(board.name, board.target, config)
    if not config.basis or config.exponents < 2:
        return None
    area = estimate(config)
    return AreaEstimate(area.array, area.lut + _BRIDGE_LUTS, area.bram + _BRIDGE_RAMS, area.dsp)


def _largest(board: Board, values: dict[str, Any]) -> tuple[AcceleratorConfig, AreaEstimate]:
    fitting = [(config, area) for config in _candidates(board, values)
               for area in (_whole(board, config),) if area is not None
               and area.lut <= _FULL[board.target] * board.capacity.lut
               and not shortage(board, area)]
    if not fitting:
        raise FitError(f"no array fits {board.name} with these parameters, by the area model")
    # Of equally many PEs those with more lanes, which drain sooner; then the squarer.
    return max(fitting, key=lambda item: (
        item[0].rows * item[0].cols, item[0].drain_lanes, -abs(item[0].rows - item[0].cols)))


def _candidates(board: Board, values: dict[str, Any]) -> Iterator[AcceleratorConfig]:
    """Yield arrays with whole filters, as many bytes of activations, and any number of lanes."""
    default = AcceleratorConfig(**values)
    step = BASIS_SIZE if default.basis else 2
    for cols in _COLS:
        words = _words(default, cols)
        # Much higher than wide, an array would idle on layers with few filters.
        for rows in range(step, max(step, cols) + 1, step):
            for lanes in (lanes for lanes in range(1, cols + 1) if cols % lanes == 0):
                if rows * cols // lanes > _DRAIN_CYCLES:
                    continue
                if board.target != "ecp5" and lanes != default.drain_lanes:
                    continue  # the model has no lanes
                try:
                    yield AcceleratorConfig(**{**values, "rows": rows, "cols": cols,
                                               "drain_lanes": lanes, "activation_words": words})
                except ConfigError:  # the words need longer fields than the board's
                    continue
