"""The mover: fills and copies blocks of the activation buffer, a MOVE instruction's work."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.golden.formats import ACT_BITS
from smartdeal.hw.activation import ActivationBuffer, rotate_left
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.delay import Delay
from smartdeal.hw.isa import MOVE_INSTRUCTION, MoveFlag
from smartdeal.hw.issue import StepIssue
from smartdeal.hw.layouts import layout_of
from smartdeal.hw.timing import MOVE_FLUSH_CYCLES

__all__ = ["Mover", "move_layout"]

move_layout = layout_of(MOVE_INSTRUCTION)


class Mover(wiring.Component):
    """Run the loops of a MOVE instruction: one vector read and at most one chunk written per cycle.

    Timing: a vector is asked for in every cycle of ``active``; the last byte is written
    ``LATENCY`` cycles after the last of them.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    plan : In(move_layout)
        Constant while ``active``, and in the cycle before ``start``.
    start, cancel : In(1)
    active : Out(1)
    read : Out(1)
        The vector at ``read_word``, ``read_lane`` is needed; not in fill mode.
    read_word, read_lane : Out
    vector : In(ArrayLayout(signed(8), cols))
        What was asked for ``StepIssue.READ_LATENCY`` cycles before.
    write_word, write_lane, write_mask, write_data : Out
        To the activation buffer, already rotated to the lane.
    writing : Out(1)
        A chunk is written, or was found to have its target outside the buffer.
    write_error : Out(1)
        The target is outside the buffer; nothing was written.
    """

    LATENCY = StepIssue.READ_LATENCY + 3 + ActivationBuffer.WRITE_LATENCY

    plan:        data.View
    start:       Signal
    cancel:      Signal
    active:      Signal
    read:        Signal
    read_word:   Signal
    read_lane:   Signal
    vector:      data.View
    write_word:  Signal
    write_lane:  Signal
    write_mask:  Signal
    write_data:  data.View
    writing:     Signal
    write_error: Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        vector = data.ArrayLayout(signed(ACT_BITS), config.cols)
        super().__init__({
            "plan":        In(move_layout),
            "start":       In(1),
            "cancel":      In(1),
            "active":      Out(1),
            "read":        Out(1),
            "read_word":   Out(config.address_bits),
            "read_lane":   Out(8),
            "vector":      In(vector),
            "write_word":  Out(range(config.activation_words)),
            "write_lane":  Out(range(config.cols)),
            "write_mask":  Out(config.cols),
            "write_data":  Out(vector),
            "writing":     Out(1),
            "write_error": Out(1),
        })
        self.place_layout = data.StructLayout({"word": config.address_bits, "lane": 8})
        self.chunk_layout = data.StructLayout({
            "complete": 1,                  # the vector of this cycle completes a chunk
            "word":     config.address_bits,
            "lane":     8,
            "bytes":    range(config.cols + 1),
        })

    def elaborate(self, platform):
        m = Module()
        chunk = Signal(self.chunk_layout)
        self._loops(m, chunk)

        assert self.LATENCY <= MOVE_FLUSH_CYCLES
        m.submodules.read_delay = delay = Delay(self.chunk_layout, StepIssue.READ_LATENCY)
        m.d.comb += delay.i.eq(chunk)
        self._write(m, delay.o)
        return m

    def _loops(self, m, chunk):
        """Channels, rows, chunks and, when decimating, the two vectors of a chunk."""
        plan, cols = self.plan, self.config.cols
        channel = Signal(16)
        row     = Signal(16)
        left    = Signal(16)
        # Many registers hang on these, so they are registers themselves.
        decimate = Signal()
        fill     = Signal()
        complete = Signal()  # each active cycle, or when decimating every other
        places = {
            side: {level: Signal(self.place_layout, name=f"{side}_{level}") for level in
                   ("here", "row", "channel")} for side in ("source", "target")
        }
        run_done = Signal()
        row_done = Signal()
        all_done = Signal()
        # Compared when the counters change, with constants of the plan: what is last decides much.
        last_chunk, last_row, last_channel, ends_row, ends_all = (
            Signal(name=name) for name in
            ("last_chunk", "last_row", "last_channel", "ends_row", "ends_all"))
        next_last_chunk, next_last_row, next_last_channel = (
            Signal(name=f"next_{name}") for name in ("last_chunk", "last_row", "last_channel"))
        one_chunk, one_row, one_channel = (
            Signal(name=name) for name in ("one_chunk", "one_row", "one_channel"))
        last_row_but_one     = Signal(signed(17))
        last_channel_but_one = Signal(signed(17))
        m.d.sync += [
            decimate.eq((plan.flags & MoveFlag.DECIMATE) != 0),
            fill.eq((plan.flags & MoveFlag.FILL) != 0),
            one_chunk.eq(plan.columns <= cols),
            one_row.eq(plan.rows == 1),
            one_channel.eq(plan.channels == 1),
            last_row_but_one.eq(plan.rows - 2),
            last_channel_but_one.eq(plan.channels - 2),
        ]
        m.d.comb += [
            chunk.complete.eq(complete),
            chunk.word.eq(places["target"]["here"].word),
            chunk.lane.eq(places["target"]["here"].lane),
            chunk.bytes.eq(Mux(last_chunk, left, cols)),
            run_done.eq(chunk.complete & last_chunk),
            row_done.eq(chunk.complete & ends_row),
            all_done.eq(chunk.complete & ends_all),
            next_last_chunk.eq(last_chunk),
            next_last_row.eq(last_row),
            next_last_channel.eq(last_channel),
            self.read.eq(self.active & ~fill),
            self.read_word.eq(places["source"]["here"].word),
            self.read_lane.eq(places["source"]["here"].lane),
        ]
        with m.If(self.active):
            m.d.sync += places["source"]["here"].word.eq(places["source"]["here"].word + 1)
        with m.If(chunk.complete):
            m.d.sync += places["target"]["here"].word.eq(places["target"]["here"].word + 1)
            m.d.sync += left.eq(left - cols)
            m.d.comb += next_last_chunk.eq(left <= 2 * cols)
        with m.If(run_done):
            m.d.sync += [left.eq(plan.columns), row.eq(row + 1)]
            m.d.comb += [
                next_last_chunk.eq(one_chunk), next_last_row.eq(row == last_row_but_one),
            ]
        with m.If(row_done):
            m.d.sync += [row.eq(0), channel.eq(channel + 1)]
            m.d.comb += [
                next_last_row.eq(one_row), next_last_channel.eq(channel == last_channel_but_one),
            ]
        for side, place in places.items():
            next_row = self._sum(m, f"{side}_next_row", place["row"], plan, f"{side}_row")
            next_channel = self._sum(m, f"{side}_next_channel", place["channel"], plan,
                                     f"{side}_channel")
            with m.If(run_done):
                m.d.sync += [place["row"].eq(next_row), place["here"].eq(next_row)]
            with m.If(row_done):
                m.d.sync += [place[level].eq(next_channel) for level in place]
            with m.If(~self.active):
                for register in place.values():
                    m.d.sync += [
                        register.word.eq(plan[f"{side}_word"]),
                        register.lane.eq(plan[f"{side}_lane"]),
                    ]
        m.d.sync += complete.eq(~self.cancel & Mux(
            self.active, ~all_done & ~(decimate & complete), self.start & ~decimate))
        with m.If(all_done | self.cancel):
            m.d.sync += self.active.eq(0)
        with m.Elif(self.start):
            m.d.sync += self.active.eq(1)
        with m.If(~self.active):  # as a MOVE begins; the plan is there a cycle before
            m.d.sync += [channel.eq(0), row.eq(0), left.eq(plan.columns)]
            m.d.comb += [
                next_last_chunk.eq(one_chunk), next_last_row.eq(one_row),
                next_last_channel.eq(one_channel),
            ]
        m.d.sync += [
            last_chunk.eq(next_last_chunk), last_row.eq(next_last_row),
            last_channel.eq(next_last_channel),
            ends_row.eq(next_last_chunk & next_last_row),
            ends_all.eq(next_last_chunk & next_last_row & next_last_channel),
        ]

    def _sum(self, m, name, place, plan, distance):
        """Return a place moved by a distance; both lanes are less than ``cols``."""
        cols   = self.config.cols
        lanes  = plan[f"{distance}_lane"]
        result = Signal(self.place_layout, name=name)
        # Lanes from here on are moved into the next word: known as the plan is.
        bound  = Signal(range(cols + 1), name=f"{name}_bound")
        carry  = Signal(name=f"{name}_carry")
        m.d.sync += bound.eq(cols - lanes)
        m.d.comb += [
            carry.eq(place.lane >= bound),
            result.lane.eq(Mux(carry, place.lane - bound, place.lane + lanes)),
            # One carry chain: the carry comes in at a bit below the lowest.
            result.word.eq((Cat(1, place.word) + Cat(carry, plan[f"{distance}_word"])) >> 1),
        ]
        return result

    def _write(self, m, chunk):
        """Assemble a chunk, rotate it and its mask to the target's lane, write it."""
        config, plan, cols = self.config, self.plan, self.config.cols
        word = data.ArrayLayout(ACT_BITS + 1, cols)  # a byte, and whether it is written
        first_half = [self.vector[2 * k] for k in range((cols + 1) // 2)]
        second_half = [self.vector[2 * k - cols] for k in range((cols + 1) // 2, cols)]
        held = Signal(ACT_BITS * len(first_half))
        assembled = Signal(ACT_BITS * cols)
        m.d.sync += held.eq(Cat(first_half))
        with m.If((plan.flags & MoveFlag.FILL) != 0):
            m.d.comb += assembled.eq(plan.value.as_unsigned().replicate(cols))
        with m.Elif((plan.flags & MoveFlag.DECIMATE) != 0):
            m.d.comb += assembled.eq(Cat(held, second_half))
        with m.Else():
            m.d.comb += assembled.eq(self.vector)

        aligned, middle, turned = (Signal(word, name=name) for name in
                                   ("aligned", "middle", "turned"))
        chunk_1, chunk_2, chunk_3 = (Signal(self.chunk_layout, name=f"chunk_{i}")
                                     for i in (1, 2, 3))
        levels = range((cols - 1).bit_length())
        half = (len(levels) + 1) // 2
        for col in range(cols):
            m.d.sync += aligned[col].eq(Cat(assembled.word_select(col, ACT_BITS),
                                            chunk.complete & (col < chunk.bytes)))
        m.d.sync += [
            chunk_1.eq(chunk), chunk_2.eq(chunk_1), chunk_3.eq(chunk_2),
            middle.eq(rotate_left(aligned.as_value(), chunk_1.lane, levels[:half], ACT_BITS + 1)),
            turned.eq(rotate_left(middle.as_value(), chunk_2.lane, levels[half:], ACT_BITS + 1)),
        ]

        # Whether the chunk, or its end in the following word, is outside.
        depth = config.activation_words
        over  = chunk_2.lane + chunk_2.bytes > cols
        wrong = Signal()
        m.d.sync += wrong.eq((chunk_2.word >= depth) | (over & (chunk_2.word == depth - 1)))
        m.d.comb += [
            self.writing.eq(chunk_3.complete),
            self.write_error.eq(chunk_3.complete & wrong),
            self.write_word.eq(chunk_3.word),
            self.write_lane.eq(chunk_3.lane),
        ]
        for col in range(cols):
            m.d.comb += [
                self.write_data[col].eq(turned[col][:ACT_BITS]),
                self.write_mask[col].eq(turned[col][ACT_BITS] & ~wrong),
            ]
