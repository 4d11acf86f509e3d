"""Accumulator ± (operand << exponent): the one computation of a processing element."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from smartdeal.golden.formats import ACT_BITS, CoefficientFormat
from smartdeal.hw.technology import Technology, carry_chain, lut4, table_of, technology_of

__all__ = ["ShiftAdd"]


class ShiftAdd(wiring.Component):
    """``total`` = ``running_sum`` ± (``operand`` << ``exponent``), without ``valid`` the sum alone.

    Timing: registers stand between shifter and adder. ``total`` adds to ``running_sum`` of the same
    cycle what the others were one cycle ago. The sum wraps. Without ``valid`` there is no ``sign``:
    that saves a level.

    Parameters
    ----------
    fmt : CoefficientFormat
    acc_bits : int

    Members
    -------
    running_sum : In(signed(acc_bits))
    operand : In(signed(8))
    valid, sign : In(1)
    exponent : In(fmt.exponent_bits)
        Only with more than one exponent.
    total : Out(signed(acc_bits))
    """

    running_sum: Signal
    operand:     Signal
    valid:       Signal
    sign:        Signal
    total:       Signal
    exponent:    Signal

    def __init__(self, *, fmt: CoefficientFormat, acc_bits: int):
        self.fmt      = fmt
        self.acc_bits = acc_bits
        super().__init__({
            "running_sum": In(signed(acc_bits)),
            "operand":     In(signed(ACT_BITS)),
            "valid":       In(1),
            "sign":        In(1),
            "total":       Out(signed(acc_bits)),
            **({"exponent": In(fmt.exponent_bits)} if fmt.exponent_bits else {}),
        })

    def elaborate(self, platform):
        m = Module()
        # acc - (x << e) is acc + ~(x << e) + 1, and ~(x << e) is ~x shifted with ones following.
        # The inversion before the shifter is eight bits wide instead of all; the 1 enters as a
        # carry from a bit below the lowest, so that one carry chain both adds and subtracts.
        minus = self.sign
        if technology_of(platform) is Technology.ECP5 and self.fmt.exponents > 1:
            self._carry_cells(m, minus)
        else:
            self._operators(m, minus)
        return m

    def _operators(self, m, minus):
        most    = self.fmt.exponents - 1  # the largest shift
        operand = Signal(signed(ACT_BITS))
        shifted = Signal(signed(ACT_BITS + 2 * most))
        own_minus = Signal()
        own_value = Signal(signed(ACT_BITS + most))
        with m.If(self.valid):
            m.d.comb += operand.eq(self.operand ^ self.sign.replicate(ACT_BITS))
        m.d.comb += shifted.eq(Cat(minus.replicate(most), operand).as_signed()
                               << (self.exponent if most else 0))
        m.d.sync += [own_minus.eq(minus), own_value.eq(shifted[most:].as_signed())]
        m.d.comb += self.total.eq(  # wraps; the compiler proves it need not
            (Cat(1, self.running_sum).as_signed() + Cat(own_minus, own_value).as_signed()) >> 1)

    def _carry_cells(self, m, minus):
        """Let the carry cells of an ECP5 do the last level of the shifter, too.

        In a CCU2C each bit has a table of four inputs. Here they are (acc, select, low, high) and
        its function is acc ^ (high if select else low). The carry that the bit generates is read
        from the table's quarter with low = high = 0, as a function of (acc, select): it is acc, as
        it must be. The first level inverts, the second one clears without ``valid``: either has
        that input free. The registers before the last level are as many as those of the inputs
        would be.
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

        own_value  = Signal(len(value))
        own_select = Signal()
        own_minus  = Signal()
        m.d.sync += [
            own_value.eq(Cat(value)), own_select.eq(self.exponent[-1]), own_minus.eq(minus),
        ]

        def bit_of(index):
            return own_value[min(index, len(own_value) - 1)]

        # The chain begins with a bit that only makes a carry of `minus`.
        bits = [(_CARRY_ONLY, (own_minus, Const(1), Const(1), Const(1)), None)]
        bits += [(_ADD, (self.running_sum[i], own_select, bit_of(i),
                         bit_of(i - distance) if i >= distance else own_minus), self.total[i])
                 for i in range(self.acc_bits)]
        carry_chain(m, bits)


_GATE          = table_of(lambda bit, valid, minus, _: valid & (bit ^ minus))
_INVERT        = table_of(lambda kept, moved, select, minus: (moved if select else kept) ^ minus)
_INVERT_LOWEST = table_of(lambda kept, moved, select, minus: moved if select else kept ^ minus)
_CHOOSE        = table_of(lambda kept, moved, select, valid: valid & (moved if select else kept))
_ADD           = table_of(lambda acc, select, low, high: acc ^ (high if select else low))
_CARRY_ONLY    = table_of(lambda carry, _, low, high: carry & ~(low | high) & 1)
