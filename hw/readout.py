"""The read-out pipeline: from the array's results to bytes in the activation buffer."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from smartdeal.golden.formats import ACT_BITS, PACKED
from smartdeal.hw.accumulate import SumStage
from smartdeal.hw.activation import ActivationBuffer
from smartdeal.hw.array import ProcessingArray
from smartdeal.hw.basis import BasisStage
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.delay import Delay
from smartdeal.hw.isa import basis_format
from smartdeal.hw.issue import StepIssue
from smartdeal.hw.layouts import layout_of
from smartdeal.hw.readout_control import command_layout
from smartdeal.hw.requantise import RequantiseLane, channel_layout, limits_layout
from smartdeal.hw.select import select
from smartdeal.hw.table import TableInterface, TablePort
from smartdeal.hw.timing import FLUSH_CYCLES

__all__ = ["ReadOutPipeline"]


class ReadOutPipeline(wiring.Component):
    """Basis stage, sums over slices, requantisation and store, one command per cycle.

    The tables of basis and channel parameters are in here, beside the stage that reads them.

    Timing: a command's bytes are in the activation buffer ``latency`` cycles later. No stalls.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    basis_mode, residual_mode, reduce_mode, pack_mode : In(1)
        Modes of the layer; constant while it runs.
    limits : In(limits_layout)
    command : In(command_layout)
    array_read, array_row, array_chunk : Out
        To the array, when the command's result is there.
    lanes : In(ArrayLayout(signed(acc_bits), drain_lanes))
        From the array.
    vector : In(ArrayLayout(signed(8), cols))
        From the activation buffer, for the residual operand.
    basis_write, channel_write : In
        Write ports of the tables.
    write_word, write_mask, write_data : Out
        To the activation buffer; with ``config.memory`` whole words, so that others may write
        between them.
    external_mode : In(1)
        Words go to ``spill`` instead of the activation buffer; only with ``config.memory``.
    spill : Out(1)
        ``write_data`` is a word for system memory.
    table_error, store_error : Out(1)
        A command's address was outside its memory; nothing was stored.
    """

    basis_mode:    Signal
    residual_mode: Signal
    reduce_mode:   Signal
    pack_mode:     Signal
    limits:        data.View
    command:       data.View
    array_read:    Signal
    array_row:     Signal
    array_chunk:   Signal
    lanes:         data.View
    vector:        data.View
    basis_write:   TableInterface
    channel_write: TableInterface
    write_word:    Signal
    write_mask:    Signal
    write_data:    data.View
    external_mode: Signal
    spill:         Signal
    table_error:   Signal
    store_error:   Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.basis_layout = layout_of(basis_format(config))
        cols = config.cols
        super().__init__({
            "basis_mode":    In(1),
            "residual_mode": In(1),
            "reduce_mode":   In(1),
            **({"pack_mode": In(1)} if config.binary else {}),
            "limits":        In(limits_layout),
            "command":       In(command_layout(config)),
            "array_read":    Out(1),
            "array_row":     Out(range(config.rows)),
            "array_chunk":   Out(command_layout(config)["chunk"].shape),
            "lanes":         In(data.ArrayLayout(signed(config.acc_bits), config.drain_lanes)),
            "vector":        In(data.ArrayLayout(signed(ACT_BITS), cols)),
            "basis_write":   In(TablePort(config.basis_entries, self.basis_layout)),
            "channel_write": In(TablePort(config.channel_entries, channel_layout(config))),
            "write_word":    Out(range(config.activation_words)),
            "write_mask":    Out(cols),
            "write_data":    Out(data.ArrayLayout(signed(ACT_BITS), cols)),
            **({"external_mode": In(1), "spill": Out(1)} if config.memory else {}),
            "table_error":   Out(1),
            "store_error":   Out(1),
        })

        #: Cycles from a command to the residual operand, to the array's results, to sums, totals
        #: and bytes. Its unit's last step was taken two cycles before, the operand asked for one.
        self.vector_at  = StepIssue.READ_LATENCY - 1
        self.lanes_at   = self.lanes_latency()
        self.sums_at    = self.lanes_at + (BasisStage.LATENCY if config.basis else 0)
        self.totals_at  = self.sums_at + SumStage.LATENCY
        self.bytes_at   = self.bytes_latency(config)
        assert self.bytes_at == self.totals_at + RequantiseLane.LATENCY
        assert self.latency <= FLUSH_CYCLES

    @property
    def latency(self) -> int:
        """Cycles from a command to its bytes in the activation buffer."""
        return self.bytes_at + 1 + ActivationBuffer.WRITE_LATENCY

    @staticmethod
    def lanes_latency() -> int:
        """Return the cycles from a command to the array's results."""
        return (StepIssue.READ_LATENCY - 2 + ProcessingArray.RESULT_LATENCY
                + ProcessingArray.READ_LATENCY)

    @classmethod
    def bytes_latency(cls, config: AcceleratorConfig) -> int:
        """Return the cycles from a command to its bytes at ``write_data``."""
        return (cls.lanes_latency() + (BasisStage.LATENCY if config.basis else 0)
                + SumStage.LATENCY + RequantiseLane.LATENCY)

    def elaborate(self, platform):
        m = Module()
        config, command = self.config, self.command

        def delayed(name, cycles, *fields):
            layout = command_layout(config)
            shape = data.StructLayout({field: layout[field].shape for field in fields})
            m.submodules[f"{name}_delay"] = line = Delay(
                shape, cycles, memory=config.memory_delays)
            for field in fields:
                m.d.comb += line.i[field].eq(command[field])
            return line.o

        read = delayed("read", self.lanes_at - ProcessingArray.READ_LATENCY, "read", "row", "chunk")
        m.d.comb += [
            self.array_read.eq(read.read),
            self.array_row.eq(read.row),
            self.array_chunk.eq(read.chunk),
        ]
        sums  = self._basis(m, delayed) if config.basis else self.lanes
        place = delayed("sum", self.sums_at, "emit", "first_sum", "last_sum", "in_image")
        ahead = delayed("sum_index", self.sums_at - 2, "sum_index")
        m.submodules.sum_stage = stage = SumStage(config)
        m.d.comb += [
            stage.valid.eq(place.emit),
            stage.first.eq(place.first_sum),
            stage.last.eq(place.last_sum),
            stage.coming_index.eq(ahead.sum_index),
        ]
        for lane in range(config.drain_lanes):
            m.d.comb += stage.sums[lane].eq(sums[lane])
        if config.reduce:
            m.d.comb += [stage.in_image.eq(place.in_image), stage.reduce.eq(self.reduce_mode)]

        residual = self._residual(m, delayed) if config.residual else None
        results = self._requantise(m, delayed, stage.totals, residual)
        self._store(m, delayed, results)
        return m

    def _basis(self, m, delayed):
        config = self.config
        m.submodules.basis_table = table = Memory(
            shape=self.basis_layout, depth=config.basis_entries, init=[])
        write, entry = table.write_port(), table.read_port()
        address = delayed("basis_entry", self.lanes_at - 3, "first", "basis_entry")
        place = delayed("basis", self.lanes_at, "emit", "first_chunk", "last_chunk", "first_tile",
                        "state_index")
        ahead = delayed("basis_row", self.lanes_at - 1, "basis_row")
        # Block RAM is slow to answer: its word is used a cycle later.
        fetched = Signal(self.basis_layout)
        m.d.sync += fetched.eq(entry.data)
        m.submodules.basis_stage = stage = BasisStage(config)
        m.d.comb += [
            write.en.eq(self.basis_write.en),
            write.addr.eq(self.basis_write.addr),
            write.data.eq(self.basis_write.data),
            entry.addr.eq(address.basis_entry),
            entry.en.eq(self.basis_mode & address.first),  # what is read stays
            stage.enable.eq(self.basis_mode),
            stage.operands.eq(self.lanes),
            stage.row.eq(ahead.basis_row),
            stage.emit.eq(place.emit),
            stage.first_chunk.eq(place.first_chunk),
            stage.last_chunk.eq(place.last_chunk),
            stage.first_tile.eq(place.first_tile),
            stage.state_index.eq(place.state_index),
            stage.taps.eq(fetched.taps),
            stage.align.eq(Mux(self.basis_mode, fetched.align, 0)),
        ]
        with m.If(self.basis_mode & address.first & (address.basis_entry >= config.basis_entries)):
            m.d.comb += self.table_error.eq(1)
        return stage.sums

    def _residual(self, m, delayed):
        """Keep the fetched vector while its channel is read out; give it chunk by chunk."""
        config = self.config
        lanes = data.ArrayLayout(signed(ACT_BITS), config.drain_lanes)
        held  = Signal(data.ArrayLayout(signed(ACT_BITS), config.cols))
        read  = delayed("vector", self.vector_at, "fetched", "chunk")
        chunk = Signal.like(read.chunk)
        m.d.sync += chunk.eq(read.chunk)
        with m.If(read.fetched):
            m.d.sync += held.eq(self.vector)

        m.submodules.residual_delay = line = Delay(
            lanes, self.totals_at - RequantiseLane.RESIDUAL_AHEAD - self.vector_at - 1,
            memory=config.memory_delays)
        bits = config.drain_lanes * ACT_BITS
        m.d.comb += line.i.eq(select(chunk, [held.as_value()[index * bits:][:bits]
                                             for index in range(config.chunks)]))
        return line.o

    def _requantise(self, m, delayed, totals, residual):
        config = self.config
        m.submodules.channel_table = table = Memory(
            shape=channel_layout(config), depth=config.channel_entries, init=[])
        write, channel = table.write_port(), table.read_port()
        address = delayed("channel", self.totals_at - 2, "emit", "last_sum", "channel")
        m.d.comb += [
            write.en.eq(self.channel_write.en),
            write.addr.eq(self.channel_write.addr),
            write.data.eq(self.channel_write.data),
            channel.addr.eq(address.channel),
            channel.en.eq(address.emit & address.last_sum),
        ]
        with m.If(address.emit & address.last_sum & (address.channel >= config.channel_entries)):
            m.d.comb += self.table_error.eq(1)

        parameters = Signal(channel_layout(config))
        m.d.sync += parameters.eq(channel.data)

        results, bits = [], []
        for index in range(config.drain_lanes):
            m.submodules[f"requantise_{index}"] = lane = RequantiseLane(config)
            m.d.comb += [
                lane.total.eq(totals[index]),
                lane.channel.eq(parameters),
                lane.limits.eq(self.limits),
            ]
            if residual is not None:
                m.d.comb += [
                    lane.residual.eq(residual[index]),
                    lane.add_residual.eq(self.residual_mode),
                ]
            results.append(lane.result)
            if config.binary:
                bits.append(lane.bit)
        return self._packed(m, delayed, results, bits) if config.binary else results

    def _packed(self, m, delayed, results, bits):
        """Collect the bits of eight channels, chunk by chunk, and put bytes in place of results."""
        lanes  = data.ArrayLayout(PACKED - 1, self.config.drain_lanes)
        chunks = data.ArrayLayout(lanes, self.config.chunks)
        # The bits of the chunk that comes next stand in front; its new ones go to the end.
        queue = Signal(chunks)
        place = delayed("pack", self.bytes_at, "emit", "last_sum")
        new   = Signal(lanes)
        packed = []
        for lane, (result, bit) in enumerate(zip(results, bits, strict=True)):
            byte = Cat(queue[0][lane], bit)
            m.d.comb += new[lane].eq(byte[1:])
            packed.append(Mux(self.pack_mode, byte.as_signed(), result))
        with m.If(place.emit & place.last_sum):
            size = (PACKED - 1) * self.config.drain_lanes
            m.d.sync += queue.eq(Cat(queue.as_value()[size:], new))
        return packed

    def _store(self, m, delayed, results):
        config = self.config
        # All but the bytes is known a cycle ahead, and has a register in front of the memory.
        coming = delayed("store", self.bytes_at - 1, "emit", "last_sum", "chunk", "in_image",
                         "store_word", *(["whole"] if config.binary else []))
        coming_store = coming.emit & coming.last_sum
        if config.binary:
            coming_store &= coming.whole
        fits     = coming.store_word < config.activation_words
        external = self.external_mode if config.memory else Const(0)
        store, in_image = Signal(), Signal.like(coming.in_image)
        m.d.sync += [
            store.eq(coming_store),
            in_image.eq(coming.in_image),
            self.store_error.eq(coming_store & ~external & ~fits),
            self.write_word.eq(coming.store_word),
        ]
        lanes = Signal(data.ArrayLayout(signed(ACT_BITS), config.drain_lanes))
        for lane in range(config.drain_lanes):
            m.d.comb += lanes[lane].eq(Mux(self.reduce_mode | in_image[lane], results[lane],
                                           self.limits.zp_out))
        writes = coming_store & ~external & fits
        if config.memory:
            self._store_words(m, store, lanes)
            last_chunk = coming.chunk == config.chunks - 1
            m.d.sync += self.spill.eq(coming_store & last_chunk & external)
            writes &= last_chunk
            mask = Const(-1, config.cols)
        else:
            # The same bytes for every chunk of the word; the mask says which chunk is meant.
            m.d.comb += self.write_data.eq(lanes.as_value().replicate(config.chunks))
            chunk_mask = (1 << config.drain_lanes) - 1
            mask = Const(chunk_mask, config.cols) << coming.chunk * config.drain_lanes
        m.d.sync += self.write_mask.eq(0)
        with m.If(writes):  # a reduced map is one byte
            m.d.sync += self.write_mask.eq(Mux(self.reduce_mode, 1, mask))

    def _store_words(self, m, store, lanes):
        """Collect the chunks of a word, which is written with the last one."""
        collected = Signal(ACT_BITS * (self.config.cols - self.config.drain_lanes))
        with m.If(store):
            m.d.sync += collected.eq(Cat(collected[len(lanes.as_value()):], lanes))
        m.d.comb += self.write_data.eq(Cat(collected, lanes))
        with m.If(self.reduce_mode):
            m.d.comb += self.write_data.eq(lanes)
