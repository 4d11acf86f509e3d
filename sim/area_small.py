"""What accelerators take on iCE40 and Gowin boards, without synthesis.

The parts that grow with the array, the array itself and the activation buffer, are fitted to
syntheses of them by themselves: a constant, so much for each PE and for each column. What is around
them is what the board's default accelerator takes in a build, serial bridge and top included, less
the parts. ``bench/area_small.py`` makes the numbers.
"""

import json
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.area import AreaEstimate

__all__ = ["KINDS", "estimate_on", "features", "measurements"]

#: What is counted; on iCE40 ``lut`` are logic cells.
KINDS = ("lut", "ff", "bram", "dsp")
#: What a measurement holds for, whatever their values.
_SIZES = frozenset({"rows", "cols", "drain_lanes", "activation_words"})


@cache
def measurements() -> list[dict[str, Any]]:
    """Return the syntheses of parts, and the builds."""
    return json.loads((resources.files("smartdeal.sim") / "area_small.json").read_text())


def features(config: AcceleratorConfig) -> tuple[Any, ...]:
    """Return the parameters for which measurements of other sizes hold."""
    return tuple(value for name, value in config.as_dict().items() if name not in _SIZES)


def estimate_on(board: str, target: str, config: AcceleratorConfig) -> AreaEstimate | None:
    """Return what a build for a board takes, or None if none has been measured with such features.

    Parameters
    ----------
    board, target : str
        Names of a board and of its technology.
    config : AcceleratorConfig
    """
    whole = next((row for row in measurements() if row["what"] == board and features(
        AcceleratorConfig(**row["configuration"])) == features(config)), None)
    if whole is None:
        return None
    parts = _parts(target, features(config))
    if parts is None:
        return None
    built = AcceleratorConfig(**whole["configuration"])
    grown = (_sizes(config) - _sizes(built)) @ parts
    lut, ff, bram, dsp = (round(whole[kind] + more)
                          for kind, more in zip(KINDS, grown, strict=True))
    array = round(float((_sizes(config) @ parts)[0]))
    return AreaEstimate(array, lut, bram, dsp, ff)


def _sizes(config: AcceleratorConfig) -> "np.ndarray[Any, Any]":
    return np.array([1.0, config.rows * config.cols, config.cols])


@cache
def _parts(target: str, wanted: tuple[Any, ...]) -> "np.ndarray[Any, Any] | None":
    """Return coefficients, one column for each of ``KINDS``, by least squares."""
    rows = [row for row in measurements() if row["what"] == f"{target} parts" and features(
        AcceleratorConfig(**row["configuration"])) == wanted]
    if len(rows) < 3:
        return None
    matrix = np.array([_sizes(AcceleratorConfig(**row["configuration"])) for row in rows])
    counted = np.array([[row[kind] for kind in KINDS] for row in rows], float)
    return np.linalg.lstsq(matrix, counted, rcond=None)[0]
