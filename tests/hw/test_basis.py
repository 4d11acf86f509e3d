"""The basis stage against its formula: three column taps along a stream, per filter and slice."""

import itertools
import random

import pytest

from smartdeal.hw.basis import BasisStage
from smartdeal.hw.config import AcceleratorConfig


@pytest.mark.parametrize(("cols", "lanes"), [(4, 4), (4, 2), (3, 1), (6, 2)])
def test_three_taps(simulate, cols, lanes):
    config = AcceleratorConfig(rows=6, cols=cols, drain_lanes=lanes, max_slices=2)
    dut = BasisStage(config)
    rng = random.Random(cols * 10 + lanes)
    tiles, filters, slices = 3, 2, 2
    z = {(f, s, k, i): rng.randrange(-1 << 23, 1 << 23) for f in range(filters)
         for s in range(slices) for k in range(3) for i in range(tiles * cols)}
    taps = {(f, s): [rng.randrange(-127, 128) for _ in range(9)] for f in range(filters)
            for s in range(slices)}
    align = {key: rng.randrange(4) for key in taps}
    want, got = [], []
    cycle = 0
    due = set()

    def expected(f, s, i):
        total = sum(taps[f, s][3 * k + lag] * z[f, s, k, i - lag]
                    for k in range(3) for lag in range(3) if i >= lag)
        return total << align[f, s]

    async def tick(ctx):
        nonlocal cycle
        await ctx.tick()
        cycle += 1
        if cycle in due:
            got.append([ctx.get(dut.sums[lane]) for lane in range(lanes)])

    async def operands(ctx, tile, s, f, c, k):
        first = tile * cols + c * lanes
        ctx.set(dut.operands, [z[f, s, k, first + lane] for lane in range(lanes)])
        ctx.set(dut.emit, k == 2)
        ctx.set(dut.first_chunk, c == 0)
        ctx.set(dut.last_chunk, c == cols // lanes - 1)
        ctx.set(dut.first_tile, tile == 0)
        ctx.set(dut.state_index, s * config.filters_per_group + f)
        if k == 2:
            due.add(cycle + dut.LATENCY)
            want.append([expected(f, s, first + lane) for lane in range(lanes)])

    async def coefficients(ctx, s, f, k):
        ctx.set(dut.row, k)
        ctx.set(dut.taps, taps[f, s])
        ctx.set(dut.align, align[f, s])

    async def bench(ctx):
        ctx.set(dut.enable, 1)
        places = list(itertools.product(range(tiles), range(slices), range(filters),
                                        range(cols // lanes), range(3)))
        # Coefficients come a cycle before their operands.
        for before, place in zip([None, *places], [*places, None], strict=True):
            if before is not None:
                await operands(ctx, *before)
            if place is not None:
                _, s, f, _, k = place
                await coefficients(ctx, s, f, k)
            await tick(ctx)
        ctx.set(dut.emit, 0)
        for _ in range(dut.LATENCY):
            await tick(ctx)
        assert got == want

    simulate(dut, bench)


def test_passes_through(simulate):
    config = AcceleratorConfig(rows=3, cols=4, drain_lanes=2)
    dut = BasisStage(config)

    async def bench(ctx):
        await ctx.tick()
        for value in (0, 5, -7, (1 << 23) - 1, -1 << 23):
            ctx.set(dut.operands, [value, -1])
            ctx.set(dut.emit, 1)
            await ctx.tick().repeat(dut.LATENCY)
            assert [ctx.get(dut.sums[lane]) for lane in range(2)] == [value, -1]

    simulate(dut, bench)
