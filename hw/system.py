"""The accelerator in a system: AXI4-Lite slave for control, AXI4 master for data."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from smartdeal.hw.accelerator import Accelerator
from smartdeal.hw.axi import Axi4, Axi4Interface, AxiLite, AxiLiteInterface
from smartdeal.hw.axilite import CONTROL_ADDRESS_BITS, AxiLiteBridge
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.dma import CACHE, INCREMENTING, PROTECTION, MemoryReader, MemoryWriter
from smartdeal.hw.isa import ERROR_BITS, ErrorCode, SectionKind, section_format
from smartdeal.hw.registerfile import RegisterBus, RegisterBusInterface
from smartdeal.hw.registers import Control, DmaError, DmaRegister, DmaStatus, Register

__all__ = ["AxiSystem", "DmaRegisterFile"]


class DmaRegisterFile(wiring.Component):
    """Registers of the DMA; every other register is the accelerator's.

    A write of READ_COUNT, which makes the accelerator send words, starts the store here.

    Parameters
    ----------
    beat_bytes, address_bits : int
    memory : bool
        Whether programs use the DMA too: then the host's transfers and a program exclude each
        other, and whichever comes second is refused with BUSY.

    Members
    -------
    host : In(RegisterBus)
    core : Out(RegisterBus)
    load_start, clear : Out(1)
    load_address, store_address : Out(64)
    load_bytes, store_words : Out(32)
    loading, storing : In(1)
    load_failed, store_failed : In(1)
    interrupt : Out(1)
    running : In(1)
        A program runs; only with ``memory``, as the rest.
    refuse : Out(ErrorCode)
        The error of a start, which the core reports as well; NONE if it may be.
    memory_base : Out(64)
    memory_bytes : Out(32)
    """

    host:          RegisterBusInterface
    core:          RegisterBusInterface
    load_start:    Signal
    clear:         Signal
    load_address:  Signal
    store_address: Signal
    load_bytes:    Signal
    store_words:   Signal
    loading:       Signal
    storing:       Signal
    load_failed:   Signal
    store_failed:  Signal
    interrupt:     Signal
    running:       Signal
    refuse:        Signal
    memory_base:   Signal
    memory_bytes:  Signal

    def __init__(self, *, beat_bytes: int, address_bits: int, memory: bool):
        self.beat_bytes   = beat_bytes
        self.address_bits = address_bits
        self.memory       = memory
        super().__init__({
            "host":          In(RegisterBus()),
            "core":          Out(RegisterBus()),
            "load_start":    Out(1),
            "clear":         Out(1),
            "load_address":  Out(64),
            "store_address": Out(64),
            "load_bytes":    Out(32),
            "store_words":   Out(32),
            "loading":       In(1),
            "storing":       In(1),
            "load_failed":   In(1),
            "store_failed":  In(1),
            "interrupt":     Out(1),
            **({
                "running":      In(1),
                "refuse":       Out(ERROR_BITS),
                "memory_base":  Out(64),
                "memory_bytes": Out(32),
            } if memory else {}),
        })

    def elaborate(self, platform):
        m = Module()
        host, core = self.host, self.core
        is_dma  = Signal()
        ready   = Signal()
        refused = Signal()
        data    = Signal(32)
        m.d.comb += [
            is_dma.eq(host.address[-1]),
            core.valid.eq(host.valid & ~is_dma & ~refused),
            core.write.eq(host.write),
            core.address.eq(host.address),
            core.write_data.eq(host.write_data),
            host.ready.eq(Mux(is_dma | refused, ready, core.ready)),
            host.read_data.eq(Mux(is_dma, data, core.read_data)),
        ]
        m.d.sync += ready.eq(host.valid & (is_dma | refused) & ~ready)

        error  = Signal(max(DmaError).bit_length())
        enable = Signal()
        load_done   = Signal()
        store_done  = Signal()
        was_loading = Signal()
        was_storing = Signal()
        cut_off     = Signal()
        status = Cat(self.loading, self.storing, load_done, store_done)
        assert len(status) == max(DmaStatus).bit_length()
        writable = {
            DmaRegister.LOAD_ADDRESS:       self.load_address[:32],
            DmaRegister.LOAD_ADDRESS_HIGH:  self.load_address[32:],
            DmaRegister.STORE_ADDRESS:      self.store_address[:32],
            DmaRegister.STORE_ADDRESS_HIGH: self.store_address[32:],
            DmaRegister.DMA_INTERRUPT:      enable,
        }
        if self.memory:
            writable |= {
                DmaRegister.MEMORY_BASE:      self.memory_base[:32],
                DmaRegister.MEMORY_BASE_HIGH: self.memory_base[32:],
                DmaRegister.MEMORY_BYTES:     self.memory_bytes,
            }
        with m.Switch(host.address):
            for register, value in {
                **writable,
                DmaRegister.LOAD_BYTES: self.load_bytes,
                DmaRegister.DMA_STATUS: status,
                DmaRegister.DMA_ERROR:  error,
            }.items():
                with m.Case(int(register)):
                    m.d.sync += data.eq(value)
            with m.Default():
                m.d.sync += data.eq(0)

        # A store that cannot be started must not make the accelerator send words.
        misplaced = Signal()
        occupied  = Signal()  # a program uses the bus
        if self.memory:
            m.d.comb += occupied.eq(self.running)
            self._refuse(m)
        m.d.comb += [
            misplaced.eq(self._misplaced(self.store_address, host.write_data)),
            refused.eq(host.write & (host.address == int(Register.READ_COUNT))
                       & (self.storing | occupied | misplaced)),
        ]
        write = host.valid & host.ready & host.write
        with m.If(write):
            with m.Switch(host.address):
                for register, target in writable.items():
                    with m.Case(int(register)):
                        with m.If(occupied & register.name.startswith("MEMORY")):
                            m.d.sync += error.eq(DmaError.BUSY)
                        with m.Else():
                            m.d.sync += target.eq(host.write_data)
                with m.Case(int(DmaRegister.LOAD_BYTES)):
                    self._start_load(m, error, load_done, occupied)
                with m.Case(int(Register.READ_COUNT)):
                    with m.If(self.storing | occupied):
                        m.d.sync += error.eq(DmaError.BUSY)
                    with m.Elif(misplaced):
                        m.d.sync += error.eq(DmaError.ADDRESS)
                    with m.Else():
                        m.d.sync += [self.store_words.eq(host.write_data), store_done.eq(0)]
                with m.Case(int(Register.CONTROL)):
                    m.d.comb += self.clear.eq((host.write_data & Control.CLEAR) != 0)
                    if self.memory:
                        self._check_start(m, error)
        m.d.sync += [was_loading.eq(self.loading), was_storing.eq(self.storing)]
        with m.If(was_loading & ~self.loading & ~cut_off):
            m.d.sync += load_done.eq(1)
        with m.If(was_storing & ~self.storing & ~cut_off):
            m.d.sync += store_done.eq(1)
        with m.If(self.load_failed):
            m.d.sync += error.eq(DmaError.READ_RESPONSE)
        with m.If(self.store_failed):
            m.d.sync += error.eq(DmaError.WRITE_RESPONSE)
        with m.If(self.clear):
            # A transfer that is cut off here ends without being done.
            m.d.sync += [
                error.eq(DmaError.NONE), load_done.eq(0), store_done.eq(0),
                was_loading.eq(0), was_storing.eq(0), cut_off.eq(1),
            ]
        with m.Elif(~self.loading & ~self.storing):
            m.d.sync += cut_off.eq(0)
        m.d.comb += self.interrupt.eq(enable & (load_done | store_done | (error != 0)))
        return m

    def _misplaced(self, address, length):
        return (((address & (self.beat_bytes - 1)) != 0) | (address[self.address_bits:] != 0)
                | (length == 0))

    def _refuse(self, m):
        """Refuse a program while the host's transfers go on, or on a region that cannot be.

        It would wait for a bus which waits for the program's end, or reach other memory.
        """
        end = self.memory_base + self.memory_bytes
        no_region = Signal()
        m.d.sync += no_region.eq(((self.memory_base & (self.beat_bytes - 1)) != 0)
                                 | (end > 1 << self.address_bits))
        with m.If(self.loading | self.storing):
            m.d.comb += self.refuse.eq(ErrorCode.BUSY)
        with m.Elif(no_region):
            m.d.comb += self.refuse.eq(ErrorCode.MEMORY_RANGE)

    def _check_start(self, m, error):
        """Note why the core will refuse a start; a second start is the core's matter alone."""
        starts = (self.host.write_data & (Control.START | Control.CLEAR)) == Control.START
        with m.If(starts & ~self.running):
            with m.Switch(self.refuse):
                with m.Case(ErrorCode.BUSY):
                    m.d.sync += error.eq(DmaError.BUSY)
                with m.Case(ErrorCode.MEMORY_RANGE):
                    m.d.sync += error.eq(DmaError.ADDRESS)

    def _start_load(self, m, error, load_done, occupied):
        with m.If(self.loading | occupied):
            m.d.sync += error.eq(DmaError.BUSY)
        with m.Elif(self._misplaced(self.load_address, self.host.write_data)
                    | ((self.host.write_data & (self.beat_bytes - 1)) != 0)):
            m.d.sync += error.eq(DmaError.ADDRESS)
        with m.Else():
            m.d.comb += self.load_start.eq(1)
            m.d.sync += [self.load_bytes.eq(self.host.write_data), load_done.eq(0)]


