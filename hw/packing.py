"""Words of named bit fields: the one definition that packs, unpacks and shapes a memory word."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Field", "WordFormat"]


@dataclass(frozen=True)
class Field:
    """One field of a word, or an array of equal fields.

    Parameters
    ----------
    name : str
    bits : int
        Bits of one element.
    signed : bool
        Two's complement if true.
    count : int
        Elements; element 0 is lowest. A count of 1 is a scalar.
    """

    name: str
    bits: int
    signed: bool = False
    count: int = 1

    @property
    def total_bits(self) -> int:
        """Bits of all elements."""
        return self.bits * self.count


@dataclass(frozen=True)
class WordFormat:
    """A memory word: fields from bit 0 upwards, without gaps.

    Parameters
    ----------
    name : str
        Used in error messages.
    fields : tuple of Field
    """

    name: str
    fields: tuple[Field, ...]

    @property
    def bits(self) -> int:
        """Bits of the word."""
        return sum(field.total_bits for field in self.fields)

    def unit_bytes(self, host_bits: int) -> int:
        """Bytes of a word in an image: whole beats of the host stream."""
        return -(-self.bits // host_bits) * host_bits // 8

    def offset(self, name: str) -> int:
        """Return the bit at which a field starts."""
        position = 0
        for field in self.fields:
            if field.name == name:
                return position
            position += field.total_bits
        raise KeyError(name)

    def pack(self, host_bits: int, /, **values: NDArray[np.integer]) -> bytes:
        """Pack equally long arrays, one per field, into units of whole host beats.

        A scalar field takes shape (words,), an array field (words, count).

        Raises
        ------
        ValueError
            If a value does not fit its field; the message names field, value and range.
        """
        words = len(next(iter(values.values())))
        bits = np.zeros((words, self.unit_bytes(host_bits) * 8), np.uint8)
        position = 0
        for field in self.fields:
            array = np.asarray(values.pop(field.name), np.int64).reshape(words, field.count)
            low = -(1 << field.bits - 1) if field.signed else 0
            high = low + (1 << field.bits) - 1
            wrong = (array < low) | (array > high)
            if np.any(wrong):
                raise ValueError(f"{self.name} field {field.name!r} must be from {low} to {high}, "
                                 f"not {int(array[wrong].flat[0])}")
            for bit in range(field.bits):
                bits[:, position + bit:position + field.total_bits:field.bits] = array >> bit & 1
            position += field.total_bits
        if values:
            raise TypeError(f"{self.name} has no field {next(iter(values))!r}")
        return np.packbits(bits, axis=1, bitorder="little").tobytes()

    def pack_word(self, **values: int) -> int:
        """Pack one word of scalar fields into a number; fields that are not given are 0.

        Raises
        ------
        ValueError
            If a value does not fit its field; the message names field, value and range.
        """
        word = position = 0
        for field in self.fields:
            value = int(values.pop(field.name, 0))
            low = -(1 << field.bits - 1) if field.signed else 0
            high = low + (1 << field.bits) - 1
            if not low <= value <= high:
                raise ValueError(f"{self.name} field {field.name!r} must be from {low} to {high}, "
                                 f"not {value}")
            word |= (value & (1 << field.bits) - 1) << position
            position += field.bits
        if values:
            raise TypeError(f"{self.name} has no field {next(iter(values))!r}")
        return word

    def unpack_word(self, word: int) -> dict[str, int]:
        """Unpack one word of scalar fields, given as a number."""
        result: dict[str, int] = {}
        for field in self.fields:
            value = word & (1 << field.bits) - 1
            if field.signed:
                value -= (value >> field.bits - 1) << field.bits
            result[field.name] = value
            word >>= field.bits
        return result

    def unpack(self, data: bytes, host_bits: int) -> dict[str, NDArray[np.int64]]:
        """Unpack units as :meth:`pack` wrote them; scalar fields come as (words,)."""
        unit = self.unit_bytes(host_bits)
        raw = np.frombuffer(data, np.uint8).reshape(-1, unit)
        bits = np.unpackbits(raw, axis=1, bitorder="little")
        result: dict[str, NDArray[np.int64]] = {}
        position = 0
        for field in self.fields:
            array = np.zeros((len(raw), field.count), np.int64)
            for bit in range(field.bits):
                plane = bits[:, position + bit:position + field.total_bits:field.bits]
                array |= plane.astype(np.int64) << bit
            if field.signed:
                array -= (array >> field.bits - 1 & 1) << field.bits
            result[field.name] = array[:, 0] if field.count == 1 else array
            position += field.total_bits
        return result
