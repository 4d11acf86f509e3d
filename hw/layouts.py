"""Amaranth layouts of the words that :mod:`smartdeal.hw.isa` defines."""

from amaranth import *
from amaranth.lib import data

from smartdeal.hw.packing import WordFormat

__all__ = ["layout_of"]


def layout_of(word: WordFormat) -> data.StructLayout:
    """Return the layout of a word: scalar fields as numbers, the others as arrays."""
    members = {}
    for field in word.fields:
        shape = signed(field.bits) if field.signed else unsigned(field.bits)
        members[field.name] = shape if field.count == 1 else data.ArrayLayout(shape, field.count)
    return data.StructLayout(members)
