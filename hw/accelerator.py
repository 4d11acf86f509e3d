"""The accelerator: everything between the host's streams and the PE array."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.hw.activation import ActivationBuffer
from smartdeal.hw.array import ProcessingArray
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.control import ProgramControl
from smartdeal.hw.fetch import FetchEngine
from smartdeal.hw.isa import LayerFlag, SectionKind
from smartdeal.hw.issue import StepIssue
from smartdeal.hw.loader import LOADED_KINDS, Loader
from smartdeal.hw.memoryport import MemoryPort, MemoryPortInterface
from smartdeal.hw.mover import Mover
from smartdeal.hw.reader import Reader
from smartdeal.hw.readout import ReadOutPipeline
from smartdeal.hw.readout_control import ReadOutControl
from smartdeal.hw.registerfile import RegisterBus, RegisterBusInterface, RegisterFile

__all__ = ["Accelerator"]


class Accelerator(wiring.Component):
    """A multiplier-free accelerator: sparse power-of-two matrix times activations.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    bus : In(RegisterBus)
        Registers: :mod:`smartdeal.hw.registers`.
    load : In(stream.Signature(host_bits))
        Images: :mod:`smartdeal.hw.isa`.
    store : Out(stream.Signature(host_bits))
        Words of the activation buffer, as asked for through READ_COUNT.
    interrupt : Out(1)
        Done or error, if enabled.
    reading : Out(1)
        The store stream has words to deliver.
    memory : Out(MemoryPort(host_bits))
        The program's own transfers; only with ``config.memory``.
    """

    bus:       RegisterBusInterface
    load:      stream.Interface
    store:     stream.Interface
    interrupt: Signal
    reading:   Signal
    memory:    MemoryPortInterface

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "bus":       In(RegisterBus()),
            "load":      In(stream.Signature(config.host_bits)),
            "store":     Out(stream.Signature(config.host_bits)),
            "interrupt": Out(1),
            "reading":   Out(1),
            **({"memory": Out(MemoryPort(host_bits=config.host_bits))} if config.memory else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config

        m.submodules.readout     = readout = ReadOutPipeline(config)
        m.submodules.control     = control = ProgramControl(config)
        m.submodules.issue       = issue   = StepIssue(config)
        m.submodules.readout_control = sequence = ReadOutControl(config)
        m.submodules.activations = buffer  = ActivationBuffer(config)
        m.submodules.array       = array   = ProcessingArray(config)

        reader, loader = self._host(m, control, issue, sequence, buffer, readout)
        self._plan(m, control.instruction, issue, sequence, readout)
        written = readout.write_mask.any()
        if config.move:
            mover = self._mover(m, control, issue, buffer, readout)
            written |= mover.writing
        else:
            m.d.sync += control.activation_error.eq(issue.activation_error | readout.store_error)

        m.d.comb += [
            # program control ↔ the two loops
            issue.start.eq(control.run),
            issue.cancel.eq(control.cancel),
            sequence.prepare.eq(control.prepare),
            sequence.cancel.eq(control.cancel),
            control.issue_active.eq(issue.active),
            control.readout_busy.eq(sequence.busy),
            # step issue ↔ read-out control
            issue.readout_hold.eq(sequence.hold),
            issue.fetch.eq(sequence.fetch),
            issue.fetch_word.eq(sequence.fetch_word),
            sequence.unit_valid.eq(issue.unit_valid),
            sequence.unit.eq(issue.unit),
            # activation buffer → array → read-out → activation buffer
            buffer.read_word.eq(issue.read_word),
            buffer.read_lane.eq(issue.read_lane),
            array.vector.eq(buffer.vector),
            array.coefficients.eq(issue.coefficients),
            array.last.eq(issue.last),
            array.read.eq(readout.array_read),
            array.read_row.eq(readout.array_row),
            array.read_chunk.eq(readout.array_chunk),
            readout.command.eq(sequence.command),
            readout.lanes.eq(array.lanes),
            readout.vector.eq(buffer.vector),
        ]
        # Errors are told a cycle late, long before the flush ends: the comparisons that find them
        # are long carry chains, and the control logic behind them is deep.
        m.d.sync += [
            control.step_error.eq(issue.step_error),
            control.table_error.eq(readout.table_error),
        ]
        tables = {
            SectionKind.PROGRAM:  control.program_write,
            SectionKind.STEPS:    issue.step_write,
            SectionKind.CHANNELS: readout.channel_write,
            SectionKind.BASIS:    readout.basis_write,
        }
        self._fill(m, loader, tables, buffer)
        if config.memory:
            m.submodules.fetch = fetch = FetchEngine(config)
            m.d.comb += fetch.activations_busy.eq(written)
            self._fill(m, fetch, tables, buffer)
            self._memory(m, fetch, control, issue, readout, reader)
        if config.max_pool:
            m.d.comb += array.maximum.eq((control.instruction.flags & LayerFlag.MAX_POOL) != 0)
        if config.binary:
            m.d.comb += array.binary.eq(issue.binary)
        return m

    def _plan(self, m, instruction, issue, sequence, readout):
        """Hand each block the fields of the instruction that it needs."""
        flags = instruction.flags
        for name in ("slices", "tiles", "channels", "input_base", "steps_base", "residual_lane"):
            m.d.comb += issue.plan[name].eq(instruction[name])
        for name in ("output_base", "output_stride", "residual_base", "residual_stride",
                     "channel_base", "basis_base"):
            m.d.comb += sequence.plan[name].eq(instruction[name])
        for name in ("column_step", "pitch", "width", "start_column", "skip", "end"):
            m.d.comb += sequence.plan.stream[name].eq(instruction[name])
        for name in ("zp_out", "lo", "hi", "zp_res"):
            m.d.comb += readout.limits[name].eq(instruction[name])
        basis, residual, reduce = ((flags & flag) != 0 for flag in
                                   (LayerFlag.BASIS, LayerFlag.RESIDUAL, LayerFlag.REDUCE))
        m.d.comb += [
            issue.plan.basis.eq(basis),
            issue.plan.max_pool.eq((flags & LayerFlag.MAX_POOL) != 0),
            sequence.plan.basis.eq(basis),
            sequence.plan.residual.eq(residual),
            sequence.plan.reduce.eq(reduce),
            readout.basis_mode.eq(basis),
            readout.residual_mode.eq(residual),
            readout.reduce_mode.eq(reduce),
        ]
        if self.config.binary:
            pack = (flags & LayerFlag.PACK) != 0
            m.d.comb += [
                issue.plan.binary.eq((flags & LayerFlag.BINARY) != 0),
                issue.plan.pack.eq(pack),
                sequence.plan.pack.eq(pack),
                readout.pack_mode.eq(pack),
            ]

    def _mover(self, m, control, issue, buffer, readout):
        """Connect the mover; it works while no layer runs."""
        m.submodules.mover = mover = Mover(self.config)
        m.d.comb += [
            mover.plan.eq(control.instruction),
            mover.start.eq(control.move),
            mover.cancel.eq(control.cancel),
            mover.vector.eq(buffer.vector),
            issue.move_read.eq(mover.read),
            issue.move_word.eq(mover.read_word),
            issue.move_lane.eq(mover.read_lane),
            control.move_active.eq(mover.active),
        ]
        m.d.sync += control.activation_error.eq(issue.activation_error | readout.store_error
                                                | mover.write_error)
        with m.If(mover.writing):
            m.d.comb += [
                buffer.write_word.eq(mover.write_word),
                buffer.write_lane.eq(mover.write_lane),
                buffer.write_mask.eq(mover.write_mask),
                buffer.write_data.eq(mover.write_data),
            ]
        return mover

    def _host(self, m, control, issue, sequence, buffer, readout):
        """Connect registers, loader and reader."""
        config = self.config
        m.submodules.registers = registers = RegisterFile(config)
        m.submodules.loader    = loader    = Loader(config)
        m.submodules.reader    = reader    = Reader(
            config, read_latency=StepIssue.READ_LATENCY)
        wiring.connect(m, host=wiring.flipped(self.bus), registers=registers.bus)
        wiring.connect(m, host=wiring.flipped(self.load), loader=loader.i)
        wiring.connect(m, reader=reader.o, host=wiring.flipped(self.store))
        running = Signal()
        # A program runs, or has just ended: much of the loader and the reader hangs on it.
        occupied = Signal()
        m.d.sync += occupied.eq(registers.starting | running)
        m.d.comb += [
            self.interrupt.eq(registers.interrupt),
            self.reading.eq(reader.active),
            control.start.eq(registers.start),
            control.abort.eq(registers.clear),
            loader.hold.eq(occupied),
            loader.clear.eq(registers.clear),
            reader.start.eq(registers.read_start),
            reader.hold.eq(occupied),
            reader.clear.eq(registers.clear),
            reader.address.eq(registers.read_address),
            reader.count.eq(registers.read_count),
            reader.vector.eq(buffer.vector),
            issue.host_read.eq(reader.read),
            issue.host_word.eq(reader.word),
            running.eq(control.busy | registers.start),
            registers.running.eq(running),
            registers.done.eq(control.done),
            registers.program_failed.eq(control.failed),
            registers.program_error.eq(control.error),
            registers.load_failed.eq(loader.failed),
            registers.load_error.eq(loader.error),
            registers.program_valid.eq(loader.program_valid),
            registers.loading.eq(loader.ongoing),
            registers.reading.eq(reader.active),
            registers.instruction.eq(control.address),
            registers.busy_step.eq(issue.taken),
            registers.stall_drain.eq(issue.waiting),
            registers.stall_residual.eq(sequence.fetch),
            registers.move.eq(control.move_active),
        ]
        if config.memory:
            m.d.comb += [
                registers.stall_memory.eq(control.waiting_memory | issue.waiting_memory),
                registers.refuse.eq(self.memory.refuse),
                self.memory.running.eq(running),
            ]
        # The activation buffer's one write port: the host's while nothing runs.
        m.d.comb += [
            buffer.write_word.eq(readout.write_word),
            buffer.write_mask.eq(readout.write_mask),
            buffer.write_data.eq(readout.write_data),
        ]
        return reader, loader

    def _fill(self, m, source, tables, buffer):
        """Let loader or fetch engine write the memories, in cycles in which nobody else does."""
        for kind, port in tables.items():
            with m.If(source.write[LOADED_KINDS.index(kind)]):
                m.d.comb += [
                    port.en.eq(1),
                    port.addr.eq(source.address),
                    port.data.eq(source.unit_of(kind)),
                ]
        with m.If(source.write[LOADED_KINDS.index(SectionKind.ACTIVATIONS)]):
            m.d.comb += [
                buffer.write_word.eq(source.address),
                buffer.write_mask.eq(-1),
                buffer.write_data.eq(source.unit_of(SectionKind.ACTIVATIONS)),
            ]

    def _memory(self, m, fetch, control, issue, readout, reader):
        """Connect what a program transfers by itself."""
        port = self.memory
        wiring.connect(m, control=control.load, fetch=fetch.load)
        wiring.connect(m, fetch=fetch.request, memory=wiring.flipped(port.fetch_request))
        wiring.connect(m, memory=wiring.flipped(port.fetch), fetch=fetch.i)
        m.d.comb += [
            fetch.cancel.eq(control.cancel),
            fetch.size.eq(port.size),
            reader.spill_reserve.eq(issue.reserve),
            reader.spill_count.eq(issue.unit.channels),
            reader.spill.eq(readout.spill),
            reader.spill_word.eq(readout.write_data),
            reader.spill_cancel.eq(control.cancel),
            issue.room.eq(reader.room),
            issue.plan.external.eq((control.instruction.flags & LayerFlag.EXTERNAL) != 0),
            readout.external_mode.eq((control.instruction.flags & LayerFlag.EXTERNAL) != 0),
            control.unfinished.eq(fetch.unfinished),
            control.spill_sending.eq(~reader.empty | port.spill_sending),
            control.spill_busy.eq(~reader.empty | port.spill_busy),
            control.transfers_busy.eq((fetch.unfinished != 0) | port.fetch_busy
                                      | control.spill_busy),
            control.size.eq(port.size),
            control.outside_region.eq(fetch.outside_region),
            control.outside_memory.eq(fetch.outside_memory),
            control.fetch_failed.eq(port.fetch_failed),
            control.spill_failed.eq(port.spill_failed),
            port.spill_start.eq(control.spill_start),
            port.spill_range.eq(control.spill_range),
            port.cancel.eq(control.cancel),
        ]
