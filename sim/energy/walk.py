"""Counts the events of a program by walking it: instruction by instruction, step by step.

The program is the image that the hardware runs; nothing else is looked at. The rule for each event
is that of docs/execution.md; docs/energy.md names the signal that a test counts beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.image import read_image
from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    INSTRUCTION,
    INSTRUCTION_WORDS,
    MIN_STEPS,
    MOVE_INSTRUCTION,
    LayerFlag,
    MoveFlag,
    Opcode,
    SectionKind,
    group_channels,
    section_format,
    step_format,
)
from smartdeal.hw.packing import WordFormat
from smartdeal.sim.energy.events import Events

__all__ = ["ProgramEvents", "count_image", "output_words"]

#: Bits of bytes 0…255 that are 1.
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1).astype(np.uint8)
_LAYOUTS = {int(Opcode.LAYER): INSTRUCTION, int(Opcode.MOVE): MOVE_INSTRUCTION}
_LOADS = {SectionKind.PROGRAM: "program_loads", SectionKind.STEPS: "weight_loads",
          SectionKind.CHANNELS: "channel_loads", SectionKind.BASIS: "basis_loads",
          SectionKind.ACTIVATIONS: "activation_loads"}


@dataclass(frozen=True)
class ProgramEvents:
    """Events of one image.

    Parameters
    ----------
    load : Events
        Of loading it: the words that it writes.
    instructions : tuple of Events
        Of each instruction when it runs, END being the last.
    """

    load: Events
    instructions: tuple[Events, ...]

    @property
    def run(self) -> Events:
        """Events of a whole run, without loading."""
        return sum(self.instructions, Events())


@dataclass(frozen=True)
class _Steps:
    """What the weight buffer holds, by step.

    Parameters
    ----------
    announced : int64 array
        Steps before the last of each unit, ascending.
    valid, first_row : int64 arrays, (weight_steps,)
        Valid coefficients in all rows, and in row 0.
    """

    announced: NDArray[np.int64]
    valid: NDArray[np.int64]
    first_row: NDArray[np.int64]


def count_image(image: bytes, config: AcceleratorConfig) -> ProgramEvents:
    """Count the events of a program image, or of loading a data image.

    Raises
    ------
    ImageError
        If the accelerator would refuse the image.
    ValueError
        If the program would not reach END.
    """
    words, steps, load = _read(image, config)
    if not load.program_loads:
        return ProgramEvents(load, ())
    return ProgramEvents(load, tuple(_instructions(words, _decode(steps, config), config)))


def output_words(image: bytes, config: AcceleratorConfig) -> list[tuple[int, int]]:
    """Return first word and end of what each instruction writes; errors as for the counting.

    A MOVE may write with any distances, so that its range is empty here.
    """
    words, _, _ = _read(image, config)
    regions: list[tuple[int, int]] = []
    for opcode, fields in _decoded(words):
        if opcode != Opcode.LAYER:
            regions.append((0, 0))
            continue
        size = 1 if LayerFlag(fields["flags"]) & LayerFlag.REDUCE else fields["tiles"]
        first = fields["output_base"]
        regions.append((first, first + (fields["channels"] - 1) * fields["output_stride"] + size))
    return regions


def _read(
    image: bytes, config: AcceleratorConfig,
) -> tuple[NDArray[np.uint32], list[tuple[int, bytes]], Events]:
    """Return the instruction memory, the sections of steps, and the events of loading."""
    loads = dict.fromkeys(_LOADS.values(), 0)
    words = np.zeros(config.program_words, np.uint32)
    steps: list[tuple[int, bytes]] = []
    for section in read_image(image, config).sections:
        unit = section_format(section.kind, config).unit_bytes(config.host_bits)
        loads[_LOADS[section.kind]] += len(section.data) // unit
        if section.kind == SectionKind.PROGRAM:
            units = np.frombuffer(section.data, "<u4").reshape(-1, config.host_bits // 32)
            words[section.address:section.address + len(units)] = units[:, 0]
        elif section.kind == SectionKind.STEPS:
            steps.append((section.address, section.data))
    return words, steps, Events(**loads)


def _decode(sections: list[tuple[int, bytes]], config: AcceleratorConfig) -> _Steps:
    """Count coefficients and find the ends of units without unpacking all fields."""
    layout = step_format(config)
    unit = layout.unit_bytes(config.host_bits)
    size = config.code_bits
    mask_bits = np.zeros(unit * 8, np.uint8)
    mask_bits[:config.rows * size:size] = 1  # a coefficient's bit 0 is `valid`
    mask = np.packbits(mask_bits, bitorder="little")
    flag = layout.offset("next_last")
    announced = np.zeros(config.weight_steps, np.bool_)
    valid = np.zeros(config.weight_steps, np.int64)
    first = np.zeros(config.weight_steps, np.int64)
    for address, data in sections:
        units = np.frombuffer(data, np.uint8).reshape(-1, unit)
        at = slice(address, address + len(units))
        used = -(-config.rows * size // 8)
        valid[at] = _ONES[units[:, :used] & mask[:used]].sum(axis=1, dtype=np.int64)
        first[at] = units[:, 0] & 1
        announced[at] = units[:, flag // 8] >> flag % 8 & 1
    return _Steps(np.flatnonzero(announced), valid, first)


def _instructions(
    words: NDArray[np.uint32], steps: _Steps, config: AcceleratorConfig,
) -> list[Events]:
    found = [_move(fields, config) if opcode == Opcode.MOVE else _layer(fields, steps, config)
             for opcode, fields in _decoded(words)]
    return [*found, Events(instruction_words=1)]  # END


def _decoded(words: NDArray[np.uint32]) -> Iterator[tuple[int, dict[str, int]]]:
    """Yield opcode and fields of each instruction before END."""
    pointer = 0
    while pointer < len(words):
        opcode = int(words[pointer]) & 0xFF
        if opcode == Opcode.END:
            return
        layout = _LAYOUTS.get(opcode)
        if layout is None or pointer + INSTRUCTION_WORDS > len(words):
            break
        yield opcode, _fields(words[pointer:pointer + INSTRUCTION_WORDS], layout)
        pointer += INSTRUCTION_WORDS
    raise ValueError(f"Program must reach END, not stop at word {pointer}")


def _fields(words: NDArray[np.uint32], layout: WordFormat) -> dict[str, int]:
    """Unpack the unsigned fields of one instruction; ``WordFormat.unpack`` is made for many."""
    number = int.from_bytes(words.astype("<u4").tobytes(), "little")
    fields: dict[str, int] = {}
    for field in layout.fields:
        fields[field.name] = number & (1 << field.bits) - 1
        number >>= field.bits
    return fields


def _move(fields: dict[str, int], config: AcceleratorConfig) -> Events:
    runs = fields["channels"] * fields["rows"]
    chunks = runs * -(-fields["columns"] // config.cols)
    reads = 2 * chunks if fields["flags"] & MoveFlag.DECIMATE else chunks
    return Events(instruction_words=INSTRUCTION_WORDS, moved_words=chunks,
                  moved_bytes=runs * fields["columns"],
                  move_reads=0 if fields["flags"] & MoveFlag.FILL else reads)


def _layer(fields: dict[str, int], steps: _Steps, config: AcceleratorConfig) -> Events:
    flags = LayerFlag(fields["flags"])
    if flags & (LayerFlag.BINARY | LayerFlag.PACK):
        raise ValueError("Layers must have 8-bit activations for the energy model, which has no "
                         "price for binary ones yet")
    slices, tiles, channels = fields["slices"], fields["tiles"], fields["channels"]
    groups = -(-channels // group_channels(flags, config))
    start = fields["steps_base"]
    first = int(np.searchsorted(steps.announced, start))
    ends = steps.announced[first:first + groups * slices] + MIN_STEPS
    if len(ends) < groups * slices or ends[-1] > config.weight_steps:
        raise ValueError(f"Steps from {start} must end {groups * slices} units of work, not "
                         f"{len(ends)}")
    taken = slice(start, int(ends[-1]))
    array = _array(steps, taken, ends - 1, flags, tiles, config)
    read_out = _read_out(flags, slices, tiles, channels, config)
    count = int(ends[-1] - start) * tiles
    return array + read_out + Events(
        instruction_words=INSTRUCTION_WORDS, steps=count, vector_reads=count,
        weight_reads=count + 1)  # the layer's first step is read when it starts


def _array(
    steps: _Steps, taken: slice, lasts: NDArray[np.int64], flags: LayerFlag, tiles: int,
    config: AcceleratorConfig,
) -> Events:
    """Count what the PEs do in the steps of all groups, once per tile."""
    scale = config.cols * tiles
    valid, last = int(steps.valid[taken].sum()), int(steps.valid[lasts].sum())
    maximums = int(steps.first_row[taken].sum()) if LayerFlag.MAX_POOL in flags else 0
    captured = len(lasts) * config.rows * scale
    return Events(
        shift_adds=(valid - maximums) * scale, maximums=maximums * scale,
        # The sum of a unit's last step goes to the result register; all accumulators restart.
        accumulator_writes=(valid - last) * scale + captured, result_writes=captured)


def _read_out(
    flags: LayerFlag, slices: int, tiles: int, channels: int, config: AcceleratorConfig,
) -> Events:
    """Count what happens behind the array."""
    basis, reduce = LayerFlag.BASIS in flags, LayerFlag.REDUCE in flags
    residual = LayerFlag.RESIDUAL in flags
    lanes = config.drain_lanes
    passes = channels * slices * tiles      # read-outs of a channel
    emitted = passes * config.chunks        # chunks that leave the basis stage
    commands = emitted * (BASIS_SIZE if basis else 1)
    complete = channels if reduce else channels * tiles * config.chunks
    partial = emitted - complete            # chunks that another one is added to
    kept = config.max_slices > 1 or config.reduce
    return Events(
        result_reads=commands * lanes,
        residual_reads=channels * tiles if residual else 0,
        basis_reads=commands if basis else 0,
        basis_multiplies=commands * lanes * BASIS_SIZE if basis else 0,
        # Over the three basis rows, then over the three column taps.
        basis_adds=(commands * BASIS_SIZE + emitted * (BASIS_SIZE - 1)) * lanes if basis else 0,
        state_reads=channels * slices * (tiles - 1) if basis else 0,
        state_writes=passes if config.basis else 0,
        partial_reads=partial if kept else 0,
        partial_writes=partial if kept else 0,
        sum_adds=partial * lanes + (complete * (lanes - 1) if reduce else 0),
        channel_reads=complete, requantise_multiplies=complete * lanes,
        residual_multiplies=complete * lanes if residual else 0,
        stored_words=complete, stored_bytes=complete * (1 if reduce else lanes))
