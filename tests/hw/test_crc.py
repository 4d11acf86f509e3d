"""The CRC against zlib."""

import random
import re
import zlib

import pytest

from smartdeal.hw.crc import Crc32


@pytest.mark.parametrize("data_bits", [8, 32, 64, 128, 256])
def test_equals_zlib(simulate, data_bits):
    dut = Crc32(data_bits)
    size = data_bits // 8

    async def bench(ctx):
        for words in (1, 2, 7):
            data = random.Random(words).randbytes(size * words)
            for word in range(words):
                ctx.set(dut.valid, 1)
                ctx.set(dut.start, word == 0)
                ctx.set(dut.data, int.from_bytes(data[word * size:][:size], "little"))
                await ctx.tick()
                ctx.set(dut.valid, 0)
                ctx.set(dut.data, 0)
                await ctx.tick()
            assert ctx.get(dut.crc) == zlib.crc32(data)

    simulate(dut, bench)


def test_wrong_width():
    with pytest.raises(ValueError,
                       match=re.compile(r"^Data width must be a multiple of 8 bits, not 12$")):
        Crc32(12)
