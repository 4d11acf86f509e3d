"""MOVE instructions against copying byte by byte."""

import random
from typing import Any

import pytest

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import MoveFlag
from smartdeal.hw.issue import StepIssue
from smartdeal.hw.mover import Mover

WORDS = 64


class Buffer:
    """A model of the activation buffer, at the mover's ports and with its latency."""

    def __init__(self, dut, cols, rng):
        self.dut, self.cols = dut, cols
        self.bytes = [rng.randrange(-128, 128) for _ in range(WORDS * cols)]
        self.asked = [0] * StepIssue.READ_LATENCY

    async def tick(self, ctx):
        dut, cols = self.dut, self.cols
        mask, word, lane = ctx.get(dut.write_mask), ctx.get(dut.write_word), ctx.get(dut.write_lane)
        for bank in range(cols):
            if mask >> bank & 1:
                self.bytes[(word + (bank < lane)) * cols + bank] = ctx.get(dut.write_data[bank])
        self.asked.append(ctx.get(dut.read_word) * cols + ctx.get(dut.read_lane))
        await ctx.tick()
        flat = self.asked.pop(1)
        vector = [self.bytes[(flat + i) % len(self.bytes)] for i in range(cols)]
        ctx.set(dut.vector, vector)


def draw_move(rng, cols):
    """Draw a MOVE from the lower to the upper half of the buffer."""
    flags = rng.choice([MoveFlag(0), MoveFlag.FILL, MoveFlag.DECIMATE])
    half = WORDS * cols // 2
    while True:
        shape = channels, rows, columns = rng.randrange(1, 4), rng.randrange(1, 5), \
            rng.randrange(1, 3 * cols)
        factor = 2 if flags & MoveFlag.DECIMATE else 1
        row = {"source": rng.randrange(columns * factor, columns * factor + 9),
               "target": rng.randrange(columns, columns + 9)}
        channel = {side: row[side] * rows + rng.randrange(5) for side in row}
        if max(channel[side] * channels for side in row) + 3 * cols < half:
            break
    start = {"source": rng.randrange(cols), "target": half + rng.randrange(cols)}
    fields: dict[str, Any] = dict(flags=flags, value=rng.randrange(-128, 128), channels=channels,
                                  rows=rows, columns=columns)
    for side in row:
        for level, flat in (("", start[side]), ("_row", row[side]), ("_channel", channel[side])):
            fields[f"{side}{level}_word"], fields[f"{side}{level}_lane"] = divmod(flat, cols)
    return fields, shape, start, row, channel


@pytest.mark.parametrize("cols", [2, 3, 5, 8, 13])
def test_moves(simulate, cols):
    dut = Mover(AcceleratorConfig(rows=3, cols=cols, activation_words=WORDS))
    rng = random.Random(cols)

    async def bench(ctx):
        for _ in range(12):
            buffer = Buffer(dut, cols, rng)
            fields, (channels, rows, columns), start, row, channel = draw_move(rng, cols)
            want = list(buffer.bytes)
            for c in range(channels):
                for r in range(rows):
                    source = start["source"] + c * channel["source"] + r * row["source"]
                    target = start["target"] + c * channel["target"] + r * row["target"]
                    for i in range(columns):
                        step = 2 * i if fields["flags"] & MoveFlag.DECIMATE else i
                        want[target + i] = (fields["value"] if fields["flags"] & MoveFlag.FILL
                                            else buffer.bytes[source + step])
            ctx.set(dut.plan, {"opcode": 3, **fields})
            await buffer.tick(ctx)
            ctx.set(dut.start, 1)
            await buffer.tick(ctx)
            ctx.set(dut.start, 0)
            cycles = 0
            while ctx.get(dut.active):
                await buffer.tick(ctx)
                cycles += 1
            for _ in range(dut.LATENCY + 1):
                await buffer.tick(ctx)
            per_chunk = 2 if fields["flags"] & MoveFlag.DECIMATE else 1
            assert cycles == channels * rows * -(-columns // cols) * per_chunk
            assert buffer.bytes == want

    simulate(dut, bench)
