"""Binary channels, eight to a byte: bit 1 is +1, bit 0 is -1, the first channel in bit 0."""

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.formats import PACKED

__all__ = ["pack_signs", "pad_byte", "planes", "unpack_signs"]


def planes(channels: int) -> int:
    """Return the bytes that hold so many binary channels."""
    return -(-channels // PACKED)


def pad_byte(value: int) -> int:
    """Return the byte, as a signed number, of eight channels of +1 or of -1."""
    return -1 if value > 0 else 0


def pack_signs(x: NDArray[np.int8], fill: int) -> NDArray[np.int8]:
    """Pack ±1, (C, …), into bytes, (ceil(C / 8), …); channels past the last are ``fill``, ±1."""
    padded = np.full((planes(len(x)) * PACKED, *x.shape[1:]), fill, np.int8)
    padded[:len(x)] = x
    bits = (padded > 0).reshape(-1, PACKED, *x.shape[1:])
    return np.packbits(bits, axis=1, bitorder="little")[:, 0].view(np.int8)


def unpack_signs(packed: NDArray[np.int8], channels: int) -> NDArray[np.int8]:
    """Return ±1, (channels, …), from bytes that :func:`pack_signs` made."""
    codes = np.ascontiguousarray(packed).view(np.uint8)
    bits = np.unpackbits(codes[:, None], axis=1, bitorder="little").astype(np.int8)
    return (bits * 2 - 1).reshape(-1, *packed.shape[1:])[:channels]
