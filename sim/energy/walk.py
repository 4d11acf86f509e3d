"""Counts the events of a program by walking it: instruction by instruction, step by step.

The program is the image that the hardware runs; nothing else is looked at. The rule for each event
is that of docs/execution.md; docs/energy.md names the signal that a test counts beside it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.image import read_image
from smartdeal.golden.formats import BASIS_SIZE, PACKED
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
)
from smartdeal.sim.energy.events import Events
from smartdeal.sim.energy.steps import StepMemory

__all__ = ["LOAD_EVENTS", "ProgramEvents", "count_image", "decoded", "instruction_events",
           "layer_events", "move_events", "read_memories"]

_LAYOUTS = {int(Opcode.LAYER): INSTRUCTION, int(Opcode.MOVE): MOVE_INSTRUCTION}
#: The event of a word written to each memory, by host or LOAD.
LOAD_EVENTS = {
    SectionKind.PROGRAM: "program_loads", SectionKind.STEPS: "weight_loads",
    SectionKind.CHANNELS: "channel_loads", SectionKind.BASIS: "basis_loads",
    SectionKind.ACTIVATIONS: "activation_loads",
}


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


def count_image(image: bytes, config: AcceleratorConfig) -> ProgramEvents:
    """Count the events of a program image, or of loading a data image.

    Raises
    ------
    ImageError
        If the accelerator would refuse the image.
    ValueError
        If the program would not reach END.
    """
    words, steps, load = read_memories(image, config)
    if not load.program_loads:
        return ProgramEvents(load, ())
    return ProgramEvents(load, tuple(_instructions(words, steps, config)))


def read_memories(
    image: bytes, config: AcceleratorConfig,
) -> tuple[NDArray[np.uint32], StepMemory, Events]:
    """Return the instruction memory, the weight buffer, and the events of loading an image.

    Raises
    ------
    ImageError
        If the accelerator would refuse the image.
    """
    loads = dict.fromkeys(LOAD_EVENTS.values(), 0)
    words = np.zeros(config.program_words, np.uint32)
    steps = StepMemory(config)
    for section in read_image(image, config).sections:
        unit = section_format(section.kind, config).unit_bytes(config.host_bits)
        count = len(section.data) // unit
        loads[LOAD_EVENTS[section.kind]] += count
        at = slice(section.address, section.address + count)
        if section.kind == SectionKind.PROGRAM:
            units = np.frombuffer(section.data, "<u4").reshape(-1, config.host_bits // 32)
            words[at] = units[:, 0]
        elif section.kind == SectionKind.STEPS:
            steps.write(at, section.data)
    return words, steps, Events(**loads)


def _instructions(
    words: NDArray[np.uint32], steps: StepMemory, config: AcceleratorConfig,
) -> list[Events]:
    found = [instruction_events(opcode, fields, steps, config)
             for opcode, fields in decoded(words)]
    return [*found, Events(instruction_words=1)]  # END


def instruction_events(
    opcode: Opcode, fields: Mapping[str, int], steps: StepMemory, config: AcceleratorConfig,
) -> Events:
    """Count the events of a MOVE or a LAYER; errors as for :func:`layer_events`."""
    return (move_events(fields, config) if opcode == Opcode.MOVE
            else layer_events(fields, steps, config))


def decoded(words: NDArray[np.uint32]) -> Iterator[tuple[Opcode, dict[str, int]]]:
    """Yield opcode and fields of each instruction before END.

    Raises
    ------
    ValueError
        If the program would not reach END.
    """
    pointer = 0
    while pointer < len(words):
        opcode = int(words[pointer]) & 0xFF
        if opcode == Opcode.END:
            return
        layout = _LAYOUTS.get(opcode)
        if layout is None or pointer + INSTRUCTION_WORDS > len(words):
            break
        number = int.from_bytes(words[pointer:pointer + INSTRUCTION_WORDS].tobytes(), "little")
        yield Opcode(opcode), layout.unpack_word(number)
        pointer += INSTRUCTION_WORDS
    raise ValueError(f"Program must reach END, not stop at word {pointer}")


def move_events(fields: Mapping[str, int], config: AcceleratorConfig) -> Events:
    """Count the events of a MOVE instruction."""
    runs = fields["channels"] * fields["rows"]
    chunks = runs * -(-fields["columns"] // config.cols)
    reads = 2 * chunks if fields["flags"] & MoveFlag.DECIMATE else chunks
    return Events(instruction_words=INSTRUCTION_WORDS, moved_words=chunks,
                  moved_bytes=runs * fields["columns"],
                  move_reads=0 if fields["flags"] & MoveFlag.FILL else reads)


def layer_events(
    fields: Mapping[str, int], steps: StepMemory, config: AcceleratorConfig,
) -> Events:
    """Count the events of a LAYER instruction.

    Raises
    ------
    ValueError
        If the weight buffer does not hold its units of work.
    """
    flags = LayerFlag(fields["flags"])
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
    steps: StepMemory, taken: slice, lasts: NDArray[np.int64], flags: LayerFlag, tiles: int,
    config: AcceleratorConfig,
) -> Events:
    """Count what the PEs do in the steps of all groups, once per tile."""
    scale = config.cols * tiles
    captured = len(lasts) * config.rows * scale
    if LayerFlag.BINARY in flags:  # every PE counts in every step
        counts = (taken.stop - taken.start) * config.rows * scale
        return Events(xnor_counts=counts, accumulator_writes=counts, result_writes=captured)
    valid, last = int(steps.valid[taken].sum()), int(steps.valid[lasts].sum())
    maximums = int(steps.first_row[taken].sum()) if LayerFlag.MAX_POOL in flags else 0
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
    # With system memory words are written whole, so that loads find cycles between them.
    words = complete if reduce or not config.memory else complete // config.chunks
    external, packed = LayerFlag.EXTERNAL in flags, LayerFlag.PACK in flags
    bytes_stored = complete * (1 if reduce else lanes)
    if packed:  # a byte is written with the last of its eight channels
        words, bytes_stored = words // PACKED, bytes_stored // PACKED
    beats = section_format(SectionKind.ACTIVATIONS, config).unit_bytes(
        config.host_bits) * 8 // config.host_bits
    return Events(
        result_reads=commands * lanes,
        residual_reads=channels * tiles if residual else 0,
        basis_reads=passes if basis else 0,  # by a channel's first command; its word stays
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
        packed_signs=complete * lanes if packed else 0,
        stored_words=0 if external else words,
        stored_bytes=0 if external else bytes_stored,
        spilled_words=words if external else 0, spilled_beats=words * beats if external else 0)
