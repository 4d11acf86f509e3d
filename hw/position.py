"""Which stream positions are pixels: padding columns and the stream's ends are not."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PositionTracker", "stream_layout"]


def stream_layout(field_bits: int) -> data.StructLayout:
    """Return the layout of a stream's geometry, as in a LAYER instruction."""
    bits = min(16, field_bits)
    return data.StructLayout({
        "column_step":  bits,
        "pitch":        bits,
        "width":        bits,
        "start_column": bits,
        "skip":         bits,
        "end":          field_bits,
    })


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
    field_bits : int
        Bits of the longest number in an instruction.

    Members
    -------
    stream : In(stream_layout(field_bits))
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

    def __init__(self, *, lanes: int, field_bits: int = 32):
        self.lanes      = lanes
        self.field_bits = field_bits
        self.bits       = min(16, field_bits)
        super().__init__({
            "stream":   In(stream_layout(field_bits)),
            "start":    In(1),
            "advance":  In(1),
            "rewind":   In(1),
            "commit":   In(1),
            "restart":  In(1),
            "in_image": Out(lanes),
        })

    def elaborate(self, platform):
        m = Module()
        lanes, stream, bits = self.lanes, self.stream, self.bits

        place = data.StructLayout({
            "columns": data.ArrayLayout(bits, lanes),  # of each lane
            "skip": bits,                            # leading positions still to come
            "left": self.field_bits,                 # positions up to the stream's end
        })
        here, tile, origin, following = (Signal(place, name=name) for name in
                                         ("here", "tile", "origin", "following"))

        with m.If(here.skip > lanes):
            m.d.comb += following.skip.eq(here.skip - lanes)
        with m.If(here.left > lanes):
            m.d.comb += following.left.eq(here.left - lanes)
        # To the next chunk's column, where that is in a row further on.
        back = Signal(signed(bits + 1))
        m.d.sync += back.eq(stream.column_step - stream.pitch)
        for lane in range(lanes):
            wrapped = Signal(signed(bits + 2), name=f"wrapped_{lane}")
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
        column   = Signal(bits)
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
                origin.columns.eq(Cat(origin.columns.as_value()[bits:], column)),
                column.eq(Mux(column + 1 == stream.pitch, 0, column + 1)),
                starting.eq(starting - 1),
            ]
        settle = Signal()
        m.d.sync += settle.eq(starting == 1)
        with m.If(settle):
            m.d.sync += [here.eq(origin), tile.eq(origin)]
        return m
