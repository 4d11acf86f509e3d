"""The program file (``.sdp``): a JSON manifest and the images, checksummed.

    magic      4 bytes   "SDPF"
    version    4 bytes   little-endian, as all numbers here
    manifest   4 bytes   its size
    checksum   4 bytes   CRC-32 of everything behind it
    manifest   UTF-8 JSON with sorted keys; "images" holds the images' sizes
    images     one after the other
"""

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smartdeal.compiler.errors import ImageError, ProgramFormatError

__all__ = ["FILE_MAGIC", "FILE_VERSION", "naming", "pack", "read", "reading", "unpack"]

FILE_MAGIC = b"SDPF"
FILE_VERSION = 3

_HEADER = struct.Struct("<4sIII")


def pack(manifest: dict[str, Any], images: Sequence[bytes]) -> bytes:
    """Return a file with this manifest and these images."""
    text = json.dumps({**manifest, "images": [len(image) for image in images]},
                      sort_keys=True, separators=(",", ":")).encode()
    body = b"".join([text, *images])
    return _HEADER.pack(FILE_MAGIC, FILE_VERSION, len(text), zlib.crc32(body)) + body


def unpack(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Return manifest and images of a file.

    Raises
    ------
    ProgramFormatError
        If the file is not one, is damaged, or of another version.
    """
    if data[:4] != FILE_MAGIC:
        raise ProgramFormatError(f"not a program file: it must start with {FILE_MAGIC!r}, "
                                 f"not {data[:4]!r}")
    if len(data) < _HEADER.size:
        raise ProgramFormatError(f"cut short: the header has {_HEADER.size} bytes, the file "
                                 f"{len(data)}; compile it again")
    _, version, size, checksum = _HEADER.unpack_from(data)
    if version != FILE_VERSION:
        raise ProgramFormatError(f"program file version must be {FILE_VERSION}, not {version}; "
                                 "compile it again")
    body = data[_HEADER.size:]
    found = zlib.crc32(body)
    if found != checksum:
        raise ProgramFormatError(f"damaged or cut short: checksum must be {checksum:#010x}, not "
                                 f"{found:#010x}; compile it again")
    with reading("manifest"):
        manifest = dict(json.loads(body[:size]))
        sizes = [int(length) for length in manifest.pop("images")]
        if min(sizes, default=0) < 0 or size + sum(sizes) != len(body):
            raise ValueError(f"images have {sizes} bytes in {len(body) - size}")
    images: list[bytes] = []
    for length in sizes:
        images.append(body[size:size + length])
        size += length
    return manifest, images


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn what a wrong value raises into :exc:`ProgramFormatError`."""
    try:
        yield
    except KeyError as error:
        raise ProgramFormatError(f"{what} lacks {error.args[0]!r}; compile it again") \
            from None
    except ImageError as error:
        raise ProgramFormatError(
            f"{what} is for another accelerator than the file's configuration, or from another "
            f"version of smartdeal: {error.problem}; compile it again") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ProgramFormatError(f"{what} is wrong: {error}; compile it again") from None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of a :exc:`ProgramFormatError`."""
    try:
        yield
    except ProgramFormatError as error:
        raise ProgramFormatError(f"{path}: {error}") from None


def read(path: Path) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    ProgramFormatError
        If the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProgramFormatError(f"cannot be read: {error.strerror}") from None
