"""Which accelerator a board gets when the user does not say."""

from collections.abc import Mapping
from typing import Any

from smartdeal.boards.catalogue import Board
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["choose"]


def choose(board: Board, given: Mapping[str, Any]) -> tuple[AcceleratorConfig, str]:
    """Return a board's accelerator with what the user has given, and where it comes from.

    Raises
    ------
    ConfigError
        If the parameters are not possible.
    """
    values: dict[str, Any] = dict(board.configuration)
    if {"rows", "cols"} & given.keys() and "drain_lanes" not in given:
        values.pop("drain_lanes", None)
    config = AcceleratorConfig(**{**values, **given})
    if not given:
        return config, "the board's default"
    return config, "the board's default with " + ", ".join(
        f"{name} = {value}" for name, value in given.items())
