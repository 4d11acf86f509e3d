"""A wide multiplexer as a component, so that a technology's own cells can be its tree."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from smartdeal.hw.select import select
from smartdeal.hw.technology import Technology, lut4, technology_of

__all__ = ["Multiplexer"]

#: Table of ``b if select else a``.
_MUX = 0b1100_1010_1100_1010


class Multiplexer(wiring.Component):
    """``o`` = ``i[index]``; an index beyond the last value gives any of them.

    Combinational.

    Parameters
    ----------
    count : int
        Values, at least 1.
    bits : int
        Bits of a value.

    Members
    -------
    i : In(ArrayLayout(bits, count))
    index : In(range(count))
    o : Out(bits)
    """

    i:     data.View
    index: Signal
    o:     Signal

    def __init__(self, *, count: int, bits: int):
        self.count = count
        self.bits  = bits
        super().__init__({
            "i":     In(data.ArrayLayout(bits, count)),
            "index": In(bits_for(count - 1)),
            "o":     Out(bits),
        })

    def elaborate(self, platform):
        m = Module()
        values = [self.i[index] for index in range(self.count)]
        if technology_of(platform) is Technology.ECP5:
            m.d.comb += self.o.eq(self._wide(m, values, 0))
        else:
            m.d.comb += self.o.eq(select(self.index, values))
        return m

    def _wide(self, m, values, level):
        """Take eight values at a time, in four tables and the three multiplexers behind them."""
        groups = [self._group(m, values[at:at + 8], level, at // 8)
                  for at in range(0, len(values), 8)]
        if len(groups) == 1:
            return groups[0]
        return self._wide(m, groups, level + 3)

    def _group(self, m, values, level, number):
        index = self.index[level:]
        if len(values) < 4:  # tables alone are as small
            return select(index, values)
        values = [values[min(i, len(values) - 1)] for i in range(4 if len(values) == 4 else 8)]
        result = Signal(self.bits, name=f"level_{level}_group_{number}")
        for bit in range(self.bits):
            layer = [value[bit] for value in values]
            for step, name in enumerate(("table", "pair", "quad")):
                if len(layer) == 1:
                    break
                outputs = [Signal(name=f"{name}_{level}_{number}_{bit}_{i}")
                           for i in range(len(layer) // 2)]
                for i, output in enumerate(outputs):
                    m.submodules[output.name] = _cell(step, layer[2 * i], layer[2 * i + 1],
                                                      index[step], output)
                layer = outputs
            m.d.comb += result[bit].eq(layer[0])
        return result


def _cell(step, a, b, index, output):
    """Return the cell of a step that gives ``b if index else a``."""
    if step == 0:
        return lut4(_MUX, (a, b, index, Const(0)), output)
    if step == 1:  # the names are those of the input taken at 1 and at 0
        return Instance("PFUMX", i_ALUT=b, i_BLUT=a, i_C0=index, o_Z=output)
    return Instance("L6MUX21", i_D0=a, i_D1=b, i_SD=index, o_Z=output)
