"""A sum whose operands can each be left out, in one carry chain."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from smartdeal.hw.technology import Technology, carry_chain, table_of, technology_of

__all__ = ["GatedAdd"]


class GatedAdd(wiring.Component):
    """``o`` = (``a`` if ``take_a`` else 0) + (``b`` if ``take_b`` else 0). It wraps.

    Combinational.

    Parameters
    ----------
    bits : int

    Members
    -------
    a, b : In(signed(bits))
    take_a, take_b : In(1)
    o : Out(signed(bits))
    """

    a:      Signal
    b:      Signal
    take_a: Signal
    take_b: Signal
    o:      Signal

    def __init__(self, *, bits: int):
        self.bits = bits
        super().__init__({
            "a":      In(signed(bits)),
            "b":      In(signed(bits)),
            "take_a": In(1),
            "take_b": In(1),
            "o":      Out(signed(bits)),
        })

    def elaborate(self, platform):
        m = Module()
        if technology_of(platform) is Technology.ECP5:
            # The carry is read from the table's quarter for b = take_b = 0: it is a & take_a.
            carry_chain(m, [(_TABLE, (self.a[i], self.take_a, self.b[i], self.take_b), self.o[i])
                            for i in range(self.bits)])
        else:
            m.d.comb += self.o.eq(Mux(self.take_a, self.a, 0) + Mux(self.take_b, self.b, 0))
        return m


_TABLE = table_of(lambda a, take_a, b, take_b: (a & take_a) ^ (b & take_b))
