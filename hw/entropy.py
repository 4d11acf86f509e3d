"""The entropy decoder: canonical Huffman codes in the load path, one symbol per cycle."""

from itertools import pairwise

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import CODE_LIMIT, MAX_PLACES, step_format

__all__ = ["StepDecoder"]

_WORD = 32
#: Tables of a section: one code for coefficients, one for places.
_COEFFICIENTS, _PLACES = 0, 1


class _Words(wiring.Component):
    """Beats as 32-bit words, lowest first, one per cycle.

    Members
    -------
    i : In(stream.Signature(host_bits))
    clear : In(1)
        Forget what is held.
    valid, word : Out
    take : In(1)
        Go on to the next word.
    """

    i:     stream.Interface
    clear: Signal
    valid: Signal
    word:  Signal
    take:  Signal

    def __init__(self, host_bits: int):
        self.host_bits = host_bits
        super().__init__({
            "i":     In(stream.Signature(host_bits)),
            "clear": In(1),
            "valid": Out(1),
            "word":  Out(_WORD),
            "take":  In(1),
        })

    def elaborate(self, platform):
        m = Module()
        held = Signal(self.host_bits)
        left = Signal(range(self.host_bits // _WORD + 1))
        m.d.comb += [
            self.valid.eq(left != 0),
            self.word.eq(held),
            self.i.ready.eq((left == 0) | ((left == 1) & self.take)),
        ]
        with m.If(self.clear):
            m.d.sync += left.eq(0)
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += [held.eq(self.i.payload), left.eq(self.host_bits // _WORD)]
        with m.Elif(self.valid & self.take):
            m.d.sync += [held.eq(held >> _WORD), left.eq(left - 1)]
        return m


class _Codebook(wiring.Component):
    """A canonical code: the number of codewords by length says everything.

    Members
    -------
    start : In(1)
    count, count_valid : In
        Codewords of one bit, then of two, …; each in a cycle of its own.
    malformed : Out(1)
        The count offered allows no code.
    total : Out
        Codewords so far, the count offered included.
    ahead : In(CODE_LIMIT)
        The next bits, first bit on top.
    fits : Out(CODE_LIMIT)
        Bit n - 1: they begin with a codeword of n bits.
    base : Out
        Of each length: number of its first codeword less that codeword.
    """

    start:       Signal
    count:       Signal
    count_valid: Signal
    malformed:   Signal
    total:       Signal
    ahead:       Signal
    fits:        Signal
    base:        Signal

    def __init__(self, capacity: int):
        self.index_bits = (capacity - 1).bit_length()
        super().__init__({
            "start":       In(1),
            "count":       In(8),
            "count_valid": In(1),
            "malformed":   Out(1),
            "total":       Out(12),
            "ahead":       In(CODE_LIMIT),
            "fits":        Out(CODE_LIMIT),
            "base":        Out(CODE_LIMIT * self.index_bits),
        })

    def elaborate(self, platform):
        m = Module()
        length = Signal(range(CODE_LIMIT))  # less one
        first  = Signal(CODE_LIMIT + 2)     # first codeword of this length
        before = Signal(12)                 # shorter codewords
        limits = [Signal(CODE_LIMIT + 1, name=f"limit_{n}") for n in range(CODE_LIMIT)]
        end    = Signal(CODE_LIMIT + 3)
        m.d.comb += [end.eq(first + self.count), self.total.eq(before + self.count)]
        with m.If(self.start):
            m.d.sync += [length.eq(0), first.eq(0), before.eq(0)]
        with m.Elif(self.count_valid):
            # A malformed code ends the section, so that no number outgrows its bits.
            m.d.sync += [length.eq(length + 1), first.eq(end << 1), before.eq(self.total)]
            with m.Switch(length):
                for n in range(CODE_LIMIT):
                    with m.Case(n):
                        m.d.comb += self.malformed.eq(end > (2 << n))
                        m.d.sync += [
                            limits[n].eq(end << (CODE_LIMIT - 1 - n)),
                            self.base.word_select(n, self.index_bits).eq(before - first),
                        ]
        # Limits rise with the length, and none is above 2^CODE_LIMIT.
        below = [self.ahead < limit for limit in limits]
        m.d.comb += self.fits.eq(Cat(below[0], *(
            here & ~shorter for shorter, here in pairwise(below))))
        return m


class StepDecoder(wiring.Component):
    """Decode one section of coded steps (docs/entropy.md).

    Timing: a cycle for each count, each coefficient symbol and each place of the table, then a
    cycle for each codeword, as long as beats come.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    start : In(1)
        Begin with a section.
    count : In(32)
        Steps of the section, at least 1.
    i : In(stream.Signature(host_bits))
        Its payload.
    exhausted : In(1)
        All beats of the payload were taken.
    step : Out
        A decoded step.
    write : Out(1)
        Pulse: it is there.
    done : Out(1)
        Pulse: all steps are written; what is left of the payload is not needed.
    failed : Out(1)
        Pulse: table or stream is malformed.
    """

    start:     Signal
    count:     Signal
    i:         stream.Interface
    exhausted: Signal
    step:      Signal
    write:     Signal
    done:      Signal
    failed:    Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "start":     In(1),
            "count":     In(32),
            "i":         In(stream.Signature(config.host_bits)),
            "exhausted": In(1),
            "step":      Out(step_format(config).bits),
            "write":     Out(1),
            "done":      Out(1),
            "failed":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        code_bits = config.code_bits
        sizes = (1 << code_bits, MAX_PLACES)
        place_bits = step_format(config).bits - config.rows * code_bits

        m.submodules.words  = words  = _Words(config.host_bits)
        m.submodules.codes  = codes  = _Codebook(sizes[_COEFFICIENTS])
        m.submodules.places = places = _Codebook(sizes[_PLACES])
        books = (codes, places)
        wiring.connect(m, outer=wiring.flipped(self.i), words=words.i)
        starved = ~words.valid & self.exhausted
        m.d.comb += words.clear.eq(self.start)
        for book in books:
            m.d.comb += book.start.eq(self.start)

        m.submodules.code_table = code_table = Memory(
            shape=code_bits, depth=sizes[_COEFFICIENTS], init=[])
        m.submodules.place_table = place_table = Memory(
            shape=place_bits, depth=sizes[_PLACES], init=[])
        tables = (code_table, place_table)
        writes = [table.write_port() for table in tables]
        reads  = [table.read_port(domain="comb") for table in tables]

        index  = Signal(8)            # count, or symbol of a table
        # A byte of a code that is one never counts 256 codewords, however wide a coefficient is.
        totals = [Signal(8, name=f"total_{n}") for n in range(2)]
        byte   = words.word.word_select(index[:2], 8)
        m.d.comb += [writes[_COEFFICIENTS].data.eq(byte), writes[_PLACES].data.eq(words.word)]
        for book, port in zip(books, writes, strict=True):
            m.d.comb += [book.count.eq(byte), port.addr.eq(index)]

        fire, is_place, ready, clear = Signal(), Signal(), Signal(), self.start
        ahead, fits = Signal(CODE_LIMIT), Signal(CODE_LIMIT)
        m.d.comb += [
            codes.ahead.eq(ahead),
            places.ahead.eq(ahead),
            fits.eq(Mux(is_place, places.fits, codes.fits)),
        ]
        decoding = Signal()
        refill = self._bits(m, words, decoding, (fire, fits, ahead, ready))

        symbol     = Signal(range(config.rows + 1))
        steps_left = Signal(32)
        last       = Signal()
        m.d.comb += [is_place.eq(symbol == config.rows), last.eq(is_place & (steps_left == 1))]
        with m.If(clear):
            m.d.sync += [symbol.eq(0), steps_left.eq(self.count), index.eq(0)]
        with m.Elif(fire):
            m.d.sync += symbol.eq(symbol + 1)
            with m.If(is_place):
                m.d.sync += [symbol.eq(0), steps_left.eq(steps_left - 1)]
        busy = self._symbols(m, (fire, is_place, fits, ahead), books, reads, place_bits)

        with m.FSM(name="decoder"):
            with m.State("IDLE"):
                m.d.comb += words.take.eq(1)
                self._watch_start(m)
            for number, (book, then) in enumerate(zip(books, ("COUNTS_1", "SYMBOLS"),
                                                      strict=True)):
                with m.State(f"COUNTS_{number}"):
                    with m.If(words.valid):
                        m.d.comb += [book.count_valid.eq(1), words.take.eq(index[:2] == 3)]
                        m.d.sync += index.eq(index + 1)
                        with m.If(index == CODE_LIMIT - 1):
                            m.d.sync += [index.eq(0), totals[number].eq(book.total)]
                            m.next = then
                            with m.If((book.total == 0) | (book.total > sizes[number])):
                                self._fail(m)
                        with m.If(book.malformed):
                            self._fail(m)
                    self._watch(m, starved)
            with m.State("SYMBOLS"):
                with m.If(words.valid):
                    ends = index == totals[_COEFFICIENTS] - 1
                    m.d.comb += [
                        writes[_COEFFICIENTS].en.eq(1),
                        words.take.eq((index[:2] == 3) | ends),
                    ]
                    m.d.sync += index.eq(index + 1)
                    with m.If(ends):
                        m.d.sync += index.eq(0)
                        m.next = "PLACES"
                self._watch(m, starved)
            with m.State("PLACES"):
                with m.If(words.valid):
                    m.d.comb += [writes[_PLACES].en.eq(1), words.take.eq(1)]
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == totals[_PLACES] - 1):
                        m.next = "DECODE"
                self._watch(m, starved)
            with m.State("DECODE"):
                m.d.comb += [
                    decoding.eq(1),
                    fire.eq(ready & (fits != 0)),
                    words.take.eq(refill),
                ]
                with m.If(fire & last):
                    m.next = "FLUSH"
                with m.If(ready & (fits == 0)):
                    self._fail(m)
                self._watch(m, starved & ~ready)
            with m.State("FLUSH"):
                with m.If(~busy):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
                self._watch_start(m)
        return m

    def _bits(self, m, words, decoding, decoded):
        """Hold two words of the stream, the first of which is being used up.

        Returns the condition under which another word is taken while decoding.
        """
        fire, fits, ahead, ready = decoded
        low, following = Signal(_WORD), Signal(_WORD)
        low_valid, following_valid = Signal(), Signal()
        offset = Signal(range(_WORD))
        moved  = Signal(range(2 * _WORD))
        length = Signal(range(CODE_LIMIT + 1))
        window = Cat(following, low)[_WORD + 1 - CODE_LIMIT:]
        m.d.comb += [
            ahead.eq(window >> ~offset),
            ready.eq(low_valid & (following_valid | (offset < _WORD - CODE_LIMIT))),
            moved.eq(offset + length),
        ]
        for n in range(CODE_LIMIT):
            with m.If(fits[n]):
                m.d.comb += length.eq(n + 1)
        refill = ~low_valid | ~following_valid
        taken  = decoding & words.valid & refill
        with m.If(self.start):
            m.d.sync += [low_valid.eq(0), following_valid.eq(0), offset.eq(0)]
        with m.Else():
            with m.If(fire):
                m.d.sync += offset.eq(moved)
                # A codeword ends in the next word only if that is there: see ready.
                with m.If(moved >= _WORD):
                    m.d.sync += [low.eq(following), following_valid.eq(0)]
            with m.If(taken & ~low_valid):
                m.d.sync += [low.eq(words.word), low_valid.eq(1)]
            with m.Elif(taken & ~following_valid):
                m.d.sync += [following.eq(words.word), following_valid.eq(1)]
        return refill

    def _symbols(self, m, decoded, books, reads, place_bits):
        """Look codewords up, put steps together, and return whether any are under way."""
        fire, is_place, fits, ahead = decoded
        code_bits = self.config.code_bits
        found, found_place = Signal(), Signal()
        which, bits = Signal(CODE_LIMIT), Signal(CODE_LIMIT)
        m.d.sync += [found.eq(fire), found_place.eq(is_place), which.eq(fits), bits.eq(ahead)]

        numbered, numbered_place = Signal(), Signal()
        m.d.sync += [numbered.eq(found), numbered_place.eq(found_place)]
        for book, port in zip(books, reads, strict=True):
            number = Signal(book.index_bits)
            port_addr = Signal(book.index_bits)
            for n in range(CODE_LIMIT):
                with m.If(which[n]):
                    m.d.comb += number.eq(book.base.word_select(n, book.index_bits)
                                          + (bits >> CODE_LIMIT - 1 - n))
            m.d.sync += port_addr.eq(number)
            m.d.comb += port.addr.eq(port_addr)

        codes = Signal(self.config.rows * code_bits)
        place = Signal(place_bits)
        change = reads[_PLACES].data
        address = Signal(place_bits - 1)
        m.d.comb += [self.step.eq(Cat(codes, place)), address.eq(place + change)]
        m.d.sync += self.write.eq(numbered & numbered_place)
        with m.If(self.start):
            m.d.sync += place.eq(0)
        with m.Elif(numbered & numbered_place):
            m.d.sync += place.eq(Cat(address, change[-1]))
        with m.If(numbered & ~numbered_place):
            m.d.sync += codes.eq(Cat(codes, reads[_COEFFICIENTS].data)[code_bits:])
        return found | numbered | self.write

    def _fail(self, m):
        m.d.comb += self.failed.eq(1)
        m.next = "IDLE"

    def _watch(self, m, starved):
        """Fail where words end too early, and begin anew at any time."""
        with m.If(starved):
            self._fail(m)
        self._watch_start(m)

    def _watch_start(self, m):
        with m.If(self.start):
            m.next = "COUNTS_0"
