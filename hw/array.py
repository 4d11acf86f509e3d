"""The PE array R × N and its read-out."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from smartdeal.golden.formats import ACT_BITS
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.delay import Delay
from smartdeal.hw.multiplexer import Multiplexer
from smartdeal.hw.pe import ProcessingRow, coefficient_layout

__all__ = ["ProcessingArray"]


class ProcessingArray(wiring.Component):
    """R rows of N PEs; results are read one row and ``drain_lanes`` columns at a time.

    Timing: a step takes effect at the end of the cycle in which its vector is given; coefficients,
    ``last`` and ``maximum`` are given a cycle before. ``lanes`` shows the selected results
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
        The step ends a unit of work.
    maximum : In(1)
        Maximum mode, which only row 0 has: pooling takes a step per channel, so that more rows
        would not be faster. Only with ``config.max_pool``.
    read : In(1)
    read_row : In(row index)
    read_chunk : In(chunk index)
    lanes : Out(ArrayLayout(signed(acc_bits), drain_lanes))
    """

    READ_LATENCY = 3

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

        # One wide multiplexer per column picks the row, then a narrow one the chunk: about half
        # the cells of a shift chain through the array.
        column = Signal(data.ArrayLayout(config.acc_bits, config.cols))
        # What many PEs share is registered once for each row, and each column: no register of the
        # device could drive all of them in time.
        control = data.StructLayout({
            "coefficient": coefficient_layout(config.coefficient), "last": 1, "maximum": 1})
        select  = data.StructLayout({"read": 1, "row": range(config.rows)})
        rows = []
        for row in range(config.rows):
            m.submodules[f"row_{row}_control"] = line = Delay(control, 1)
            m.submodules[f"row_{row}"] = pe_row = ProcessingRow(
                cols=config.cols, fmt=config.coefficient, acc_bits=config.acc_bits,
                max_pool=config.max_pool and row == 0)
            rows.append(pe_row)
            m.d.comb += [
                pe_row.vector.eq(self.vector),
                line.i.coefficient.eq(self.coefficients[row]),
                line.i.last.eq(self.last),
                pe_row.coefficient.eq(line.o.coefficient),
                pe_row.last.eq(line.o.last),
            ]
            if pe_row.max_pool:
                m.d.comb += [line.i.maximum.eq(self.maximum), pe_row.maximum.eq(line.o.maximum)]
        for col in range(config.cols):
            m.submodules[f"column_{col}"] = pick = Multiplexer(
                count=config.rows, bits=config.acc_bits)
            m.submodules[f"column_{col}_select"] = line = Delay(select, 1)
            m.d.comb += [
                line.i.read.eq(self.read),
                line.i.row.eq(self.read_row),
                pick.index.eq(line.o.row),
                *(pick.i[row].eq(rows[row].results[col]) for row in range(config.rows)),
            ]
            with m.If(line.o.read):
                m.d.sync += column[col].eq(pick.o)

        m.submodules.chunk_delay = chunk_delay = Delay(self.read_chunk.shape(), 2)
        m.d.comb += chunk_delay.i.eq(self.read_chunk)
        for lane in range(config.drain_lanes):
            m.submodules[f"lane_{lane}"] = pick = Multiplexer(
                count=config.chunks, bits=config.acc_bits)
            m.d.comb += [
                pick.index.eq(chunk_delay.o),
                *(pick.i[index].eq(column[index * config.drain_lanes + lane])
                  for index in range(config.chunks)),
            ]
            m.d.sync += self.lanes[lane].eq(pick.o)
        return m
