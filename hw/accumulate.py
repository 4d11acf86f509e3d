"""Sums over slices, and over a whole map."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.gated_add import GatedAdd

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
    coming_index : In
        Place of the partial sum of the cycle after next, less than rows · chunks.
    sums : In(ArrayLayout(signed(sum_bits), drain_lanes))
    in_image : In(drain_lanes)
        Lanes that count in reduce mode.
    reduce : In(1)
        Reduce mode: ``totals[0]`` is the sum over lanes. Only with ``config.reduce``.
    totals : Out(ArrayLayout(signed(sum_bits), drain_lanes))
    """

    LATENCY = 2

    valid:      Signal
    first:      Signal
    last:       Signal
    coming_index: Signal
    sums:       data.View
    totals:     data.View
    in_image:   Signal
    reduce:     Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.depth = config.rows * config.chunks
        lanes = data.ArrayLayout(signed(config.sum_bits), config.drain_lanes)
        super().__init__({
            "valid":      In(1),
            "first":      In(1),
            "last":       In(1),
            "coming_index": In(range(self.depth)),
            "sums":       In(lanes),
            "totals":     Out(lanes),
            **({"in_image": In(config.drain_lanes), "reduce": In(1)} if config.reduce else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        lanes = data.ArrayLayout(signed(config.sum_bits), config.drain_lanes)

        added  = Signal(lanes)
        totals = Signal(lanes)
        if config.max_slices == 1 and not config.reduce:
            m.d.comb += added.eq(self.sums)
        else:
            partial = self._partial(m, added, totals)
            for lane in range(config.drain_lanes):
                m.submodules[f"add_{lane}"] = add = GatedAdd(bits=config.sum_bits)
                m.d.comb += [
                    add.a.eq(self.sums[lane]),
                    add.take_a.eq(1),
                    add.b.eq(partial[lane]),
                    add.take_b.eq(~self.first),
                    added[lane].eq(add.o),
                ]
                if config.reduce:
                    m.d.comb += add.take_a.eq(~self.reduce | self.in_image[lane])

        m.d.sync += [totals.eq(added), self.totals.eq(totals)]
        if config.reduce:
            # The first level of the sum over lanes is a cycle earlier than the others.
            values = [added[lane] for lane in range(config.drain_lanes)]
            level  = [Signal(signed(config.sum_bits), name=f"level_{lane}")
                      for lane in range(0, len(values), 2)]
            m.d.sync += [sum_.eq(value) for sum_, value in zip(level, _pairs(values), strict=True)]
            with m.If(self.reduce):
                m.d.sync += self.totals[0].eq(_tree(level))
        return m

    def _partial(self, m, added, totals):
        """Return the partial sums so far; in reduce mode those may be of the cycles before."""
        lanes = added.shape()
        m.submodules.partial = memory = Memory(shape=lanes, depth=self.depth, init=[])
        load  = memory.read_port()
        save  = memory.write_port()
        # Block RAM is slow to answer: what is read is used a cycle later.
        next_index = Signal(range(self.depth))
        index   = Signal(range(self.depth))
        loaded  = Signal(lanes)
        forward = Signal()  # what was stored in the cycle before
        earlier = Signal()  # what was stored in the cycle before that, when this one was read
        m.d.sync += [
            next_index.eq(self.coming_index),
            index.eq(next_index),
            forward.eq(save.en & (next_index == index)),
            earlier.eq(save.en & (self.coming_index == index)),
            loaded.eq(Mux(earlier, totals, load.data)),
        ]
        m.d.comb += [
            load.en.eq(1),
            load.addr.eq(self.coming_index),
            save.addr.eq(index),
            save.data.eq(added),
            save.en.eq(self.valid & ~self.last),
        ]
        return [Mux(forward, totals[lane], loaded[lane])
                for lane in range(self.config.drain_lanes)]


def _pairs(values):
    return [values[i] + values[i + 1] if i + 1 < len(values) else values[i]
            for i in range(0, len(values), 2)]


def _tree(values):
    """Add up values pairwise, so that the depth is the logarithm of their number."""
    while len(values) > 1:
        values = _pairs(values)
    return values[0]
