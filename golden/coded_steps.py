"""Entropy-coded steps: the payload of a coded section, its encoder and its reference decoder.

A step is its coefficients, one symbol each, and its *place*: lane, word and ``next_last``. Two
canonical Huffman codes (:mod:`smartdeal.golden.huffman`), none of whose codewords is longer than
:data:`CODE_LIMIT` bits, hold them: one for the coefficients, one for the differences between
neighbouring places. The layout is in docs/entropy.md.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.huffman import HuffmanCode, code_lengths
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import CODE_LIMIT, MAX_PLACES, step_format

__all__ = ["CodedStepsError", "decode_steps", "encode_steps", "split_steps"]

_WORD_BYTES, _WORD_BITS = 4, 32
#: A byte tells how many codewords have a length.
_MOST_CODEWORDS = 255


class CodedStepsError(ValueError):
    """A payload whose table or stream is malformed: the accelerator reports ENTROPY."""


def split_steps(
    units: bytes, config: AcceleratorConfig,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return coefficient codes, (steps, rows), and places, (steps,), of plain units."""
    layout = step_format(config)
    columns = layout.unpack(units, config.host_bits)
    lane_bits, word_bits = (field.bits for field in layout.fields[1:3])
    places = (columns["lane"] | columns["word"] << lane_bits
              | columns["next_last"] << lane_bits + word_bits)
    return columns["coefficients"].reshape(-1, config.rows), places


def _join_steps(
    codes: NDArray[np.int64], places: NDArray[np.int64], config: AcceleratorConfig,
) -> bytes:
    """Return the plain units; the inverse of :func:`split_steps`."""
    layout = step_format(config)
    lane_bits, word_bits = (field.bits for field in layout.fields[1:3])
    return layout.pack(
        config.host_bits, coefficients=codes, lane=places & (1 << lane_bits) - 1,
        word=places >> lane_bits & (1 << word_bits) - 1,
        next_last=places >> lane_bits + word_bits)


def _address_bits(config: AcceleratorConfig) -> int:
    """Bits of lane and word together; ``next_last`` stands above them."""
    return sum(field.bits for field in step_format(config).fields[1:3])


def _differences(places: NDArray[np.int64], config: AcceleratorConfig) -> NDArray[np.int64]:
    """Return lane and word less those of the step before (0 at first), and next_last as it is."""
    bits = _address_bits(config)
    address = places & (1 << bits) - 1
    change = np.diff(address, prepend=0) & (1 << bits) - 1
    return change | places >> bits << bits


def _limited(symbols: NDArray[np.int64], alphabet: int) -> HuffmanCode:
    counts = np.bincount(symbols, minlength=alphabet).tolist()
    return HuffmanCode(tuple(code_lengths(counts, CODE_LIMIT)))


def _counts(code: HuffmanCode) -> bytes:
    """Return how many codewords have each length, from one bit on."""
    return bytes(code.lengths.count(length) for length in range(1, CODE_LIMIT + 1))


