"""Images: the bytes that a host streams into the accelerator (layout in :mod:`smartdeal.hw.isa`).

:func:`write_image` and :func:`read_image` are inverse. :func:`scan_image` reads as far as an image
makes sense and says where it stops doing so; the disassembler builds on it.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.errors import ImageError
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

__all__ = ["ImageContents", "Section", "block_bytes", "check_header", "pack_activations",
           "read_image", "scan_image", "write_image"]

_HEADER = struct.Struct("<IHHII")
_BLOCK = struct.Struct("<IIII")


@dataclass(frozen=True)
class Section:
    """Consecutive words of one memory.

    Parameters
    ----------
    kind : SectionKind
        Which memory.
    address : int
        First word.
    data : bytes
        Units, each padded to whole beats.
    coded : bytes
        Of entropy-coded steps, what stands in the image instead: whole beats. ``data`` are the
        units that it decodes to.
    offset : int
        Byte of the image at which the section header stands; 0 in a section to be written.
    """

    kind: SectionKind
    address: int
    data: bytes
    offset: int = 0
    coded: bytes = b""


@dataclass(frozen=True)
class ImageContents:
    """What :func:`scan_image` found.

    Parameters
    ----------
    header : tuple of int, or None
        Magic, version, flags and fingerprint; None in an image shorter than a header.
    sections : tuple of Section
        Sections in front of the first problem; of one that is cut short, the whole units.
    problem : ImageError or None
        What the accelerator would report; None for a correct image.
    """

    header: tuple[int, int, int, int] | None
    sections: tuple[Section, ...]
    problem: ImageError | None


def block_bytes(config: AcceleratorConfig) -> int:
    """Return the bytes of a header, section header or trailer, padded to whole beats."""
    return max(BLOCK_BYTES, config.host_bits // 8)


def write_image(
    config: AcceleratorConfig, sections: Sequence[Section], *, program: bool,
) -> bytes:
    """Return an image with these sections.

    Parameters
    ----------
    program : bool
        Whether the image replaces the program; otherwise it may hold only activations.
    """
    size = block_bytes(config)
    flags = IMAGE_FLAG_PROGRAM if program else 0
    pieces = [_HEADER.pack(IMAGE_MAGIC, IMAGE_VERSION, flags, config.fingerprint, 0)
              .ljust(size, b"\0")]
    for section in sections:
        unit = section_format(section.kind, config).unit_bytes(config.host_bits)
        count, rest = divmod(len(section.data), unit)
        if rest:
            raise ValueError(f"Section {section.kind.name} must hold whole units of {unit} bytes, "
                             f"not {len(section.data)} bytes")
        beats = len(section.coded) * 8 // config.host_bits
        pieces.append(_BLOCK.pack(section.kind, section.address, count, beats).ljust(size, b"\0"))
        pieces.append(section.coded or section.data)
    body = b"".join(pieces)
    return body + _BLOCK.pack(SectionKind.END, zlib.crc32(body), 0, 0).ljust(size, b"\0")


def pack_activations(data: NDArray[np.int8], config: AcceleratorConfig) -> bytes:
    """Pack bytes, (words · cols,), into units of the activation buffer.

    The same as ``section_format(ACTIVATIONS).pack``, without a loop over bits.
    """
    words = data.reshape(-1, config.cols)
    unit = section_format(SectionKind.ACTIVATIONS, config).unit_bytes(config.host_bits)
    units = np.zeros((len(words), unit), np.int8)
    units[:, :config.cols] = words
    return units.tobytes()


def _scan_header(image: bytes, config: AcceleratorConfig) -> ImageContents:
    """Return an image's header, and what is wrong with it."""
    size = block_bytes(config)
    if len(image) < size:
        return ImageContents(None, (), ImageError(
            ErrorCode.INCOMPLETE, len(image), f"the header has {size} bytes, the image ends here"))
    magic, version, flags, fingerprint, _ = _HEADER.unpack_from(image)
    header = (magic, version, flags, fingerprint)
    expected = (
        (ErrorCode.MAGIC, 0, "magic", magic, IMAGE_MAGIC),
        (ErrorCode.VERSION, 4, "version", version, IMAGE_VERSION),
        (ErrorCode.FINGERPRINT, 8, "configuration fingerprint", fingerprint, config.fingerprint),
    )
    for code, offset, name, value, right in expected:
        if value != right:
            return ImageContents(header, (), ImageError(
                code, offset, f"{name} must be {right:#x}, not {value:#x}"))
    return ImageContents(header, (), None)


