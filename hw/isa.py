"""What the accelerator executes: instructions, table words, the image and the error codes.

This module is the contract between compiler, interpreter, latency model and hardware. An image is
a sequence of *beats* of ``host_bits`` bits, little-endian, on the load stream:

    header   16 bytes   magic, version, flags, configuration fingerprint, zero
    section  16 bytes   kind, first address, count of units, coded beats; then the units
    …
    trailer  16 bytes   kind END, CRC-32 of everything before the trailer, zero, zero

Headers and units are padded with zero bytes to whole beats. A *program image* (flag PROGRAM)
replaces the program; a *data image* only holds activations. With the feature ``entropy`` a section
STEPS whose *coded beats* are not 0 has so many beats of entropy-coded steps instead of units
(docs/entropy.md); elsewhere that number is not looked at.
"""

import enum
from collections.abc import Mapping

from smartdeal.golden.formats import BASIS_BITS, BASIS_SIZE, PACKED, REQUANTISE
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.packing import Field, WordFormat

__all__ = [
    "ALIGN_BITS", "BLOCK_BYTES", "CODE_LIMIT", "ERROR_BITS", "IMAGE_FLAG_PROGRAM", "IMAGE_MAGIC",
    "IMAGE_VERSION", "INSTRUCTION", "INSTRUCTION_WORDS", "JUMP_INSTRUCTION", "LOAD_INSTRUCTION",
    "LOAD_QUEUE", "MAX_ALIGN", "MAX_PLACES", "MIN_STEPS", "MOVE_INSTRUCTION", "WAIT_INSTRUCTION",
    "ErrorCode", "LayerFlag", "MoveFlag", "Opcode", "SectionKind", "WaitFlag", "basis_format",
    "channel_format", "field_mask", "group_channels", "section_capacity", "section_format",
    "step_format", "too_wide",
]

IMAGE_MAGIC = int.from_bytes(b"SDPI", "little")
IMAGE_VERSION = 1
IMAGE_FLAG_PROGRAM = 1
#: Bytes of a header, a section header or the trailer, before padding to whole beats.
BLOCK_BYTES = 16

#: Bits of a slice's left shift in the basis stage.
ALIGN_BITS = 4
MAX_ALIGN = (1 << ALIGN_BITS) - 1
#: Steps of every unit of work (one group, tile and slice): the flag that announces the last step
#: stands in the step before it. The compiler pads with empty steps.
MIN_STEPS = 2
#: LOAD instructions that may be unfinished; another one waits.
LOAD_QUEUE = 8
#: Bits of the longest codeword of entropy-coded steps.
CODE_LIMIT = 8
#: Codewords for places (address differences) in a section of entropy-coded steps.
MAX_PLACES = 64


class Opcode(enum.IntEnum):
    """Operations; END, WAIT and JUMP take one word, the others ``INSTRUCTION_WORDS``.

    LOAD, WAIT and JUMP need the configuration's feature ``memory``.
    """

    END = 0x01    #: wait for all transfers, stop, report done
    LAYER = 0x02  #: run one layer, or a part of one
    MOVE = 0x03   #: fill or copy a block of the activation buffer
    LOAD = 0x04   #: begin to load from system memory
    WAIT = 0x05   #: wait for transfers
    JUMP = 0x06   #: go on at another address


class LayerFlag(enum.IntFlag):
    """Modes of a LAYER instruction. Each needs the configuration's feature of that name."""

    MAX_POOL = 1  #: row 0 keeps the maximum of x + 128 instead of a sum; one channel per group
    BASIS = 2     #: three rows per filter; B is applied to the sums
    RESIDUAL = 4  #: add the residual operand
    REDUCE = 8    #: add up all valid positions; one output byte per channel
    EXTERNAL = 16  #: output words go to system memory; feature ``memory``
    BINARY = 32   #: a byte is eight channels of ±1, a coefficient their eight weights
    PACK = 64     #: output is the sign of the sum, eight channels to a byte; feature ``binary``


class MoveFlag(enum.IntFlag):
    """Modes of a MOVE instruction."""

    FILL = 1      #: write ``value`` instead of bytes of the source
    DECIMATE = 2  #: take every second byte of the source


class WaitFlag(enum.IntFlag):
    """Modes of a WAIT instruction."""

    STORES = 1  #: also wait until the memory has acknowledged all that was written


class SectionKind(enum.IntEnum):
    """Sections of an image; the unit is the word of the memory of that name."""

    PROGRAM = 1
    STEPS = 2
    CHANNELS = 3
    BASIS = 4
    ACTIVATIONS = 5
    END = 0xED


