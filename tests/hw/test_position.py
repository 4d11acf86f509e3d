"""The position tracker against division with remainder."""

import pytest

from smartdeal.hw.position import PositionTracker


def in_image(position, stream):
    column = (stream["start_column"] + position) % stream["pitch"]
    return stream["skip"] <= position < stream["end"] and column < stream["width"]


@pytest.mark.parametrize(("lanes", "chunks"), [(1, 5), (2, 3), (4, 1), (7, 2)])
@pytest.mark.parametrize(("pitch", "width", "rows", "skip"),
                         [(1, 1, 1, 0), (3, 2, 4, 2), (5, 5, 3, 0), (8, 7, 7, 2), (2, 1, 9, 1)])
def test_follows_the_stream(simulate, lanes, chunks, pitch, width, rows, skip):
    stream = {"column_step": lanes % pitch, "pitch": pitch, "width": width,
              "start_column": -skip % pitch, "skip": skip,
              "end": skip + (rows - 1) * pitch + width}
    dut = PositionTracker(lanes=lanes)
    tiles = -(-stream["end"] // (lanes * chunks))

    async def tile_pass(ctx, tile, last_control):
        for chunk in range(chunks):
            first = (tile * chunks + chunk) * lanes
            want = [in_image(first + lane, stream) for lane in range(lanes)]
            assert [bool(ctx.get(dut.in_image[lane])) for lane in range(lanes)] == want
            ctx.set(dut.advance, 1)
            # As the read-out control does: rewind at each channel's end, commit and restart win.
            ctx.set(dut.rewind, chunk == chunks - 1)
            for name, control in (("commit", dut.commit), ("restart", dut.restart)):
                ctx.set(control, chunk == chunks - 1 and name in last_control)
            await ctx.tick()
        ctx.set(dut.advance, 0)

    async def bench(ctx):
        ctx.set(dut.stream, stream)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        await ctx.tick().repeat(lanes + 1)
        for _group in range(2):
            for tile in range(tiles):
                await tile_pass(ctx, tile, ())
                await tile_pass(ctx, tile, ("commit", "restart") if tile == tiles - 1
                                else ("commit",))

    simulate(dut, bench)