def encode_steps(units: bytes, config: AcceleratorConfig) -> bytes | None:
    """Encode plain units of steps.

    Returns
    -------
    bytes or None
        Whole beats; None where there are no steps, more different places than a table holds, or
        all 256 codes of eight binary weights.
    """
    codes, places = split_steps(units, config)
    values, index = np.unique(_differences(places, config), return_inverse=True)
    if not len(codes) or len(values) > MAX_PLACES or len(np.unique(codes)) > _MOST_CODEWORDS:
        return None
    code = _limited(codes.ravel(), 1 << config.code_bits)
    place_code = _limited(index, len(values))
    table = _counts(code) + _counts(place_code) + _words(bytes(code.order))
    table += values[place_code.order].astype("<u4").tobytes()
    bits = _interleave(codes, index, code, place_code)
    # A decoder looks CODE_LIMIT bits ahead.
    stream = np.packbits(np.append(bits, np.zeros(CODE_LIMIT, np.uint8))).tobytes()
    words = np.frombuffer(_words(stream), ">u4").astype("<u4").tobytes()
    beat = config.host_bits // 8
    payload = table + words
    return payload.ljust(-(-len(payload) // beat) * beat, b"\0")


def _words(data: bytes) -> bytes:
    """Fill up to whole words."""
    return data.ljust(-(-len(data) // _WORD_BYTES) * _WORD_BYTES, b"\0")


def _interleave(
    codes: NDArray[np.int64], index: NDArray[np.int64], code: HuffmanCode,
    place_code: HuffmanCode,
) -> NDArray[np.uint8]:
    """Return the bits of all steps: the codewords of the coefficients, then that of the place."""
    joined = np.concatenate([codes, index[:, None] + len(code.lengths)], axis=1).ravel()
    lengths = np.array((*code.lengths, *place_code.lengths))
    words = np.zeros(len(lengths), np.int64)
    for offset, book in ((0, code), (len(code.lengths), place_code)):
        for symbol, word in book.codewords.items():
            words[offset + symbol] = word
    used, value = lengths[joined], words[joined]
    starts = np.cumsum(used) - used
    bits = np.zeros(int(used.sum()), np.uint8)
    for position in range(CODE_LIMIT):
        has = used > position
        bits[starts[has] + position] = value[has] >> used[has] - 1 - position & 1
    return bits


class _Book:
    """A code as the decoder knows it: what the next CODE_LIMIT bits mean."""

    def __init__(self, counts: bytes, symbols: list[int]) -> None:
        size = 1 << CODE_LIMIT
        self.lengths, self.symbols = [0] * size, [0] * size
        position = index = 0
        for length, count in enumerate(counts, 1):
            span = size >> length
            for _ in range(count):
                if position + span > size:
                    raise CodedStepsError("more codewords than their lengths allow")
                self.lengths[position:position + span] = [length] * span
                self.symbols[position:position + span] = [symbols[index]] * span
                position, index = position + span, index + 1


@lru_cache(maxsize=64)
def decode_steps(payload: bytes, count: int, config: AcceleratorConfig) -> bytes:
    """Decode so many steps to plain units.

    Raises
    ------
    CodedStepsError
        If table or stream is malformed.
    """
    words = np.frombuffer(payload, "<u4")
    if len(words) < 4:
        raise CodedStepsError("the payload ends within its table")
    counts, place_counts = words[:2].tobytes(), words[2:4].tobytes()
    used, places_used = sum(counts), sum(place_counts)
    if not 0 < used <= 1 << config.code_bits or not 0 < places_used <= MAX_PLACES:
        raise CodedStepsError(f"{used} and {places_used} codewords do not fit the tables")
    start = 4 + -(-used // _WORD_BYTES)
    stop = start + places_used
    if len(words) < stop:
        raise CodedStepsError("the payload ends within its table")
    mask = (1 << config.code_bits) - 1
    symbols = [code & mask for code in words[4:start].tobytes()[:used]]
    book = _Book(counts, symbols)
    place_book = _Book(place_counts, words[start:stop].tolist())
    return _decode(words[stop:], count, (book, place_book), config)


def _decode(
    words: NDArray[np.uint32], count: int, books: tuple[_Book, _Book], config: AcceleratorConfig,
) -> bytes:
    """Decode the stream, symbol by symbol."""
    stream = words.astype(">u4").tobytes()
    end = 8 * len(stream) - CODE_LIMIT
    bits = _address_bits(config)
    per_step = [books[0]] * config.rows + [books[1]]
    found: list[int] = []
    position = 0
    for _ in range(count):
        for book in per_step:
            if position >= end:
                raise CodedStepsError("the payload ends within its stream")
            byte = position >> 3
            ahead = (stream[byte] << 8 | stream[byte + 1]) >> 8 - (position & 7) & 0xFF
            if not (length := book.lengths[ahead]):
                raise CodedStepsError("the stream has bits that are no codeword")
            found.append(book.symbols[ahead])
            position += length
    table = np.array(found, np.int64).reshape(count, config.rows + 1)
    change = table[:, -1] & (2 << bits) - 1
    address = np.cumsum(change & (1 << bits) - 1) & (1 << bits) - 1
    return _join_steps(table[:, :-1], address | change >> bits << bits, config)
