"""The basis stage: B applied to the sums, after the reduction."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from smartdeal.golden.formats import BASIS_BITS, BASIS_SIZE
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.gated_add import GatedAdd
from smartdeal.hw.isa import ALIGN_BITS

__all__ = ["BasisLane", "BasisStage", "tap_sum_shape"]


def tap_sum_shape(acc_bits: int) -> Shape:
    """Return the shape of one column tap's sum over the basis rows, Σ_k taps[k] · z_k."""
    return signed(acc_bits + BASIS_BITS + bits_for(BASIS_SIZE - 1) - 1)


class BasisLane(wiring.Component):
    """One lane's products with a basis row, added up over the three rows of a filter.

    Timing: ``sums`` holds the three column taps' sums two cycles after the third row was given.

    Parameters
    ----------
    acc_bits : int
        Width of the operand, an accumulator.

    Members
    -------
    first : In(1)
        This operand starts a new sum.
    operand : In(signed(acc_bits))
    taps : In(ArrayLayout(signed(8), 3))
        The basis row that belongs to the operand, by lag.
    sums : Out(ArrayLayout(tap_sum_shape(acc_bits), 3))
    """

    LATENCY = 2

    first:   Signal
    operand: Signal
    taps:    data.View
    sums:    data.View

    def __init__(self, *, acc_bits: int):
        self.acc_bits = acc_bits
        super().__init__({
            "first":   In(1),
            "operand": In(signed(acc_bits)),
            "taps":    In(data.ArrayLayout(signed(BASIS_BITS), BASIS_SIZE)),
            "sums":    Out(data.ArrayLayout(tap_sum_shape(acc_bits), BASIS_SIZE)),
        })

    def elaborate(self, platform):
        m = Module()
        first = Signal()
        m.d.sync += first.eq(self.first)
        for lag in range(BASIS_SIZE):
            product = Signal(signed(self.acc_bits + BASIS_BITS), name=f"product_{lag}")
            m.d.sync += product.eq(self.operand * self.taps[lag])
            # Three products of magnitude < 2^(acc_bits+6): two more bits than a product hold them.
            m.submodules[f"add_{lag}"] = add = GatedAdd(bits=len(self.sums[lag]))
            m.d.comb += [
                add.a.eq(product),
                add.take_a.eq(1),
                add.b.eq(self.sums[lag]),
                add.take_b.eq(~first),
            ]
            m.d.sync += self.sums[lag].eq(add.o)
        return m


