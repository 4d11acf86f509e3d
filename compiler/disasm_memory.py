"""The disassembler for programs with system memory: all pages, and the tables that they load."""

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.disasm import Steps, disassemble, list_instructions, list_section
from smartdeal.compiler.image import Section, read_image
from smartdeal.compiler.network_program import NetworkProgram
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import Opcode, SectionKind, section_format

__all__ = ["disassemble_network"]

_TABLES = (SectionKind.STEPS, SectionKind.CHANNELS, SectionKind.BASIS)


def disassemble_network(program: NetworkProgram) -> str:
    """Return a readable listing of a network program.

    The pages of a program with system memory follow one another as they run, then comes each
    table that they load; a program without is listed image by image.
    """
    if not program.memory_bytes:
        return "\n".join(disassemble(image, program.config) for image in program.segments)
    return "\n".join(_Listing(program).lines()) + "\n"


class _Listing:
    """The pages and tables of one program."""

    def __init__(self, program: NetworkProgram) -> None:
        self.config: AcceleratorConfig = program.config
        self.memory = program.memory
        first, = (section for section in read_image(program.segments[0], self.config).sections
                  if section.kind == SectionKind.PROGRAM)
        self.page = first
        self.steps = Steps((), self.config)
        #: Pages by address, as the last LOAD has put them there; tables by place in the region.
        self.pages: dict[int, Section] = {}
        self.tables: dict[tuple[int, int], Section] = {}

    def lines(self) -> list[str]:
        """Return all lines."""
        lines: list[str] = []
        number = 0
        while True:
            where = (f"at byte {self.page.offset} of the region" if number else
                     "in the program image")
            lines += ["", f"page {number} {where}, from word {self.page.address}"]
            target = None
            for opcode, fields, text in list_instructions(
                    self._words(self.page), self.page.address, self.steps, self.config):
                lines += text
                if opcode == Opcode.LOAD:
                    self._load(fields)
                elif opcode == Opcode.JUMP:
                    target = fields["address"]
            if target not in self.pages:
                break
            self.page = self.pages.pop(target)
            number += 1
        for section in self.tables.values():
            lines += list_section(section, self.steps, self.config)
        return lines[1:]

    def _words(self, section: Section) -> NDArray[np.uint32]:
        units = np.frombuffer(section.data, "<u4")
        return units.reshape(-1, self.config.host_bits // 32)[:, 0].astype(np.uint32)

    def _load(self, fields: dict[str, int]) -> None:
        """Note what a LOAD of instructions or tables brings."""
        if fields["kind"] not in (SectionKind.PROGRAM, *_TABLES):
            return
        kind, start = SectionKind(fields["kind"]), fields["offset"]
        unit = section_format(kind, self.config).unit_bytes(self.config.host_bits)
        data = self.memory[start:start + fields["count"] * unit]
        section = Section(kind, fields["address"], data, start)
        if kind == SectionKind.PROGRAM:
            self.pages[section.address] = section
            return
        if kind == SectionKind.STEPS:
            self.steps.load(section)
        self.tables.setdefault((kind, start), section)
