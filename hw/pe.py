"""The processing element: one shift-and-add per cycle into its own accumulator."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.golden.formats import ACT_BITS, CoefficientFormat

__all__ = ["OPERAND_SHAPE", "ProcessingElement", "ProcessingRow", "coefficient_layout"]

#: An operand is an activation, or in maximum mode the activation plus 128: nine bits hold both.
OPERAND_SHAPE = signed(ACT_BITS + 1)


def coefficient_layout(fmt: CoefficientFormat) -> data.StructLayout:
    """Return the layout of an encoded coefficient (see :class:`CoefficientFormat`)."""
    return data.StructLayout({"valid": 1, "sign": 1, "exponent": fmt.exponent_bits})


class ProcessingElement(wiring.Component):
    """Shift-and-add PE with a double-buffered accumulator.

    Each cycle ``acc ± (operand << exponent)`` enters the accumulator if the coefficient is valid.
    In the cycle of ``last`` the new sum goes to ``result`` instead, and the accumulator restarts
    from 0.

    Timing: ``result`` holds from the cycle after ``last`` up to the next ``last``. One step per
    cycle, no stalls.

    Parameters
    ----------
    fmt : CoefficientFormat
    acc_bits : int
        Width of the accumulator; it wraps.
    max_pool : bool
        Whether ``maximum`` mode exists.

    Members
    -------
    operand : In(signed(9))
    coefficient : In(coefficient_layout)
    last : In(1)
    maximum : In(1)
        Keep the larger of accumulator and operand, both unsigned, instead of adding. Only with
        ``max_pool``.
    result : Out(signed(acc_bits))
    """

    operand:     Signal
    coefficient: data.View
    last:        Signal
    result:      Signal
    maximum:     Signal

    def __init__(self, *, fmt: CoefficientFormat, acc_bits: int, max_pool: bool):
        self.fmt      = fmt
        self.acc_bits = acc_bits
        self.max_pool = max_pool
        super().__init__({
            "operand":     In(OPERAND_SHAPE),
            "coefficient": In(coefficient_layout(fmt)),
            "last":        In(1),
            "result":      Out(signed(acc_bits)),
            **({"maximum": In(1)} if max_pool else {}),
        })

    def elaborate(self, platform):
        m = Module()

        acc     = Signal(signed(self.acc_bits))
        shifted = Signal(signed(OPERAND_SHAPE.width + self.fmt.exponents - 1))
        term    = Signal(signed(shifted.shape().width + 1))
        total   = Signal(signed(self.acc_bits))  # wraps; the compiler proves that it need not

        m.d.comb += shifted.eq(self.operand << self.coefficient.exponent)
        with m.If(self.coefficient.valid):
            m.d.comb += term.eq(Mux(self.coefficient.sign, -shifted, shifted))
        m.d.comb += total.eq(acc + term)
        if self.max_pool:
            with m.If(self.maximum):
                # Both are at most 255 and not negative here: nine bits compare them.
                larger = self.operand > acc[:OPERAND_SHAPE.width].as_signed()
                m.d.comb += total.eq(Mux(self.coefficient.valid & larger, self.operand, acc))

        m.d.sync += acc.eq(total)
        with m.If(self.last):
            m.d.sync += [
                acc.eq(0),
                self.result.eq(total),
            ]
        return m


class ProcessingRow(wiring.Component):
    """One array row: N PEs that share a coefficient, each with its own column's operand.

    Parameters
    ----------
    cols : int
        N.
    fmt, acc_bits, max_pool
        As for :class:`ProcessingElement`.

    Members
    -------
    operands : In(ArrayLayout(signed(9), cols))
    coefficient, last, maximum
        As for :class:`ProcessingElement`.
    results : Out(ArrayLayout(signed(acc_bits), cols))
    """

    operands:    data.View
    coefficient: data.View
    last:        Signal
    results:     data.View
    maximum:     Signal

    def __init__(self, *, cols: int, fmt: CoefficientFormat, acc_bits: int, max_pool: bool):
        self.cols     = cols
        self.fmt      = fmt
        self.acc_bits = acc_bits
        self.max_pool = max_pool
        super().__init__({
            "operands":    In(data.ArrayLayout(OPERAND_SHAPE, cols)),
            "coefficient": In(coefficient_layout(fmt)),
            "last":        In(1),
            "results":     Out(data.ArrayLayout(signed(acc_bits), cols)),
            **({"maximum": In(1)} if max_pool else {}),
        })

    def elaborate(self, platform):
        m = Module()
        for col in range(self.cols):
            m.submodules[f"pe_{col}"] = pe = ProcessingElement(
                fmt=self.fmt, acc_bits=self.acc_bits, max_pool=self.max_pool)
            m.d.comb += [
                pe.operand.eq(self.operands[col]),
                pe.coefficient.eq(self.coefficient),
                pe.last.eq(self.last),
                self.results[col].eq(pe.result),
            ]
            if self.max_pool:
                m.d.comb += pe.maximum.eq(self.maximum)
        return m
