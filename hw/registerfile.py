"""The register file: control, status and counters for the host."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ERROR_BITS, ErrorCode
from smartdeal.hw.registers import (
    HARDWARE_ID,
    HARDWARE_VERSION,
    Control,
    Register,
    Status,
)

__all__ = ["ADDRESS_BITS", "RegisterBus", "RegisterBusInterface",
           "RegisterFile"]

#: Bits of a register's byte address.
ADDRESS_BITS = 8


class RegisterBus(wiring.Signature):
    """A small register bus, from the host's side.

    A transfer happens in a cycle with ``valid`` and ``ready``; ``read_data`` belongs to it. The
    host holds ``valid``, ``write``, ``address`` and ``write_data`` until then.
    """

    def __init__(self):
        super().__init__({
            "valid":      Out(1),
            "write":      Out(1),
            "address":    Out(ADDRESS_BITS),
            "write_data": Out(32),
            "ready":      In(1),
            "read_data":  In(32),
        })

    def __eq__(self, other):
        return isinstance(other, RegisterBus)

    def __repr__(self):
        return "RegisterBus()"

    def create(self, *, path=None, src_loc_at=0):
        return RegisterBusInterface(self, path=path, src_loc_at=1 + src_loc_at)


class RegisterBusInterface(wiring.PureInterface):
    """The signals of a :class:`RegisterBus`."""

    valid:      Signal
    write:      Signal
    address:    Signal
    write_data: Signal
    ready:      Signal
    read_data:  Signal


class RegisterFile(wiring.Component):
    """Registers as in :mod:`smartdeal.hw.registers`; unknown addresses read as 0.

    Timing: every transfer takes three cycles.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    bus : In(RegisterBus)
    start, clear, read_start : Out(1)
        Pulses: the host's commands, those that were accepted.
    starting : Out(1)
        ``start`` comes in the next cycle.
    read_address, read_count : Out(range(activation_words + 1))
        What is larger than the buffer is kept as all ones.
    refuse : In(ErrorCode)
        The error of a start, but for one while ``running``; NONE if it is to be accepted. Only
        with ``config.memory``.
    running : In(1)
    done : In(1)
        Pulse: a program has ended.
    program_failed, program_error : In
    load_failed, load_error : In
    program_valid, loading, reading : In(1)
    instruction : In(32)
    busy_step, stall_drain, stall_residual, move, stall_memory : In(1)
        What the array did in this cycle.
    interrupt : Out(1)
    """

    bus:            RegisterBusInterface
    start:          Signal
    starting:       Signal
    clear:          Signal
    read_start:     Signal
    read_address:   Signal
    read_count:     Signal
    refuse:         Signal
    running:        Signal
    done:           Signal
    program_failed: Signal
    program_error:  Signal
    load_failed:    Signal
    load_error:     Signal
    program_valid:  Signal
    loading:        Signal
    reading:        Signal
    instruction:    Signal
    busy_step:      Signal
    stall_drain:    Signal
    stall_residual: Signal
    move:           Signal
    stall_memory:   Signal
    interrupt:      Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "bus":            In(RegisterBus()),
            "start":          Out(1),
            "starting":       Out(1),
            "clear":          Out(1),
            "read_start":     Out(1),
            "read_address":   Out(range(config.activation_words + 1)),
            "read_count":     Out(range(config.activation_words + 1)),
            **({"refuse": In(ERROR_BITS)} if config.memory else {}),
            "running":        In(1),
            "done":           In(1),
            "program_failed": In(1),
            "program_error":  In(ERROR_BITS),
            "load_failed":    In(1),
            "load_error":     In(ERROR_BITS),
            "program_valid":  In(1),
            "loading":        In(1),
            "reading":        In(1),
            "instruction":    In(32),
            "busy_step":      In(1),
            "stall_drain":    In(1),
            "stall_residual": In(1),
            "move":           In(1),
            "stall_memory":   In(1),
            "interrupt":      Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        bus, config = self.bus, self.config

        error  = Signal(ERROR_BITS)
        done   = Signal()
        enable = Signal()
        status = Cat(self.running, done, error != 0, self.program_valid, self.loading, self.reading)
        assert len(status) == max(Status).bit_length()
        counters = self._counters(m)
        geometry = (config.rows | config.cols << 8 | config.drain_lanes << 16
                    | config.host_bits // 8 << 24)
        readable = {
            Register.ID:           HARDWARE_ID,
            Register.VERSION:      HARDWARE_VERSION,
            Register.FINGERPRINT:  config.fingerprint,
            Register.GEOMETRY:     geometry,
            Register.STATUS:       status,
            Register.ERROR:        error,
            Register.INSTRUCTION:  self.instruction,
            Register.INTERRUPT:    enable,
            Register.READ_ADDRESS: self.read_address,
            Register.READ_COUNT:   self.read_count,
        }
        for register, counter in counters.items():
            readable[register] = counter[:32]
            readable[register + 4] = counter[32:]

        # Two cycles of waiting: a transfer that begins after the last beat of an image was taken
        # already sees what the loader found.
        write       = Signal()
        wants_write = Signal()
        waited      = Signal(2)
        m.d.comb += write.eq(bus.ready & wants_write)
        m.d.sync += [
            waited.eq(Mux(bus.ready, 0, Cat(bus.valid, waited[0]))),
            bus.ready.eq(bus.valid & waited[1] & ~bus.ready),
        ]
        with m.Switch(bus.address):
            for register, value in readable.items():
                with m.Case(int(register)):
                    m.d.sync += bus.read_data.eq(value)
            with m.Default():
                m.d.sync += bus.read_data.eq(0)

        # While a transfer waits, what it wants is taken into registers. Addresses and counts of
        # words are cut to what the buffer has.
        address = Signal.like(bus.address)
        value   = Signal.like(bus.write_data)
        written = Signal.like(self.read_address)
        outside = Signal()
        beyond  = bus.write_data[len(written):] != 0
        m.d.sync += [
            wants_write.eq(bus.valid & bus.write),
            address.eq(bus.address),
            value.eq(bus.write_data),
            written.eq(bus.write_data | beyond.replicate(len(written))),
            outside.eq(beyond | (self.read_address + bus.write_data[:len(written)]
                                 > config.activation_words)),
        ]

        control = Signal(max(Control).bit_length())
        with m.If(write):
            with m.Switch(address):
                with m.Case(int(Register.CONTROL)):
                    m.d.comb += control.eq(value)
                with m.Case(int(Register.INTERRUPT)):
                    m.d.sync += enable.eq(value[0])
                with m.Case(int(Register.READ_ADDRESS)):
                    m.d.sync += self.read_address.eq(written)
                with m.Case(int(Register.READ_COUNT)):
                    m.d.sync += self.read_count.eq(written)
                    with m.If(outside):
                        m.d.sync += error.eq(ErrorCode.ACTIVATION_RANGE)
                    with m.Else():
                        m.d.sync += self.read_start.eq(1)
        with m.If(self.read_start):
            m.d.sync += self.read_start.eq(0)

        # Both go everywhere, so they come from registers.
        wants_start = (control & Control.START) != 0
        wants_clear = (control & Control.CLEAR) != 0
        m.d.sync += [self.start.eq(self.starting), self.clear.eq(wants_clear)]
        with m.If(wants_start & ~wants_clear & self.running):
            m.d.sync += error.eq(ErrorCode.BUSY)
        with m.Elif(wants_start & ~wants_clear):
            m.d.sync += done.eq(0)
            with m.If(self.loading):
                m.d.sync += error.eq(ErrorCode.INCOMPLETE)
            with m.Elif(~self.program_valid):
                m.d.sync += error.eq(ErrorCode.NO_PROGRAM)
            with m.Else():
                m.d.comb += self.starting.eq(1)
                m.d.sync += error.eq(ErrorCode.NONE)
            if config.memory:
                with m.If(self.refuse != ErrorCode.NONE):
                    m.d.comb += self.starting.eq(0)
                    m.d.sync += error.eq(self.refuse)

        with m.If(self.done):
            m.d.sync += done.eq(1)
        with m.If(self.load_failed):
            m.d.sync += error.eq(self.load_error)
        with m.If(self.program_failed):
            m.d.sync += error.eq(self.program_error)
        with m.If((wants_clear | self.clear) & ~self.running):
            m.d.sync += [done.eq(0), error.eq(ErrorCode.NONE)]
        m.d.comb += self.interrupt.eq(enable & (done | (error != 0)))
        return m

    def _counters(self, m):
        """Count cycles of the running program by what they were spent on."""
        overhead = ~(self.busy_step | self.stall_drain | self.stall_residual | self.move
                     | self.stall_memory)
        events = {
            Register.CYCLES:      1,
            Register.BUSY:        self.busy_step,
            Register.STALL_DRAIN: self.stall_drain,
            Register.OVERHEAD:    overhead,
        }
        # A register that is not there reads as 0, as its counter would.
        if self.config.residual:
            events[Register.STALL_RESIDUAL] = self.stall_residual
        if self.config.move:
            events[Register.MOVE] = self.move
        if self.config.memory:
            events[Register.STALL_MEMORY] = self.stall_memory
        counters = {}
        for register, event in events.items():
            counter  = Signal(self.config.counter_bits, name=register.name.lower())
            happened = Signal(name=f"{register.name.lower()}_happened")
            m.d.sync += happened.eq(self.running & ~self.start & event)
            with m.If(happened):
                m.d.sync += counter.eq(counter + 1)
            with m.If(self.start):
                m.d.sync += counter.eq(0)
            counters[register] = counter
        return counters
