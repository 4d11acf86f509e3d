"""The disassembler: an image as text, as far as it makes sense.

Steps are listed as ``address word:lane | coefficients``, one column per array row: ``+5`` is 2^5,
``-0`` is -2^0, ``.`` is no coefficient. ``next_last`` is the sign ``>``. With the feature
``binary`` a code may be either, a coefficient or eight weights, and is shown in hexadecimal.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.image import ImageContents, Section, scan_image
from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    IMAGE_FLAG_PROGRAM,
    INSTRUCTION,
    JUMP_INSTRUCTION,
    LOAD_INSTRUCTION,
    MIN_STEPS,
    MOVE_INSTRUCTION,
    WAIT_INSTRUCTION,
    LayerFlag,
    MoveFlag,
    Opcode,
    SectionKind,
    WaitFlag,
    group_channels,
    section_format,
)

__all__ = ["Steps", "disassemble", "list_instructions", "list_section"]

#: Fields that are shown on one line, in the order of reading.
_FIELD_LINES = (
    ("slices", "tiles", "channels"),
    ("pitch", "width", "start_column", "column_step", "skip", "end"),
    ("input_base", "steps_base", "channel_base", "basis_base"),
    ("output_base", "output_stride"),
    ("residual_base", "residual_lane", "residual_stride"),
    ("zp_out", "lo", "hi", "zp_res"),
)
_PLACES = ("source", "source_row", "source_channel", "target", "target_row", "target_channel")
_LOAD_LINES = (
    ("runs", "count", "offset", "memory_stride"),
    ("address", "run_stride", "inner", "inner_stride", "outer_stride"),
)
_LAYOUTS = {Opcode.LAYER: INSTRUCTION, Opcode.MOVE: MOVE_INSTRUCTION,
            Opcode.LOAD: LOAD_INSTRUCTION, Opcode.WAIT: WAIT_INSTRUCTION,
            Opcode.JUMP: JUMP_INSTRUCTION}


class Steps:
    """The flags of the weight buffer, to count the steps of units of work.

    Parameters
    ----------
    sections : sequence of Section
        Of an image.
    config : AcceleratorConfig
    """

    def __init__(self, sections: Sequence[Section], config: AcceleratorConfig) -> None:
        self.config = config
        self._flags = np.zeros(config.weight_steps, np.bool_)
        self.announcements = np.flatnonzero(self._flags)
        for section in sections:
            if section.kind == SectionKind.STEPS:
                self.load(section)

    def load(self, section: Section) -> None:
        """Put steps in the weight buffer."""
        found = _unpack(section, self.config)["next_last"]
        self._flags[section.address:section.address + len(found)] = found
        self.announcements = np.flatnonzero(self._flags)

    def units(self, start: int, count: int) -> list[int]:
        """Return the steps of so many units of work; fewer if the flags end before."""
        lengths: list[int] = []
        for _ in range(count):
            index = int(np.searchsorted(self.announcements, start))
            if index == len(self.announcements):
                break
            stop = int(self.announcements[index]) + MIN_STEPS
            lengths.append(stop - start)
            start = stop
        return lengths


def disassemble(image: bytes, config: AcceleratorConfig) -> str:
    """Return a readable listing of an image.

    A truncated or wrong image is listed up to the problem, which the last line names with its
    offset.
    """
    contents = scan_image(image, config)
    lines = [_header(contents, len(image))]
    memory = Steps(contents.sections, config)
    for section in contents.sections:
        lines += list_section(section, memory, config)
    if contents.problem is not None:
        lines += ["", f"problem at offset {contents.problem.offset}: {contents.problem.problem} "
                      f"({contents.problem.code.name})"]
    return "\n".join(lines) + "\n"


def list_section(section: Section, memory: Steps, config: AcceleratorConfig) -> list[str]:
    """Return the lines of a section: its place and its words."""
    layout = section_format(section.kind, config)
    count = len(section.data) // layout.unit_bytes(config.host_bits)
    lines = ["", f"section {section.kind.name} at offset {section.offset}: {count} words from "
                 f"{section.address}"
                 + (f", coded: {len(section.coded)} bytes for {len(section.data)}"
                    if section.coded else "")]
    match section.kind:
        case SectionKind.PROGRAM:
            lines += _program(section, memory, config)
        case SectionKind.STEPS:
            lines += _steps(section, config)
        case SectionKind.CHANNELS | SectionKind.BASIS:
            lines += _table(section, config)
    return lines


def _header(contents: ImageContents, size: int) -> str:
    if contents.header is None:
        return f"image of {size} bytes"
    _, version, flags, fingerprint = contents.header
    kind = "program" if flags & IMAGE_FLAG_PROGRAM else "data"
    return (f"{kind} image of {size} bytes, version {version}, configuration "
            f"{fingerprint:#010x}")


def _unpack(section: Section, config: AcceleratorConfig) -> dict[str, NDArray[np.int64]]:
    return section_format(section.kind, config).unpack(section.data, config.host_bits)


def _program(section: Section, memory: Steps, config: AcceleratorConfig) -> Iterator[str]:
    """Yield the instructions."""
    words = _unpack(section, config)["word"].astype("<u4")
    for _, _, lines in list_instructions(words, section.address, memory, config):
        yield from lines


def list_instructions(
    words: NDArray[np.uint32], start: int, memory: Steps, config: AcceleratorConfig,
) -> Iterator[tuple[Opcode | None, dict[str, int], list[str]]]:
    """Yield opcode, fields and lines of each instruction, up to END or what is none.

    Parameters
    ----------
    words : uint32 array
        Of the instruction memory, from word ``start`` on.
    memory : Steps
    """
    position = 0
    while position < len(words):
        number = int(words[position]) & 0xFF
        address = start + position
        if number not in list(Opcode):
            yield None, {}, [f"{address:6}  unknown opcode {number:#04x}"]
            return
        opcode = Opcode(number)
        if opcode == Opcode.END:
            yield opcode, {}, [f"{address:6}  END"]
            return
        layout = _LAYOUTS[opcode]
        count = layout.bits // 32
        raw = words[position:position + count].astype("<u4").tobytes()
        if len(raw) < 4 * count:
            yield None, {}, [f"{address:6}  {opcode.name}, cut short: {len(raw) // 4} of {count} "
                             "words"]
            return
        fields = layout.unpack_word(int.from_bytes(raw, "little"))
        lines = [f"{address:6}  {_title(opcode, fields)}"]
        lines += (f"          {line}" for line in _body(opcode, fields))
        lines += (f"          {name} {value:#x}, must be 0"
                  for name, value in fields.items() if name.startswith("reserved") and value)
        if opcode == Opcode.LAYER:
            lines += _groups(fields, memory, config)
        yield opcode, fields, lines
        position += count


def _title(opcode: Opcode, fields: dict[str, int]) -> str:
    """Return the first line of an instruction."""
    match opcode:
        case Opcode.LOAD:
            kind = fields["kind"]
            name = SectionKind(kind).name if kind in list(SectionKind) else f"kind {kind:#04x}"
            return f"LOAD {name}"
        case Opcode.WAIT:
            return f"WAIT loads {fields['loads']} {_flags(fields['flags'], WaitFlag)}".rstrip()
        case Opcode.JUMP:
            return f"JUMP {fields['address']}"
        case _:
            kinds = MoveFlag if opcode == Opcode.MOVE else LayerFlag
            return f"{opcode.name} {_flags(fields['flags'], kinds)}".rstrip()


def _body(opcode: Opcode, fields: dict[str, int]) -> Iterator[str]:
    """Yield the lines of fields."""
    match opcode:
        case Opcode.MOVE:
            yield from _move(fields)
        case Opcode.LAYER:
            yield from _named(_FIELD_LINES, fields)
        case Opcode.LOAD:
            yield from _named(_LOAD_LINES, fields)
        case _:
            pass


def _named(lines: Sequence[Sequence[str]], fields: dict[str, int]) -> Iterator[str]:
    for names in lines:
        yield "  ".join(f"{name} {fields[name]}" for name in names)


def _move(fields: dict[str, int]) -> Iterator[str]:
    """Yield the fields of a MOVE; addresses and distances are ``word:lane``."""
    names = ("channels", "rows", "columns")
    if fields["flags"] & MoveFlag.FILL:
        names = (*names, "value")
    yield "  ".join(f"{name} {fields[name]}" for name in names)
    places = _PLACES[3:] if fields["flags"] & MoveFlag.FILL else _PLACES
    for start in range(0, len(places), 3):
        yield "  ".join(f"{name} {fields[f'{name}_word']}:{fields[f'{name}_lane']}"
                        for name in places[start:start + 3])


def _flags(flags: int, kind: type[LayerFlag] | type[MoveFlag] | type[WaitFlag]) -> str:
    names = [flag.name or "" for flag in kind if flags & flag]
    unknown = flags & ~sum(kind)
    return " ".join(names + ([f"{unknown:#04x}"] if unknown else []))


def _groups(
    fields: dict[str, int], memory: Steps, config: AcceleratorConfig,
) -> Iterator[str]:
    """Yield the steps per slice of every group."""
    size = group_channels(LayerFlag(fields["flags"] & sum(LayerFlag)), config)
    slices = fields["slices"]
    start = fields["steps_base"]
    for group, first in enumerate(range(0, fields["channels"], max(size, 1))):
        last = min(first + size, fields["channels"]) - 1
        lengths = memory.units(start, slices)
        if len(lengths) < slices:
            yield (f"          group {group}: channels {first} to {last}, steps from {start} are "
                   "not all in this image")
            return
        end = start + sum(lengths)
        yield (f"          group {group}: channels {first} to {last}, steps {start} to {end - 1}, "
               f"per slice {', '.join(map(str, lengths))}")
        start = end


def _steps(section: Section, config: AcceleratorConfig) -> Iterator[str]:
    """Yield one line per step."""
    columns = _unpack(section, config)
    codes = columns["coefficients"].reshape(-1, config.rows)
    values = config.coefficient.decode(codes)
    exponents = np.frexp(np.abs(values))[1] - 1
    width = 1 + len(str(config.exponents - 1))
    for index, (value, exponent) in enumerate(zip(values, exponents, strict=True)):
        row = " ".join(("." if v == 0 else f"{'-' if v < 0 else '+'}{e}").rjust(width)
                       for v, e in zip(value, exponent, strict=True))
        if config.binary:
            row = " ".join(f"{int(code):02x}" for code in codes[index])
        mark = ">" if columns["next_last"][index] else " "
        yield (f"{section.address + index:6}{mark} {columns['word'][index]}:"
               f"{columns['lane'][index]} | {row}")


def _table(section: Section, config: AcceleratorConfig) -> Iterator[str]:
    """Yield one line per channel or basis entry."""
    columns = _unpack(section, config)
    for index in range(len(next(iter(columns.values())))):
        cells = [f"{name} {_cell(column[index])}" for name, column in columns.items()]
        yield f"{section.address + index:6}  {'  '.join(cells)}"


def _cell(value: NDArray[np.int64] | np.int64) -> str:
    """Return a number, or the rows of a basis."""
    if value.ndim == 0:
        return str(value)
    return " / ".join(" ".join(map(str, row)) for row in value.reshape(-1, BASIS_SIZE))
