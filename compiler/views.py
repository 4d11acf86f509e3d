"""Views: how a tensor of a network lies in the activation buffer.

A view holds its tensor as *planes*, one per channel and phase, or per eight channels and phase if
the tensor is binary: a byte holds eight of ±1 then. With stride 1 there is one phase,
the map itself; with stride 2 phase (p, q) holds the pixels (2·a + p, 2·b + q) at (a, b), so that a
layer of stride 2 reads it as a layer of stride 1. A plane is a stream: pixel (y, x) is byte
y · pitch + x behind the plane's origin. The region of a view is

    gap | stream of plane 0 | gap | stream of plane 1 | … | gap | tail

in whole words. All bytes but pixels hold ``fill`` where a layer may read them: padding between two
rows serves both, and so does a gap between two planes. The tail is only read in vectors whose last
bytes nobody uses.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.occupancy import Span
from smartdeal.golden.packed import pack_signs, planes, unpack_signs

__all__ = ["Scalar", "View", "ViewKey", "tap_offsets"]

Scalar = TypeVar("Scalar", bound=np.generic)

#: Tensor, stride and fill: what tells the views of a network apart.
ViewKey = tuple[str, int, int]


def tap_offsets(
    size: int, stride: int, padding: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return phase and position, along one axis, that each tap reads for output 0."""
    return (np.arange(size) - padding) % stride, (np.arange(size) - padding) // stride


@dataclass(frozen=True, kw_only=True)
class View:
    """One tensor in the activation buffer.

    Parameters
    ----------
    tensor : str
    shape : (channels, height, width)
    stride : int
        Of the layers that read it, 1 or 2.
    phases : tuple of (p, q)
        The phases that some layer reads.
    fill : int
        Byte of the padding.
    cols : int
        Bytes of a word.
    pitch : int
        Bytes from one row to the next.
    skip : int
        Bytes of a stream before pixel (0, 0).
    gap, stream : int
        Words between two streams, and of a stream.
    words : int
        Words of the whole region.
    base : int
        First word.
    binary : bool
        Whether the tensor is ±1, eight channels to a byte; ``fill`` is a byte of eight equal bits.
    """

    tensor: str
    shape: tuple[int, int, int]
    stride: int
    phases: tuple[tuple[int, int], ...]
    fill: int
    cols: int
    pitch: int
    skip: int
    gap: int
    stream: int
    words: int
    base: int = 0
    binary: bool = False

    @property
    def key(self) -> ViewKey:
        """What tells it from the network's other views."""
        return self.tensor, self.stride, self.fill

    @property
    def span(self) -> Span:
        """The words that it takes; its address must have been chosen."""
        kind = "" if self.stride == 1 else ", phases"
        return Span(self.base, self.stop, f"{self.tensor}{kind}")

    @property
    def planes(self) -> int:
        """Bytes of a position: one per channel, or per eight if they are binary."""
        return planes(self.shape[0]) if self.binary else self.shape[0]

    @property
    def plane_words(self) -> int:
        """Words from one plane to the next."""
        return self.gap + self.stream

    @property
    def channel_words(self) -> int:
        """Words from one channel, or eight binary ones, to the next."""
        return len(self.phases) * self.plane_words

    @property
    def stop(self) -> int:
        """First word behind the region."""
        return self.base + self.words

    def size(self, phase: tuple[int, int]) -> tuple[int, int]:
        """Return rows and columns of a phase; a small map may have phases without pixels."""
        (p, q), (_, height, width) = phase, self.shape
        return -((p - height) // self.stride), -((q - width) // self.stride)

    def origin(self, phase: tuple[int, int]) -> int:
        """Return the byte of the region at which pixel (0, 0) of a phase's channel 0 stands."""
        return (self.phases.index(phase) * self.plane_words + self.gap) * self.cols + self.skip

    def taps(self, kernel: tuple[int, int], top: int, left: int) -> NDArray[np.int64]:
        """Return the byte of the region that each kernel tap reads for output (0, 0).

        Returns
        -------
        int64 array, (planes, kh, kw)
        """
        origins = np.zeros((self.stride, self.stride), np.int64)
        for phase in self.phases:
            origins[phase] = self.origin(phase)
        p, a = tap_offsets(kernel[0], self.stride, top)
        q, b = tap_offsets(kernel[1], self.stride, left)
        tap = origins[p[:, None], q] + a[:, None] * self.pitch + b
        plane = np.arange(self.planes) * self.channel_words * self.cols
        return plane[:, None, None] + tap

    def pack(self, x: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return the bytes of the region, (words · cols,), with a tensor in it."""
        if x.shape != self.shape or x.dtype != np.int8:
            raise ValueError(f"{self.tensor} must be int8 of shape {self.shape}, not {x.dtype} of "
                             f"shape {x.shape}")
        return self.spread(pack_signs(x, 1 if self.fill else -1) if self.binary else x, self.fill)

    def spread(self, x: NDArray[Scalar], fill: int) -> NDArray[Scalar]:
        """Return the region, (words · cols,), with elements of any type in place of bytes.

        Parameters
        ----------
        x : array, (planes, height, width)
        """
        region = np.full(self.words * self.cols, fill, x.dtype)
        for p, q in self.phases:
            region[self._pixels((p, q))] = x[:, p::self.stride, q::self.stride]
        return region

    def unpack(self, region: bytes) -> NDArray[np.int8]:
        """Return the tensor, (channels, height, width), from the bytes of its region."""
        expected = self.words * self.cols
        if len(region) != expected:
            raise ValueError(f"Region of {self.tensor} must have {expected} bytes, not "
                             f"{len(region)}")
        x = self.gather(np.frombuffer(region, np.int8))
        return unpack_signs(x, self.shape[0]) if self.binary else x

    def gather(self, data: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return the planes, (planes, height, width), of a region with elements of any type."""
        x = np.zeros((self.planes, *self.shape[1:]), data.dtype)
        for p, q in self.phases:
            x[:, p::self.stride, q::self.stride] = data[self._pixels((p, q))]
        return x

    def _pixels(self, phase: tuple[int, int]) -> NDArray[np.int64]:
        """Return the bytes of the region that hold a phase's pixels, (planes, rows, columns)."""
        rows, columns = self.size(phase)
        plane, row, column = np.ogrid[:self.planes, :rows, :columns]
        return (self.origin(phase) + plane * self.channel_words * self.cols + row * self.pitch
                + column)
