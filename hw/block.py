"""A block of the PE array, with registers of its own for what its PEs share."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.golden.formats import ACT_BITS, PACKED, CoefficientFormat
from smartdeal.hw.pe import ProcessingRow, coefficient_layout

__all__ = ["BLOCK_COLS", "BLOCK_ROWS", "ProcessingBlock"]

#: Most rows and columns of a block. Registers drive that many PEs in time, and few wires are long.
#: With 8 × 8 an ECP5-85 with 16 × 32 PEs is placed worse (docs/results.md, "Bitstreams").
BLOCK_ROWS, BLOCK_COLS = 4, 8


class ProcessingBlock(wiring.Component):
    """Some rows and columns of the array.

    Timing: ``results`` hold from three cycles after ``last`` up to the next one.

    Parameters
    ----------
    rows, cols : int
    fmt, acc_bits, binary
        As for :class:`~smartdeal.hw.pe.ProcessingElement`.
    max_pool : bool
        Whether its first row has ``maximum`` mode.

    Members
    -------
    vector : In(ArrayLayout(signed(8), cols))
        One operand per column.
    coefficients : In(ArrayLayout(coefficient_layout, rows))
    last : In(1)
        The step ends a unit of work.
    maximum : In(1)
        Only with ``max_pool``.
    binary, weights : In
        Only with ``binary``; weights are eight for each row.
    results : Out(ArrayLayout(ArrayLayout(signed(acc_bits), cols), rows))
    """

    vector:       data.View
    coefficients: data.View
    last:         Signal
    maximum:      Signal
    binary:       Signal
    weights:      data.View
    results:      data.View

    def __init__(self, *, rows: int, cols: int, fmt: CoefficientFormat, acc_bits: int,
                 max_pool: bool, binary: bool = False):
        self.rows     = rows
        self.cols     = cols
        self.fmt      = fmt
        self.acc_bits = acc_bits
        self.max_pool = max_pool
        self.has_binary = binary
        row = data.ArrayLayout(signed(acc_bits), cols)
        super().__init__({
            "vector":       In(data.ArrayLayout(signed(ACT_BITS), cols)),
            "coefficients": In(data.ArrayLayout(coefficient_layout(fmt), rows)),
            "last":         In(1),
            "results":      Out(data.ArrayLayout(row, rows)),
            **({"maximum": In(1)} if max_pool else {}),
            **({"binary": In(1), "weights": In(data.ArrayLayout(PACKED, rows))} if binary else {}),
        })

    def elaborate(self, platform):
        m = Module()
        vector = Signal.like(self.vector)
        last, shifted_last = Signal(), Signal()
        m.d.sync += [vector.eq(self.vector), last.eq(self.last), shifted_last.eq(last)]
        for row in range(self.rows):
            m.submodules[f"row_{row}"] = pe_row = ProcessingRow(
                cols=self.cols, fmt=self.fmt, acc_bits=self.acc_bits,
                max_pool=self.max_pool and row == 0, binary=self.has_binary)
            m.d.comb += [
                pe_row.vector.eq(vector),
                pe_row.coefficient.eq(self.coefficients[row]),
                pe_row.last.eq(shifted_last),
                self.results[row].eq(pe_row.results),
            ]
            if pe_row.max_pool:
                m.d.comb += pe_row.maximum.eq(self.maximum)
            if self.has_binary:
                m.d.comb += [pe_row.binary.eq(self.binary), pe_row.weights.eq(self.weights[row])]
        return m
