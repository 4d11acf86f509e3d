"""Which stream positions are pixels: padding columns and the stream's ends are not."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PositionTracker", "stream_layout"]


stream_layout = data.StructLayout({
    "column_step":  16,
    "pitch":        16,
    "width":        16,
    "start_column": 16,
    "skip":         16,
    "end":          32,
})
"""The stream's geometry, as in a LAYER instruction."""


class PositionTracker(wiring.Component):
    """Follow the stream chunk by chunk and say which lanes are inside the image.

    Every lane has a column counter of its own, so nothing is divided. A tile is read out once per
    channel and slice: ``rewind`` goes back to the tile's start, ``commit`` makes the chunk that
    follows the start of the next tile, and ``restart`` goes back to the stream's start.

    Timing: ``in_image`` belongs to the current chunk; the controls act at the end of the cycle.
    ``start`` takes ``lanes`` + 1 cycles, in which no other control may be given.

    Parameters
    ----------
    lanes : int
        Positions per chunk.

    Members
    -------
    stream : In(stream_layout)
    start : In(1)
        Go to stream position 0.
    advance : In(1)
        The chunk is done.
    rewind : In(1)
        With ``advance``: back to the start of the tile.
    commit : In(1)
        With ``advance``: the next chunk starts a new tile.
    restart : In(1)
        With ``advance``: back to stream position 0, for the next group.
    in_image : Out(lanes)
    """

    stream:   data.View
    start:    Signal
    advance:  Signal
    rewind:   Signal
    commit:   Signal
    restart:  Signal
    in_image: Signal

    def __init__(self, *, lanes: int):
        self.lanes = lanes
        super().__init__({
            "stream":   In(stream_layout),
            "start":    In(1),
            "advance":  In(1),
            "rewind":   In(1),
            "commit":   In(1),
            "restart":  In(1),
            "in_image": Out(lanes),
        })

    def elaborate(self, platform):
        m = Module()
        lanes, stream = self.lanes, self.stream

        place = data.StructLayout({
            "columns": data.ArrayLayout(16, lanes),  # of each lane
            "skip": 16,                              # leading positions still to come
            "left": 32,                              # positions up to the stream's end
        })
        here, tile, origin, following = (Signal(place, name=name) for name in
                                         ("here", "tile", "origin", "following"))

        with m.If(here.skip > lanes):
            m.d.comb += following.skip.eq(here.skip - lanes)
        with m.If(here.left > lanes):
            m.d.comb += following.left.eq(here.left - lanes)
        back = Signal(signed(17))  # to the next chunk's column, where that is in a row further on
        m.d.sync += back.eq(stream.column_step - stream.pitch)
        for lane in range(lanes):
            wrapped = Signal(signed(18), name=f"wrapped_{lane}")
            column  = here.columns[lane]
            m.d.comb += [
                wrapped.eq(column + back),
                following.columns[lane].eq(Mux(wrapped >= 0, wrapped,
                                               column + stream.column_step)),
                self.in_image[lane].eq((lane >= here.skip) & (lane < here.left)
                                     & (column < stream.width)),
            ]

        with m.If(self.advance):
            with m.If(self.restart):
                m.d.sync += [here.eq(origin), tile.eq(origin)]
            with m.Elif(self.commit):
                m.d.sync += [here.eq(following), tile.eq(following)]
            with m.Elif(self.rewind):
                m.d.sync += here.eq(tile)
            with m.Else():
                m.d.sync += here.eq(following)

        # One lane per cycle gets its first column, so the counters need no division by the pitch.
        starting = Signal(range(lanes + 1))
        column   = Signal(16)
        with m.If(self.start):
            m.d.sync += [
                column.eq(stream.start_column),
                origin.skip.eq(stream.skip),
                origin.left.eq(stream.end),
                starting.eq(lanes),
            ]
        with m.Elif(starting != 0):
            # Lanes shift in from the top; after `lanes` cycles the first column is in lane 0.
            m.d.sync += [
                origin.columns.eq(Cat(origin.columns.as_value()[16:], column)),
                column.eq(Mux(column + 1 == stream.pitch, 0, column + 1)),
                starting.eq(starting - 1),
            ]
        settle = Signal()
        m.d.sync += settle.eq(starting == 1)
        with m.If(settle):
            m.d.sync += [here.eq(origin), tile.eq(origin)]
        return m
