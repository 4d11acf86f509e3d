"""One-dimensional images against the padded map that they stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartdeal.compiler.layout import InputLayout


@settings(derandomize=True, print_blob=True, database=None, deadline=None, max_examples=300)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5),
       st.integers(1, 2), st.tuples(*[st.integers(0, 5)] * 4), st.data())
def test_every_tap_reads_its_pixel(
    height: int, width: int, kh: int, kw: int, stride: int, padding: tuple[int, int, int, int],
    data: st.DataObject,
) -> None:
    top, left, bottom, right = padding
    height, width = max(height, kh - top - bottom), max(width, kw - left - right)
    rows_out = (height + top + bottom - kh) // stride + 1
    cols_out = (width + left + right - kw) // stride + 1
    first = data.draw(st.integers(0, rows_out - 1))
    rows = data.draw(st.integers(1, rows_out - first))
    layout = InputLayout(2, height, width, (kh, kw), stride, top, left, cols_out, rows, -7)
    # Pixels differ from each other and from the padding.
    x = np.random.default_rng(0).permutation(np.arange(0, 127)).astype(np.int8)
    x = np.resize(x, (2, height, width))
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=-7)
    packed = layout.pack(x, first)
    assert len(packed) == 2 * layout.channel_bytes
    taps = layout.taps()
    y, column = np.mgrid[:rows, :cols_out]
    for c, r, s in np.ndindex(taps.shape):
        read = packed[taps[c, r, s] + y * layout.pitch + column]
        np.testing.assert_array_equal(
            read, padded[c, (first + y) * stride + r, column * stride + s])


@pytest.mark.parametrize(("kernel", "stride", "size", "padding", "out", "pitch"), [
    (3, 1, 56, 1, 56, 57),    # one shared padding column
    (3, 2, 56, 1, 28, 29),
    (7, 2, 224, 3, 112, 114),
    (5, 1, 28, 2, 28, 30),
    (1, 1, 14, 0, 14, 14),
    (1, 2, 56, 0, 28, 28),
    (3, 1, 8, 0, 6, 8),       # no padding
    (1, 1, 1, 0, 1, 1),
])
def test_pitch(kernel: int, stride: int, size: int, padding: int, out: int, pitch: int) -> None:
    layout = InputLayout(1, size, size, (kernel, kernel), stride, padding, padding, out, out, 0)
    assert layout.pitch == pitch


def test_unused_phases_take_no_room() -> None:
    layout = InputLayout(4, 8, 8, (1, 1), 2, 0, 0, 4, 4, 0)
    assert layout.channel_bytes == 16
