"""The write port of a table, from the loader's side."""

from amaranth import *
from amaranth.hdl import ShapeLike
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

__all__ = ["TableInterface", "TablePort"]


class TablePort(wiring.Signature):
    """Write one word of a table per cycle.

    Parameters
    ----------
    depth : int
        Words.
    shape : shape-castable
        A word.

    Members
    -------
    en : Out(1)
    addr : Out(range(depth))
    data : Out(shape)
    """

    def __init__(self, depth: int, shape: ShapeLike):
        self.depth = depth
        self.shape = shape
        super().__init__({"en": Out(1), "addr": Out(range(depth)), "data": Out(shape)})

    def __eq__(self, other):
        return (isinstance(other, TablePort) and self.depth == other.depth
                and Shape.cast(self.shape) == Shape.cast(other.shape))

    def __repr__(self):
        return f"TablePort({self.depth!r}, {self.shape!r})"

    def create(self, *, path=None, src_loc_at=0):
        return TableInterface(self, path=path, src_loc_at=1 + src_loc_at)


class TableInterface(wiring.PureInterface):
    """The signals of a :class:`TablePort`."""

    en:   Signal
    addr: Signal
    data: Signal
