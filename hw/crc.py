"""CRC-32 over beats of the load stream, one beat per cycle."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Crc32"]

_POLYNOMIAL = 0xEDB88320  # CRC-32/ISO-HDLC (zlib), least significant bit first
_ALL_ONES   = 0xFFFF_FFFF


class Crc32(wiring.Component):
    """The CRC-32 of zlib over little-endian words.

    ``amaranth.lib.crc`` computes the same, but as one statement per XOR gate: 3,900 lines of
    Verilog at 64 bits, a quarter of a whole 12×16 accelerator. Here a bit of the next remainder
    is the parity of a mask.

    Timing: ``crc`` covers everything up to the cycle before.

    Parameters
    ----------
    data_bits : int
        Bits of a word, a multiple of 8.

    Members
    -------
    start : In(1)
        Forget what was before this word.
    valid : In(1)
    data : In(data_bits)
    crc : Out(32)
    """

    start: Signal
    valid: Signal
    data:  Signal
    crc:   Signal

    def __init__(self, data_bits: int):
        if data_bits % 8:
            raise ValueError(f"Data width must be a multiple of 8 bits, not {data_bits!r}")
        self.data_bits = data_bits
        super().__init__({
            "start": In(1),
            "valid": In(1),
            "data":  In(data_bits),
            "crc":   Out(32),
        })

    def _masks(self) -> list[int]:
        """Return, for each bit of the next remainder, which bits of (remainder, data) it sums."""
        remainder = [1 << bit for bit in range(32)]
        for bit in range(self.data_bits):
            feedback = remainder[0] ^ (1 << 32 + bit)
            remainder = [*remainder[1:], 0]
            for position in range(32):
                if _POLYNOMIAL >> position & 1:
                    remainder[position] ^= feedback
        return remainder

    def elaborate(self, platform):
        m = Module()
        remainder = Signal(32, init=_ALL_ONES)
        operand   = Signal(32 + self.data_bits)
        m.d.comb += [
            operand.eq(Cat(Mux(self.start, _ALL_ONES, remainder), self.data)),
            self.crc.eq(~remainder),
        ]
        with m.If(self.valid):
            for bit, mask in enumerate(self._masks()):
                m.d.sync += remainder[bit].eq((operand & mask).xor())
        return m
