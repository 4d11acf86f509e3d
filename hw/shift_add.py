"""Accumulator ± (operand << exponent): the one computation of a processing element."""

from collections.abc import Callable

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from smartdeal.golden.formats import ACT_BITS, CoefficientFormat
from smartdeal.hw.technology import Technology, lut4, technology_of

__all__ = ["ShiftAdd"]


class ShiftAdd(wiring.Component):
    """``total`` = ``acc`` ± (``operand`` << ``exponent``), or ``acc`` if not ``valid``.

    Combinational. The sum wraps.

    Parameters
    ----------
    fmt : CoefficientFormat
    acc_bits : int

    Members
    -------
    acc : In(signed(acc_bits))
    operand : In(signed(8))
    valid, sign : In(1)
    exponent : In(fmt.exponent_bits)
        Only with more than one exponent.
    total : Out(signed(acc_bits))
    """

    acc:      Signal
    operand:  Signal
    valid:    Signal
    sign:     Signal
    total:    Signal
    exponent: Signal

    def __init__(self, *, fmt: CoefficientFormat, acc_bits: int):
        self.fmt      = fmt
        self.acc_bits = acc_bits
        super().__init__({
            "acc":      In(signed(acc_bits)),
            "operand":  In(signed(ACT_BITS)),
            "valid":    In(1),
            "sign":     In(1),
            "total":    Out(signed(acc_bits)),
            **({"exponent": In(fmt.exponent_bits)} if fmt.exponent_bits else {}),
        })

    def elaborate(self, platform):
        m = Module()
        # acc - (x << e) is acc + ~(x << e) + 1, and ~(x << e) is ~x shifted with ones following.
        # The inversion before the shifter is eight bits wide instead of all; the 1 enters as a
        # carry from a bit below the lowest, so that one carry chain both adds and subtracts.
        minus = Signal()
        m.d.comb += minus.eq(self.valid & self.sign)
        if technology_of(platform) is Technology.ECP5 and self.fmt.exponents > 1:
            self._carry_cells(m, minus)
        else:
            self._operators(m, minus)
        return m

    def _operators(self, m, minus):
        most    = self.fmt.exponents - 1  # the largest shift
        operand = Signal(signed(ACT_BITS))
        shifted = Signal(signed(ACT_BITS + 2 * most))
        with m.If(self.valid):
            m.d.comb += operand.eq(self.operand ^ self.sign.replicate(ACT_BITS))
        m.d.comb += [
            shifted.eq(Cat(minus.replicate(most), operand).as_signed()
                       << (self.exponent if most else 0)),
            self.total.eq((Cat(1, self.acc).as_signed()  # wraps; the compiler proves it need not
                           + Cat(minus, shifted[most:]).as_signed()) >> 1),
        ]

    def _carry_cells(self, m, minus):
        """Let the carry cells of an ECP5 do the last level of the shifter, too.

        In a CCU2C each bit has a table of four inputs. Here they are (acc, select, low, high) and
        its function is acc ^ (high if select else low). The carry that the bit generates is read
        from the table's quarter with low = high = 0, as a function of (acc, select): it is acc, as
        it must be. The first level inverts, the second one clears without ``valid``: either has
        that input free.
        """
        # Tables by hand: synthesis would merge two levels, which is quicker and twice as large.
        top   = self.exponent.shape().width - 1
        value = list(self.operand)
        if top < 2:  # there is no second level
            gated = Signal(ACT_BITS)
            for i, bit in enumerate(gated):
                m.submodules[f"gate_{i}"] = lut4(
                    _GATE, (value[i], self.valid, minus, Const(0)), bit)
            value = list(gated)
        for level in range(top):
            distance = 1 << level
            stage = Signal(len(value) + distance, name=f"level_{level}")
            for i, bit in enumerate(stage):
                kept   = value[min(i, len(value) - 1)]
                moved  = value[i - distance] if i >= distance else minus
                select = self.exponent[level]
                if level == 0 and top > 1:
                    table, fourth = _INVERT if i else _INVERT_LOWEST, minus
                else:
                    table, fourth = _CHOOSE, self.valid if level == 1 else Const(1)
                m.submodules[f"level_{level}_bit_{i}"] = lut4(
                    table, (kept, moved, select, fourth), bit)
            value = list(stage)
        distance = 1 << top

        def bit_of(index):
            return value[min(index, len(value) - 1)]

        carry = Const(0)
        # The chain begins with half a cell that makes a carry of `minus`.
        halves = [(0x000A, minus, Const(1), Const(1), Const(1), None)]
        halves += [(_CARRY_TABLE, self.acc[i], self.exponent[-1], bit_of(i),
                    bit_of(i - distance) if i >= distance else minus, self.total[i])
                   for i in range(self.acc_bits)]
        if len(halves) % 2:
            halves.append((0, Const(0), Const(0), Const(0), Const(0), None))
        for index in range(0, len(halves), 2):
            following = Signal(name=f"carry_{index // 2}")
            ports = {"i_CIN": carry, "o_COUT": following}
            for half in range(2):
                table, a, b, c, d, total = halves[index + half]
                ports |= {f"p_INIT{half}": Const(table, 16), f"p_INJECT1_{half}": "NO",
                          f"i_A{half}": a, f"i_B{half}": b, f"i_C{half}": c, f"i_D{half}": d}
                if total is not None:
                    ports[f"o_S{half}"] = total
            m.submodules[f"add_{index // 2}"] = Instance("CCU2C", **ports)
            carry = following


def _table(function: Callable[[int, int, int, int], int]) -> int:
    """Return the table of a function of four bits."""
    return sum(function(*(index >> bit & 1 for bit in range(4))) << index for index in range(16))


_GATE          = _table(lambda bit, valid, minus, _: valid & (bit ^ minus))
_INVERT        = _table(lambda kept, moved, select, minus: (moved if select else kept) ^ minus)
_INVERT_LOWEST = _table(lambda kept, moved, select, minus: moved if select else kept ^ minus)
_CHOOSE        = _table(lambda kept, moved, select, valid: valid & (moved if select else kept))
_CARRY_TABLE   = _table(lambda acc, select, low, high: acc ^ (high if select else low))
