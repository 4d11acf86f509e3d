"""The loader: checks images from the load stream and writes them to the memories."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.crc import Crc32
from smartdeal.hw.isa import (
    BLOCK_BYTES,
    ERROR_BITS,
    IMAGE_FLAG_PROGRAM,
    IMAGE_MAGIC,
    IMAGE_VERSION,
    ErrorCode,
    SectionKind,
    section_capacity,
    section_format,
)

__all__ = ["LOADED_KINDS", "Loader"]

#: Sections that fill a memory.
LOADED_KINDS = tuple(kind for kind in SectionKind if kind is not SectionKind.END)

_block_layout = data.StructLayout({"words": data.ArrayLayout(32, BLOCK_BYTES // 4)})


class Loader(wiring.Component):
    """Parse images (docs/execution.md): header, sections, trailer with CRC-32.

    A program image takes effect (``program_valid``) when its checksum was found right. After an
    error everything is swallowed until ``clear``.

    Timing: one beat per cycle, but for one cycle after each header, section header and trailer.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    i : In(stream.Signature(host_bits))
    hold : In(1)
        A program is running: take nothing.
    clear : In(1)
        Abandon the image in progress, or the error; nothing is taken then.
    program_valid : Out(1)
    ongoing : Out(1)
        Inside an image, or after a failed one.
    failed : Out(1)
        Pulse: the image was refused for ``error``.
    error : Out
    unit : Out
        The unit last taken; :meth:`unit_of` says which bits.
    address : Out
    write : Out(one bit per kind of LOADED_KINDS)
        The unit goes to this memory.
    """

    i:             stream.Interface
    hold:          Signal
    clear:         Signal
    program_valid: Signal
    ongoing:       Signal
    failed:        Signal
    error:         Signal
    unit:          Signal
    address:       Signal
    write:         Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.unit_beats = {kind: section_format(kind, config).unit_bytes(config.host_bits)
                           * 8 // config.host_bits for kind in LOADED_KINDS}
        self.block_beats = max(1, BLOCK_BYTES * 8 // config.host_bits)
        self.unit_bits = max(*self.unit_beats.values(), self.block_beats) * config.host_bits
        super().__init__({
            "i":             In(stream.Signature(config.host_bits)),
            "hold":          In(1),
            "clear":         In(1),
            "program_valid": Out(1),
            "ongoing":       Out(1),
            "failed":        Out(1),
            "error":         Out(ERROR_BITS),
            "unit":          Out(self.unit_bits),
            "address":       Out(32),
            "write":         Out(len(LOADED_KINDS)),
        })

    def unit_of(self, kind: SectionKind) -> Value:
        """Return the bits of ``unit`` that hold a word of a kind: units fill it from the top."""
        start = self.unit_bits - self.unit_beats[kind] * self.config.host_bits
        return self.unit[start:start + section_format(kind, self.config).bits]

    def elaborate(self, platform):
        m = Module()
        config = self.config
        first_beat = self.block_beats - 1

        # Beats of a block or a unit are shifted in from the top.
        beats_left = Signal(range(self.unit_bits // config.host_bits), init=first_beat)
        taken       = Signal()
        complete    = Signal()
        block_start = Signal()
        m.d.comb += [
            taken.eq(self.i.valid & self.i.ready),
            complete.eq(taken & (beats_left == 0)),
            block_start.eq(beats_left == first_beat),
        ]
        with m.If(taken):
            m.d.sync += [
                self.unit.eq(Cat(self.unit[config.host_bits:], self.i.payload)),
                beats_left.eq(beats_left - 1),
            ]

        # The block is checked while its last beat is taken: the verdict is there with it.
        block, coming = Signal(_block_layout), Signal(_block_layout)
        block_bits = self.block_beats * config.host_bits
        m.d.comb += [
            block.eq(self.unit[self.unit_bits - block_bits:]),
            coming.eq(Cat(self.unit, self.i.payload)[-block_bits:]),
        ]

        m.submodules.crc = check = Crc32(config.host_bits)
        crc_before_block = Signal(32)
        m.d.comb += [check.data.eq(self.i.payload), check.valid.eq(taken)]
        with m.If(taken & block_start):
            m.d.sync += crc_before_block.eq(check.crc)

        is_program = Signal()
        header_verdict  = Signal(ERROR_BITS)
        section_verdict = Signal(ERROR_BITS)
        m.d.sync += [
            header_verdict.eq(self._header_verdict(m, coming)),
            section_verdict.eq(self._section_verdict(
                m, coming, is_program, Mux(block_start, check.crc, crc_before_block))),
        ]
        kind       = Signal(8)
        units_left = Signal(32)
        with m.FSM(name="loader") as fsm:
            with m.State("HEADER"):
                m.d.comb += [
                    self.i.ready.eq(~self.hold & ~self.clear),
                    # An offered beat counts: what is about to be taken is no reason to start.
                    self.ongoing.eq(~block_start | (self.i.valid & ~self.hold)),
                    check.start.eq(taken & block_start),
                ]
                self._take_block(m, complete, beats_left, "CHECK_HEADER")
                self._watch_clear(m, beats_left)

            with m.State("CHECK_HEADER"):
                m.d.comb += self.ongoing.eq(1)
                flags = block.words[1][16:]
                m.d.sync += is_program.eq((flags & IMAGE_FLAG_PROGRAM) != 0)
                with m.If((flags & IMAGE_FLAG_PROGRAM) != 0):
                    m.d.sync += self.program_valid.eq(0)
                m.next = "SECTION"
                self._refuse(m, header_verdict)
                self._watch_clear(m, beats_left)

            with m.State("SECTION"):
                m.d.comb += [self.ongoing.eq(1), self.i.ready.eq(~self.clear)]
                self._take_block(m, complete, beats_left, "CHECK_SECTION")
                self._watch_clear(m, beats_left)

            with m.State("CHECK_SECTION"):
                m.d.comb += self.ongoing.eq(1)
                m.d.sync += [
                    kind.eq(block.words[0]),
                    self.address.eq(block.words[1]),
                    units_left.eq(block.words[2]),
                ]
                self._begin_section(m, block, is_program, beats_left)
                self._refuse(m, section_verdict)
                self._watch_clear(m, beats_left)

            with m.State("UNITS"):
                m.d.comb += [self.ongoing.eq(1), self.i.ready.eq(~self.clear)]
                with m.If(complete):
                    m.d.sync += units_left.eq(units_left - 1)
                    for kind_ in LOADED_KINDS:
                        with m.If(kind == kind_):
                            m.d.sync += beats_left.eq(self.unit_beats[kind_] - 1)
                    with m.If(units_left == 1):
                        m.d.sync += beats_left.eq(first_beat)
                        m.next = "SECTION"
                self._watch_clear(m, beats_left)

            with m.State("FAILED"):
                m.d.comb += [self.ongoing.eq(1), self.i.ready.eq(~self.clear)]
                self._watch_clear(m, beats_left)

        # A unit is complete in the cycle after its last beat.
        written = Signal()
        m.d.sync += written.eq(fsm.ongoing("UNITS") & complete)
        with m.If(written):
            m.d.sync += self.address.eq(self.address + 1)
            for index, kind_ in enumerate(LOADED_KINDS):
                m.d.comb += self.write[index].eq(kind == kind_)
        return m

    def _header_verdict(self, m, block):
        verdict = Signal(ERROR_BITS, name="header_verdict_next")
        with m.If(block.words[0] != IMAGE_MAGIC):
            m.d.comb += verdict.eq(ErrorCode.MAGIC)
        with m.Elif(block.words[1][:16] != IMAGE_VERSION):
            m.d.comb += verdict.eq(ErrorCode.VERSION)
        with m.Elif(block.words[2] != self.config.fingerprint):
            m.d.comb += verdict.eq(ErrorCode.FINGERPRINT)
        return verdict

    def _section_verdict(self, m, block, is_program, crc):
        verdict = Signal(ERROR_BITS, name="section_verdict_next")
        kind, address, units = (block.words[index] for index in range(3))
        capacities = {kind_: section_capacity(kind_, self.config) for kind_ in LOADED_KINDS}
        # No memory is so deep that more bits than these could be right.
        bits = max(capacities.values()).bit_length()
        far  = (address | units) >> bits != 0
        end  = Signal(bits + 1)
        m.d.comb += end.eq(address[:bits] + units[:bits])
        with m.Switch(kind):
            with m.Case(SectionKind.END):
                with m.If(address != crc):
                    m.d.comb += verdict.eq(ErrorCode.CHECKSUM)
            for kind_, capacity in capacities.items():
                with m.Case(kind_):
                    allowed = is_program | (kind_ is SectionKind.ACTIVATIONS)
                    with m.If(~allowed):
                        m.d.comb += verdict.eq(ErrorCode.SECTION)
                    with m.Elif(far | (end > capacity)):
                        m.d.comb += verdict.eq(ErrorCode.SECTION_RANGE)
            with m.Default():
                m.d.comb += verdict.eq(ErrorCode.SECTION)
        return verdict

    def _begin_section(self, m, block, is_program, beats_left):
        """Go on after a section's header that was found right."""
        kind = block.words[0][:8]
        with m.If(kind == SectionKind.END):
            m.next = "HEADER"
            with m.If(is_program & ~self.failed):
                m.d.sync += self.program_valid.eq(1)
        with m.Elif(block.words[2] == 0):
            m.next = "SECTION"
        with m.Else():
            for kind_ in LOADED_KINDS:
                with m.If(kind == kind_):
                    m.d.sync += beats_left.eq(self.unit_beats[kind_] - 1)
            m.next = "UNITS"

    def _refuse(self, m, verdict):
        with m.If(verdict != ErrorCode.NONE):
            m.d.comb += [self.failed.eq(1), self.error.eq(verdict)]
            m.next = "FAILED"

    def _take_block(self, m, complete, beats_left, then):
        with m.If(complete):
            m.d.sync += beats_left.eq(self.block_beats - 1)
            m.next = then

    def _watch_clear(self, m, beats_left):
        with m.If(self.clear):
            m.d.sync += beats_left.eq(self.block_beats - 1)
            m.next = "HEADER"
