"""Instruction words, and the program section that holds them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.errors import CompileError
from smartdeal.compiler.image import Section
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    INSTRUCTION,
    JUMP_INSTRUCTION,
    LOAD_INSTRUCTION,
    MOVE_INSTRUCTION,
    WAIT_INSTRUCTION,
    Opcode,
    SectionKind,
)
from smartdeal.hw.packing import WordFormat

__all__ = ["END_WORDS", "check_fields", "jump_words", "layer_words", "load_words", "move_words",
           "program_section", "stream_fields", "wait_words"]

#: An END instruction.
END_WORDS: NDArray[np.uint32] = np.array([Opcode.END], np.uint32)


def layer_words(fields: Mapping[str, int]) -> NDArray[np.uint32]:
    """Return the words of one LAYER instruction; fields that are not given are 0."""
    return _words(INSTRUCTION, {"opcode": Opcode.LAYER, **fields})


def move_words(fields: Mapping[str, int]) -> NDArray[np.uint32]:
    """Return the words of one MOVE instruction; fields that are not given are 0."""
    return _words(MOVE_INSTRUCTION, {"opcode": Opcode.MOVE, **fields})


def load_words(fields: Mapping[str, int]) -> NDArray[np.uint32]:
    """Return the words of one LOAD instruction; fields that are not given are 0."""
    return _words(LOAD_INSTRUCTION, {"opcode": Opcode.LOAD, **fields})


def wait_words(loads: int, flags: int = 0) -> NDArray[np.uint32]:
    """Return the word of a WAIT that lets so many LOADs be unfinished."""
    return _words(WAIT_INSTRUCTION, {"opcode": Opcode.WAIT, "loads": loads, "flags": flags})


def jump_words(address: int) -> NDArray[np.uint32]:
    """Return the word of a JUMP to a word of the instruction memory."""
    return _words(JUMP_INSTRUCTION, {"opcode": Opcode.JUMP, "address": address})


def check_fields(name: str, words: NDArray[np.uint32], config: AcceleratorConfig) -> None:
    """Refuse an instruction with a number that the accelerator has no bits for.

    Parameters
    ----------
    name : str
        Of the layer or tensor, for the message.
    words : (INSTRUCTION_WORDS,)
        A LAYER or a MOVE.

    Raises
    ------
    CompileError
        If a field does not fit.
    """
    layout = MOVE_INSTRUCTION if int(words[0]) & 0xFF == Opcode.MOVE else INSTRUCTION
    fields = layout.unpack_word(int.from_bytes(words.tobytes(), "little"))
    most = (1 << config.field_bits) - 1
    for field in layout.fields:
        if fields[field.name] > most:
            raise CompileError(name, f"an instruction would hold {field.name} = "
                                     f"{fields[field.name]}, the accelerator takes at most {most}: "
                                     f"field_bits must be at least "
                                     f"{fields[field.name].bit_length()}, not {config.field_bits}")


def _words(layout: WordFormat, fields: Mapping[str, int]) -> NDArray[np.uint32]:
    values = {**{field.name: 0 for field in layout.fields}, **fields}
    packed = layout.pack(32, **{name: np.array([v]) for name, v in values.items()})
    return np.frombuffer(packed, "<u4").astype(np.uint32)


def stream_fields(
    size: tuple[int, int], pitch: int, skip: int, config: AcceleratorConfig,
) -> dict[str, int]:
    """Return the fields of a LAYER that say which stream positions are output.

    Parameters
    ----------
    size : (rows, columns)
        Of the output map.
    pitch : int
    skip : int
        Stream position of output (0, 0).
    """
    rows, columns = size
    end = skip + (rows - 1) * pitch + columns
    return {"tiles": -(-end // config.cols), "column_step": config.drain_lanes % pitch,
            "pitch": pitch, "width": columns, "start_column": -skip % pitch, "skip": skip,
            "end": end}


def program_section(words: NDArray[np.uint32], config: AcceleratorConfig) -> Section:
    """Return the section that fills the instruction memory from address 0."""
    units = np.zeros((len(words), config.host_bits // 32), "<u4")
    units[:, 0] = words
    return Section(SectionKind.PROGRAM, 0, units.tobytes())
