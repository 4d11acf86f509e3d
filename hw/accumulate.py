"""Sums over slices, and over a whole map."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from smartdeal.hw.config import AcceleratorConfig

__all__ = ["SumStage"]


class SumStage(wiring.Component):
    """Add up the slices of a reduction; in reduce mode add up a whole map, too.

    Partial sums stay in a memory of one word per array row and chunk.

    Timing: ``totals`` belongs to the inputs given ``LATENCY`` cycles before; one chunk per cycle.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    valid : In(1)
        ``sums`` holds a chunk.
    first, last : In(1)
        The chunk starts a sum, completes a sum. What completes is not stored.
    index : In
        Place of the partial sum, less than rows · chunks.
    sums : In(ArrayLayout(signed(sum_bits), drain_lanes))
    in_image : In(drain_lanes)
        Lanes that count in reduce mode.
    reduce : In(1)
        Reduce mode: ``totals[0]`` is the sum over lanes. Only with ``config.reduce``.
    totals : Out(ArrayLayout(signed(sum_bits), drain_lanes))
    """

    LATENCY = 2

    valid:    Signal
    first:    Signal
    last:     Signal
    index:    Signal
    sums:     data.View
    totals:   data.View
    in_image: Signal
    reduce:   Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.depth = config.rows * config.chunks
        lanes = data.ArrayLayout(signed(config.sum_bits), config.drain_lanes)
        super().__init__({
            "valid":  In(1),
            "first":  In(1),
            "last":   In(1),
            "index":  In(range(self.depth)),
            "sums":   In(lanes),
            "totals": Out(lanes),
            **({"in_image": In(config.drain_lanes), "reduce": In(1)} if config.reduce else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        lanes = data.ArrayLayout(signed(config.sum_bits), config.drain_lanes)

        added = Signal(lanes)
        if config.max_slices == 1 and not config.reduce:
            m.d.comb += added.eq(self.sums)
        else:
            m.submodules.partial = memory = Memory(shape=lanes, depth=self.depth, init=[])
            # An asynchronous read: in reduce mode one place is added to in successive cycles.
            load, save = memory.read_port(domain="comb"), memory.write_port()
            m.d.comb += [
                load.addr.eq(self.index),
                save.addr.eq(self.index),
                save.data.eq(added),
                save.en.eq(self.valid & ~self.last),
            ]
            for lane in range(config.drain_lanes):
                counted = self.sums[lane]
                if config.reduce:
                    counted = Mux(self.reduce & ~self.in_image[lane], 0, counted)
                m.d.comb += added[lane].eq(Mux(self.first, 0, load.data[lane]) + counted)

        totals = Signal(lanes)
        m.d.sync += [totals.eq(added), self.totals.eq(totals)]
        if config.reduce:
            with m.If(self.reduce):
                m.d.sync += self.totals[0].eq(_tree([totals[lane] for lane in
                                                     range(config.drain_lanes)]))
        return m


def _tree(values):
    """Add up values pairwise, so that the depth is the logarithm of their number."""
    while len(values) > 1:
        values = [values[i] + values[i + 1] if i + 1 < len(values) else values[i]
                  for i in range(0, len(values), 2)]
    return values[0]
