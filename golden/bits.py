"""Numbers packed bit by bit."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack", "unpack", "width"]


def width(numbers: int) -> int:
    """Return the bits of a number below ``numbers``."""
    return max(0, int(numbers - 1).bit_length())


def pack(numbers: NDArray[np.integer], bits: int) -> bytes:
    """Pack numbers of so many bits, the most significant first; the last byte ends in zeros."""
    if not bits or not numbers.size:
        return b""
    shifts = np.arange(bits - 1, -1, -1)
    return np.packbits((numbers.ravel()[:, None] >> shifts & 1).astype(np.uint8)).tobytes()


def unpack(data: bytes, count: int, bits: int) -> NDArray[np.int64]:
    """Return ``count`` numbers that :func:`pack` packed."""
    if not bits or not count:
        return np.zeros(count, np.int64)
    flat = np.unpackbits(np.frombuffer(data, np.uint8), count=count * bits).astype(np.int64)
    return flat.reshape(count, bits) @ (1 << np.arange(bits - 1, -1, -1))
