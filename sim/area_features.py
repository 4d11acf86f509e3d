"""What system memory, entropy-coded steps and binary layers add to an accelerator's area on ECP5.

Fitted, by least squares, to differences of syntheses with and without a feature
(``bench/area_features.py``): a constant, and so much for each of the sizes that the feature's
hardware grows with.
"""

import json
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from smartdeal.hw.config import AcceleratorConfig

__all__ = ["FEATURES", "added", "differences"]

#: By feature: what its LUTs grow with, and its flip-flops if nothing else is said below.
FEATURES: dict[str, Callable[[AcceleratorConfig], tuple[float, ...]]] = {
    # The load engine has counters and addresses; the store port a queue of words, and beats of it.
    "memory": lambda config: (1.0, config.cols),
    # The decoder puts a step together, byte by byte.
    "entropy": lambda config: (1.0, config.rows),
    # Each PE counts equal bits; lanes pack them.
    "binary": lambda config: (1.0, config.rows * config.cols, config.drain_lanes),
}
#: What flip-flops grow with, where that is something else.
_FLIP_FLOPS: dict[str, Callable[[AcceleratorConfig], tuple[float, ...]]] = {
    # A row's code is longer: 21 bits on the way to it. A column keeps 7 bits of eight channels.
    "binary": lambda config: (1.0, 3 * config.rows + config.cols, config.drain_lanes),
}


@cache
def differences() -> list[dict[str, Any]]:
    """Return the syntheses that the model is fitted to, and those that it is held against."""
    return json.loads((resources.files("smartdeal.sim") / "area_features.json").read_text())


def added(config: AcceleratorConfig, kind: str) -> float:
    """Return what the features of an accelerator add: ``lut``, ``ff`` or ``array_lut``."""
    return sum(float(np.dot(_sizes(feature, kind)(config), _fitted(feature, kind)))
               for feature in FEATURES if getattr(config, feature))


def _sizes(feature: str, kind: str) -> Callable[[AcceleratorConfig], tuple[float, ...]]:
    return _FLIP_FLOPS.get(feature, FEATURES[feature]) if kind == "ff" else FEATURES[feature]


@cache
def _fitted(feature: str, kind: str) -> "np.ndarray[Any, Any]":
    rows = [row for row in differences()
            if row["feature"] == feature and row["group"] == "fitted"]
    sizes = _sizes(feature, kind)
    matrix = np.array([sizes(AcceleratorConfig(**row["configuration"])) for row in rows])
    return np.linalg.lstsq(matrix, np.array([row["added"][kind] for row in rows], float),
                           rcond=None)[0]