class ErrorCode(enum.IntEnum):
    """Why the accelerator refused an image or stopped a program."""

    NONE = 0
    MAGIC = 1          #: image does not start with the magic number
    VERSION = 2        #: image version differs from the hardware's
    FINGERPRINT = 3    #: image was compiled for another configuration
    SECTION = 4        #: unknown section kind, or not allowed in a data image
    SECTION_RANGE = 5  #: a section ends outside its memory
    CHECKSUM = 6       #: CRC-32 mismatch
    INCOMPLETE = 7     #: start while an image is being loaded, i.e. it was cut short
    NO_PROGRAM = 8     #: start without a valid program
    OPCODE = 9         #: unknown opcode
    FIELD = 10         #: a field of an instruction is out of range
    FEATURE = 11       #: the program needs a feature that was left out
    PROGRAM_RANGE = 12     #: the instruction pointer left the instruction memory
    STEP_RANGE = 13        #: a step address outside the weight buffer
    ACTIVATION_RANGE = 14  #: an activation address outside the activation buffer
    TABLE_RANGE = 15       #: a channel or basis address outside its memory
    ABORTED = 16           #: stopped by the host
    BUSY = 17              #: start while a program runs, which goes on, or the host's transfers
    MEMORY_RANGE = 18      #: a transfer outside the program's region, or no place for a region
    MEMORY_READ = 19       #: system memory answered a LOAD with an error
    MEMORY_WRITE = 20      #: system memory answered an EXTERNAL layer's output with an error
    ENTROPY = 21       #: table or stream of a section of coded steps is malformed


#: Bits of an error code.
ERROR_BITS = max(ErrorCode).bit_length()


#: One LAYER instruction. Every field fits one 32-bit word of the instruction memory.
INSTRUCTION = WordFormat("LAYER", (
    Field("opcode", 8),
    Field("flags", 8),
    Field("slices", 8),          # slices of the reduction, 1…max_slices
    Field("reserved_0", 8),
    Field("tiles", 16),          # tiles of `cols` stream positions, ≥ 1
    Field("channels", 16),       # output channels, all groups together, ≥ 1
    Field("column_step", 16),    # drain_lanes mod pitch
    Field("reserved_1", 16),
    Field("pitch", 16),          # stream positions from one image row to the next, ≥ 1
    Field("width", 16),          # valid positions of a row, ≤ pitch
    Field("start_column", 16),   # column of stream position 0, i.e. -skip mod pitch
    Field("skip", 16),           # leading stream positions that are no output
    Field("end", 32),            # stream positions up to the end of the last row
    Field("input_base", 32),     # added to every step's word address
    Field("steps_base", 32),     # first step of group 0 in the weight buffer
    Field("output_base", 32),    # word of channel 0, tile 0
    Field("output_stride", 32),  # words from one output channel to the next
    Field("residual_base", 24),  # word of channel 0, tile 0
    Field("residual_lane", 8),   # byte in the word, < cols
    Field("residual_stride", 32),
    Field("channel_base", 32),   # first entry of the channel table
    Field("basis_base", 32),     # first basis entry; order: group, slice, filter
    Field("zp_out", 8, signed=True),
    Field("lo", 8, signed=True),
    Field("hi", 8, signed=True),
    Field("zp_res", 8, signed=True),
    Field("reserved_2", 32),
))
INSTRUCTION_WORDS = INSTRUCTION.bits // 32


def _place(name: str) -> tuple[Field, Field]:
    """Return the fields of a flat address or distance, as words and bytes (less than ``cols``)."""
    return Field(f"{name}_word", 24), Field(f"{name}_lane", 8)


#: One MOVE instruction: ``channels`` × ``rows`` runs of ``columns`` bytes.
MOVE_INSTRUCTION = WordFormat("MOVE", (
    Field("opcode", 8),
    Field("flags", 8),
    Field("value", 8, signed=True),  # what FILL writes
    Field("reserved_0", 8),
    Field("channels", 16),           # ≥ 1
    Field("rows", 16),               # ≥ 1
    Field("columns", 16),            # bytes of a run at its destination, ≥ 1
    Field("reserved_1", 16),
    *_place("source"),               # first byte of run (0, 0)
    *_place("source_row"),           # from one row to the next
    *_place("source_channel"),       # from one channel to the next
    *_place("target"),
    *_place("target_row"),
    *_place("target_channel"),
    Field("reserved_2", 32), Field("reserved_3", 32), Field("reserved_4", 32),
    Field("reserved_5", 32), Field("reserved_6", 32), Field("reserved_7", 32),
    Field("reserved_8", 32),
))
assert MOVE_INSTRUCTION.bits == INSTRUCTION.bits

