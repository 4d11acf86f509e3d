"""The array against a matrix product, read out while the next unit runs."""

import random

import pytest

from smartdeal.hw.array import ProcessingArray
from smartdeal.hw.config import AcceleratorConfig


@pytest.mark.parametrize(("rows", "cols", "lanes"), [
    (2, 2, 1), (3, 4, 2), (5, 3, 3), (4, 6, 2), (9, 10, 5),  # the last has four blocks
])
def test_computes_and_reads_out_at_once(simulate, rows, cols, lanes):
    config = AcceleratorConfig(rows=rows, cols=cols, drain_lanes=lanes)
    dut = ProcessingArray(config)
    rng = random.Random(rows)
    results = []  # of the finished units
    selections = [(row, chunk) for row in range(rows) for chunk in range(config.chunks)]

    async def steps(ctx):
        for _unit in range(5):
            sums = [[0] * cols for _ in range(rows)]
            # Reading out takes as many cycles as a unit of work has at least here.
            count = len(selections) + dut.READ_LATENCY + rng.randrange(4)
            for step in range(count):
                vector = [rng.randrange(-128, 128) for _ in range(cols)]
                terms = [(rng.randrange(2), rng.randrange(2), rng.randrange(8))
                         for _ in range(rows)]
                ctx.set(dut.vector, vector)
                for row, (valid, sign, exponent) in enumerate(terms):
                    ctx.set(dut.coefficients[row],
                            {"valid": valid, "sign": sign, "exponent": exponent})
                    for col in range(cols):
                        sums[row][col] += valid * (-1) ** sign * (vector[col] << exponent)
                ctx.set(dut.last, step == count - 1)
                await ctx.tick()
            results.append(sums)
        ctx.set(dut.last, 0)

    async def read_out(ctx):
        for unit in range(5):
            while len(results) <= unit:
                await ctx.tick()
            await ctx.tick().repeat(dut.RESULT_LATENCY)
            # From then on, one selection per cycle.
            for cycle in range(len(selections) + dut.READ_LATENCY):
                if cycle < len(selections):
                    ctx.set(dut.read, 1)
                    ctx.set(dut.read_row, selections[cycle][0])
                    ctx.set(dut.read_chunk, selections[cycle][1])
                else:
                    ctx.set(dut.read, 0)
                if cycle >= dut.READ_LATENCY:
                    row, chunk = selections[cycle - dut.READ_LATENCY]
                    assert ([ctx.get(dut.lanes[lane]) for lane in range(lanes)]
                            == results[unit][row][chunk * lanes:(chunk + 1) * lanes])
                if cycle < len(selections) + dut.READ_LATENCY - 1:
                    await ctx.tick()

    simulate(dut, steps, read_out)
