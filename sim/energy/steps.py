"""The weight buffer as the counting sees it: how many coefficients each step has, and unit ends."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import step_format

__all__ = ["StepMemory"]

#: Bits of bytes 0…255 that are 1.
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1).astype(np.uint8)


class StepMemory:
    """What the weight buffer holds, without all fields unpacked.

    Attributes
    ----------
    valid, first_row : int64 arrays, (weight_steps,)
        Valid coefficients of each step in all rows, and in row 0.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.valid = np.zeros(config.weight_steps, np.int64)
        self.first_row = np.zeros(config.weight_steps, np.int64)
        self._flags = np.zeros(config.weight_steps, np.bool_)
        self._announced: NDArray[np.int64] | None = None

    @property
    def announced(self) -> NDArray[np.int64]:
        """Steps before the last of each unit of work, ascending."""
        if self._announced is None:
            self._announced = np.flatnonzero(self._flags)
        return self._announced

    def write(self, places: slice | NDArray[np.int64], data: bytes | memoryview) -> None:
        """Put steps, as they are in an image, at some places of the buffer."""
        unit, used, mask, flag = _layout(self.config)
        units = np.frombuffer(data, np.uint8).reshape(-1, unit)
        self.valid[places] = _ONES[units[:, :used] & mask].sum(axis=1, dtype=np.int64)
        self.first_row[places] = units[:, 0] & 1
        self._flags[places] = units[:, flag // 8] >> flag % 8 & 1
        self._announced = None


@lru_cache(maxsize=8)
def _layout(config: AcceleratorConfig) -> tuple[int, int, NDArray[np.uint8], int]:
    """Return bytes of a unit and of its coefficients, the mask of valid bits, the flag's bit."""
    layout = step_format(config)
    unit = layout.unit_bytes(config.host_bits)
    size = config.code_bits
    used = -(-config.rows * size // 8)
    bits = np.zeros(used * 8, np.uint8)
    bits[:config.rows * size:size] = 1  # a coefficient's bit 0 is `valid`
    return unit, used, np.packbits(bits, bitorder="little"), layout.offset("next_last")
