"""What weights take in memory, bit by bit: each size is that of real bytes with an exact decoder.

A layer is stored in parts:

- ``zero map``: a bit for each group of filters and position, whether any of the group needs it. A
  position is a vector of SmartDeal's, or a single weight of the other forms. Left out where
  every position is needed.
- ``coefficients``: a code for each filter and needed position: zero, or sign and exponent. Fixed
  width, or canonical Huffman where that is shorter, its table included.
- ``tables``: lengths of the Huffman code.
- ``basis``: int8 entries and four bits of alignment per filter and slice.
- ``scales``: a float64 per filter. On the accelerator it is part of the requantisation, which every
  form has.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.bits import pack, unpack, width
from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.golden.forms import BasisWeights, TermWeights, Weights
from smartdeal.golden.huffman import HuffmanCode

__all__ = ["PARTS", "Stored", "decode_weights", "encode_weights"]

PARTS = ("coefficients", "zero map", "basis", "tables", "scales")
_ALIGN_BITS, _BYTE = 4, 8
#: Kind (terms, kernel axis, channel axis), coder, map or not, exponents, group; M, C, kh, kw,
#: terms, slices.
_HEADER = struct.Struct("<BBBBH6I")
_KINDS = ("terms", "kernel", "channel")
_FIXED, _HUFFMAN = 0, 1


@dataclass(frozen=True)
class Stored:
    """A layer's weights as bytes.

    Parameters
    ----------
    data : bytes
        What :func:`decode_weights` takes.
    bits : mapping of str to int
        By part, keys of :data:`PARTS`; the bytes are these, each filled up to a whole byte, and a
        header.
    """

    data: bytes
    bits: Mapping[str, int]

    @property
    def total_bits(self) -> int:
        """All parts together."""
        return sum(self.bits.values())


def _symbols(weights: Weights) -> NDArray[np.int64]:
    """Return coefficients as symbols 0 … 2E: zero, or 1 + 2 · exponent + (negative).

    Shape (M, positions, coefficients): of a vector three, of a weight its terms.
    """
    sign, exponent = weights.sign.astype(np.int64), weights.exponent.astype(np.int64)
    symbols = np.where(sign == 0, 0, 1 + 2 * exponent + (sign < 0))
    if isinstance(weights, BasisWeights):
        return symbols
    terms, filters = symbols.shape[:2]
    return symbols.reshape(terms, filters, -1).transpose(1, 2, 0)


def _needed(symbols: NDArray[np.int64], group: int) -> NDArray[np.bool_]:
    """Return which positions each group of filters needs, (groups, positions)."""
    starts = np.arange(0, len(symbols), group)
    return np.logical_or.reduceat(symbols.any(axis=2), starts, axis=0)


def encode_weights(weights: Weights, group: int = 1) -> Stored:
    """Encode a layer's weights.

    Parameters
    ----------
    group : int
        Neighbouring filters that share the zero map, 1…65535.

    Raises
    ------
    ValueError
        If the group is out of range.
    """
    if not 1 <= group < 1 << 16:
        raise ValueError(f"group must be from 1 to 65535, not {group!r}")
    symbols = _symbols(weights)
    needed = _needed(symbols, group)
    mapped = not needed.all()
    kept = symbols[needed.repeat(group, axis=0)[:len(symbols)]].ravel()
    exponents = int(symbols.max(initial=0) + 1) // 2
    alphabet = 2 * exponents + 1
    coder, table, codes, code_bits = _coded(kept, alphabet)
    needs = pack(needed.astype(np.uint8), 1) if mapped else b""
    parts = [needs, table, codes, weights.scale.astype("<f8").tobytes()]
    bits = {"coefficients": code_bits, "zero map": needed.size if mapped else 0, "basis": 0,
            "tables": _BYTE * len(table), "scales": _BYTE * len(parts[-1])}
    kind, slices = "terms", ()
    if isinstance(weights, BasisWeights):
        kind, slices = weights.axis, weights.slice_starts[1:]
        basis = weights.basis.tobytes(), pack(weights.align, _ALIGN_BITS)
        parts += [np.array(slices, "<u4").tobytes(), *basis]
        bits["basis"] = _BYTE * len(basis[0]) + _ALIGN_BITS * weights.align.size
    header = _HEADER.pack(_KINDS.index(kind), coder, mapped, exponents, group, *weights.shape,
                          symbols.shape[2], len(slices))
    return Stored(header + b"".join(parts), bits)


def _coded(symbols: NDArray[np.int64], alphabet: int) -> tuple[int, bytes, bytes, int]:
    """Return the shorter coder, its table, the codes as bytes and their bits."""
    fixed = width(alphabet)
    if symbols.size:
        code = HuffmanCode.of(symbols, alphabet)
        table = bytes(code.lengths)
        lengths = np.array(code.lengths)[symbols].sum()
        if lengths + _BYTE * len(table) < fixed * symbols.size:
            codes, bits = code.encode(symbols)
            return _HUFFMAN, table, codes, bits
    return _FIXED, b"", pack(symbols, fixed), fixed * symbols.size


def decode_weights(data: bytes) -> Weights:
    """Return the weights that :func:`encode_weights` made bytes of.

    Raises
    ------
    ValueError
        If the bytes are too few.
    """
    if len(data) < _HEADER.size:
        raise ValueError(f"stored weights must have {_HEADER.size} bytes of header, "
                         f"not {len(data)}")
    (kind, coder, mapped, exponents, group, m, channels, kh, kw, terms,
     slices) = _HEADER.unpack_from(data)
    reader = _Reader(data, _HEADER.size)
    basis = _KINDS[kind] != "terms"
    positions = channels * kh * kw
    if basis:
        positions = -(-positions // BASIS_SIZE)
    groups = -(-m // group)
    needed = np.ones((groups, positions), np.bool_)
    if mapped:
        needed = unpack(reader.bits(groups * positions), groups * positions, 1).astype(
            np.bool_).reshape(groups, positions)
    where = needed.repeat(group, axis=0)[:m]
    count, alphabet = int(where.sum()) * terms, 2 * exponents + 1
    if coder == _HUFFMAN:
        code = HuffmanCode(tuple(reader.take(alphabet)))
        kept, used = code.decode_counted(reader.rest(), count)
        reader.take(-(-used // _BYTE))
    else:
        kept = unpack(reader.bits(count * width(alphabet)), count, width(alphabet))
    symbols = np.zeros((m, positions, terms), np.int64)
    symbols[where] = kept.reshape(-1, terms)
    sign = np.where(symbols == 0, 0, 1 - 2 * ((symbols - 1) % 2)).astype(np.int8)
    exponent = np.where(symbols == 0, 0, (symbols - 1) // 2).astype(np.int8)
    scale = np.frombuffer(reader.take(8 * m), "<f8")
    if not basis:
        shape = (terms, m, channels, kh, kw)
        return TermWeights(sign.transpose(2, 0, 1).reshape(shape),
                           exponent.transpose(2, 0, 1).reshape(shape), scale)
    stops = np.frombuffer(reader.take(4 * slices), "<u4").tolist()
    entries = np.frombuffer(reader.take(m * slices * BASIS_SIZE**2), np.int8)
    align = unpack(reader.bits(m * slices * _ALIGN_BITS), m * slices, _ALIGN_BITS)
    return BasisWeights(
        axis="kernel" if _KINDS[kind] == "kernel" else "channel", sign=sign, exponent=exponent,
        basis=entries.reshape(m, slices, BASIS_SIZE, BASIS_SIZE),
        align=align.reshape(m, slices).astype(np.int8), slice_starts=(0, *stops),
        channels=channels, scale=scale)


class _Reader:
    """Bytes that are taken from the front."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data, self._position = data, position

    def take(self, count: int) -> bytes:
        """Return the next so many bytes."""
        taken = self._data[self._position:self._position + count]
        if len(taken) < count:
            raise ValueError(f"stored weights must have {count} more bytes, not {len(taken)}")
        self._position += count
        return taken

    def bits(self, count: int) -> bytes:
        """Return the bytes that hold so many bits."""
        return self.take(-(-count // _BYTE))

    def rest(self) -> bytes:
        """Return all that is left, without taking it."""
        return self._data[self._position:]
