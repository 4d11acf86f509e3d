"""The PE array R × N and its read-out."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from smartdeal.golden.formats import ACT_BITS
from smartdeal.hw.block import BLOCK_COLS, BLOCK_ROWS, ProcessingBlock
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.delay import Delay
from smartdeal.hw.multiplexer import Multiplexer
from smartdeal.hw.pe import coefficient_layout

__all__ = ["ProcessingArray"]


class ProcessingArray(wiring.Component):
    """R rows of N PEs; results are read one row and ``drain_lanes`` columns at a time.

    Timing: coefficients, ``last`` and ``maximum`` are given with their vector. ``lanes`` shows the
    selected results ``READ_LATENCY`` cycles after ``read_row`` and ``read_chunk``; a selection
    ``RESULT_LATENCY`` cycles after the last vector already sees the new results.

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
    binary : In(1)
        Coefficients are eight binary weights each. Only with ``config.binary``, which makes
        ``coefficients`` plain words of ``config.code_bits``.
    read : In(1)
    read_row : In(row index)
    read_chunk : In(chunk index)
    lanes : Out(ArrayLayout(signed(acc_bits), drain_lanes))
    """

    READ_LATENCY   = 3
    RESULT_LATENCY = 2

    vector:       data.View
    coefficients: data.View
    last:         Signal
    read:         Signal
    read_row:     Signal
    read_chunk:   Signal
    lanes:        data.View
    maximum:      Signal
    binary:       Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        code = config.code_bits if config.binary else coefficient_layout(config.coefficient)
        super().__init__({
            "vector":       In(data.ArrayLayout(signed(ACT_BITS), config.cols)),
            "coefficients": In(data.ArrayLayout(code, config.rows)),
            "last":         In(1),
            "read":         In(1),
            "read_row":     In(range(config.rows)),
            "read_chunk":   In(bits_for(config.chunks - 1)),
            "lanes":        Out(data.ArrayLayout(signed(config.acc_bits), config.drain_lanes)),
            **({"maximum": In(1)} if config.max_pool else {}),
            **({"binary": In(1)} if config.binary else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config

        results = self._blocks(m)
        # One wide multiplexer per column picks the row, then a narrow one the chunk: about half
        # the cells of a shift chain through the array.
        column = Signal(data.ArrayLayout(config.acc_bits, config.cols))
        for col in range(config.cols):
            m.submodules[f"column_{col}"] = pick = ColumnSelect(
                rows=config.rows, bits=config.acc_bits)
            m.d.comb += [
                pick.read.eq(self.read),
                pick.row.eq(self.read_row),
                *(pick.i[row].eq(results[row][col]) for row in range(config.rows)),
                column[col].eq(pick.o),
            ]

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

    def _blocks(self, m):
        """Return the results of the PEs, by row and column."""
        config, coefficient = self.config, coefficient_layout(self.config.coefficient)
        # A dot product of ±1 is twice what the PE counts.
        twice   = coefficient.const({"valid": 1, "sign": 0, "exponent": 1})
        results = [[Const(0)] * config.cols for _ in range(config.rows)]
        for top in range(0, config.rows, BLOCK_ROWS):
            for left in range(0, config.cols, BLOCK_COLS):
                m.submodules[f"block_{top // BLOCK_ROWS}_{left // BLOCK_COLS}"] = block = (
                    ProcessingBlock(
                        rows=min(BLOCK_ROWS, config.rows - top),
                        cols=min(BLOCK_COLS, config.cols - left),
                        fmt=config.coefficient, acc_bits=config.acc_bits,
                        max_pool=config.max_pool and top == 0, binary=config.binary))
                m.d.comb += block.last.eq(self.last)
                if block.max_pool:
                    m.d.comb += block.maximum.eq(self.maximum)
                if config.binary:
                    m.d.comb += block.binary.eq(self.binary)
                for col in range(block.cols):
                    m.d.comb += block.vector[col].eq(self.vector[left + col])
                for row in range(block.rows):
                    code = self.coefficients[top + row]
                    m.d.comb += block.coefficients[row].eq(code)
                    if config.binary:
                        m.d.comb += block.weights[row].eq(code)
                        with m.If(self.binary):
                            m.d.comb += block.coefficients[row].eq(twice)
                    results[top + row][left:left + block.cols] = [
                        block.results[row][col] for col in range(block.cols)]
        return results


class ColumnSelect(wiring.Component):
    """The results of one column, of which ``row`` is read.

    Timing: ``o`` shows the result two cycles after ``row``, and keeps it without ``read``.

    Parameters
    ----------
    rows : int
    bits : int
        Bits of a result.

    Members
    -------
    i : In(ArrayLayout(bits, rows))
    read : In(1)
    row : In(range(rows))
    o : Out(bits)
    """

    i:    data.View
    read: Signal
    row:  Signal
    o:    Signal

    def __init__(self, *, rows: int, bits: int):
        self.rows = rows
        self.bits = bits
        super().__init__({
            "i":    In(data.ArrayLayout(bits, rows)),
            "read": In(1),
            "row":  In(range(rows)),
            "o":    Out(bits),
        })

    def elaborate(self, platform):
        m = Module()
        # Registers of each column: no register of the device could drive all columns in time.
        read, row = Signal(), Signal.like(self.row)
        m.d.sync += [read.eq(self.read), row.eq(self.row)]
        m.submodules.pick = pick = Multiplexer(count=self.rows, bits=self.bits)
        m.d.comb += [pick.i.eq(self.i), pick.index.eq(row)]
        with m.If(read):
            m.d.sync += self.o.eq(pick.o)
        return m
