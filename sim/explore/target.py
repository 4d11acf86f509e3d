"""What an accelerator may take: the target's area, and the user's budget."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from smartdeal.boards.catalogue import BOARDS
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.area import estimate
from smartdeal.sim.explore.errors import ExploreError
from smartdeal.sim.explore.silicon import area_mm2

__all__ = ["SILICON", "Budget", "Target"]

SILICON = "28nm"
_KEYS = ("lut", "mm2", "mw")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the accelerator is to be.

    Parameters
    ----------
    name : str
    unit : "lut" or "mm2"
        Of its area.
    technology : str
        Table of energies.
    clock_mhz : float or None
        The board's; None takes the table's.
    capacity : dict of float
        What the device has.
    note : str
        How far area and energy can be trusted.
    """

    name: str
    unit: str
    technology: str
    clock_mhz: float | None
    capacity: dict[str, float]
    note: str

    @classmethod
    def find(cls, name: str) -> "Target":
        """Return a target by name.

        Raises
        ------
        ExploreError
            If it is not known, or has no area model.
        """
        if name == SILICON:
            return cls(name=name, unit="mm2", technology="28nm", clock_mhz=None, capacity={},
                       note="area by a table of recalled and estimated cell sizes, not checked by "
                            "synthesis; energy by table 28nm (recalled); no leakage")
        known = [SILICON, *(board.name for board in BOARDS.values() if board.target == "ecp5")]
        if name in BOARDS and name not in known:
            raise ExploreError(f"target {name!r} has no area model: it is fitted to ECP5 only; "
                               f"use one of {', '.join(known)}")
        if name not in known:
            near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.4)
            raise ExploreError(f"unknown target {name!r}; " + (
                f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"))
        board = BOARDS[name]
        return cls(name=name, unit="lut", technology="zc706", clock_mhz=board.clock_mhz,
                   capacity={"lut": board.capacity.lut, "bram": board.capacity.bram,
                             "dsp": board.capacity.dsp},
                   note="LUTs by the model fitted to ECP5 synthesis; clock is the board's, not "
                        "routed for each point; energy by table zc706 (another FPGA's, its "
                        "memories estimated); no leakage")

    def area(self, config: AcceleratorConfig) -> dict[str, float]:
        """Return what an accelerator takes, by the name of each resource."""
        if self.unit == "mm2":
            return {"mm2": area_mm2(config)}
        area = estimate(config)
        return {"lut": area.lut, "bram": area.bram, "dsp": area.dsp}


@dataclass(frozen=True)
class Budget:
    """What may not be exceeded: the user's limits and the device's.

    Parameters
    ----------
    limits : dict of float
        By ``lut``, ``bram``, ``dsp``, ``mm2`` and ``mw``.
    """

    limits: dict[str, float]

    @classmethod
    def parse(cls, texts: Sequence[str], target: Target) -> "Budget":
        """Read ``lut=40000``, ``mm2=1.5``, ``mw=200``.

        Raises
        ------
        ExploreError
            If a key or a number makes no sense for the target.
        """
        limits = dict(target.capacity)
        for text in (part for item in texts for part in item.split(",")):
            key, _, number = text.partition("=")
            if key not in _KEYS:
                raise ExploreError(f"unknown budget {key!r} in {text!r}; known: "
                                   f"{target.unit}=N, mw=N")
            if key not in (target.unit, "mw"):
                raise ExploreError(f"budget {text!r} does not suit target {target.name}, whose "
                                   f"area is {target.unit}=N")
            try:
                limit = float(number)
            except ValueError:
                limit = math.nan
            if not 0 < limit < math.inf:
                raise ExploreError(f"budget {key} must be a positive number, not {number!r}")
            limits[key] = min(limit, limits.get(key, math.inf))
        return cls(limits)

    def excess(self, takes: dict[str, float]) -> dict[str, float]:
        """Return by how much what is taken exceeds each limit, as a ratio above 1."""
        return {key: takes[key] / limit for key, limit in self.limits.items()
                if key in takes and takes[key] > limit}

    def short(self, takes: dict[str, float]) -> str:
        """Return in words what is short."""
        return ", ".join(f"{takes[key]:,.4g} {key} of {self.limits[key]:,.4g}"
                         if key in ("mm2", "mw") else
                         f"{takes[key]:,.0f} {key} of {self.limits[key]:,.0f}"
                         for key in self.excess(takes))
