"""How many cycles a program takes, from its image alone (docs/execution.md, "Cycles").

The last step of unit u comes max(n(u) + f(u-1), d(u-1)) cycles after that of unit u-1, whatever
went before. So a layer is a sum over its units, and tiles repeat their pattern.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.image import read_image
from smartdeal.compiler.network_program import NetworkProgram
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    INSTRUCTION,
    INSTRUCTION_WORDS,
    MOVE_INSTRUCTION,
    MoveFlag,
    Opcode,
    SectionKind,
    section_format,
)
from smartdeal.hw.timing import END_CYCLES, LAYER_CYCLES, MOVE_CYCLES
from smartdeal.sim.layer_work import LayerWork

__all__ = ["Cycles", "instruction_cycles", "layer_cycles", "move_cycles", "next_last", "predict",
           "predict_instructions", "predict_layers"]

_LAYOUTS = {int(Opcode.LAYER): INSTRUCTION, int(Opcode.MOVE): MOVE_INSTRUCTION}


@dataclass(frozen=True)
class Cycles:
    """Cycles of a program, as the counters count them.

    Parameters
    ----------
    total : int
        From start to done.
    busy : int
        Steps taken.
    stall_drain : int
        A unit's last step waited for the read-out of the unit before.
    stall_residual : int
        Residual operands were fetched instead.
    move : int
        MOVE instructions read or filled.
    stall_memory : int
        The program waited for system memory.
    """

    total: int
    busy: int
    stall_drain: int
    stall_residual: int
    move: int = 0
    stall_memory: int = 0

    @property
    def overhead(self) -> int:
        """All other cycles."""
        return (self.total - self.busy - self.stall_drain - self.stall_residual
                - self.move - self.stall_memory)

    def __add__(self, other: "Cycles") -> "Cycles":
        return Cycles(self.total + other.total, self.busy + other.busy,
                      self.stall_drain + other.stall_drain,
                      self.stall_residual + other.stall_residual, self.move + other.move,
                      self.stall_memory + other.stall_memory)


def predict(image: bytes, config: AcceleratorConfig) -> Cycles:
    """Predict the cycles of a program image on an accelerator with empty memories.

    Raises
    ------
    ImageError
        If the accelerator would refuse the image.
    ValueError
        If the program would not reach END.
    """
    return sum(predict_instructions(image, config), Cycles(END_CYCLES, 0, 0, 0))


def predict_layers(program: NetworkProgram) -> dict[str, Cycles]:
    """Predict the cycles of each layer of a network, its MOVE instructions included.

    END instructions belong to no layer: they take ``END_CYCLES`` per segment.
    """
    layers: dict[str, Cycles] = {}
    for image, names in zip(program.segments, program.instructions, strict=True):
        for name, cycles in zip(names, predict_instructions(image, program.config), strict=True):
            layers[name] = layers.get(name, Cycles(0, 0, 0, 0)) + cycles
    return layers


def predict_instructions(image: bytes, config: AcceleratorConfig) -> list[Cycles]:
    """Predict the cycles of each instruction before END; errors as for :func:`predict`."""
    program = np.zeros(config.program_words, np.uint32)
    flags = np.zeros(config.weight_steps, np.bool_)
    for section in read_image(image, config).sections:
        if section.kind == SectionKind.PROGRAM:
            units = np.frombuffer(section.data, "<u4").reshape(-1, config.host_bits // 32)
            program[section.address:section.address + len(units)] = units[:, 0]
        elif section.kind == SectionKind.STEPS:
            found = next_last(section.data, config)
            flags[section.address:section.address + len(found)] = found
    announcements = np.flatnonzero(flags)
    cycles: list[Cycles] = []
    pointer = 0
    while pointer < len(program) and (opcode := program[pointer] & 0xFF) in _LAYOUTS:
        words = program[pointer:pointer + INSTRUCTION_WORDS].astype("<u4").tobytes()
        if len(words) < 4 * INSTRUCTION_WORDS:
            break
        fields = _LAYOUTS[opcode].unpack_word(int.from_bytes(words, "little"))
        cycles.append(instruction_cycles(Opcode(opcode), fields, announcements, config))
        pointer += INSTRUCTION_WORDS
    if pointer >= len(program) or program[pointer] & 0xFF != Opcode.END:
        raise ValueError(f"Program must reach END, not stop at word {pointer}")
    return cycles


def instruction_cycles(
    opcode: Opcode, fields: dict[str, int], announcements: NDArray[np.int64],
    config: AcceleratorConfig,
) -> Cycles:
    """Return the cycles of a MOVE or a LAYER."""
    return (move_cycles(fields, config) if opcode == Opcode.MOVE
            else layer_cycles(fields, announcements, config))


def next_last(data: bytes, config: AcceleratorConfig) -> NDArray[np.bool_]:
    """Return the flag ``next_last`` of each step without unpacking the rest."""
    layout = section_format(SectionKind.STEPS, config)
    bit = layout.offset("next_last")
    units = np.frombuffer(data, np.uint8).reshape(-1, layout.unit_bytes(config.host_bits))
    return (units[:, bit // 8] >> bit % 8 & 1).astype(np.bool_)


def layer_cycles(
    fields: dict[str, int], announcements: NDArray[np.int64], config: AcceleratorConfig,
) -> Cycles:
    """Return the cycles of one LAYER instruction."""
    work = LayerWork.of(fields, announcements, config)
    wait = work.waits()
    fetches = int(work.fetches.sum()) * work.tiles
    # The fetches of the last read-out come after the last step, inside its drain.
    last = work.busy + wait + fetches - int(work.fetches[-1])
    total = LAYER_CYCLES + config.drain_lanes + last + int(work.drain[-1])
    return Cycles(total, work.busy, wait, fetches)


def move_cycles(fields: dict[str, int], config: AcceleratorConfig) -> Cycles:
    """Return the cycles of one MOVE instruction."""
    chunks = fields["channels"] * fields["rows"] * -(-fields["columns"] // config.cols)
    move = chunks * (2 if fields["flags"] & MoveFlag.DECIMATE else 1)
    return Cycles(MOVE_CYCLES + move, 0, 0, 0, move)
