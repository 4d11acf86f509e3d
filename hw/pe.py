"""The processing element: one shift-and-add per cycle into its own accumulator."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.golden.formats import ACT_BITS, PACKED, CoefficientFormat
from smartdeal.hw.shift_add import ShiftAdd

__all__ = ["ProcessingElement", "ProcessingRow", "coefficient_layout"]

def coefficient_layout(fmt: CoefficientFormat) -> data.StructLayout:
    """Return the layout of an encoded coefficient (see :class:`CoefficientFormat`)."""
    return data.StructLayout({"valid": 1, "sign": 1, "exponent": fmt.exponent_bits})


class ProcessingElement(wiring.Component):
    """Shift-and-add PE with a double-buffered accumulator.

    Each cycle ``acc ± (operand << exponent)`` enters the accumulator if the coefficient is valid.
    In the cycle of ``last`` the new sum goes to ``result`` instead, and the accumulator restarts
    from 0.

    Timing: registers stand behind the shifter, so ``last`` is given a cycle after its operand.
    ``result`` holds from the cycle after ``last`` up to the next one. One step per cycle, no
    stalls.

    Parameters
    ----------
    fmt : CoefficientFormat
    acc_bits : int
        Width of the accumulator; it wraps.
    max_pool : bool
        Whether ``maximum`` mode exists.
    binary : bool
        Whether ``binary`` mode exists.

    Members
    -------
    operand : In(signed(8))
    coefficient : In(coefficient_layout)
        Its sign is 0 if it is not valid.
    last : In(1)
    maximum : In(1)
        Take operand + 128, which is not negative, where it is larger than the accumulator,
        instead of the sum; the coefficient is then not valid. Only with ``max_pool``.
    binary : In(1)
        The operand of the adder is half the dot product of two vectors of eight ±1, ``operand`` and
        ``weights``: the number of equal bits less 4. Only with ``binary``, as ``weights``.
    weights : In(8)
    result : Out(signed(acc_bits))
    """

    operand:     Signal
    coefficient: data.View
    last:        Signal
    result:      Signal
    maximum:     Signal
    binary:      Signal
    weights:     Signal

    def __init__(self, *, fmt: CoefficientFormat, acc_bits: int, max_pool: bool,
                 binary: bool = False):
        self.fmt      = fmt
        self.acc_bits = acc_bits
        self.max_pool = max_pool
        self.has_binary = binary
        super().__init__({
            "operand":     In(signed(ACT_BITS)),
            "coefficient": In(coefficient_layout(fmt)),
            "last":        In(1),
            "result":      Out(signed(acc_bits)),
            **({"maximum": In(1)} if max_pool else {}),
            **({"binary": In(1), "weights": In(PACKED)} if binary else {}),
        })

    def elaborate(self, platform):
        m = Module()

        # Of the two registers behind the adder, place and route joins that one to it whose name
        # comes last in the alphabet (nextpnr). It must be the accumulator: its reset comes from
        # the block, and the registers of an ECP5's tile have one reset.
        running_sum = Signal(signed(self.acc_bits))
        total = Signal(signed(self.acc_bits))
        m.submodules.shift_add = shift_add = ShiftAdd(fmt=self.fmt, acc_bits=self.acc_bits)
        m.d.comb += [
            shift_add.running_sum.eq(running_sum),
            shift_add.operand.eq(self.operand),
            shift_add.valid.eq(self.coefficient.valid),
            shift_add.sign.eq(self.coefficient.sign),
            total.eq(shift_add.total),
        ]
        if self.fmt.exponent_bits:
            m.d.comb += shift_add.exponent.eq(self.coefficient.exponent)
        if self.has_binary:
            self._count(m, shift_add.operand)
        if self.max_pool:
            own_operand = Signal.like(self.operand)
            own_maximum = Signal()
            biased = Signal(ACT_BITS)
            m.d.sync += [own_operand.eq(self.operand), own_maximum.eq(self.maximum)]
            m.d.comb += biased.eq(Cat(own_operand[:-1], ~own_operand[-1]))  # operand + 128
            with m.If(own_maximum & (biased > running_sum[:ACT_BITS])):
                m.d.comb += total.eq(biased)

        m.d.sync += running_sum.eq(total)
        with m.If(self.last):
            m.d.sync += [
                running_sum.eq(0),
                self.result.eq(total),
            ]
        return m

    def _count(self, m, adder_operand):
        """Put half a dot product of ±1 in place of the operand."""
        equal = Signal(PACKED)
        count = Signal(range(PACKED + 1))
        m.d.comb += [
            equal.eq(~(self.operand ^ self.weights)),
            count.eq(sum(equal)),
        ]
        with m.If(self.binary):
            m.d.comb += adder_operand.eq(count - PACKED // 2)


class ProcessingRow(wiring.Component):
    """PEs of one array row: they share a coefficient, each has its own column's operand.

    Timing: what the PEs share is given a cycle before ``vector``, but ``last``, which is given a
    cycle after it.

    Parameters
    ----------
    cols : int
        N.
    fmt, acc_bits, max_pool, binary
        As for :class:`ProcessingElement`.

    Members
    -------
    vector : In(ArrayLayout(signed(8), cols))
        One operand per column.
    coefficient, last
        As for :class:`ProcessingElement`.
    maximum : In(1)
        A valid coefficient takes the maximum instead of adding.
    binary, weights : In
        As for :class:`ProcessingElement`; with ``binary`` the coefficient must be +2.
    results : Out(ArrayLayout(signed(acc_bits), cols))
    """

    vector:      data.View
    coefficient: data.View
    last:        Signal
    results:     data.View
    maximum:     Signal
    binary:      Signal
    weights:     Signal

    def __init__(self, *, cols: int, fmt: CoefficientFormat, acc_bits: int, max_pool: bool,
                 binary: bool = False):
        self.cols     = cols
        self.fmt      = fmt
        self.acc_bits = acc_bits
        self.max_pool = max_pool
        self.has_binary = binary
        super().__init__({
            "vector":      In(data.ArrayLayout(signed(ACT_BITS), cols)),
            "coefficient": In(coefficient_layout(fmt)),
            "last":        In(1),
            "results":     Out(data.ArrayLayout(signed(acc_bits), cols)),
            **({"maximum": In(1)} if max_pool else {}),
            **({"binary": In(1), "weights": In(PACKED)} if binary else {}),
        })

    def elaborate(self, platform):
        m = Module()
        coefficient = Signal.like(self.coefficient)
        valid = self.coefficient.valid
        maximum, binary, weights = Signal(), Signal(), Signal(PACKED)
        if self.max_pool:
            m.d.sync += maximum.eq(valid & self.maximum)
            valid &= ~self.maximum
        m.d.sync += [
            coefficient.eq(self.coefficient), coefficient.valid.eq(valid),
            coefficient.sign.eq(valid & self.coefficient.sign),
        ]
        if self.has_binary:
            m.d.sync += [binary.eq(self.binary), weights.eq(self.weights)]
        for col in range(self.cols):
            m.submodules[f"pe_{col}"] = pe = ProcessingElement(
                fmt=self.fmt, acc_bits=self.acc_bits, max_pool=self.max_pool,
                binary=self.has_binary)
            m.d.comb += [
                pe.operand.eq(self.vector[col]),
                pe.coefficient.eq(coefficient),
                pe.last.eq(self.last),
                self.results[col].eq(pe.result),
            ]
            if self.max_pool:
                m.d.comb += pe.maximum.eq(maximum)
            if self.has_binary:
                m.d.comb += [pe.binary.eq(binary), pe.weights.eq(weights)]
        return m
