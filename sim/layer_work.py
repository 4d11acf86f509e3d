"""The units of work of a LAYER instruction: their steps, their read-out, their order."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import MIN_STEPS, LayerFlag, group_channels

__all__ = ["LayerWork"]


@dataclass(frozen=True, eq=False)
class LayerWork:
    """What the cycles of a LAYER depend on. Arrays are by unit of one tile: (groups · slices,).

    Parameters
    ----------
    groups, slices, tiles : int
    channels : int64 array, (groups,)
        Output channels of each group.
    steps : int64 array
        n(u).
    drain : int64 array
        d(u): cycles of the read-out.
    fetches : int64 array
        f(u): residual operands.
    """

    groups: int
    slices: int
    tiles: int
    channels: NDArray[np.int64]
    steps: NDArray[np.int64]
    drain: NDArray[np.int64]
    fetches: NDArray[np.int64]

    @classmethod
    def of(
        cls, fields: dict[str, int], announcements: NDArray[np.int64], config: AcceleratorConfig,
    ) -> Self:
        """Return the work of an instruction.

        Parameters
        ----------
        announcements : int64 array
            Addresses of the steps with ``next_last``, in rising order.
        """
        flags = LayerFlag(fields["flags"])
        basis = LayerFlag.BASIS in flags
        size = group_channels(flags, config)
        slices, channels = fields["slices"], fields["channels"]
        groups = -(-channels // size)
        steps = _unit_steps(fields["steps_base"], groups * slices, announcements, config)
        in_group = np.minimum(size, channels - size * np.arange(groups))
        drain = np.repeat(in_group * config.chunks * (BASIS_SIZE if basis else 1), slices)
        fetches = np.zeros((groups, slices), np.int64)
        if LayerFlag.RESIDUAL in flags:
            fetches[:, -1] = in_group
        return cls(groups, slices, fields["tiles"], in_group, steps, drain, fetches.ravel())

    @property
    def busy(self) -> int:
        """Steps of all tiles."""
        return int(self.steps.sum()) * self.tiles

    def waits(self) -> int:
        """Return the cycles in which a last step waits for the read-out before, all tiles."""
        total = 0
        for before, times in self._neighbours():
            gap = self.drain[before] - self.steps - self.fetches[before]
            total += int((np.maximum(gap, 0) * times).sum())
        return total

    def order(self) -> NDArray[np.int64]:
        """Return the units in the order in which they run, (groups · tiles · slices,)."""
        units = np.arange(self.groups * self.slices).reshape(self.groups, 1, self.slices)
        return np.broadcast_to(units, (self.groups, self.tiles, self.slices)).ravel()

    def _neighbours(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Return, for each unit of one tile, which unit may run before it, and how often.

        Inside a group the tiles repeat: a group's first slice follows its own last slice
        tiles - 1 times, and the last slice of the group before once (never, for group 0).
        """
        unit = np.arange(self.groups * self.slices)
        first = unit % self.slices == 0
        usual = np.where(first, unit + self.slices - 1, unit - 1)
        return [(usual, np.where(first, self.tiles - 1, self.tiles)),
                (np.maximum(unit - 1, 0), (first & (unit > 0)).astype(np.int64))]


def _unit_steps(
    start: int, units: int, announcements: NDArray[np.int64], config: AcceleratorConfig,
) -> NDArray[np.int64]:
    """Return the steps of so many consecutive units of work from a step on."""
    first = int(np.searchsorted(announcements, start))
    flags = announcements[first:first + units]
    ends = np.concatenate([[start], flags + MIN_STEPS])
    if len(flags) < units or ends[-1] > config.weight_steps:
        raise ValueError(f"Steps from {start} must end {units} units of work, not {len(flags)}")
    return np.diff(ends)