class AxiSystem(wiring.Component):
    """The accelerator behind AXI: images are read from memory, words are written to it.

    The host writes an image's address and size to LOAD_ADDRESS and LOAD_BYTES; what READ_COUNT
    asks for goes to STORE_ADDRESS. The data bus is as wide as the accelerator's streams. With
    ``config.memory`` a program reads and writes its region at MEMORY_BASE by itself.

    Parameters
    ----------
    config : AcceleratorConfig
    address_bits : int
        Of system memory, 32…64.
    burst_beats : int
        Longest burst.
    outstanding : int
        Read bursts that may be on their way.

    Members
    -------
    control : In(AxiLite)
    memory : Out(Axi4)
    interrupt : Out(1)
    """

    control:   AxiLiteInterface
    memory:    Axi4Interface
    interrupt: Signal

    def __init__(self, config: AcceleratorConfig, *, address_bits: int = 32,
                 burst_beats: int = 64, outstanding: int = 4):
        if not 32 <= address_bits <= 64:
            raise ValueError(f"Address width must be 32 to 64 bits, not {address_bits!r}")
        self.config       = config
        self.address_bits = address_bits
        self.burst_beats  = burst_beats
        self.outstanding  = outstanding
        super().__init__({
            "control":   In(AxiLite(address_bits=CONTROL_ADDRESS_BITS)),
            "memory":    Out(Axi4(address_bits=address_bits, data_bits=config.host_bits)),
            "interrupt": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        beat_bytes = config.host_bits // 8
        word_beats = (section_format(SectionKind.ACTIVATIONS, config).unit_bytes(config.host_bits)
                      // beat_bytes)

        m.submodules.accelerator = core = Accelerator(config)
        m.submodules.bridge    = bridge    = AxiLiteBridge()
        m.submodules.registers = registers = DmaRegisterFile(
            beat_bytes=beat_bytes, address_bits=self.address_bits, memory=config.memory)
        m.submodules.reader    = reader    = MemoryReader(
            address_bits=self.address_bits, data_bits=config.host_bits,
            burst_beats=self.burst_beats, outstanding=self.outstanding)
        m.submodules.writer    = writer    = MemoryWriter(
            address_bits=self.address_bits, data_bits=config.host_bits,
            burst_beats=self.burst_beats)

        was_reading = Signal()
        m.d.sync += was_reading.eq(core.reading)
        wiring.connect(m, host=wiring.flipped(self.control), bridge=bridge.axi)
        wiring.connect(m, bridge=bridge.bus, registers=registers.host)
        wiring.connect(m, registers=registers.core, accelerator=core.bus)
        wiring.connect(m, accelerator=core.store, writer=writer.i)
        m.d.comb += [
            core.load.valid.eq(reader.o.valid),
            core.load.payload.eq(reader.o.payload),
            reader.o.ready.eq(core.load.ready),
            # Nothing new is asked for while the stream does not move: beats would park on the bus.
            reader.hold.eq(~core.load.ready),
            reader.start.eq(registers.load_start),
            reader.address.eq(registers.load_address),
            reader.beats.eq(registers.host.write_data >> (beat_bytes.bit_length() - 1)),
            reader.cancel.eq(registers.clear),
            # When the accelerator has begun to read: it refuses a range outside the buffer.
            writer.start.eq(core.reading & ~was_reading),
            writer.address.eq(registers.store_address),
            writer.beats.eq(registers.store_words * word_beats),
            writer.cancel.eq(registers.clear),
            registers.loading.eq(reader.busy),
            registers.storing.eq(writer.busy | core.reading),
            registers.load_failed.eq(reader.failed),
            registers.store_failed.eq(writer.failed),
            self.interrupt.eq(core.interrupt | registers.interrupt),
        ]
        if config.memory:
            self._program(m, core, registers, reader, writer)
        self._bus(m, reader, writer, beat_bytes)
        return m

    def _program(self, m, core, registers, reader, writer):
        """Give reader and writer to the program while it runs."""
        port = core.memory
        m.d.comb += [
            registers.running.eq(port.running),
            registers.loading.eq(reader.busy & ~port.running),
            registers.storing.eq((writer.busy | core.reading) & ~port.running),
            registers.load_failed.eq(reader.failed & ~port.running),
            registers.store_failed.eq(writer.failed & ~port.running),
            port.size.eq(registers.memory_bytes),
            port.refuse.eq(registers.refuse),
            port.fetch_busy.eq(reader.busy),
            port.fetch_failed.eq(reader.failed),
            port.spill_sending.eq(writer.sending),
            port.spill_busy.eq(writer.busy),
            port.spill_failed.eq(writer.failed),
            reader.cancel.eq(registers.clear | port.cancel),
            writer.cancel.eq(registers.clear | port.cancel),
        ]
        with m.If(port.running):
            m.d.comb += [
                core.load.valid.eq(0),
                port.fetch.valid.eq(reader.o.valid),
                port.fetch.payload.eq(reader.o.payload),
                reader.o.ready.eq(port.fetch.ready),
                reader.hold.eq(0),
                port.fetch_request.ready.eq(reader.ready),
                reader.start.eq(port.fetch_request.valid & reader.ready),
                reader.address.eq(registers.memory_base + port.fetch_request.p.offset),
                reader.beats.eq(port.fetch_request.p.beats),
                writer.start.eq(port.spill_start),
                writer.address.eq(registers.memory_base + port.spill_range.offset),
                writer.beats.eq(port.spill_range.beats),
            ]

    def _bus(self, m, reader, writer, beat_bytes):
        memory = self.memory
        for name in ("araddr", "arlen", "arvalid", "rready"):
            m.d.comb += getattr(memory, name).eq(getattr(reader, name))
        for name in ("arready", "rdata", "rresp", "rlast", "rvalid"):
            m.d.comb += getattr(reader, name).eq(getattr(memory, name))
        for name in ("awaddr", "awlen", "awvalid", "wdata", "wstrb", "wlast", "wvalid", "bready"):
            m.d.comb += getattr(memory, name).eq(getattr(writer, name))
        for name in ("awready", "wready", "bresp", "bvalid"):
            m.d.comb += getattr(writer, name).eq(getattr(memory, name))
        for channel in ("ar", "aw"):
            m.d.comb += [
                getattr(memory, f"{channel}size").eq(beat_bytes.bit_length() - 1),
                getattr(memory, f"{channel}burst").eq(INCREMENTING),
                getattr(memory, f"{channel}cache").eq(CACHE),
                getattr(memory, f"{channel}prot").eq(PROTECTION),
            ]
