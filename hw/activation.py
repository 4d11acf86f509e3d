"""The activation buffer: N byte-wide banks, N consecutive bytes from any address each cycle."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from smartdeal.golden.formats import ACT_BITS
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["ActivationBuffer", "rotate_left"]


class ActivationBuffer(wiring.Component):
    """Banked memory with an unaligned vector read and an unaligned write with byte enables.

    Timing: a vector appears ``READ_LATENCY`` cycles after its address; one read and one write per
    cycle. A read less than ``WRITE_LATENCY`` + 1 cycles after a write to the same word returns the
    old bytes.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    read_word : In(word address)
    read_lane : In(lane)
        Byte of the word at which the vector starts, less than ``cols``.
    vector : Out(ArrayLayout(signed(8), cols))
        The bytes at flat address read_word · cols + read_lane and following.
    write_word : In(word address)
    write_lane : In(lane)
        Banks below it write the following word; only with ``config.move``.
    write_mask : In(cols)
        One bit per byte; 0 writes nothing.
    write_data : In(ArrayLayout(signed(8), cols))
    """

    READ_LATENCY  = 3
    WRITE_LATENCY = 1

    read_word:  Signal
    read_lane:  Signal
    vector:     data.View
    write_word: Signal
    write_mask: Signal
    write_data: data.View
    write_lane: Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        vector = data.ArrayLayout(signed(ACT_BITS), config.cols)
        super().__init__({
            "read_word":  In(range(config.activation_words)),
            "read_lane":  In(range(config.cols)),
            "vector":     Out(vector),
            "write_word": In(range(config.activation_words)),
            "write_mask": In(config.cols),
            "write_data": In(vector),
            **({"write_lane": In(range(config.cols))} if config.move else {}),
        })

    def elaborate(self, platform):
        m = Module()
        cols = self.config.cols

        next_word = Signal.like(self.read_word)
        next_written = Signal.like(self.write_word)
        m.d.comb += [
            next_word.eq(self.read_word + 1),
            next_written.eq(self.write_word + 1),
        ]
        banks = []
        for bank in range(cols):
            m.submodules[f"bank_{bank}"] = memory = Memory(
                shape=ACT_BITS, depth=self.config.activation_words, init=[])
            write, read = memory.write_port(), memory.read_port()
            banks.append(read.data)
            m.d.comb += [
                # Banks below the lane hold the vector's end, in the following word.
                read.addr.eq(Mux(self.read_lane > bank, next_word, self.read_word)),
                read.en.eq(1),
            ]
            # Registers of each bank: writes come from three places, and banks stand far apart.
            m.d.sync += [
                write.addr.eq(self._write_address(bank, next_written)),
                write.data.eq(self.write_data[bank]),
                write.en.eq(self.write_mask[bank]),
            ]

        # Rotate by the lane, a power of two per level, in two cycles: fewer levels in the first,
        # as block RAM is slow to answer. Rotations add up modulo cols, so cols need not be a power
        # of two.
        levels = self.read_lane.shape().width
        first  = max(1, (levels - 1) // 3)
        lane_1 = Signal.like(self.read_lane)
        lane_2 = Signal.like(self.read_lane)
        middle = Signal(ACT_BITS * cols)
        m.d.sync += [
            lane_1.eq(self.read_lane),
            lane_2.eq(lane_1),
            middle.eq(_rotate_right(Cat(banks), lane_1, range(first), ACT_BITS)),
            self.vector.eq(_rotate_right(middle, lane_2, range(first, levels), ACT_BITS)),
        ]
        return m


    def _write_address(self, bank: int, following: Value) -> Value:
        if not self.config.move:
            return self.write_word
        return Mux(self.write_lane > bank, following, self.write_word)


def _rotate_right(vector: Value, lane: Value, levels: range, bits: int) -> Value:
    """Rotate elements down by some levels (bits) of ``lane``."""
    for level in levels:
        vector = Mux(lane[level], vector.rotate_right(bits << level), vector)
    return vector


def rotate_left(vector: Value, lane: Value, levels: range, bits: int) -> Value:
    """Rotate elements of ``bits`` bits up by some levels (bits) of ``lane``."""
    for level in levels:
        vector = Mux(lane[level], vector.rotate_left(bits << level), vector)
    return vector
