"""Program control: fetch, check and run instructions; stop on errors."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    INSTRUCTION,
    INSTRUCTION_WORDS,
    MOVE_INSTRUCTION,
    ErrorCode,
    LayerFlag,
    MoveFlag,
    Opcode,
)
from smartdeal.hw.layouts import layout_of
from smartdeal.hw.table import TableInterface, TablePort
from smartdeal.hw.timing import FLUSH_CYCLES

__all__ = ["ERROR_BITS", "ProgramControl", "instruction_layout"]

#: Bits of an error code.
ERROR_BITS = max(ErrorCode).bit_length()

instruction_layout = layout_of(INSTRUCTION)


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
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config

        m.submodules.program = memory = Memory(shape=32, depth=config.program_words, init=[])
        write, read = memory.write_port(), memory.read_port()
        pointer = Signal.like(self.address)
        m.d.comb += [
            write.en.eq(self.program_write.en),
            write.addr.eq(self.program_write.addr),
            write.data.eq(self.program_write.data),
            read.addr.eq(pointer),
            read.en.eq(1),
        ]

        fetched = Signal(range(INSTRUCTION_WORDS + 1))
        opcode  = read.data[:8]
        wait    = Signal(range(max(FLUSH_CYCLES, config.drain_lanes + 1) + 1))

        with m.FSM(name="control") as fsm:
            with m.State("IDLE"):
                m.d.sync += [pointer.eq(0), fetched.eq(0)]
                with m.If(self.start):
                    m.next = "FETCH"

            with m.State("FETCH"):
                # The memory answers a cycle later: word fetched-1 is at its output.
                m.d.sync += [pointer.eq(pointer + 1), fetched.eq(fetched + 1)]
                with m.If(fetched == 0):
                    m.d.sync += self.address.eq(pointer)
                with m.Else():
                    m.d.sync += self.instruction.eq(
                        Cat(self.instruction.as_value()[32:], read.data))
                with m.If((fetched == 1) & (opcode == Opcode.END)):
                    m.d.comb += self.done.eq(~self.abort)
                    m.next = "IDLE"
                with m.Elif((fetched == 1) & (opcode != Opcode.LAYER) & (opcode != Opcode.MOVE)):
                    self._fail(m, wait, ErrorCode.OPCODE)
                with m.Elif(fetched == INSTRUCTION_WORDS):
                    m.d.sync += pointer.eq(pointer)
                    m.next = "CHECK"
                with m.Elif(pointer >= config.program_words):
                    self._fail(m, wait, ErrorCode.PROGRAM_RANGE)
                self._watch_abort(m, wait)

            with m.State("CHECK"):
                m.d.sync += [fetched.eq(0), wait.eq(config.drain_lanes)]
                with m.If(self._field_wrong()):
                    self._fail(m, wait, ErrorCode.FIELD)
                with m.Elif(self._feature_missing()):
                    self._fail(m, wait, ErrorCode.FEATURE)
                with m.Elif(self.instruction.opcode == Opcode.MOVE):
                    m.d.comb += self.move.eq(1)
                    m.next = "MOVE"
                with m.Else():
                    m.d.comb += self.prepare.eq(1)
                    m.next = "PREPARE"
                self._watch_abort(m, wait)

            with m.State("PREPARE"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.d.comb += self.run.eq(1)
                    m.next = "RUN"
                self._watch_abort(m, wait)

            with m.State("RUN"):
                m.d.sync += wait.eq(FLUSH_CYCLES)
                with m.If(~self.issue_active & ~self.readout_busy):
                    m.next = "FLUSH"
                self._watch_addresses(m, wait)
                self._watch_abort(m, wait)

            with m.State("MOVE"):
                m.d.sync += wait.eq(FLUSH_CYCLES)
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
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.d.comb += self.failed.eq(1)
                    m.next = "IDLE"

        m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
        return m

    def _fail(self, m, wait, code):
        m.d.sync += [self.error.eq(code), wait.eq(FLUSH_CYCLES)]
        m.next = "STOP"

    def _watch_addresses(self, m, wait):
        with m.If(self.step_error):
            self._fail(m, wait, ErrorCode.STEP_RANGE)
        with m.Elif(self.activation_error):
            self._fail(m, wait, ErrorCode.ACTIVATION_RANGE)
        with m.Elif(self.table_error):
            self._fail(m, wait, ErrorCode.TABLE_RANGE)

    def _watch_abort(self, m, wait):
        with m.If(self.abort):
            self._fail(m, wait, ErrorCode.ABORTED)

    def _field_wrong(self):
        return Mux(self.instruction.opcode == Opcode.MOVE, self._move_wrong(), self._layer_wrong())

    def _move_wrong(self):
        i = data.View(layout_of(MOVE_INSTRUCTION), self.instruction)
        known = sum(int(flag) for flag in MoveFlag)
        lanes = ("source", "source_row", "source_channel", "target", "target_row",
                 "target_channel")
        wrong = (
            ((i.flags & ~known & 0xFF) != 0) | _both(i.flags, MoveFlag.FILL, MoveFlag.DECIMATE)
            | (i.channels == 0) | (i.rows == 0) | (i.columns == 0)
        )
        for name in lanes:
            wrong |= i[f"{name}_lane"] >= self.config.cols
        for index in range(9):
            wrong |= i[f"reserved_{index}"] != 0
        return wrong

    def _layer_wrong(self):
        i = self.instruction
        flags = i.flags
        known = sum(int(flag) for flag in LayerFlag)
        return (
            (i.reserved_0 != 0) | (i.reserved_1 != 0) | (i.reserved_2 != 0)
            | ((flags & ~known & 0xFF) != 0)
            | _both(flags, LayerFlag.MAX_POOL, LayerFlag.BASIS)
            | _both(flags, LayerFlag.REDUCE, LayerFlag.RESIDUAL)
            | (i.slices == 0) | (i.slices > self.config.max_slices)
            | (i.tiles == 0) | (i.channels == 0) | (i.pitch == 0)
            | (i.width > i.pitch) | (i.column_step >= i.pitch) | (i.start_column >= i.pitch)
            | (i.residual_lane >= self.config.cols)
        )

    def _feature_missing(self):
        present = {
            LayerFlag.MAX_POOL: self.config.max_pool,
            LayerFlag.BASIS:    self.config.basis,
            LayerFlag.RESIDUAL: self.config.residual,
            LayerFlag.REDUCE:   self.config.reduce,
        }
        missing = sum(int(flag) for flag, there in present.items() if not there)
        is_move = self.instruction.opcode == Opcode.MOVE
        return Mux(is_move, not self.config.move, (self.instruction.flags & missing) != 0)


def _both(flags, one, other):
    return (flags & (one | other)) == (one | other)
