"""LOAD, WAIT and JUMP as the reference interpreter executes them (docs/execution.md)."""

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.memories import Memories, ProgramError
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    LOAD_INSTRUCTION,
    ErrorCode,
    SectionKind,
    WaitFlag,
    section_capacity,
    section_format,
)

__all__ = ["Jump", "Load", "Wait"]

_RESERVED = tuple(f.name for f in LOAD_INSTRUCTION.fields if f.name.startswith("reserved"))
#: Units that are written at a time.
_CHUNK = 1 << 18


class _Transfer:
    """A decoded instruction: its word address and its fields by name."""

    def __init__(self, address: int, values: dict[str, int], config: AcceleratorConfig) -> None:
        self.address, self.values, self.config = address, values, config
        if not config.memory:
            raise ProgramError(ErrorCode.FEATURE, address)

    def __getitem__(self, name: str) -> int:
        return self.values[name]


class Load(_Transfer):
    """A decoded LOAD instruction.

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
        super().__init__(address, values, config)
        beat = config.host_bits // 8
        kinds = [kind for kind in SectionKind if kind != SectionKind.END
                 and (kind != SectionKind.BASIS or config.basis)]
        if (any(self[name] for name in _RESERVED) or self["kind"] not in kinds
                or 0 in (self["runs"], self["count"], self["inner"])
                or self["offset"] % beat or self["memory_stride"] % beat):
            raise ProgramError(ErrorCode.FIELD, address)
        self.kind = SectionKind(self["kind"])

    @property
    def unit_bytes(self) -> int:
        """Bytes of a unit in the region."""
        return section_format(self.kind, self.config).unit_bytes(self.config.host_bits)

    def run(self, memories: Memories, *, spoil: bool = False) -> None:
        """Carry it out, run by run.

        Parameters
        ----------
        memories : Memories
        spoil : bool
            Whether to write the complement of each unit instead.

        Raises
        ------
        ProgramError
            Before a run that leaves the region, and after one with units outside their memory;
            these are not written, all others are.
        """
        size = self["count"] * self.unit_bytes
        inside = self.run_offsets() + size <= len(memories.region)
        runs = self["runs"] if inside.all() else int(np.argmin(inside))
        together = max(1, _CHUNK // self["count"])
        for first in range(0, runs, together):
            self._runs(memories, np.arange(first, min(first + together, runs)), spoil)
        if runs < self["runs"]:
            raise ProgramError(ErrorCode.MEMORY_RANGE, self.address)

    def _runs(self, memories: Memories, runs: NDArray[np.int64], spoil: bool) -> None:
        data = np.frombuffer(self.units(memories.region, runs), np.uint8)
        data = np.invert(data) if spoil else data
        words = self.places(runs)
        outside = words >= section_capacity(self.kind, self.config)
        if outside.any():
            data = data.reshape(len(words), -1)[~outside]
        memories.store_units(self.kind, words[~outside], data.tobytes())
        if outside.any():
            raise ProgramError(ErrorCode.SECTION_RANGE, self.address)

    def run_offsets(self) -> NDArray[np.int64]:
        """Return the byte of the region at which each run begins, (runs,)."""
        return (self["offset"] + np.arange(self["runs"]) * self["memory_stride"]) % (1 << 32)

    def units(
        self, region: bytes | bytearray | memoryview, runs: NDArray[np.int64] | None = None,
    ) -> bytes:
        """Return the bytes of some runs, or all, from a region, run by run."""
        size, source = self["count"] * self.unit_bytes, memoryview(region)
        offsets = self.run_offsets() if runs is None else self.run_offsets()[runs]
        return b"".join(source[offset:offset + size] for offset in offsets.tolist())

    def places(self, runs: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Return where the units of some runs, or all, go, run by run, (runs · count,)."""
        runs = np.arange(self["runs"]) if runs is None else runs
        block, within = np.divmod(np.arange(self["count"]), self["inner"])
        # Each product has 64 bits at most, and only the lowest 32 of a sum count.
        unit = block.astype(np.uint64) * np.uint64(self["outer_stride"]) + within.astype(
            np.uint64) * np.uint64(self["inner_stride"])
        run = runs.astype(np.uint64) * np.uint64(self["run_stride"]) + np.uint64(self["address"])
        return ((run[:, None] + unit) % np.uint64(1 << 32)).astype(np.int64).ravel()


class Wait(_Transfer):
    """A decoded WAIT instruction; parameters and errors as for :class:`Load`."""

    def __init__(self, address: int, values: dict[str, int], config: AcceleratorConfig) -> None:
        super().__init__(address, values, config)
        self.flags = WaitFlag(self["flags"] & sum(WaitFlag))
        if self["reserved"] or self["flags"] != self.flags:
            raise ProgramError(ErrorCode.FIELD, address)


class Jump(_Transfer):
    """A decoded JUMP instruction; parameters and errors as for :class:`Load`.

    An address outside the instruction memory is PROGRAM_RANGE.
    """

    def __init__(self, address: int, values: dict[str, int], config: AcceleratorConfig) -> None:
        super().__init__(address, values, config)
        self.target = self["address"]
        if self.target >= config.program_words:
            raise ProgramError(ErrorCode.PROGRAM_RANGE, address)
