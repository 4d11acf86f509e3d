"""Storage formats for matrices of few different values: index map, HAM and sHAM.

After Marinò, Ghidoli, Frasca and Malchiodi (ICPR 2020). Each is real bytes with an exact decoder;
the occupancy of a matrix is its bytes against the same matrix of 32-bit words.

- *dense*: 32-bit words.
- *CSC*: non-zero values, their rows, and where each column starts.
- *index map*: a table of the k values, and an index of ⌈log2 k⌉ bits per entry.
- *HAM*: a canonical Huffman code over all entries, zero included, column by column.
- *sHAM*: rows and column starts as CSC, but only the non-zero values, Huffman coded.

The value tables hold each value as a float32 word and a byte for the length of its codeword: a
canonical code needs no second dictionary, which the published size bounds count.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.bits import pack, unpack, width
from smartdeal.golden.huffman import HuffmanCode

__all__ = ["FORMATS", "Encoded", "decode_matrix", "encode_matrix", "ham_bound", "sham_bound"]

_WORD = 32
Matrix = NDArray[np.float32]
FORMATS = ("dense", "csc", "index_map", "ham", "sham")
_HEADER = struct.Struct("<BII")


@dataclass(frozen=True)
class Encoded:
    """A matrix as bytes.

    Parameters
    ----------
    data : bytes
        What :func:`decode_matrix` takes, a header of nine bytes included.
    payload_bits, structure_bits, table_bits : int
        Values or codewords; rows, column starts and lengths; tables of values and codes.
    """

    data: bytes
    payload_bits: int
    structure_bits: int
    table_bits: int


def _sparse(matrix: Matrix) -> tuple[Matrix, bytes, int]:
    """Return the non-zero values by column, and rows and column counts as bytes and bits."""
    rows, columns = matrix.shape
    column, row = np.nonzero(matrix.T)
    counts = np.bincount(column, minlength=columns)
    structure = pack(counts, width(rows + 1)), pack(row, width(rows))
    bits = columns * width(rows + 1) + len(row) * width(rows)
    return matrix.T[column, row], structure[0] + structure[1], bits


def _coded(values: Matrix) -> tuple[bytes, bytes, int]:
    """Return a table, the codewords as bytes, and their bits."""
    if not values.size:
        return struct.pack("<I", 0), b"", 0
    table, symbols = np.unique(values, return_inverse=True)
    code = HuffmanCode.of(symbols, len(table))
    data, bits = code.encode(symbols)
    head = struct.pack("<I", len(table)) + table.astype("<f4").tobytes()
    return head + bytes(code.lengths), data, bits


def encode_matrix(matrix: Matrix, form: str) -> Encoded:
    """Encode a float32 matrix, (rows, columns).

    Parameters
    ----------
    form : str
        One of :data:`FORMATS`.

    Raises
    ------
    ValueError
        If there is no such format, or a matrix has more than two axes.
    """
    if form not in FORMATS:
        raise ValueError(f"storage format must be one of {', '.join(FORMATS)}, not {form!r}")
    if matrix.ndim != 2:
        raise ValueError(f"a matrix has two axes, not {matrix.ndim}")
    matrix = matrix.astype(np.float32) + np.float32(0)  # no negative zero
    header = _HEADER.pack(FORMATS.index(form), *matrix.shape)
    table, structure, structure_bits = b"", b"", 0
    values = np.ascontiguousarray(matrix.T).ravel()
    if form in ("csc", "sham"):
        values, structure, structure_bits = _sparse(matrix)
    if form in ("ham", "sham"):
        table, payload, bits = _coded(values)
    elif form == "index_map":
        distinct, index = np.unique(values, return_inverse=True)
        index_bits = width(len(distinct))
        table = struct.pack("<I", len(distinct)) + distinct.astype("<f4").tobytes()
        payload, bits = pack(index, index_bits), len(values) * index_bits
    else:
        payload, bits = values.astype("<f4").tobytes(), len(values) * _WORD
    return Encoded(header + table + structure + payload, bits, structure_bits, 8 * len(table))


class _Reader:
    """Bytes that are taken from the front."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def take(self, count: int) -> bytes:
        """Return the next so many bytes."""
        taken = self._data[self._position:self._position + count]
        if len(taken) < count:
            raise ValueError(f"matrix must have {count} more bytes, not {len(taken)}")
        self._position += count
        return taken

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._data) - self._position)


def _decode_values(form: str, reader: _Reader, table: "_Table", count: int) -> Matrix:
    if form in ("ham", "sham"):
        if not count:
            return np.zeros(0, np.float32)
        return table.values[HuffmanCode(table.lengths).decode(reader.rest(), count)]
    if form == "index_map":
        return table.values[unpack(reader.rest(), count, width(len(table.values)))]
    return np.frombuffer(reader.take(4 * count), "<f4")


@dataclass(frozen=True)
class _Table:
    values: Matrix
    lengths: tuple[int, ...]


def _read_table(form: str, reader: _Reader) -> _Table:
    if form not in ("index_map", "ham", "sham"):
        return _Table(np.zeros(0, np.float32), ())
    size, = struct.unpack("<I", reader.take(4))
    values = np.frombuffer(reader.take(4 * size), "<f4")
    return _Table(values, tuple(reader.take(size)) if form != "index_map" else ())


def decode_matrix(data: bytes) -> Matrix:
    """Return the matrix that :func:`encode_matrix` made bytes of.

    Raises
    ------
    ValueError
        If the bytes are not of such a matrix.
    """
    reader = _Reader(data)
    number, rows, columns = _HEADER.unpack(reader.take(_HEADER.size))
    if number >= len(FORMATS):
        raise ValueError(f"storage format must be below {len(FORMATS)}, not {number}")
    form = FORMATS[number]
    table = _read_table(form, reader)
    if form not in ("csc", "sham"):
        return _decode_values(form, reader, table, rows * columns).reshape(columns, rows).T.copy()
    bits = width(rows + 1)
    counts = unpack(reader.take(-(-columns * bits // 8)), columns, bits)
    total = int(counts.sum())
    row = unpack(reader.take(-(-total * width(rows) // 8)), total, width(rows))
    matrix = np.zeros((columns, rows), np.float32)
    matrix[np.repeat(np.arange(columns), counts), row] = _decode_values(form, reader, table, total)
    return matrix.T.copy()


def ham_bound(rows: int, columns: int, k: int) -> float:
    """Return the published bound of HAM's occupancy: (1 + log2 k) / B + 6 k / (n m)."""
    return (1 + math.log2(k)) / _WORD + 6 * k / (rows * columns)


def sham_bound(rows: int, columns: int, k: int, density: float) -> float:
    """Return the published bound of sHAM's occupancy, with the q row numbers that it needs.

    s (1 + log2 k) / B + 6 k / (n m) + (q + m + 1) / (n m) with q = s n m: as printed the last
    term has n in place of q, which would count one row number per row.
    """
    entries = rows * columns
    return (density * (1 + math.log2(k)) / _WORD + 6 * k / entries
            + (density * entries + columns + 1) / entries)
