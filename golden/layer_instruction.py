"""A LAYER instruction as the reference interpreter decodes it (docs/execution.md)."""

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.formats import PACKED
from smartdeal.golden.memories import ProgramError
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import INSTRUCTION, ErrorCode, LayerFlag, group_channels, too_wide

__all__ = ["Layer"]

_FEATURES = {LayerFlag.MAX_POOL: "max_pool", LayerFlag.BASIS: "basis",
             LayerFlag.RESIDUAL: "residual", LayerFlag.REDUCE: "reduce",
             LayerFlag.EXTERNAL: "memory", LayerFlag.BINARY: "binary", LayerFlag.PACK: "binary"}
#: Modes that exclude each other.
_EXCLUSIVE = (LayerFlag.MAX_POOL | LayerFlag.BASIS, LayerFlag.REDUCE | LayerFlag.RESIDUAL,
              LayerFlag.REDUCE | LayerFlag.EXTERNAL)
#: Modes that exclude each other where there is the feature ``binary``.
_EXCLUSIVE_BINARY = (
    *(LayerFlag.BINARY | flag for flag in (LayerFlag.MAX_POOL, LayerFlag.BASIS)),
    *(LayerFlag.PACK | flag for flag in (LayerFlag.MAX_POOL, LayerFlag.BASIS, LayerFlag.REDUCE,
                                         LayerFlag.EXTERNAL)),
)


class Layer:
    """A decoded LAYER instruction: its fields by name, and what follows from them.

    Parameters
    ----------
    address : int
        Its word address.
    values : dict of int
        Its fields by name.
    config : AcceleratorConfig

    Raises
    ------
    ProgramError
        If the decoder refuses it.
    """

    def __init__(self, address: int, values: dict[str, int], config: AcceleratorConfig) -> None:
        self.address, self.values, self.config = address, values, config
        self.flags = LayerFlag(values["flags"] & sum(LayerFlag))
        if self._wrong():
            raise ProgramError(ErrorCode.FIELD, address)
        if any(flag in self.flags and not getattr(config, name)
               for flag, name in _FEATURES.items()):
            raise ProgramError(ErrorCode.FEATURE, address)

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    def _wrong(self) -> bool:
        """Return whether a field is out of range."""
        config, flags = self.config, self.flags
        return (
            any(self[f"reserved_{i}"] for i in range(3))
            or too_wide(self.values, INSTRUCTION, config)
            or self["flags"] != flags
            or any(pair in flags for pair in _EXCLUSIVE)
            or (config.binary and any(pair in flags for pair in _EXCLUSIVE_BINARY))
            or (config.binary and self.packed and self["channels"] % PACKED != 0)
            or not 1 <= self["slices"] <= config.max_slices
            or 0 in (self["tiles"], self["channels"], self["pitch"])
            or self["width"] > self["pitch"]
            or max(self["column_step"], self["start_column"]) >= self["pitch"]
            or self["residual_lane"] >= config.cols
            or (self.external and self["output_base"] % (config.host_bits // 8) != 0)
        )

    @property
    def external(self) -> bool:
        """Whether the output goes to system memory."""
        return LayerFlag.EXTERNAL in self.flags

    @property
    def packed(self) -> bool:
        """Whether the output is one bit per channel."""
        return LayerFlag.PACK in self.flags

    @property
    def group(self) -> int:
        """Output channels of a whole group."""
        return group_channels(self.flags, self.config)

    @property
    def positions(self) -> int:
        """Stream positions of all tiles."""
        return self["tiles"] * self.config.cols

    def inside(self) -> NDArray[np.bool_]:
        """Return which stream positions are output, (positions,)."""
        position = np.arange(self.positions)
        return ((position >= self["skip"]) & (position < self["end"])
                & ((self["start_column"] + position) % self["pitch"] < self["width"]))
