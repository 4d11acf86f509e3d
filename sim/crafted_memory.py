"""Random programs that transfer data by themselves: those of :mod:`smartdeal.sim.crafted`, changed.

All memories are filled by LOADs; layers write to system memory or not, and what they wrote is
loaded again; between and beside them stand loads that change nothing, to keep the bus busy.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.image import Section, read_image, write_image
from smartdeal.compiler.instructions import (
    END_WORDS,
    jump_words,
    load_words,
    program_section,
    wait_words,
)
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    INSTRUCTION,
    INSTRUCTION_WORDS,
    LayerFlag,
    Opcode,
    SectionKind,
    WaitFlag,
    section_capacity,
    section_format,
)
from smartdeal.sim.crafted import draw_image

__all__ = ["MemoryProgram", "draw_memory_program"]

_FLAGS = INSTRUCTION.fields[1]
assert _FLAGS.name == "flags"


@dataclass(frozen=True)
class MemoryProgram:
    """A program and the region of system memory that it works on.

    Parameters
    ----------
    image : bytes
        What the host loads.
    region : bytes
        Content of the region at the start.
    """

    image: bytes
    region: bytes


def draw_memory_program(
    rng: np.random.Generator, config: AcceleratorConfig, layers: int = 2,
) -> MemoryProgram:
    """Draw a program that runs without an error; ``config`` has the feature memory."""
    return _Drawing(rng, config).draw(layers)


@dataclass
class _Drawing:
    rng: np.random.Generator
    config: AcceleratorConfig
    region: bytearray = field(default_factory=bytearray)
    words: list[NDArray[np.uint32]] = field(default_factory=list)
    #: LOADs that change nothing, and whether any of activations may be unfinished.
    harmless: list[dict[str, int]] = field(default_factory=list)
    activations: bool = False

    def draw(self, layers: int) -> MemoryProgram:
        config = self.config
        # Instructions take half of their memory, so that there is room for transfers.
        small = config.replace(program_words=max(32, config.program_words // 3))
        sections = read_image(draw_image(self.rng, small, layers), small).sections
        program = sections[0]
        for section in sections[1:]:
            self._load_section(section)
        self._wait(0)
        units = np.frombuffer(program.data, "<u4").reshape(-1, config.host_bits // 32)
        instructions = units[:-len(END_WORDS), 0].reshape(-1, INSTRUCTION_WORDS)
        for instruction in instructions:
            self._maybe_harmless()
            self._instruction(instruction.astype(np.uint32))
        self._maybe_harmless()
        self.words.append(END_WORDS)
        words = np.concatenate(self._paged())
        image = write_image(config, [program_section(words, config)], program=True)
        return MemoryProgram(image, bytes(self.region))

    def _paged(self) -> list[NDArray[np.uint32]]:
        """Return the instructions, sometimes with one that is jumped over."""
        cut = int(self.rng.integers(len(self.words)))
        head, tail = self.words[:cut], self.words[cut:]
        used = sum(map(len, head))
        skipped = np.full(int(self.rng.integers(4)), 0xAB, np.uint32)
        return [*head, jump_words(used + 1 + len(skipped)), skipped, *tail]

    def _instruction(self, words: NDArray[np.uint32]) -> None:
        """Append an instruction of the drawn program; some layers become external."""
        opcode, flags = int(words[0]) & 0xFF, int(words[0]) >> 8 & 0xFF
        if opcode == Opcode.MOVE and self.activations:
            self._wait(0)
        elif opcode == Opcode.LAYER and not flags & LayerFlag.REDUCE and self.rng.random() < 0.6:
            self._external(words.copy())
            return
        self.words.append(words)

    def _external(self, words: NDArray[np.uint32]) -> None:
        values = INSTRUCTION.unpack_word(int.from_bytes(words.astype("<u4").tobytes(), "little"))
        unit = self._unit(SectionKind.ACTIVATIONS)
        count = values["tiles"] * values["channels"]
        offset = self._allocate(bytes(count * unit))
        words[0] |= LayerFlag.EXTERNAL << _FLAGS.bits
        words[_word_of("output_base")] = offset
        self.words.append(words)
        if self.rng.random() < 0.5:
            # Back to the words that the layer would have written, now as a plain block.
            self._wait(0, WaitFlag.STORES)
            depth = self.config.activation_words
            loaded = min(count, depth)
            self._load({"kind": SectionKind.ACTIVATIONS, "runs": 1, "count": loaded,
                        "offset": offset, "address": int(self.rng.integers(depth - loaded + 1)),
                        "inner": loaded, "inner_stride": 1})
            self._wait(0)

    def _load_section(self, section: Section) -> None:
        """Append a LOAD for each of some pieces of a section, cut in runs or blocks."""
        unit = self._unit(section.kind)
        total = len(section.data) // unit
        start = 0
        while start < total:
            count = int(self.rng.integers(1, total - start + 1))
            if total - start > 3 and self.rng.random() < 0.3:
                count = total - start
            self._load_piece(section.kind, section.address + start,
                             section.data[start * unit:(start + count) * unit], count)
            start += count
            if self.rng.random() < 0.2:
                self._wait(int(self.rng.integers(4)))

    def _load_piece(self, kind: SectionKind, address: int, data: bytes, count: int) -> None:
        unit = self._unit(kind)
        beat = self.config.host_bits // 8
        fields = {"kind": kind, "address": address, "runs": 1, "count": count, "inner": count,
                  "inner_stride": 1}
        divisors = [d for d in range(1, count + 1) if count % d == 0]
        divisor = int(self.rng.choice(divisors))
        choice = self.rng.random()
        if choice < 0.4:  # runs apart from each other in the region
            gap = beat * int(self.rng.integers(3))
            size = count // divisor * unit
            offset = self._allocate(b"".join(
                data[i * size:(i + 1) * size] + bytes(gap) for i in range(divisor)))
            fields |= {"runs": divisor, "count": count // divisor, "inner": count // divisor,
                       "memory_stride": size + gap, "run_stride": count // divisor}
        elif choice < 0.7:  # a transposed block
            order = np.arange(count).reshape(count // divisor, divisor).T.ravel()
            units = [data[i * unit:(i + 1) * unit] for i in order]
            offset = self._allocate(b"".join(units))
            fields |= {"inner": count // divisor, "inner_stride": divisor, "outer_stride": 1}
        else:
            offset = self._allocate(data)
        fields["offset"] = offset
        self._load(fields)
        if kind != SectionKind.ACTIVATIONS:
            self.harmless.append(fields)

    def _maybe_harmless(self) -> None:
        for _ in range(int(self.rng.integers(3))):
            if self.harmless:
                self._load(self.harmless[int(self.rng.integers(len(self.harmless)))])

    def _load(self, fields: dict[str, int]) -> None:
        if self._room() < 3 * INSTRUCTION_WORDS and fields in self.harmless:
            return
        self.words.append(load_words(fields))
        self.activations |= fields["kind"] == SectionKind.ACTIVATIONS

    def _wait(self, loads: int, flags: int = 0) -> None:
        self.words.append(wait_words(loads, flags))
        self.activations &= loads > 0

    def _room(self) -> int:
        return self.config.program_words - sum(map(len, self.words)) - 64

    def _allocate(self, data: bytes) -> int:
        """Append bytes to the region, after a few beats that nobody uses; return their place."""
        beat = self.config.host_bits // 8
        self.region += self.rng.bytes(beat * int(self.rng.integers(4)))
        offset = len(self.region)
        self.region += data
        return offset

    def _unit(self, kind: SectionKind) -> int:
        assert section_capacity(kind, self.config)
        return section_format(kind, self.config).unit_bytes(self.config.host_bits)


def _word_of(name: str) -> int:
    """Return the 32-bit word of the instruction that a field of 32 bits is."""
    return INSTRUCTION.offset(name) // 32
