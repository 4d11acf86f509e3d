"""Program control: fetch, check and run instructions; stop on errors."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.decode import (
    InstructionCheck,
    instruction_layout,
    load_layout,
    take_word,
    watch_words,
)
from smartdeal.hw.isa import (
    ERROR_BITS,
    INSTRUCTION_WORDS,
    JUMP_INSTRUCTION,
    LOAD_QUEUE,
    WAIT_INSTRUCTION,
    ErrorCode,
    LayerFlag,
    Opcode,
    SectionKind,
    WaitFlag,
    section_format,
)
from smartdeal.hw.layouts import layout_of
from smartdeal.hw.memoryport import request_layout
from smartdeal.hw.table import TableInterface, TablePort
from smartdeal.hw.timing import FLUSH_CYCLES, MOVE_FLUSH_CYCLES

__all__ = ["ProgramControl"]

wait_layout = layout_of(WAIT_INSTRUCTION)
jump_layout = layout_of(JUMP_INSTRUCTION)


class ProgramControl(wiring.Component):
    """Run the program in the instruction memory.

    Timing: docs/execution.md; ``hw/timing.py`` has the constants.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    program_write : In
        Write port of the instruction memory.
    start : In(1)
        Run from address 0; only while not ``busy``.
    abort : In(1)
        Stop with error ABORTED.
    busy : Out(1)
    done : Out(1)
        Pulse: the program has ended.
    failed : Out(1)
        Pulse: the program was stopped for ``error``.
    error : Out
    address : Out
        Word address of the instruction being run.
    instruction : Out(instruction_layout)
        The layer being run.
    prepare, run : Out(1)
        Pulses: set up the layer; take its first step.
    cancel : Out(1)
        Stop taking steps and reading out.
    move : Out(1)
        Pulse: run the MOVE in ``instruction``.
    issue_active, readout_busy, move_active : In(1)
    step_error, activation_error, table_error : In(1)

    Only with ``config.memory``:

    load : Out(stream.Signature(load_layout))
        To the fetch engine.
    unfinished : In(range(LOAD_QUEUE + 1))
        Of its LOADs.
    spill_start : Out(1)
        Pulse: an EXTERNAL layer begins, which writes ``spill_range``.
    spill_range : Out(request_layout)
    spill_sending, spill_busy : In(1)
        Words of EXTERNAL layers are still in the queue or on their way; not all of them were
        acknowledged.
    transfers_busy : In(1)
        Anything at all goes on between the core and system memory.
    size : In(32)
        Bytes of the region.
    outside_region, outside_memory, fetch_failed, spill_failed : In(1)
        Errors of transfers.
    waiting_memory : Out(1)
        The program waits for system memory.
    """

    program_write:    TableInterface
    start:            Signal
    abort:            Signal
    busy:             Signal
    done:             Signal
    failed:           Signal
    error:            Signal
    address:          Signal
    instruction:      data.View
    prepare:          Signal
    run:              Signal
    cancel:           Signal
    issue_active:     Signal
    readout_busy:     Signal
    move:             Signal
    move_active:      Signal
    step_error:       Signal
    activation_error: Signal
    table_error:      Signal
    load:             stream.Interface
    unfinished:       Signal
    spill_start:      Signal
    spill_range:      data.View
    spill_sending:    Signal
    spill_busy:       Signal
    transfers_busy:   Signal
    size:             Signal
    outside_region:   Signal
    outside_memory:   Signal
    fetch_failed:     Signal
    spill_failed:     Signal
    waiting_memory:   Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "program_write":    In(TablePort(config.program_words, unsigned(32))),
            "start":            In(1),
            "abort":            In(1),
            "busy":             Out(1),
            "done":             Out(1),
            "failed":           Out(1),
            "error":            Out(ERROR_BITS),
            "address":          Out(range(config.program_words + INSTRUCTION_WORDS)),
            "instruction":      Out(instruction_layout),
            "prepare":          Out(1),
            "run":              Out(1),
            "cancel":           Out(1),
            "issue_active":     In(1),
            "readout_busy":     In(1),
            "move":             Out(1),
            "move_active":      In(1),
            "step_error":       In(1),
            "activation_error": In(1),
            "table_error":      In(1),
            **({
                "load":           Out(stream.Signature(load_layout)),
                "unfinished":     In(range(LOAD_QUEUE + 1)),
                "spill_start":    Out(1),
                "spill_range":    Out(request_layout),
                "spill_sending":  In(1),
                "spill_busy":     In(1),
                "transfers_busy": In(1),
                "size":           In(32),
                "outside_region": In(1),
                "outside_memory": In(1),
                "fetch_failed":   In(1),
                "spill_failed":   In(1),
                "waiting_memory": Out(1),
            } if config.memory else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config

        m.submodules.check = check = InstructionCheck(config)
        m.submodules.program = memory = Memory(shape=32, depth=config.program_words, init=[])
        write, read = memory.write_port(), memory.read_port()
        pointer = Signal.like(self.address)
        m.d.comb += [
            write.en.eq(self.program_write.en),
            write.addr.eq(self.program_write.addr),
            write.data.eq(self.program_write.data),
            read.addr.eq(pointer),
            read.en.eq(1),
            check.instruction.eq(self.instruction),
        ]

        fetched = Signal(range(INSTRUCTION_WORDS + 1))
        # The word that came last, a cycle after the memory gave it: block RAM is slow to answer.
        word    = self.instruction.as_value()[-32:]
        opcode  = word[:8] if config.memory else self.instruction.opcode
        # The check is deep: what it has found is looked at a cycle later.
        field_wrong     = Signal()
        feature_missing = Signal()
        m.d.sync += [
            field_wrong.eq(check.field_wrong), feature_missing.eq(check.feature_missing),
        ]
        refused = Signal()
        m.d.comb += refused.eq(field_wrong)
        if not config.memory:
            excess = watch_words(m, config, self.instruction, fetched, read.data)
            m.d.comb += refused.eq(field_wrong | excess)
        starting = Signal()  # in BEGIN_MOVE
        prepared = Signal()  # in PREPARE: wait is over
        m.d.sync += [starting.eq(0), prepared.eq(0)]
        wait    = Signal(range(max(FLUSH_CYCLES, config.drain_lanes + 1) + 1))
        transfers_busy = self.transfers_busy if config.memory else Const(0)
        outside = self._spill_range(m) if config.memory else Const(0)

        m.d.comb += self.move.eq(starting & ~refused & ~feature_missing)
        with m.FSM(name="control"):
            with m.State("IDLE"):
                m.d.sync += [pointer.eq(0), fetched.eq(0)]
                with m.If(self.start):
                    m.d.sync += self.busy.eq(1)
                    m.next = "FETCH"

            with m.State("FETCH"):
                # The memory answers a cycle later: word fetched-1 is at its output.
                m.d.sync += [pointer.eq(pointer + 1), fetched.eq(fetched + 1)]
                with m.If(fetched == 0):
                    m.d.sync += self.address.eq(pointer)
                if config.memory:
                    with m.Else():
                        m.d.sync += self.instruction.eq(
                            Cat(self.instruction.as_value()[32:], read.data))
                else:
                    take_word(m, config, self.instruction, fetched, read.data)
                with m.If((fetched == 2) & (opcode == Opcode.END)):
                    m.d.comb += self.done.eq(~self.abort & ~transfers_busy)
                    m.d.sync += [self.busy.eq(transfers_busy), fetched.eq(0)]
                    m.next = "IDLE"
                    if config.memory:
                        with m.If(transfers_busy):
                            m.next = "END"
                if config.memory:
                    with m.Elif((fetched == 2) & (opcode == Opcode.WAIT)):
                        m.d.sync += [
                            pointer.eq(pointer - 1), fetched.eq(0),
                            self.instruction.eq(self.instruction),
                        ]
                        m.next = "WAIT"
                    with m.Elif((fetched == 2) & (opcode == Opcode.JUMP)):
                        target = data.View(jump_layout, word).address
                        m.d.sync += [pointer.eq(target), fetched.eq(0)]
                        with m.If(target >= config.program_words):
                            self._fail(m, wait, ErrorCode.PROGRAM_RANGE)
                else:
                    with m.Elif((fetched == 2)
                                & opcode.matches(Opcode.LOAD, Opcode.WAIT, Opcode.JUMP)):
                        self._fail(m, wait, ErrorCode.FEATURE)
                if not config.move:
                    with m.Elif((fetched == 2) & (opcode == Opcode.MOVE)):
                        self._fail(m, wait, ErrorCode.FEATURE)
                with m.Elif((fetched == 2)
                            & ~opcode.matches(Opcode.LAYER, Opcode.MOVE, Opcode.LOAD)):
                    self._fail(m, wait, ErrorCode.OPCODE)
                with m.Elif(fetched == INSTRUCTION_WORDS):
                    m.d.sync += pointer.eq(pointer)
                    m.next = "CHECK"
                # With the second word not yet asked for, an END may be the memory's last word.
                with m.Elif((fetched != 1) & (pointer >= config.program_words)):
                    self._fail(m, wait, ErrorCode.PROGRAM_RANGE)
                self._watch_abort(m, wait)

            with m.State("CHECK"):
                m.d.sync += [fetched.eq(0), wait.eq(config.drain_lanes)]
                with m.If(self.instruction.opcode == Opcode.MOVE):
                    m.d.sync += starting.eq(1)
                    m.next = "BEGIN_MOVE"
                if config.memory:
                    with m.Elif(self.instruction.opcode == Opcode.LOAD):
                        m.next = "LOAD"
                with m.Else():
                    m.d.comb += self.prepare.eq(1)
                    m.next = "PREPARE"
                self._watch_abort(m, wait)

            with m.State("BEGIN_MOVE"):
                m.next = "MOVE"
                self._refuse(m, wait, refused, feature_missing)
                self._watch_abort(m, wait)

            with m.State("PREPARE"):
                m.d.sync += prepared.eq(wait <= 1)
                with m.If(prepared):
                    self._begin(m, wait, outside)
                with m.Else():
                    m.d.sync += wait.eq(wait - 1)
                self._refuse(m, wait, refused, feature_missing)
                self._watch_abort(m, wait)

            with m.State("RUN"):
                m.d.sync += wait.eq(FLUSH_CYCLES)
                with m.If(~self.issue_active & ~self.readout_busy):
                    m.next = "FLUSH"
                self._watch_addresses(m, wait)
                self._watch_abort(m, wait)

            with m.State("MOVE"):
                m.d.sync += wait.eq(MOVE_FLUSH_CYCLES)
                with m.If(~self.move_active):
                    m.next = "FLUSH"
                self._watch_addresses(m, wait)
                self._watch_abort(m, wait)

            with m.State("FLUSH"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.next = "FETCH"
                self._watch_addresses(m, wait)
                self._watch_abort(m, wait)

            with m.State("STOP"):
                # What is in the pipelines runs out; then the next program may come.
                m.d.comb += self.cancel.eq(1)
                with m.If(wait != 0):
                    m.d.sync += wait.eq(wait - 1)
                with m.Elif(~transfers_busy):
                    m.d.comb += self.failed.eq(1)
                    m.d.sync += self.busy.eq(0)
                    m.next = "IDLE"

            if config.memory:
                self._memory_states(m, wait, field_wrong)
        return m

    def _fail(self, m, wait, code):
        m.d.sync += [self.error.eq(code), wait.eq(FLUSH_CYCLES), self.busy.eq(1)]
        m.next = "STOP"

    def _refuse(self, m, wait, field_wrong, feature_missing):
        """Stop for what the check of the instruction has found."""
        with m.If(field_wrong):
            self._fail(m, wait, ErrorCode.FIELD)
        with m.Elif(feature_missing):
            self._fail(m, wait, ErrorCode.FEATURE)

    def _watch_addresses(self, m, wait):
        with m.If(self.step_error):
            self._fail(m, wait, ErrorCode.STEP_RANGE)
        with m.Elif(self.activation_error):
            self._fail(m, wait, ErrorCode.ACTIVATION_RANGE)
        with m.Elif(self.table_error):
            self._fail(m, wait, ErrorCode.TABLE_RANGE)

    def _watch_abort(self, m, wait):
        """Stop for what goes on beside the program: a transfer's error, the host's wish."""
        if self.config.memory:
            with m.If(self.outside_region):
                self._fail(m, wait, ErrorCode.MEMORY_RANGE)
            with m.Elif(self.outside_memory):
                self._fail(m, wait, ErrorCode.SECTION_RANGE)
            with m.Elif(self.fetch_failed):
                self._fail(m, wait, ErrorCode.MEMORY_READ)
            with m.Elif(self.spill_failed):
                self._fail(m, wait, ErrorCode.MEMORY_WRITE)
        with m.If(self.abort):
            self._fail(m, wait, ErrorCode.ABORTED)

    def _spill_range(self, m):
        """Compute what an EXTERNAL layer writes; return whether it leaves the region.

        It settles in two cycles, fewer than the preparation of a layer takes.
        """
        i, config = self.instruction, self.config
        beat_bytes = config.host_bits // 8
        unit_bytes = section_format(SectionKind.ACTIVATIONS, config).unit_bytes(config.host_bits)
        words = Signal(32)
        end   = Signal(32 + 16)
        m.d.sync += [
            words.eq(i.tiles * i.channels),
            end.eq(i.output_base + words * unit_bytes),
        ]
        m.d.comb += [
            self.spill_range.offset.eq(i.output_base),
            self.spill_range.beats.eq(words * (unit_bytes // beat_bytes)),
        ]
        return end > self.size

    def _begin(self, m, wait, outside):
        """Take the first step of a layer, an EXTERNAL one when the range before it was sent."""
        if not self.config.memory:
            m.d.comb += self.run.eq(1)
            m.next = "RUN"
            return
        external = (self.instruction.flags & LayerFlag.EXTERNAL) != 0
        with m.If(external & self.spill_sending):
            m.d.comb += self.waiting_memory.eq(1)
        with m.Elif(external & outside):
            self._fail(m, wait, ErrorCode.MEMORY_RANGE)
        with m.Else():
            m.d.comb += [self.run.eq(1), self.spill_start.eq(external)]
            m.next = "RUN"

    def _memory_states(self, m, wait, field_wrong):
        """LOAD, WAIT and END, as long as they wait."""
        waiting = data.View(wait_layout, self.instruction.as_value()[-32:])
        with m.State("LOAD"):
            m.d.comb += [
                self.load.valid.eq(~field_wrong),
                self.load.payload.as_value().eq(self.instruction.as_value()),
                self.waiting_memory.eq(~self.load.ready),
            ]
            with m.If(self.load.ready):
                m.next = "FETCH"
            self._refuse(m, wait, field_wrong, Const(0))
            self._watch_abort(m, wait)

        with m.State("WAIT"):
            known = sum(int(flag) for flag in WaitFlag)
            over = Signal()
            m.d.comb += [
                over.eq((self.unfinished > waiting.loads)
                        | (((waiting.flags & WaitFlag.STORES) != 0) & self.spill_busy)),
                self.waiting_memory.eq(over),
            ]
            with m.If(((waiting.flags & ~known & 0xFF) != 0) | (waiting.reserved != 0)):
                self._fail(m, wait, ErrorCode.FIELD)
            with m.Elif(~over):
                m.next = "FETCH"
            self._watch_abort(m, wait)

        with m.State("END"):
            m.d.comb += self.waiting_memory.eq(1)
            with m.If(~self.transfers_busy):
                m.d.comb += [self.waiting_memory.eq(0), self.done.eq(~self.abort)]
                m.d.sync += self.busy.eq(0)
                m.next = "IDLE"
            self._watch_abort(m, wait)
