"""Canonical Huffman codes: the lengths of the codewords say everything.

Codewords of one length are consecutive numbers in the order of their symbols, and longer codewords
follow shorter ones, so a decoder needs, per length, only the first codeword and where its symbols
begin.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["HuffmanCode", "code_lengths", "entropy_bits"]


def code_lengths(counts: Sequence[int], limit: int | None = None) -> list[int]:
    """Return the codeword length of each symbol in an optimal prefix code.

    Parameters
    ----------
    counts : sequence of int
        How often each symbol occurs; none is negative, and one that never occurs gets length 0. A
        single symbol gets one bit.
    limit : int, optional
        The most bits of a codeword (Larmore and Hirschberg 1990, package-merge).

    Raises
    ------
    ValueError
        If no symbol occurs, or more than the limit has codewords for.
    """
    used = [symbol for symbol, count in enumerate(counts) if count > 0]
    if not used:
        raise ValueError("a Huffman code needs at least one symbol that occurs")
    lengths = [0] * len(counts)
    if len(used) == 1:
        lengths[used[0]] = 1
        return lengths
    if limit is not None:
        return _package_merge(counts, used, limit)
    # Ties are broken by the lowest symbol, so that the code depends on nothing but the counts.
    heap = [(int(counts[symbol]), symbol, [symbol]) for symbol in used]
    heapq.heapify(heap)
    while len(heap) > 1:
        low, first, left = heapq.heappop(heap)
        high, second, right = heapq.heappop(heap)
        for symbol in left + right:
            lengths[symbol] += 1
        heapq.heappush(heap, (low + high, min(first, second), left + right))
    return lengths


def _package_merge(counts: Sequence[int], used: list[int], limit: int) -> list[int]:
    """Return the lengths of an optimal code without codewords longer than a limit."""
    if len(used) > 1 << limit:
        raise ValueError(f"{len(used)} symbols have no codewords of at most {limit} bits")
    single = sorted((int(counts[symbol]), symbol, (symbol,)) for symbol in used)
    level = single
    for _ in range(limit - 1):
        pairs = zip(level[::2], level[1::2], strict=False)
        packages = [(low[0] + high[0], min(low[1], high[1]), low[2] + high[2])
                    for low, high in pairs]
        level = sorted(single + packages)
    lengths = [0] * len(counts)
    for _, _, symbols in level[:2 * len(used) - 2]:
        for symbol in symbols:
            lengths[symbol] += 1
    return lengths


def entropy_bits(counts: Sequence[int]) -> float:
    """Return the entropy per symbol in bits: what no code of single symbols goes below."""
    occurring = np.array([count for count in counts if count > 0], np.float64)
    share = occurring / occurring.sum()
    return float(-(share * np.log2(share)).sum())


@dataclass(frozen=True)
class HuffmanCode:
    """A canonical code.

    Parameters
    ----------
    lengths : tuple of int
        Bits of each symbol's codeword; 0 for a symbol that has none.
    """

    lengths: tuple[int, ...]

    @classmethod
    def of(cls, symbols: NDArray[np.integer], alphabet: int) -> "HuffmanCode":
        """Return the best code for symbols 0…alphabet-1 that occur as often as here."""
        return cls(tuple(code_lengths(np.bincount(symbols.ravel(), minlength=alphabet).tolist())))

    @property
    def order(self) -> list[int]:
        """Symbols by codeword: shorter first, then by number."""
        used = [symbol for symbol, length in enumerate(self.lengths) if length]
        return sorted(used, key=lambda symbol: (self.lengths[symbol], symbol))

    @property
    def codewords(self) -> dict[int, int]:
        """Codeword of each symbol that has one, as a number of ``lengths[symbol]`` bits."""
        words: dict[int, int] = {}
        word, length = 0, 0
        for symbol in self.order:
            word <<= self.lengths[symbol] - length
            length = self.lengths[symbol]
            words[symbol] = word
            word += 1
        return words

    def encode(self, symbols: NDArray[np.integer]) -> tuple[bytes, int]:
        """Return the codewords, most significant bit first, and how many bits they have.

        The last byte is filled with zeros.

        Raises
        ------
        ValueError
            If a symbol has no codeword.
        """
        flat = symbols.ravel().astype(np.int64)
        lengths = np.array(self.lengths, np.int64)
        if flat.size and (flat.min() < 0 or flat.max() >= len(lengths)
                          or not lengths[flat].all()):
            wrong = next(int(s) for s in flat if not 0 <= s < len(lengths) or not lengths[s])
            raise ValueError(f"symbol {wrong} has no codeword")
        words = np.zeros(len(lengths), np.int64)
        for symbol, word in self.codewords.items():
            words[symbol] = word
        ends = np.cumsum(lengths[flat])
        total = int(ends[-1]) if len(ends) else 0
        bits = np.zeros(total, np.uint8)
        starts = ends - lengths[flat]
        for position in range(max(self.lengths, default=0)):
            has = lengths[flat] > position
            shift = lengths[flat[has]] - 1 - position
            bits[starts[has] + position] = words[flat[has]] >> shift & 1
        return np.packbits(bits).tobytes(), total

    def decode(self, data: bytes, count: int) -> NDArray[np.int64]:
        """Return the first ``count`` symbols; errors as for :meth:`decode_counted`."""
        return self.decode_counted(data, count)[0]

    def decode_counted(self, data: bytes, count: int) -> tuple[NDArray[np.int64], int]:
        """Return the first ``count`` symbols, and how many bits they took.

        Works as a canonical decoder does: bit by bit, comparing with the first codeword of each
        length.

        Raises
        ------
        ValueError
            If the bits end too early or are no codeword.
        """
        order = self.order
        longest = max(self.lengths, default=0)
        per_length = [sum(length == n for length in self.lengths) for n in range(longest + 1)]
        per_length[0] = 0
        bits = np.unpackbits(np.frombuffer(data, np.uint8)).tolist()
        symbols = np.zeros(count, np.int64)
        position = 0
        for index in range(count):
            word = first = before = 0
            for length in range(1, longest + 1):
                if position >= len(bits):
                    raise ValueError(f"the bits end after {index} of {count} symbols")
                word = word << 1 | bits[position]
                position += 1
                if word - first < per_length[length]:
                    symbols[index] = order[before + word - first]
                    break
                before += per_length[length]
                first = (first + per_length[length]) << 1
            else:
                raise ValueError(f"the bits before {position} are no codeword")
        return symbols, position
