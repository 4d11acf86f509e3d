"""MOVE as the reference interpreter executes it (docs/execution.md)."""

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.memories import ProgramError
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import MOVE_INSTRUCTION, ErrorCode, MoveFlag, too_wide

__all__ = ["Move"]

_LANES = tuple(f.name for f in MOVE_INSTRUCTION.fields if f.name.endswith("_lane"))
_RESERVED = tuple(f.name for f in MOVE_INSTRUCTION.fields if f.name.startswith("reserved"))


class Move:
    """A decoded MOVE instruction.

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
        self.flags = MoveFlag(values["flags"] & sum(MoveFlag))
        if not config.move:
            raise ProgramError(ErrorCode.FEATURE, address)
        wrong = (
            any(values[name] for name in _RESERVED)
            or too_wide(values, MOVE_INSTRUCTION, config)
            or values["flags"] != self.flags
            or self.flags == MoveFlag.FILL | MoveFlag.DECIMATE
            or 0 in (values["channels"], values["rows"], values["columns"])
            or any(values[name] >= config.cols for name in _LANES)
        )
        if wrong:
            raise ProgramError(ErrorCode.FIELD, address)

    def run(self, activations: NDArray[np.int8]) -> None:
        """Execute it on the flat activation buffer.

        Raises
        ------
        ProgramError
            If it reads or stores outside the buffer; nothing is stored then.
        """
        columns = np.arange(self.values["columns"])
        if self._last("target") + int(columns[-1]) >= len(activations):
            raise ProgramError(ErrorCode.ACTIVATION_RANGE, self.address)
        target = self._runs("target") + columns
        if MoveFlag.FILL in self.flags:
            activations[target] = self.values["value"]
            return
        step = 2 if MoveFlag.DECIMATE in self.flags else 1
        # Whole vectors of N bytes are read, and with DECIMATE always both of a chunk.
        chunks = -(-len(columns) // self.config.cols)
        vector = self._last("source") + (step * chunks - 1) * self.config.cols
        if vector + self.config.cols > len(activations):
            raise ProgramError(ErrorCode.ACTIVATION_RANGE, self.address)
        activations[target] = activations[self._runs("source") + step * columns]

    def _flat(self, name: str) -> int:
        return self.values[f"{name}_word"] * self.config.cols + self.values[f"{name}_lane"]

    def _last(self, name: str) -> int:
        """Return the flat address of the last run; distances are not negative."""
        return (self._flat(name) + (self.values["channels"] - 1) * self._flat(f"{name}_channel")
                + (self.values["rows"] - 1) * self._flat(f"{name}_row"))

    def _runs(self, name: str) -> NDArray[np.int64]:
        """Return the flat addresses of all runs, (channels, rows, 1)."""
        channel, row = np.ogrid[:self.values["channels"], :self.values["rows"]]
        flat = (self._flat(name) + channel * self._flat(f"{name}_channel")
                + row * self._flat(f"{name}_row"))
        return flat[:, :, None]
