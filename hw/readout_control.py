"""Which result is read out when: the loops over channels, chunks and basis rows of a unit."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from smartdeal.golden.formats import BASIS_SIZE, PACKED
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.position import PositionTracker, stream_layout

__all__ = ["ReadOutControl", "command_layout", "plan_layout", "unit_layout"]

def plan_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Return what the read-out needs of a LAYER instruction; constant while the layer runs."""
    bits = config.field_bits
    return data.StructLayout({
        "basis":           1,
        "residual":        1,
        "reduce":          1,
        "pack":            1,
        "stream":          stream_layout(bits),
        "output_base":     bits,
        "output_stride":   bits,
        "residual_base":   min(24, bits),
        "residual_stride": bits,
        "channel_base":    bits,
        "basis_base":      bits,
    })


def unit_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of a unit of work: one group, tile and slice."""
    return data.StructLayout({
        "channels":    range(config.rows + 1),  # output channels in the group
        "tile":        config.count_bits,
        "first_tile":  1,
        "last_tile":   1,
        "first_slice": 1,
        "last_slice":  1,
    })


def command_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of one read-out command, for one row and chunk of the array."""
    states = max(1, config.filters_per_group) * config.max_slices
    return data.StructLayout({
        "read":        1,
        "first":       1,                     # of a channel: all others use the same basis entry
        "row":         range(config.rows),
        "chunk":       bits_for(config.chunks - 1),
        "fetched":     1,                     # the residual operand was fetched in this cycle
        "basis_row":   2,
        "emit":        1,                     # completes a chunk of an output channel
        "first_chunk": 1,
        "last_chunk":  1,
        "first_tile":  1,
        "state_index": range(states),
        "basis_entry": config.address_bits,
        "first_sum":   1,
        "last_sum":    1,
        "sum_index":   range(config.rows * config.chunks),
        "in_image":    config.drain_lanes,
        "channel":     config.address_bits,
        "store_word":  config.address_bits,
        **({"whole": 1} if config.binary else {}),  # with PACK: the last channel of a byte
    })