def check_header(image: bytes, config: AcceleratorConfig) -> None:
    """Raise unless an image is for this configuration.

    Raises
    ------
    ImageError
        If magic, version or fingerprint are wrong; the rest of the image is not looked at.
    """
    problem = _scan_header(image, config).problem
    if problem is not None:
        raise problem


def scan_image(image: bytes, config: AcceleratorConfig) -> ImageContents:
    """Read an image up to its end or its first problem, in the accelerator's order of checks."""
    start = _scan_header(image, config)
    if start.problem is not None:
        return start
    header = start.header
    sections: list[Section] = []
    try:
        _scan_sections(image, config, sections)
    except ImageError as problem:
        return ImageContents(header, tuple(sections), problem)
    return ImageContents(header, tuple(sections), None)


def _scan_sections(image: bytes, config: AcceleratorConfig, sections: list[Section]) -> None:
    """Append the sections; raise :exc:`ImageError` at the first problem."""
    size = block_bytes(config)
    program = bool(_HEADER.unpack_from(image)[2] & IMAGE_FLAG_PROGRAM)
    offset = size
    while True:
        if offset + size > len(image):
            raise ImageError(ErrorCode.INCOMPLETE, len(image),
                             "the image ends before its trailer")
        kind, address, count, beats = _BLOCK.unpack_from(image, offset)
        if kind == SectionKind.END:
            break
        if kind not in list(SectionKind):
            raise ImageError(ErrorCode.SECTION, offset, f"unknown section kind {kind:#x}")
        kind = SectionKind(kind)
        if not program and kind != SectionKind.ACTIVATIONS:
            raise ImageError(ErrorCode.SECTION, offset,
                             f"section {kind.name} must not stand in a data image")
        depth = section_capacity(kind, config)
        if address + count > depth:
            raise ImageError(ErrorCode.SECTION_RANGE, offset,
                             f"section {kind.name} must end at word {depth} or before, not at "
                             f"{address + count}")
        start = offset + size
        unit = section_format(kind, config).unit_bytes(config.host_bits)
        if config.entropy and kind == SectionKind.STEPS and count and beats:
            offset = _scan_coded(image, config, sections, (address, count, beats), offset)
            continue
        end = start + count * unit
        whole = min(end, len(image) - (len(image) - start) % unit)
        sections.append(Section(kind, address, image[start:whole], offset))
        if end > len(image):
            raise ImageError(ErrorCode.INCOMPLETE, len(image),
                             f"section {kind.name} needs {end - len(image)} more bytes")
        offset = end
    checksum = zlib.crc32(image[:offset])
    if address != checksum:
        raise ImageError(ErrorCode.CHECKSUM, offset + 4,
                         f"checksum must be {checksum:#010x}, not {address:#010x}")
    if offset + size != len(image):
        raise ImageError(ErrorCode.MAGIC, offset + size,
                         f"{len(image) - offset - size} bytes stand behind the trailer")


def _scan_coded(
    image: bytes, config: AcceleratorConfig, sections: list[Section],
    header: tuple[int, int, int], offset: int,
) -> int:
    """Append a section of coded steps, given as address, count and beats; return where it ends."""
    address, count, beats = header
    start = offset + block_bytes(config)
    end = start + beats * config.host_bits // 8
    if end > len(image):
        raise ImageError(ErrorCode.INCOMPLETE, len(image),
                         f"section STEPS, coded, needs {end - len(image)} more bytes")
    coded = image[start:end]
    try:
        data = decode_steps(coded, count, config)
    except CodedStepsError as error:
        raise ImageError(ErrorCode.ENTROPY, start, f"coded steps: {error}") from None
    sections.append(Section(SectionKind.STEPS, address, data, offset, coded))
    return end


def read_image(image: bytes, config: AcceleratorConfig) -> ImageContents:
    """Read a correct image.

    Raises
    ------
    ImageError
        If the accelerator would refuse the image.
    """
    contents = scan_image(image, config)
    if contents.problem is not None:
        raise contents.problem
    return contents
