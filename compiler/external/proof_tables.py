"""The proof for tables: that a LAYER finds the steps and parameters of its output channels."""

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.external.areas import unit_bytes
from smartdeal.compiler.external.proof_memories import Memories, Refusal
from smartdeal.compiler.schedule import Stage
from smartdeal.compiler.tables import pack_basis, pack_channels, unit_steps
from smartdeal.compiler.weights import TABLES, group_needs
from smartdeal.hw.isa import MIN_STEPS, SectionKind, section_format

__all__ = ["Tables"]


class Tables:
    """Steps, requantisation and basis; what was found right once is remembered by its place.

    Parameters
    ----------
    memories : Memories
    """

    def __init__(self, memories: Memories) -> None:
        self.memories, self.config = memories, memories.config
        self._steps: dict[tuple[int, Stage, tuple[int, int]],
                          tuple[NDArray[np.int64], NDArray[np.int64], int]] = {}
        self._needs: dict[Stage, NDArray[np.int64]] = {}

    def steps(
        self, stage: Stage, groups: tuple[int, int], base: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Return which tap reads which byte behind ``input_base``, each pair once.

        The last number is the furthest of these bytes, steps without coefficients included.

        Raises
        ------
        CompileError
            If the steps are not there, or not those of the layer.
        """
        blocks = [block for group in stage.lowering.blocks[groups[0]:groups[1]]
                  for block in group]
        lengths = np.array([unit_steps(block) for block in blocks])
        start = self._start(stage, SectionKind.STEPS, base, int(lengths.sum()))
        key = (start, stage, groups)
        if key in self._steps:
            return self._steps[key]
        name, columns = stage.layer.name, self._columns(SectionKind.STEPS, start,
                                                        int(lengths.sum()))
        ends = np.cumsum(lengths)
        announced = np.zeros(len(columns["next_last"]), np.int64)
        announced[ends - MIN_STEPS] = 1
        if np.any(columns["next_last"] != announced):
            raise Refusal(name, "its units of work do not end where they should")
        used = np.concatenate([begin + np.arange(len(block)) for begin, block in
                               zip(ends - lengths, blocks, strict=True)])
        values = np.zeros((len(announced), self.config.rows), np.int32)
        values[used] = np.concatenate([block.coefficients for block in blocks])
        if np.any(self.config.coefficient.decode(columns["coefficients"]) != values):
            raise Refusal(name, "its coefficients are not those of the layer")
        if np.any(columns["lane"] >= self.config.cols):
            raise Refusal(name, f"its steps read lane {columns['lane'].max()} of a word of "
                                f"{self.config.cols}")
        flats = columns["word"] * self.config.cols + columns["lane"]
        taps = np.concatenate([block.taps for block in blocks])
        pairs = np.unique(taps << 32 | flats[used])
        self._steps[key] = pairs >> 32, pairs & 0xFFFFFFFF, int(flats.max(initial=0))
        return self._steps[key]

    def check_parameters(
        self, stage: Stage, groups: tuple[int, int], fields: dict[str, int],
    ) -> None:
        """Refuse parameters that are not there, or not those of the layer's output channels."""
        lowering, config = stage.lowering, self.config
        if stage not in self._needs:
            self._needs[stage] = group_needs(stage)
        total = self._needs[stage][groups[0]:groups[1]].sum(axis=0)
        channels = slice(groups[0] * lowering.group, groups[1] * lowering.group)
        expected: dict[SectionKind, tuple[int, bytes]] = {SectionKind.CHANNELS: (
            fields["channel_base"], pack_channels(stage.parameters, channels, config))}
        if lowering.basis is not None:
            expected[SectionKind.BASIS] = (fields["basis_base"], pack_basis(
                lowering.basis, channels, lowering.group, config))
        for kind, (base, data) in expected.items():
            start = self._start(stage, kind, base, int(total[TABLES.index(kind)]))
            if self.memories.constants[start:start + len(data)].tobytes() != data:
                raise Refusal(stage.layer.name, f"its {kind.name} are not those of the layer")

    def _start(self, stage: Stage, kind: SectionKind, base: int, count: int) -> int:
        """Return the byte of the region that units come from, which must be consecutive."""
        found = self.memories.tables[kind][base:base + count]
        unit = unit_bytes(kind, self.config)
        if len(found) < count or found[0] < 0 or np.any(np.diff(found) != unit):
            raise Refusal(stage.layer.name, f"words {base} to {base + count} of the {kind.name} "
                                            "memory do not hold what it needs")
        return int(found[0])

    def _columns(self, kind: SectionKind, start: int, count: int) -> dict[str, NDArray[np.int64]]:
        layout = section_format(kind, self.config)
        size = count * layout.unit_bytes(self.config.host_bits)
        return layout.unpack(self.memories.constants[start:start + size].tobytes(),
                             self.config.host_bits)
