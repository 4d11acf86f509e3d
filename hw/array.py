"""The PE array R × N and its read-out."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from smartdeal.golden.formats import ACT_BITS
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.pe import OPERAND_SHAPE, ProcessingRow, coefficient_layout

__all__ = ["ProcessingArray"]


class ProcessingArray(wiring.Component):
    """R rows of N PEs; results are read one row and ``drain_lanes`` columns at a time.

    Timing: a step takes effect at the end of its cycle. ``lanes`` shows the selected results
    ``READ_LATENCY`` cycles after ``read_row`` and ``read_chunk``; a selection in the cycle after
    ``last`` already sees the new results.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    vector : In(ArrayLayout(signed(8), cols))
        One activation per column.
    coefficients : In(ArrayLayout(coefficient, rows))
    last : In(1)
        The step of this cycle ends a unit of work.
    maximum : In(1)
        Maximum mode; only with ``config.max_pool``.
    read : In(1)
    read_row : In(row index)
    read_chunk : In(chunk index)
    lanes : Out(ArrayLayout(signed(acc_bits), drain_lanes))
    """

    READ_LATENCY = 2

    vector:       data.View
    coefficients: data.View
    last:         Signal
    read:         Signal
    read_row:     Signal
    read_chunk:   Signal
    lanes:        data.View
    maximum:      Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "vector":       In(data.ArrayLayout(signed(ACT_BITS), config.cols)),
            "coefficients": In(data.ArrayLayout(coefficient_layout(config.coefficient),
                                                config.rows)),
            "last":         In(1),
            "read":         In(1),
            "read_row":     In(range(config.rows)),
            "read_chunk":   In(bits_for(config.chunks - 1)),
            "lanes":        Out(data.ArrayLayout(signed(config.acc_bits), config.drain_lanes)),
            **({"maximum": In(1)} if config.max_pool else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config

        operands = Signal(data.ArrayLayout(OPERAND_SHAPE, config.cols))
        for col in range(config.cols):
            m.d.comb += operands[col].eq(self.vector[col])
        if config.max_pool:
            with m.If(self.maximum):
                for col in range(config.cols):
                    # x + 128, which is not negative: the accumulator starts from 0.
                    biased = Cat(self.vector[col][:-1], ~self.vector[col][-1])
                    m.d.comb += operands[col].eq(biased)

        # One wide multiplexer per column picks the row, then a narrow one the chunk: about half
        # the cells of a shift chain through the array.
        column = Signal(data.ArrayLayout(signed(config.acc_bits), config.cols))
        rows = []
        for row in range(config.rows):
            m.submodules[f"row_{row}"] = pe_row = ProcessingRow(
                cols=config.cols, fmt=config.coefficient, acc_bits=config.acc_bits,
                max_pool=config.max_pool)
            rows.append(pe_row)
            m.d.comb += [
                pe_row.operands.eq(operands),
                pe_row.coefficient.eq(self.coefficients[row]),
                pe_row.last.eq(self.last),
            ]
            if config.max_pool:
                m.d.comb += pe_row.maximum.eq(self.maximum)
        with m.If(self.read):
            with m.Switch(self.read_row):
                for row, pe_row in enumerate(rows):
                    with m.Case(row):
                        m.d.sync += column.eq(pe_row.results)

        chunk = Signal.like(self.read_chunk)
        m.d.sync += chunk.eq(self.read_chunk)
        with m.Switch(chunk):
            for index in range(config.chunks):
                with m.Case(index):
                    for lane in range(config.drain_lanes):
                        m.d.sync += self.lanes[lane].eq(column[index * config.drain_lanes + lane])
        return m
