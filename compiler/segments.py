"""From instructions to program images: a network is cut where a memory is full.

A *segment* is one program image. Segments run one after the other; the activations stay. A
layer whose weights do not fit an empty weight buffer is cut by groups of output channels.
"""

from dataclasses import dataclass, field

import numpy as np

from smartdeal.compiler.coding import code_steps, step_sections
from smartdeal.compiler.emit import Instruction, layer_instruction
from smartdeal.compiler.image import Section, write_image
from smartdeal.compiler.instructions import END_WORDS, check_fields, program_section
from smartdeal.compiler.schedule import Stage
from smartdeal.compiler.tables import pack_basis, pack_channels, pack_steps
from smartdeal.compiler.views import View, ViewKey
from smartdeal.compiler.weights import BASES, TABLES, Need, group_needs, refuse_group
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import INSTRUCTION_WORDS, SectionKind, section_capacity

__all__ = ["SegmentBuilder"]


@dataclass
class _Segment:
    """Instructions and table contents of one image."""

    instructions: list[Instruction] = field(default_factory=list)
    used: Need = field(default_factory=lambda: np.zeros(len(TABLES), np.int64))
    data: dict[SectionKind, list[bytes]] = field(
        default_factory=lambda: {kind: [] for kind in TABLES})
    #: Payload of the steps of each LAYER, empty where they are not entropy coded.
    coded: list[bytes] = field(default_factory=list)


class SegmentBuilder:
    """Takes instructions in their order and cuts them in segments.

    Parameters
    ----------
    views : dict of View
        With addresses.
    config : AcceleratorConfig
    """

    def __init__(self, views: dict[ViewKey, View], config: AcceleratorConfig) -> None:
        self.views, self.config = views, config
        self._segments = [_Segment()]
        self._capacity = np.array([section_capacity(kind, config) for kind in TABLES])
        self._instructions = (config.program_words - len(END_WORDS)) // INSTRUCTION_WORDS
        #: Bytes of weights and tables by layer.
        self.table_bytes: dict[str, int] = {}
        #: Bytes that entropy coding saves, by layer in which it does.
        self.saved_bytes: dict[str, int] = {}

    @property
    def instructions(self) -> list[list[Instruction]]:
        """Instructions of every segment."""
        return [segment.instructions for segment in self._segments]

    def move(self, instruction: Instruction) -> None:
        """Append a MOVE."""
        self._make_room()
        self._segments[-1].instructions.append(instruction)

    def layer(self, stage: Stage) -> None:
        """Append a layer, as one LAYER if it fits.

        Raises
        ------
        CompileError
            If not even one group fits an empty accelerator; the message names the memory.
        """
        needs = group_needs(stage)
        groups = len(needs)
        if np.all(needs.sum(axis=0) <= self._capacity):
            self._make_room(needs.sum(axis=0))
            self._append(stage, (0, groups), needs.sum(axis=0))
            return
        start = 0
        while start < groups:
            self._make_room(needs[start])
            free = self._capacity - self._segments[-1].used
            count = int(np.count_nonzero(
                np.all(np.cumsum(needs[start:], axis=0) <= free, axis=1)))
            if count == 0:
                refuse_group(stage, needs[start], self._capacity, self.config)
            self._append(stage, (start, start + count), needs[start:start + count].sum(axis=0))
            start += count

    def images(self) -> tuple[bytes, ...]:
        """Return the program image of every segment."""
        return tuple(self._image(segment) for segment in self._segments)

    def _make_room(self, need: Need | int = 0) -> None:
        """Begin another segment if this one has no room for an instruction and its tables."""
        last = self._segments[-1]
        if last.instructions and (len(last.instructions) == self._instructions
                                  or np.any(last.used + need > self._capacity)):
            self._segments.append(_Segment())

    def _append(self, stage: Stage, groups: tuple[int, int], need: Need) -> None:
        """Append a LAYER for a range of groups, which fits."""
        segment, config, lowering = self._segments[-1], self.config, stage.lowering
        bases = {BASES[kind]: int(used) for kind, used in zip(TABLES, segment.used, strict=True)}
        instruction = layer_instruction(stage, groups, bases, self.views, config)
        channels = slice(groups[0] * lowering.group, groups[1] * lowering.group)
        taps = self.views[stage.source].taps(stage.kernel, stage.top, stage.left).ravel()
        data = {SectionKind.STEPS: pack_steps(lowering.blocks[groups[0]:groups[1]], taps, config),
                SectionKind.CHANNELS: pack_channels(stage.parameters, channels, config)}
        if lowering.basis is not None:
            data[SectionKind.BASIS] = pack_basis(lowering.basis, channels, lowering.group, config)
        segment.instructions.append(instruction)
        segment.used = segment.used + need
        for kind, units in data.items():
            segment.data[kind].append(units)
        name, plain = stage.layer.name, len(data[SectionKind.STEPS])
        coded = code_steps(data[SectionKind.STEPS], config)
        segment.coded.append(coded)
        saved = plain - len(coded) if coded else 0
        self.table_bytes[name] = (self.table_bytes.get(name, 0) - saved
                                  + sum(map(len, data.values())))
        self.saved_bytes[name] = self.saved_bytes.get(name, 0) + saved

    def _image(self, segment: _Segment) -> bytes:
        words = [instruction.words for instruction in segment.instructions]
        for instruction in segment.instructions:
            check_fields(instruction.layer, instruction.words, self.config)
        sections = [program_section(np.concatenate([*words, END_WORDS]), self.config)]
        steps, *others = TABLES
        sections += step_sections(
            list(zip(segment.data[steps], segment.coded, strict=True)), self.config)
        sections += [Section(kind, 0, b"".join(segment.data[kind]))
                     for kind in others if segment.data[kind]]
        return write_image(self.config, sections, program=True)
