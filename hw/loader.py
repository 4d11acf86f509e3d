"""The loader: checks images from the load stream and writes them to the memories."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.crc import Crc32
from smartdeal.hw.entropy import StepDecoder
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

    Timing: one beat per cycle, or per as many cycles more as its checksum takes, but for one cycle
    after each header and section header, two after a trailer, and a section of coded steps
    (:class:`smartdeal.hw.entropy.StepDecoder`).

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
    step : Out
        A step, decoded or as it stands in its unit; only with ``config.entropy``.
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
    step:          Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.unit_beats = {kind: section_format(kind, config).unit_bytes(config.host_bits)
                           * 8 // config.host_bits for kind in LOADED_KINDS}
        self.block_beats = max(1, BLOCK_BYTES * 8 // config.host_bits)
        self.address_bits = bits_for(max(section_capacity(kind, config) for kind in LOADED_KINDS))
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
            "address":       Out(self.address_bits),
            "write":         Out(len(LOADED_KINDS)),
            **({"step": Out(section_format(SectionKind.STEPS, config).bits)}
               if config.entropy else {}),
        })

    def unit_of(self, kind: SectionKind) -> Value:
        """Return the bits that hold a word of a kind: units fill ``unit`` from the top."""
        if kind is SectionKind.STEPS and self.config.entropy:
            return self.step
        return self._plain(kind)

    def _plain(self, kind: SectionKind) -> Value:
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

        first = Signal()  # beat of an image
        check, checking = self._checksum(m, taken, first)
        # A beat is in the checksum two cycles after it was taken.
        block_begun = Signal()
        crc_before_block = Signal(32)
        m.d.sync += block_begun.eq(taken & block_start)
        with m.If(block_begun):
            m.d.sync += crc_before_block.eq(check.crc)
        differs = Signal()
        m.d.sync += differs.eq(block.words[1] != (check.crc if self.block_beats == 1
                                                  else crc_before_block))

        is_program = Signal()
        header_verdict  = Signal(ERROR_BITS)
        section_verdict = Signal(ERROR_BITS)
        m.d.sync += [
            header_verdict.eq(self._header_verdict(m, coming)),
            section_verdict.eq(self._section_verdict(m, coming, is_program)),
        ]
        into       = Signal(len(LOADED_KINDS))  # which memory the section's units go to
        units_left = Signal(self.address_bits)  # checked before
        decoder = coded_left = None
        if config.entropy:
            decoder, coded_left = self._decoder(m, block, taken)
        with m.FSM(name="loader") as fsm:
            with m.State("HEADER"):
                m.d.comb += [
                    self.i.ready.eq(~self.hold & ~checking & ~self.clear),
                    # An offered beat counts: what is about to be taken is no reason to start.
                    self.ongoing.eq(~block_start | (self.i.valid & ~self.hold)),
                    first.eq(taken & block_start),
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
                m.d.comb += [self.ongoing.eq(1), self.i.ready.eq(~checking & ~self.clear)]
                self._take_block(m, complete, beats_left, "CHECK_SECTION")
                self._watch_clear(m, beats_left)

            with m.State("CHECK_SECTION"):
                m.d.comb += self.ongoing.eq(1)
                m.d.sync += [
                    *(into[index].eq(block.words[0] == kind)
                      for index, kind in enumerate(LOADED_KINDS)),
                    self.address.eq(block.words[1]),
                    units_left.eq(block.words[2]),
                ]
                if decoder is not None:
                    m.d.comb += decoder.start.eq(1)
                self._begin_section(m, block, beats_left)
                self._refuse(m, section_verdict)
                self._watch_clear(m, beats_left)

            with m.State("CHECK_SUM"):
                m.d.comb += self.ongoing.eq(1)
                m.next = "HEADER"
                with m.If(differs):
                    self._fail(m, ErrorCode.CHECKSUM)
                with m.Elif(is_program):
                    m.d.sync += self.program_valid.eq(1)
                self._watch_clear(m, beats_left)

            with m.State("UNITS"):
                m.d.comb += [self.ongoing.eq(1), self.i.ready.eq(~checking & ~self.clear)]
                with m.If(complete):
                    m.d.sync += units_left.eq(units_left - 1)
                    for index, kind in enumerate(LOADED_KINDS):
                        with m.If(into[index]):
                            m.d.sync += beats_left.eq(self.unit_beats[kind] - 1)
                    with m.If(units_left == 1):
                        m.d.sync += beats_left.eq(first_beat)
                        m.next = "SECTION"
                self._watch_clear(m, beats_left)

            if config.entropy:
                self._coded_states(m, decoder, coded_left, beats_left)

            with m.State("FAILED"):
                m.d.comb += [self.ongoing.eq(1), self.i.ready.eq(~checking & ~self.clear)]
                self._watch_clear(m, beats_left)

        # A unit is complete in the cycle after its last beat.
        written = Signal()
        m.d.sync += written.eq(fsm.ongoing("UNITS") & complete)
        with m.If(written):
            m.d.sync += self.address.eq(self.address + 1)
            m.d.comb += self.write.eq(into)
        return m

    def _checksum(self, m, taken, first):
        """Return the checksum, and whether it is not ready for another beat."""
        host_bits = self.config.host_bits
        bits = self.config.checksum_bits or host_bits
        m.submodules.crc = check = Crc32(bits)
        # The beat stays at the top of the unit until the next one is taken.
        left  = Signal(range(host_bits // bits + 1))
        fresh = Signal()
        beat  = self.unit[self.unit_bits - host_bits:]
        with m.If(taken):
            m.d.sync += [left.eq(host_bits // bits), fresh.eq(first)]
        with m.Elif(left != 0):
            m.d.sync += [left.eq(left - 1), fresh.eq(0)]
        with m.Switch(left):
            for place in range(host_bits // bits):
                with m.Case(host_bits // bits - place):
                    m.d.comb += check.data.eq(beat[place * bits:][:bits])
        m.d.comb += [check.valid.eq(left != 0), check.start.eq(fresh)]
        return check, left != 0 if bits < host_bits else Const(0)

    def _header_verdict(self, m, block):
        verdict = Signal(ERROR_BITS, name="header_verdict_next")
        with m.If(block.words[0] != IMAGE_MAGIC):
            m.d.comb += verdict.eq(ErrorCode.MAGIC)
        with m.Elif(block.words[1][:16] != IMAGE_VERSION):
            m.d.comb += verdict.eq(ErrorCode.VERSION)
        with m.Elif(block.words[2] != self.config.fingerprint):
            m.d.comb += verdict.eq(ErrorCode.FINGERPRINT)
        return verdict

    def _section_verdict(self, m, block, is_program):
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
                m.d.comb += verdict.eq(ErrorCode.NONE)  # the checksum is looked at when it is there
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

    def _begin_section(self, m, block, beats_left):
        """Go on after a section's header that was found right."""
        kind = block.words[0][:8]
        with m.If(kind == SectionKind.END):
            m.next = "CHECK_SUM"
        with m.Elif(block.words[2] == 0):
            m.next = "SECTION"
        with m.Else():
            for kind_ in LOADED_KINDS:
                with m.If(kind == kind_):
                    m.d.sync += beats_left.eq(self.unit_beats[kind_] - 1)
            m.next = "UNITS"
            if self.config.entropy:
                with m.If((kind == SectionKind.STEPS) & (block.words[3] != 0)):
                    m.d.sync += beats_left.eq(self.block_beats - 1)
                    m.next = "CODED"

    def _refuse(self, m, verdict):
        with m.If(verdict != ErrorCode.NONE):
            self._fail(m, verdict)

    def _fail(self, m, code):
        m.d.comb += [self.failed.eq(1), self.error.eq(code)]
        m.next = "FAILED"

    def _decoder(self, m, block, taken):
        """Add the decoder; returns it and the beats left of the section of coded steps."""
        m.submodules.decoder = decoder = StepDecoder(self.config)
        coded_left = Signal(32)
        m.d.comb += [
            decoder.count.eq(block.words[2]),
            decoder.i.payload.eq(self.i.payload),
            decoder.exhausted.eq(coded_left == 0),
            self.step.eq(self._plain(SectionKind.STEPS)),
        ]
        with m.If(decoder.start):
            m.d.sync += coded_left.eq(block.words[3])
        with m.Elif(taken):
            m.d.sync += coded_left.eq(coded_left - 1)
        return decoder, coded_left

    def _coded_states(self, m, decoder, coded_left, beats_left):
        """Let the decoder take the beats of a section of coded steps."""
        with m.State("CODED"):
            open_ = (coded_left != 0) & ~self.clear
            m.d.comb += [
                self.ongoing.eq(1),
                self.i.ready.eq(decoder.i.ready & open_),
                decoder.i.valid.eq(self.i.valid & open_),
                self.step.eq(decoder.step),
            ]
            m.d.sync += beats_left.eq(self.block_beats - 1)
            with m.If(decoder.write):
                m.d.comb += self.write[LOADED_KINDS.index(SectionKind.STEPS)].eq(1)
                m.d.sync += self.address.eq(self.address + 1)
            with m.If(decoder.done):
                m.next = "CODED_REST"
            with m.If(decoder.failed):
                self._fail(m, ErrorCode.ENTROPY)
            self._watch_clear(m, beats_left)
        with m.State("CODED_REST"):
            m.d.comb += [self.ongoing.eq(1), self.i.ready.eq((coded_left != 0) & ~self.clear)]
            m.d.sync += beats_left.eq(self.block_beats - 1)
            with m.If(coded_left == 0):
                m.next = "SECTION"
            self._watch_clear(m, beats_left)

    def _take_block(self, m, complete, beats_left, then):
        with m.If(complete):
            m.d.sync += beats_left.eq(self.block_beats - 1)
            m.next = then

    def _watch_clear(self, m, beats_left):
        with m.If(self.clear):
            m.d.sync += beats_left.eq(self.block_beats - 1)
            m.next = "HEADER"