class BasisStage(wiring.Component):
    """Apply a filter's basis to the array's results and add up the three column taps.

    The column taps are a three-tap filter along the stream of positions. Its state, two partial
    sums per filter and slice, is kept from tile to tile, so no halo is computed twice.

    Timing: ``sums`` belongs to the ``emit`` given ``LATENCY`` cycles before. One operand set per
    cycle; a filter's rows 0, 1, 2 of a chunk come one after the other, its chunks in order.
    ``row``, ``taps`` and ``align`` are given a cycle before the operands that they belong to.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    enable : In(1)
        Basis mode; without it operands pass through unchanged.
    operands : In(ArrayLayout(signed(acc_bits), drain_lanes))
    row : In(2)
        Basis row k of the operands, 0 without basis mode.
    emit : In(1)
        The operands complete a chunk.
    first_chunk, last_chunk, first_tile : In(1)
        Place of the chunk in the stream.
    state_index : In
        Filter and slice, as slice · filters_per_group + filter.
    taps : In(ArrayLayout(signed(8), 9))
    align : In(4)
    sums : Out(ArrayLayout(signed(sum_bits), drain_lanes))
    """

    LATENCY = BasisLane.LATENCY + 2

    enable:      Signal
    operands:    data.View
    row:         Signal
    emit:        Signal
    first_chunk: Signal
    last_chunk:  Signal
    first_tile:  Signal
    state_index: Signal
    taps:        data.View
    align:       Signal
    sums:        data.View

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.states = config.filters_per_group * config.max_slices
        super().__init__({
            "enable":      In(1),
            "operands":    In(data.ArrayLayout(signed(config.acc_bits), config.drain_lanes)),
            "row":         In(2),
            "emit":        In(1),
            "first_chunk": In(1),
            "last_chunk":  In(1),
            "first_tile":  In(1),
            "state_index": In(range(self.states)),
            "taps":        In(data.ArrayLayout(signed(BASIS_BITS), BASIS_SIZE * BASIS_SIZE)),
            "align":       In(ALIGN_BITS),
            "sums":        Out(data.ArrayLayout(signed(config.sum_bits), config.drain_lanes)),
        })

    def elaborate(self, platform):
        m = Module()
        config, lanes = self.config, self.config.drain_lanes
        tap_sum  = tap_sum_shape(config.acc_bits)
        # Three tap sums meet in one output: two more bits.
        filtered = signed(tap_sum.width + 2)

        # Without basis mode the operand passes: it is multiplied by 1, 0, 0.
        taps  = Signal(data.ArrayLayout(signed(BASIS_BITS), BASIS_SIZE))
        first = Signal()
        align = Signal(ALIGN_BITS)
        m.d.sync += [first.eq(self.row == 0), align.eq(self.align)]
        with m.If(~self.enable):
            m.d.sync += [taps[0].eq(1), taps[1].eq(0), taps[2].eq(0)]
        with m.Else(), m.Switch(self.row):
            for row in range(BASIS_SIZE):
                with m.Case(row):
                    for lag in range(BASIS_SIZE):
                        m.d.sync += taps[lag].eq(self.taps[BASIS_SIZE * row + lag])

        tap_sums = []
        for index in range(lanes):
            m.submodules[f"lane_{index}"] = lane = BasisLane(acc_bits=config.acc_bits)
            m.d.comb += [
                lane.first.eq(first),
                lane.operand.eq(self.operands[index]),
                lane.taps.eq(taps),
            ]
            tap_sums.append(lane.sums)

        # What travels beside the lanes.
        place = data.StructLayout({
            "emit": 1, "first_chunk": 1, "last_chunk": 1, "first_tile": 1,
            "state_index": range(self.states), "align": ALIGN_BITS,
        })
        place_1 = Signal(place)
        place_2 = Signal(place)
        align_3 = Signal(ALIGN_BITS)
        m.d.sync += [
            place_1.emit.eq(self.emit),
            place_1.first_chunk.eq(self.first_chunk),
            place_1.last_chunk.eq(self.last_chunk),
            place_1.first_tile.eq(self.first_tile),
            place_1.state_index.eq(self.state_index),
            place_1.align.eq(align),
            place_2.eq(place_1),
            align_3.eq(place_2.align),
        ]

        # carry[j] is what earlier positions add to lane j; a chunk leaves it for the next one.
        state     = data.ArrayLayout(filtered, BASIS_SIZE - 1)
        carry     = Signal(state)
        kept      = Signal(state)
        carried   = Signal(state)
        remaining = Signal(state)
        m.submodules.state = memory = Memory(shape=state, depth=self.states, init=[])
        # Between two chunks of a filter and slice there are at least two cycles, its other rows':
        # what is read two cycles ahead was written in the cycle before.
        load = memory.read_port()
        save = memory.write_port()
        m.d.comb += [
            load.en.eq(1),
            load.addr.eq(self.state_index),
            save.addr.eq(place_2.state_index),
            save.data.eq(remaining),
            save.en.eq(place_2.emit & place_2.last_chunk),
            carried.eq(carry),
        ]
        m.d.sync += kept.eq(load.data)
        with m.If(place_1.first_tile):
            m.d.sync += kept.eq(0)
        with m.If(place_2.first_chunk):
            m.d.comb += carried.eq(kept)
        with m.If(~self.enable):
            m.d.comb += carried.eq(0)
        with m.If(place_2.emit):
            m.d.sync += carry.eq(remaining)

        filtered_lanes = Signal(data.ArrayLayout(filtered, lanes))
        for position in range(lanes + BASIS_SIZE - 1):
            terms = [tap_sums[position - lag][lag] for lag in range(BASIS_SIZE)
                     if 0 <= position - lag < lanes]
            if position < BASIS_SIZE - 1:
                terms.append(carried[position])
            total = sum(terms[1:], start=terms[0])
            if position < lanes:
                m.d.sync += filtered_lanes[position].eq(total)
            else:
                m.d.comb += remaining[position - lanes].eq(total)
        for index in range(lanes):
            m.d.sync += self.sums[index].eq(filtered_lanes[index] << align_3)
        return m