class ReadOutControl(wiring.Component):
    """Sequence the read-out of units of work, one command per cycle.

    Timing: the commands of a unit start two cycles after ``unit`` and come without gaps. Units come
    at least two cycles apart, and none while ``hold``.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    plan : In(plan_layout)
    prepare : In(1)
        A layer starts; takes ``drain_lanes`` + 1 cycles.
    cancel : In(1)
        Drop the unit being read out.
    unit_valid, unit : In
        A unit's last step was taken.
    busy : Out(1)
    hold : Out(1)
        The read-out is not so far that another unit may come.
    fetch : Out(1)
        A residual operand must be read from the activation buffer, instead of a step of this
        cycle: that of the next command's channel.
    fetch_word : Out(address_bits)
        Its word, a cycle later.
    command : Out(command_layout)
    """

    plan:         data.View
    prepare:      Signal
    cancel:       Signal
    unit_valid:   Signal
    unit:         data.View
    busy:         Signal
    hold:         Signal
    fetch:        Signal
    fetch_word:   Signal
    command:      data.View

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "plan":         In(plan_layout(config)),
            "prepare":      In(1),
            "cancel":       In(1),
            "unit_valid":   In(1),
            "unit":         In(unit_layout(config)),
            "busy":         Out(1),
            "hold":         Out(1),
            "fetch":        Out(1),
            "fetch_word":   Out(config.address_bits),
            "command":      Out(command_layout(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config, plan, command = self.config, self.plan, self.command

        # What is told of a unit comes late in its cycle, so it is taken into registers first.
        arriving  = Signal(unit_layout(config))
        pending   = Signal()
        running   = Signal()
        unit      = Signal(unit_layout(config))
        channel   = Signal(range(config.rows))
        first_row = Signal(range(config.rows + BASIS_SIZE))
        chunk     = Signal.like(command.chunk)
        basis_row = Signal(2)

        # Where in the loops this cycle is.
        emit, last_chunk, channel_done, last_command, group_done = (
            Signal(name=name) for name in
            ("emit", "last_chunk", "channel_done", "last_command", "group_done"))
        # Much hangs on the modes, which are the same long before a layer's first step.
        basis, residual = Signal(), Signal()
        m.d.sync += [basis.eq(plan.basis), residual.eq(plan.residual)]
        left = self._commands(m, arriving, pending, running, basis)
        last = Signal()
        m.d.sync += last.eq(left == 0)
        m.d.comb += [
            self.busy.eq(pending | running),
            emit.eq(running & (~basis | (basis_row == BASIS_SIZE - 1))),
            last_chunk.eq(chunk == config.chunks - 1),
            channel_done.eq(emit & last_chunk),
            last_command.eq(running & last),
            group_done.eq(last_command & unit.last_tile & unit.last_slice),
        ]
        # The step that a fetch keeps out hangs on it, so it is known a cycle ahead, as these are.
        next_basis_row = Signal.like(basis_row)
        next_chunk     = Signal.like(chunk)
        next_running   = Signal()
        next_unit      = Signal.like(unit)
        m.d.comb += [
            next_basis_row.eq(Mux(pending | emit, 0, basis_row + running)),
            next_chunk.eq(Mux(pending | channel_done, 0, chunk + emit)),
            next_running.eq((pending | (running & ~last_command)) & ~self.cancel),
            next_unit.eq(Mux(pending, arriving, unit)),
        ]
        m.d.sync += [
            basis_row.eq(next_basis_row), chunk.eq(next_chunk), running.eq(next_running),
            unit.eq(next_unit),
        ]
        with m.If(channel_done):
            m.d.sync += [
                channel.eq(channel + 1),
                first_row.eq(first_row + Mux(basis, BASIS_SIZE, 1)),
            ]
        m.d.sync += [arriving.eq(self.unit), pending.eq(self.unit_valid & ~self.cancel)]
        with m.If(pending):
            m.d.sync += [channel.eq(0), first_row.eq(0)]
        next_channel_done = (next_running & (next_chunk == config.chunks - 1)
                             & (~basis | (next_basis_row == BASIS_SIZE - 1)))
        m.d.sync += self.fetch.eq(residual & Mux(
            self.unit_valid, self.unit.last_slice & ~self.cancel,
            next_unit.last_slice & next_channel_done & (left != 0)))

        whole = Const(1)  # the channel's place in the activation buffer is not shared by the next
        if config.binary:
            whole = ~plan.pack | (channel[:3] == PACKED - 1)
            m.d.comb += command.whole.eq(whole)
        self._addresses(m, unit, pending, channel_done, group_done, whole)
        self._indices(m, channel, emit, arriving, pending)

        m.submodules.tracker = tracker = PositionTracker(lanes=config.drain_lanes,
                                                        field_bits=config.field_bits)
        m.d.comb += [
            tracker.stream.eq(plan.stream),
            tracker.start.eq(self.prepare),
            tracker.advance.eq(emit),
            tracker.rewind.eq(last_chunk),
            tracker.commit.eq(last_command & unit.last_slice),
            tracker.restart.eq(group_done),
        ]

        whole_map_first = unit.first_tile & unit.first_slice & (chunk == 0)
        whole_map_last  = unit.last_tile & unit.last_slice & last_chunk
        fetched = Signal()
        m.d.sync += fetched.eq(self.fetch)
        m.d.comb += [
            command.read.eq(running),
            command.first.eq(running & (chunk == 0) & (basis_row == 0)),
            command.row.eq(first_row + basis_row),
            command.chunk.eq(chunk),
            command.fetched.eq(fetched),
            command.basis_row.eq(basis_row),
            command.emit.eq(emit),
            command.first_chunk.eq(chunk == 0),
            command.last_chunk.eq(last_chunk),
            command.first_tile.eq(unit.first_tile),
            command.first_sum.eq(Mux(plan.reduce, whole_map_first, unit.first_slice)),
            command.last_sum.eq(Mux(plan.reduce, whole_map_last, unit.last_slice)),
            command.in_image.eq(tracker.in_image),
        ]
        return m

    def _commands(self, m, arriving, pending, running, basis):
        """Count the commands of a unit; return how many follow the next cycle's."""
        config = self.config
        drain = Signal(range(BASIS_SIZE * config.rows * config.chunks + 1))
        left  = Signal.like(drain)  # that follow this cycle's
        then  = Signal.like(drain)
        single = _times(arriving.channels, config.chunks)
        m.d.comb += [
            drain.eq(Mux(basis, _times(single, BASIS_SIZE), single)),
            then.eq(Mux(pending, drain, left) - 1),
        ]
        with m.If(pending | running):
            m.d.sync += [left.eq(then), self.hold.eq((then > 1) & (pending | (left != 0)))]
        with m.If(self.cancel):
            m.d.sync += self.hold.eq(0)
        return then

    def _addresses(self, m, unit, pending, channel_done, group_done, whole):
        """Channel, store and residual addresses: one step per channel, from the group's start."""
        config, plan, command = self.config, self.plan, self.command
        places = (  # name, first value of the layer, step per channel
            ("channel",  plan.channel_base,  1),
            ("store",    plan.output_base,   plan.output_stride),
            ("residual", plan.residual_base, plan.residual_stride),
        )
        current = {}
        for name, base, step in places:
            here      = Signal(config.address_bits, name=f"{name}_here")
            following = Signal(config.address_bits, name=f"{name}_following")
            group     = Signal(config.address_bits, name=f"{name}_group")
            restart   = Signal(config.address_bits, name=f"{name}_restart")
            if name == "store" and config.binary:
                step = Mux(whole, step, 0)
            m.d.comb += [
                following.eq(here + step),
                restart.eq(Mux(group_done, following, group)),
            ]
            m.d.sync += group.eq(restart)
            with m.If(channel_done):
                m.d.sync += here.eq(following)
            with m.If(pending):
                m.d.sync += here.eq(restart)
            with m.If(self.prepare):
                m.d.sync += group.eq(base)
            current[name] = here
        m.d.comb += [
            command.channel.eq(current["channel"]),
            command.store_word.eq(current["store"] + Mux(plan.reduce, 0, unit.tile)),
            self.fetch_word.eq(current["residual"] + unit.tile),
        ]

    def _indices(self, m, channel, emit, arriving, pending):
        """Places in the memories that are indexed by slice, filter, row or chunk."""
        config, plan, command = self.config, self.plan, self.command
        filters = config.filters_per_group

        sum_index = Signal.like(command.sum_index)
        with m.If(emit):
            m.d.sync += sum_index.eq(sum_index + 1)
        with m.If(pending):
            m.d.sync += sum_index.eq(0)
        m.d.comb += command.sum_index.eq(Mux(plan.reduce, channel, sum_index))
        if not config.basis:
            return

        # First basis entry and first filter state of the unit's slice, and of the group.
        entry       = Signal(config.address_bits)
        group_entry = Signal(config.address_bits)
        unit_entry  = Signal(config.address_bits)
        state       = Signal.like(command.state_index)
        m.d.comb += unit_entry.eq(Mux(arriving.first_slice, group_entry, entry + filters))
        with m.If(pending):
            m.d.sync += [entry.eq(unit_entry), state.eq(state + filters)]
            with m.If(arriving.first_slice):
                m.d.sync += state.eq(0)
            with m.If(arriving.last_tile & arriving.last_slice):
                m.d.sync += group_entry.eq(unit_entry + filters)
        with m.If(self.prepare):
            m.d.sync += group_entry.eq(plan.basis_base)
        m.d.comb += [
            command.basis_entry.eq(entry + channel),
            command.state_index.eq(state + channel),
        ]


def _times(value: Value, factor: int) -> Value:
    """Return a product without a multiplier block."""
    terms = [value << bit for bit in range(factor.bit_length()) if factor >> bit & 1]
    return sum(terms[1:], start=terms[0])
