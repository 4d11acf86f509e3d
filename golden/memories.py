"""What the reference interpreter holds: the accelerator's memories, and how images fill them."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.coded_steps import CodedStepsError, decode_steps
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    BLOCK_BYTES,
    IMAGE_FLAG_PROGRAM,
    IMAGE_MAGIC,
    IMAGE_VERSION,
    ErrorCode,
    SectionKind,
    section_capacity,
    section_format,
)

__all__ = ["Memories", "ProgramError"]

#: Bytes of a header, a section header or the trailer as four numbers.
_HEADER = struct.Struct("<IHHII")
_BLOCK = struct.Struct("<IIII")


class ProgramError(RuntimeError):
    """An image that the accelerator refuses, or a program that it stops.

    Parameters
    ----------
    code : ErrorCode
        What the register ERROR holds.
    instruction : int
        Word address of the instruction that failed; 0 while loading.
    """

    def __init__(self, code: ErrorCode, instruction: int = 0) -> None:
        super().__init__(f"{code.name} at instruction {instruction}")
        self.code = code
        self.instruction = instruction


class Memories:
    """The memories of one accelerator, which stay from program to program, and their loader.

    Parameters
    ----------
    config : AcceleratorConfig
    region : bytearray, optional
        The program's region of system memory, of MEMORY_BYTES bytes; a program may write to it.
    """

    def __init__(self, config: AcceleratorConfig, region: bytearray | None = None) -> None:
        self.config = config
        self.region = bytearray() if region is None else region
        #: The activation buffer, flat: int8, (activation_words · cols,).
        self.activations = np.zeros(config.activation_bytes, np.int8)
        self._program = np.zeros(config.program_words, np.uint32)
        self._coefficients = np.zeros((config.weight_steps, config.rows), np.int32)
        self._codes = np.zeros((config.weight_steps, config.rows), np.uint8)
        self._step = {name: np.zeros(config.weight_steps, np.int64)
                      for name in ("lane", "word", "next_last")}
        self._channels = _empty(SectionKind.CHANNELS, config)
        self._basis = _empty(SectionKind.BASIS, config)
        self._pending = b""
        self._swallowing = False
        self._valid = False

    def load(self, image: bytes) -> None:
        """Take bytes of the load stream: an image, several, or a piece of one.

        Raises
        ------
        ProgramError
            At the first thing that is wrong. What comes after it is swallowed until :meth:`clear`.
        """
        if self._swallowing:
            return
        data = self._pending + image
        try:
            while data:
                used = self._take(data)
                if used is None:
                    break
                data = data[used:]
        except ProgramError:
            self._swallowing, data = True, b""
            raise
        finally:
            self._pending = data

    def clear(self) -> None:
        """Abandon a half-loaded or refused image, as CONTROL.CLEAR does."""
        self._pending = b""
        self._swallowing = False

    def _take(self, data: bytes) -> int | None:
        """Take one image and return its size, or None if it is not yet complete."""
        size = max(BLOCK_BYTES, self.config.host_bits // 8)
        if len(data) < size:
            return None
        magic, version, flags, fingerprint, _ = _HEADER.unpack_from(data)
        program = bool(flags & IMAGE_FLAG_PROGRAM)
        self._valid = self._valid and not program
        for wrong, code in ((magic != IMAGE_MAGIC, ErrorCode.MAGIC),
                            (version != IMAGE_VERSION, ErrorCode.VERSION),
                            (fingerprint != self.config.fingerprint, ErrorCode.FINGERPRINT)):
            if wrong:
                raise ProgramError(code)
        position = size
        while len(data) >= position + size:
            kind, address, count, beats = _BLOCK.unpack_from(data, position)
            if kind == SectionKind.END:
                if address != zlib.crc32(data[:position]):
                    raise ProgramError(ErrorCode.CHECKSUM)
                self._valid = self._valid or program
                return position + size
            position = self._section(data, position + size, program, (kind, address, count, beats))
        return None

    def _section(
        self, data: bytes, start: int, program: bool, header: tuple[int, int, int, int],
    ) -> int:
        """Check a section, store it if it is complete, and return where it ends."""
        number, address, count, beats = header
        if number not in list(SectionKind) or not (
                program or number == SectionKind.ACTIVATIONS):
            raise ProgramError(ErrorCode.SECTION)
        kind = SectionKind(number)
        if address + count > section_capacity(kind, self.config):
            raise ProgramError(ErrorCode.SECTION_RANGE)
        if self.config.entropy and kind == SectionKind.STEPS and count and beats:
            end = start + beats * self.config.host_bits // 8
            if end <= len(data):
                try:
                    units = decode_steps(bytes(data[start:end]), count, self.config)
                except CodedStepsError:
                    raise ProgramError(ErrorCode.ENTROPY) from None
                self.store_units(kind, slice(address, address + count), units)
            return end
        end = start + count * section_format(kind, self.config).unit_bytes(self.config.host_bits)
        if end <= len(data):
            self.store_units(kind, slice(address, address + count), data[start:end])
        return end

    @property
    def word_bytes(self) -> int:
        """Bytes of a word of activations in an image or the region: whole beats."""
        return section_format(SectionKind.ACTIVATIONS, self.config).unit_bytes(
            self.config.host_bits)

    def store_units(
        self, kind: SectionKind, words: slice | NDArray[np.int64], data: bytes,
    ) -> None:
        """Write units to words of the memory of that kind; of equal words the last one stays."""
        config = self.config
        layout = section_format(kind, config)
        if kind == SectionKind.ACTIVATIONS:
            units = np.frombuffer(data, np.int8).reshape(-1, layout.unit_bytes(config.host_bits))
            self.activations.reshape(-1, config.cols)[words] = units[:, :config.cols]
            return
        values = layout.unpack(data, config.host_bits)
        if kind == SectionKind.PROGRAM:
            self._program[words] = values["word"]
        elif kind == SectionKind.STEPS:
            codes = values.pop("coefficients")
            self._coefficients[words] = config.coefficient.decode(codes)
            self._codes[words] = codes
            for name, column in values.items():
                self._step[name][words] = column
        else:
            memory = self._channels if kind == SectionKind.CHANNELS else self._basis
            for name, column in values.items():
                memory[name][words] = column

    def read(self, word: int, count: int) -> bytes:
        """Return ``count`` words of the activation buffer, ``cols`` bytes each."""
        if word < 0 or count < 0 or word + count > self.config.activation_words:
            raise ValueError(f"Words must be within 0 to {self.config.activation_words}, not "
                             f"{word} to {word + count}")
        cols = self.config.cols
        return self.activations[word * cols:(word + count) * cols].tobytes()


def _empty(kind: SectionKind, config: AcceleratorConfig) -> dict[str, NDArray[np.int64]]:
    """Return the columns of a table memory, all zero."""
    depth = section_capacity(kind, config)
    return {entry.name: np.zeros(depth if entry.count == 1 else (depth, entry.count), np.int64)
            for entry in section_format(kind, config).fields}