#: One LOAD instruction: ``runs`` runs of ``count`` units, each run contiguous in system memory.
LOAD_INSTRUCTION = WordFormat("LOAD", (
    Field("opcode", 8),
    Field("kind", 8),             # SectionKind of the memory to fill
    Field("runs", 16),            # ≥ 1
    Field("count", 32),           # units of a run, ≥ 1
    Field("offset", 32),          # byte of the region at which run 0 begins, whole beats
    Field("memory_stride", 32),   # bytes from one run to the next in system memory, whole beats
    Field("address", 32),         # local word of unit 0 of run 0
    Field("run_stride", 32),      # local words from one run to the next
    Field("inner", 32),           # units of a run before outer_stride counts, ≥ 1
    Field("inner_stride", 32),    # local words from one unit to the next
    Field("outer_stride", 32),    # local words from one block of `inner` units to the next
    *(Field(f"reserved_{index}", 32) for index in range(7)),
))
assert LOAD_INSTRUCTION.bits == INSTRUCTION.bits

#: WAIT: one word.
WAIT_INSTRUCTION = WordFormat("WAIT", (
    Field("opcode", 8),
    Field("flags", 8),
    Field("loads", 8),            # LOADs that may be unfinished
    Field("reserved", 8),
))

#: JUMP: one word.
JUMP_INSTRUCTION = WordFormat("JUMP", (
    Field("opcode", 8),
    Field("address", 24),         # word of the instruction memory
))


def too_wide(values: Mapping[str, int], word: WordFormat, config: AcceleratorConfig) -> bool:
    """Return whether a field of an instruction has more than ``field_bits`` bits."""
    return any(values[f.name] >> config.field_bits for f in word.fields
               if f.bits > config.field_bits and not f.name.startswith("reserved"))


def field_mask(word: WordFormat, config: AcceleratorConfig) -> int:
    """Return the bits of an instruction that may be set, by ``field_bits`` and reserved fields."""
    return sum((1 << min(f.bits, config.field_bits)) - 1 << word.offset(f.name)
               for f in word.fields if not f.name.startswith("reserved"))


def group_channels(flags: LayerFlag, config: AcceleratorConfig) -> int:
    """Return F, the output channels that the array computes at once in a layer of these modes."""
    if LayerFlag.MAX_POOL in flags:
        return 1
    if LayerFlag.PACK in flags:
        return config.rows // PACKED * PACKED
    return config.filters_per_group if LayerFlag.BASIS in flags else config.rows


def step_format(config: AcceleratorConfig) -> WordFormat:
    """Return the word of the weight buffer: one coefficient per row and one activation address.

    The activation vector starts at byte ``lane`` of word ``input_base + tile + word``.
    ``next_last`` announces that the following step is the last of its unit of work.
    """
    return WordFormat("step", (
        Field("coefficients", config.code_bits, count=config.rows),
        Field("lane", (config.cols - 1).bit_length()),
        Field("word", (config.activation_words - 1).bit_length()),
        Field("next_last", 1),
    ))


def channel_format(config: AcceleratorConfig) -> WordFormat:
    """Return the word of the channel table (golden.formats.RequantiseFormat)."""
    return WordFormat("channel", (
        Field("bias", config.sum_bits, signed=True),
        Field("multiplier", REQUANTISE.multiplier_bits),
        Field("residual_multiplier", REQUANTISE.multiplier_bits),
        Field("shift", REQUANTISE.shift_bits),
        Field("residual_shift", REQUANTISE.residual_shift_bits),
    ))


def basis_format(config: AcceleratorConfig) -> WordFormat:
    """Return the word of the basis memory: B of one filter and slice.

    ``taps`` holds B'[k][lag] at 3·k + lag. The sum at stream position i is
    Σ_k Σ_lag B'[k][lag] · z_k[i - lag], shifted left by ``align``; z is 0 before position 0.
    """
    return WordFormat("basis", (
        Field("taps", BASIS_BITS, signed=True, count=BASIS_SIZE * BASIS_SIZE),
        Field("align", ALIGN_BITS),
    ))


def section_format(kind: SectionKind, config: AcceleratorConfig) -> WordFormat:
    """Return the unit of a section: the word of the memory that it fills."""
    match kind:
        case SectionKind.PROGRAM:
            return WordFormat("program", (Field("word", 32),))
        case SectionKind.STEPS:
            return step_format(config)
        case SectionKind.CHANNELS:
            return channel_format(config)
        case SectionKind.BASIS:
            return basis_format(config)
        case SectionKind.ACTIVATIONS:
            return WordFormat("activations", (Field("bytes", 8, signed=True, count=config.cols),))
    raise ValueError(f"Section kind must hold units, not {kind!r}")


def section_capacity(kind: SectionKind, config: AcceleratorConfig) -> int:
    """Return the depth, in units, of the memory that a section fills."""
    return {
        SectionKind.PROGRAM: config.program_words,
        SectionKind.STEPS: config.weight_steps,
        SectionKind.CHANNELS: config.channel_entries,
        SectionKind.BASIS: config.basis_entries if config.basis else 0,
        SectionKind.ACTIVATIONS: config.activation_words,
    }[kind]
