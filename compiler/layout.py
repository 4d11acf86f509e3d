"""One-dimensional images: where the pixels of an input map stand in the activation buffer.

**Pitch.** With stride S the padded map is cut in S·S phases, phase (p, q) holding the padded pixels
(S·a + p, S·b + q) at position a · pitch + b of its own image. All phases share one pitch, and so
does the output: output (y, x) is stream position y · pitch + x, and kernel tap (r, s) reads phase
(r mod S, s mod S) at the constant distance (r // S) · pitch + s // S.

Rows share their padding: what lies right of a row is the left end of the row below. In a phase
with column q, let ``left`` be the number of columns b that lie left of the map, ``end`` the first
one right of it, and ``reach`` the largest s // S. The pitch is right if

- pitch ≥ end: a row's own pixels fit;
- out_width - 1 + reach - pitch < left: what the last output column reads beyond its row is the
  next row's left padding and none of its pixels;
- pitch ≥ out_width: output columns do not overlap.

The pitch is the smallest number that satisfies this for every phase that the kernel uses.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["InputLayout"]


@dataclass(frozen=True)
class InputLayout:
    """The images of one input window: the input rows that some output rows need.

    Parameters
    ----------
    channels, height, width : int
        The whole input map.
    kernel : (kh, kw)
    stride : int
    top, left : int
        Padding before the first row and column.
    out_width : int
        Columns of the output map.
    rows : int
        Output rows that the window serves.
    fill : int
        Byte of the padding.
    """

    channels: int
    height: int
    width: int
    kernel: tuple[int, int]
    stride: int
    top: int
    left: int
    out_width: int
    rows: int
    fill: int

    @cached_property
    def phases(self) -> tuple[tuple[int, int], ...]:
        """Phases (p, q) that the kernel reads, in the order of their images."""
        kh, kw = self.kernel
        return tuple((p, q) for p in range(min(self.stride, kh))
                     for q in range(min(self.stride, kw)))

    @cached_property
    def pitch(self) -> int:
        """Stream positions from one row to the next (module docstring)."""
        pitch = self.out_width
        for _, q in self.phases:
            left = max(0, -((q - self.left) // self.stride))
            end = max(0, -((q - self.left - self.width) // self.stride))
            reach = (self.kernel[1] - 1 - q) // self.stride
            pitch = max(pitch, end, self.out_width + reach - left)
        return pitch

    def phase_rows(self, p: int) -> int:
        """Return the rows of a phase that the window holds."""
        return self.rows + (self.kernel[0] - 1 - p) // self.stride

    def phase_bytes(self, p: int, q: int) -> int:
        """Return the size of a phase's image: up to the last byte that an output reads."""
        reach = (self.kernel[1] - 1 - q) // self.stride
        return (self.phase_rows(p) - 1) * self.pitch + self.out_width + reach

    @cached_property
    def channel_bytes(self) -> int:
        """Distance of two channels: all phases of one."""
        return sum(self.phase_bytes(p, q) for p, q in self.phases)

    def taps(self) -> NDArray[np.int64]:
        """Return the flat address that each kernel tap reads for stream position 0.

        Returns
        -------
        int64 array, (channels, kh, kw)
        """
        origins = np.zeros((min(self.stride, self.kernel[0]), min(self.stride, self.kernel[1])),
                           np.int64)
        position = 0
        for p, q in self.phases:
            origins[p, q] = position
            position += self.phase_bytes(p, q)
        r, s = np.ogrid[:self.kernel[0], :self.kernel[1]]
        tap = (origins[r % self.stride, s % self.stride] + r // self.stride * self.pitch
               + s // self.stride)
        return np.arange(self.channels)[:, None, None] * self.channel_bytes + tap

    def pack(self, x: NDArray[np.int8], first_row: int) -> NDArray[np.int8]:
        """Return the images of the window for output rows from ``first_row``.

        Parameters
        ----------
        x : int8 array, (channels, height, width)
            The whole input map.
        first_row : int
            First output row of the window.

        Returns
        -------
        int8 array, (channels · channel_bytes,)
        """
        stride, (kh, _) = self.stride, self.kernel
        rows = stride * (self.rows - 1) + kh
        # One row of padding more: the last row's right padding stands in the row below.
        window = np.full((self.channels, (-(-rows // stride) + 1) * stride, stride * self.pitch),
                         self.fill, np.int8)
        # Row 0 of the window is padded row stride · first_row, input row `start`.
        start = stride * first_row - self.top
        low, high = max(start, 0), min(start + rows, self.height)
        if low < high:
            window[:, low - start:high - start, self.left:self.left + self.width] = x[:, low:high]
        images = [
            window[:, p::stride, q::stride][:, :self.phase_rows(p) + 1]
            .reshape(self.channels, -1)[:, :self.phase_bytes(p, q)]
            for p, q in self.phases
        ]
        return np.concatenate(images, axis=1).ravel()
