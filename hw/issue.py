"""Step issue: the loops over groups, tiles, slices and steps, one step per cycle."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from smartdeal.hw.activation import ActivationBuffer
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.delay import Delay
from smartdeal.hw.isa import LayerFlag, group_channels, step_format
from smartdeal.hw.layouts import layout_of
from smartdeal.hw.readout_control import unit_layout
from smartdeal.hw.table import TableInterface, TablePort

__all__ = ["StepIssue", "issue_layout"]


def issue_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Return what step issue needs of a LAYER instruction; constant while the layer runs."""
    return data.StructLayout({
        "basis":         1,
        "max_pool":      1,
        "external":      1,
        "binary":        1,
        "pack":          1,
        "slices":        8,
        "tiles":         config.count_bits,
        "channels":      config.count_bits,
        "input_base":    config.field_bits,
        "steps_base":    config.field_bits,
        "residual_lane": 8,
    })


class StepIssue(wiring.Component):
    """Read steps from the weight buffer and send their vectors and coefficients to the array.

    A step waits when the activation buffer is needed for a residual operand (``fetch``), and a
    unit's last step also while the unit before is still being read out.

    Timing: a step's vector reaches the array ``READ_LATENCY`` cycles after the step was taken, and
    its coefficients with it.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    plan : In(issue_layout)
    start : In(1)
    cancel : In(1)
    active : Out(1)
        Steps are left to take.
    step_write : In
        Write port of the weight buffer.
    readout_hold, fetch, fetch_word : In
        From the read-out control.
    host_read, host_word : In
        The host reads a word, while nothing runs.
    move_read, move_word, move_lane : In
        A MOVE instruction reads a vector; only with ``config.move``.
    unit_valid, unit : Out
        A unit's last step is taken in this cycle.
    read_word, read_lane : Out
        To the activation buffer.
    binary : Out(1)
        ``coefficients`` are binary weights; only with ``config.binary``.
    coefficients, last : Out
        To the array.
    step_error, activation_error : Out(1)
        An address was outside the weight buffer, the activation buffer.
    taken, waiting : Out(1)
        For the counters: a step was taken; a last step waited for the read-out.
    room : In(1)
        System memory's queue has room for a unit's words; only with ``config.memory``, as the rest.
    reserve : Out(1)
        A unit was finished whose ``unit.channels`` words will go there.
    waiting_memory : Out(1)
        A last step waited for ``room``.
    """

    #: Cycles from a request to its vector at the activation buffer's output.
    READ_LATENCY = 2 + ActivationBuffer.READ_LATENCY

    plan:             data.View
    start:            Signal
    cancel:           Signal
    active:           Signal
    step_write:       TableInterface
    readout_hold:     Signal
    fetch:            Signal
    fetch_word:       Signal
    host_read:        Signal
    host_word:        Signal
    move_read:        Signal
    move_word:        Signal
    move_lane:        Signal
    unit_valid:       Signal
    unit:             data.View
    read_word:        Signal
    read_lane:        Signal
    coefficients:     data.View
    last:             Signal
    step_error:       Signal
    activation_error: Signal
    taken:            Signal
    waiting:          Signal
    room:             Signal
    reserve:          Signal
    waiting_memory:   Signal
    binary:           Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.step_layout = layout_of(step_format(config))
        coefficients = self.step_layout["coefficients"].shape
        super().__init__({
            "plan":             In(issue_layout(config)),
            "start":            In(1),
            "cancel":           In(1),
            "active":           Out(1),
            "step_write":       In(TablePort(config.weight_steps, self.step_layout)),
            "readout_hold":     In(1),
            "fetch":            In(1),
            "fetch_word":       In(config.address_bits),
            "host_read":        In(1),
            "host_word":        In(range(config.activation_words)),
            **({"move_read": In(1), "move_word": In(config.address_bits), "move_lane": In(8)}
               if config.move else {}),
            "unit_valid":       Out(1),
            "unit":             Out(unit_layout(config)),
            "read_word":        Out(range(config.activation_words)),
            "read_lane":        Out(range(config.cols)),
            "coefficients":     Out(coefficients),
            "last":             Out(1),
            "step_error":       Out(1),
            "activation_error": Out(1),
            **({"binary": Out(1)} if config.binary else {}),
            "taken":            Out(1),
            "waiting":          Out(1),
            **({"room": In(1), "reserve": Out(1), "waiting_memory": Out(1)}
               if config.memory else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config, plan = self.config, self.plan

        step, step_word, step_read = self._weight_buffer(m)

        # The step at the memory's output.
        pointer     = Signal(range(config.weight_steps + 1))
        is_last     = Signal()  # of its unit; announced by the step before
        far         = Signal()  # the layer's first step was outside
        outside     = Signal()
        following   = Signal.like(pointer)
        group_start = Signal.like(pointer)

        # Where in the loops it is.
        tile       = Signal(config.count_bits)
        slice_     = Signal(8, name="slice")
        remaining  = Signal(config.count_bits)
        tile_word  = Signal(config.address_bits)
        capacity   = Signal(range(config.rows + 1))
        # Compared a cycle ahead: a unit has two steps at least, and only its last moves on.
        last_tile  = Signal()
        last_slice = Signal()
        last_group = Signal()
        no_room    = Signal()
        rows = config.rows
        if config.binary:
            rows = Mux(plan.pack, group_channels(LayerFlag.PACK, config), rows)
        m.d.sync += [
            capacity.eq(Mux(plan.max_pool, 1, Mux(plan.basis, config.filters_per_group, rows))),
            last_tile.eq(tile == plan.tiles - 1),
            last_slice.eq(slice_ == plan.slices - 1),
            last_group.eq(remaining <= capacity),
        ]
        if config.memory:
            m.d.comb += [
                no_room.eq(self.active & ~outside & ~self.fetch & ~self.waiting & is_last
                           & last_slice & plan.external & ~self.room),
                self.waiting_memory.eq(no_room),
                self.reserve.eq(self.unit_valid & last_slice & plan.external),
            ]
        m.d.comb += [
            outside.eq(far | (pointer >= config.weight_steps)),
            self.step_error.eq(self.active & outside),
            self.waiting.eq(self.active & ~outside & ~self.fetch & is_last & self.readout_hold),
            self.taken.eq(self.active & ~outside & ~self.fetch & ~self.waiting & ~no_room),
            self.unit_valid.eq(self.taken & is_last),
            self.unit.channels.eq(Mux(last_group, remaining, capacity)),
            self.unit.tile.eq(tile),
            self.unit.first_tile.eq(tile == 0),
            self.unit.last_tile.eq(last_tile),
            self.unit.first_slice.eq(slice_ == 0),
            self.unit.last_slice.eq(last_slice),
            following.eq(Mux(is_last & last_slice & ~last_tile, group_start, pointer + 1)),
            step_word.eq(following),
            step_read.eq(self.taken | self.start),
        ]
        with m.If(self.taken):
            m.d.sync += [pointer.eq(following), is_last.eq(step.next_last)]
        with m.If(self.unit_valid):
            m.d.sync += slice_.eq(slice_ + 1)
        with m.If(self.unit_valid & last_slice):
            m.d.sync += [slice_.eq(0), tile.eq(tile + 1), tile_word.eq(tile_word + 1)]
            with m.If(last_tile):
                m.d.sync += [
                    tile.eq(0), tile_word.eq(plan.input_base),
                    remaining.eq(remaining - capacity),
                    group_start.eq(following),
                ]
                with m.If(last_group):
                    m.d.sync += self.active.eq(0)
        with m.If(self.start):
            m.d.comb += step_word.eq(plan.steps_base)
            m.d.sync += [
                self.active.eq(1), is_last.eq(0), far.eq(plan.steps_base >= config.weight_steps),
                pointer.eq(plan.steps_base), group_start.eq(plan.steps_base),
                tile.eq(0), slice_.eq(0), remaining.eq(plan.channels),
                tile_word.eq(plan.input_base),
            ]
        with m.If(self.cancel | self.step_error):
            m.d.sync += self.active.eq(0)

        self._address(m, step, tile_word)
        self._coefficients(m, step)
        return m

    def _weight_buffer(self, m):
        """Return a step, and what reads another one: its word, and whether to read it."""
        config = self.config
        m.submodules.weight_buffer = memory = Memory(
            shape=self.step_layout, depth=config.weight_steps, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.en.eq(self.step_write.en),
            write.data.eq(self.step_write.data),
        ]
        if not config.single_port_weights:
            m.d.comb += write.addr.eq(self.step_write.addr)
            return read.data, read.addr, read.en
        # Nothing is loaded while a layer runs: no read waits.
        word, enable = Signal.like(read.addr), Signal()
        port = Mux(write.en, self.step_write.addr, word)
        m.d.comb += [write.addr.eq(port), read.addr.eq(port), read.en.eq(enable & ~write.en)]
        return read.data, word, enable

    def _address(self, m, step, tile_word):
        """Address the activation buffer, for the step, a residual operand or the host."""
        config, depth = self.config, self.config.activation_words
        lane_shape = max(8, self.read_lane.shape().width)

        # Block RAM is slow to answer: a step's address is added up a cycle later.
        base    = Signal(config.address_bits)
        offset  = Signal.like(step.word)
        lane_1  = Signal(lane_shape)
        check_1 = Signal()
        fetch_1 = Signal()
        m.d.sync += [
            base.eq(tile_word), offset.eq(step.word), lane_1.eq(step.lane),
            check_1.eq(self.taken), fetch_1.eq(self.fetch),
        ]
        with m.If(self.host_read):
            m.d.sync += [base.eq(self.host_word), offset.eq(0), lane_1.eq(0)]
        if config.move:
            with m.If(self.move_read):
                m.d.sync += [base.eq(self.move_word), offset.eq(0), lane_1.eq(self.move_lane),
                             check_1.eq(1)]

        word  = Signal(config.address_bits + 1)
        lane  = Signal(lane_shape)
        check = Signal()
        m.d.sync += [word.eq(base + offset), lane.eq(lane_1), check.eq(check_1 | fetch_1)]
        with m.If(fetch_1):
            m.d.sync += [word.eq(self.fetch_word), lane.eq(self.plan.residual_lane)]
        m.d.comb += [
            self.read_word.eq(word),
            self.read_lane.eq(lane),
            self.activation_error.eq(check & ((word >= depth) | (lane >= config.cols)
                                              | ((lane != 0) & (word == depth - 1)))),
        ]

    def _coefficients(self, m, step):
        """Take coefficients along beside the vector; without a step none is valid."""
        layout = data.StructLayout({"coefficients": self.coefficients.shape(), "last": 1,
                                    **({"binary": 1} if self.config.binary else {})})
        m.submodules.coefficient_delay = line = Delay(
            layout, self.READ_LATENCY, memory=self.config.memory_delays)
        with m.If(self.taken):
            m.d.comb += line.i.coefficients.eq(step.coefficients)
            if self.config.binary:
                m.d.comb += line.i.binary.eq(self.plan.binary)
        if self.config.binary:
            m.d.comb += self.binary.eq(line.o.binary)
        m.d.comb += [
            # A program that is stopped leaves partial sums; `last` clears them.
            line.i.last.eq(self.unit_valid | self.cancel),
            self.coefficients.eq(line.o.coefficients),
            self.last.eq(line.o.last),
        ]
