"""The activation buffer against a flat byte array."""

import random

import pytest

from smartdeal.hw.activation import ActivationBuffer
from smartdeal.hw.config import AcceleratorConfig


@pytest.mark.parametrize("cols", [2, 3, 5, 8, 13])
def test_unaligned_reads_and_masked_writes(simulate, cols):
    words = 16
    config = AcceleratorConfig(rows=3, cols=cols, activation_words=words)
    dut = ActivationBuffer(config)
    rng = random.Random(cols)
    memory = [0] * (words * cols)

    async def write(ctx):
        for _ in range(120):
            word, mask = rng.randrange(words), rng.randrange(1 << cols)
            values = [rng.randrange(-128, 128) for _ in range(cols)]
            ctx.set(dut.write_word, word)
            ctx.set(dut.write_mask, mask)
            ctx.set(dut.write_data, values)
            await ctx.tick()
            for col in range(cols):
                if mask >> col & 1:
                    memory[word * cols + col] = values[col]
        ctx.set(dut.write_mask, 0)

    async def bench(ctx):
        await write(ctx)
        await ctx.tick().repeat(dut.WRITE_LATENCY)
        for word in range(words - 1):
            for lane in range(cols):
                ctx.set(dut.read_word, word)
                ctx.set(dut.read_lane, lane)
                await ctx.tick().repeat(dut.READ_LATENCY)
                flat = word * cols + lane
                assert [ctx.get(dut.vector[i]) for i in range(cols)] == memory[flat:flat + cols]

    simulate(dut, bench)
