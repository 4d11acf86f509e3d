"""Requantisation: an exact sum and a residual operand become an activation."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.golden.formats import ACT_BITS, REQUANTISE
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import channel_format
from smartdeal.hw.layouts import layout_of

__all__ = ["RequantiseLane", "channel_layout", "limits_layout"]

#: Bits of a factor that a multiplier block takes, without a sign; levels of the shifter that are
#: left to its second cycle.
_PIECE = 17
_LOW_LEVELS = 3


def channel_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Return the layout of one output channel's parameters."""
    return layout_of(channel_format(config))


limits_layout = data.StructLayout({
    "zp_out": signed(ACT_BITS),
    "lo":     signed(ACT_BITS),
    "hi":     signed(ACT_BITS),
    "zp_res": signed(ACT_BITS),
})
"""A layer's zero points and clamping bounds."""


class RequantiseLane(wiring.Component):
    """One lane of requantisation, exactly :class:`smartdeal.golden.formats.RequantiseFormat`.

    Timing: a pipeline of ``LATENCY`` cycles, one operand per cycle; its residual operand is given
    ``RESIDUAL_AHEAD`` cycles before.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    total : In(signed(sum_bits))
    residual : In(signed(8))
        The residual operand; only with ``config.residual``.
    add_residual : In(1)
        Whether the layer has one; only with ``config.residual``.
    channel : In(channel_layout)
    limits : In(limits_layout)
        Constant while a layer runs.
    result : Out(signed(8))
    bit : Out(1)
        Whether the scaled sum, before its shift, is not negative; only with ``config.binary``.
    """

    LATENCY        = 6
    RESIDUAL_AHEAD = 1

    total:        Signal
    channel:      data.View
    limits:       data.View
    result:       Signal
    residual:     Signal
    add_residual: Signal
    bit:          Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "total":   In(signed(config.sum_bits)),
            "channel": In(channel_layout(config)),
            "limits":  In(limits_layout),
            "result":  Out(signed(ACT_BITS)),
            **({"residual": In(signed(ACT_BITS)), "add_residual": In(1)}
               if config.residual else {}),
            **({"bit": Out(1)} if config.binary else {}),
        })

    def elaborate(self, platform):
        m = Module()
        total_shape = signed(REQUANTISE.total_bits(self.config.sum_bits))

        # acc + bias
        biased       = Signal(signed(self.config.sum_bits + 1))
        multiplier_1 = Signal(REQUANTISE.multiplier_bits)
        shift_1      = Signal(REQUANTISE.shift_bits)
        m.d.sync += [
            biased.eq(self.total + self.channel.bias),
            multiplier_1.eq(self.channel.multiplier),
            shift_1.eq(self.channel.shift),
        ]

        # · m, in pieces that one multiplier takes
        pieces  = [(at, _piece(biased, at)) for at in range(0, len(biased), _PIECE)]
        partial = [Signal(signed(len(piece) + REQUANTISE.multiplier_bits + 1), name=f"partial_{at}")
                   for at, piece in pieces]
        shift_2 = Signal(REQUANTISE.shift_bits)
        m.d.sync += [product.eq(piece * multiplier_1) for product, (_, piece)
                     in zip(partial, pieces, strict=True)]
        m.d.sync += shift_2.eq(shift_1)

        # + residual
        sum_3   = Signal(total_shape)
        shift_3 = Signal(REQUANTISE.shift_bits)
        terms   = [product << at for product, (at, _) in zip(partial, pieces, strict=True)]
        if self.config.residual:
            terms.append(self._residual(m))
        m.d.sync += [sum_3.eq(sum(terms[1:], start=terms[0])), shift_3.eq(shift_2)]

        # An arithmetic shift, of which only the places of an activation are wanted, and the bit
        # that leaves last, a half: it rounds up. In two cycles.
        narrow  = ACT_BITS + 2
        width   = 1 + narrow
        levels  = range(REQUANTISE.shift_bits)
        value, lost = _shift(Cat(0, sum_3), shift_3, levels[_LOW_LEVELS:], width)
        middle  = Signal(len(value))
        shift_4 = Signal(_LOW_LEVELS)
        gone    = Signal()
        sign_4  = Signal()
        m.d.sync += [middle.eq(value), gone.eq(lost), shift_4.eq(shift_3), sign_4.eq(sum_3[-1])]
        window  = Signal(width)
        beyond  = Signal()  # a place above the window was not the sign
        sign    = Signal()
        places, lost = _shift(middle, shift_4, levels[:_LOW_LEVELS], width, sign_4)
        m.d.sync += [
            window.eq(places), beyond.eq(gone | lost | (places[-1] != sign_4)), sign.eq(sign_4),
        ]
        half  = window[0]
        whole = window[1:].as_signed()

        if self.config.binary:
            m.d.sync += self.bit.eq(~sign)

        # Clamp what is far outside any activation first, so that the rest is narrow.
        near    = Signal(signed(narrow))
        rounded = Signal(signed(narrow + 2))
        limit   = 1 << narrow - 1
        m.d.comb += [
            near.eq(Mux(beyond, Mux(sign, -limit, limit - 1), whole)),
            rounded.eq(near + half + self.limits.zp_out),
        ]
        with m.If(rounded < self.limits.lo):
            m.d.sync += self.result.eq(self.limits.lo)
        with m.Elif(rounded > self.limits.hi):
            m.d.sync += self.result.eq(self.limits.hi)
        with m.Else():
            m.d.sync += self.result.eq(rounded)
        return m

    def _residual(self, m):
        """Return the residual operand's term, as it is needed beside the products of pieces."""
        centred    = Signal(signed(ACT_BITS + 1))
        multiplier = Signal(REQUANTISE.multiplier_bits, name="residual_multiplier")
        shift      = Signal(REQUANTISE.residual_shift_bits, name="residual_shift")
        m.d.sync += centred.eq(Mux(self.add_residual, self.residual - self.limits.zp_res, 0))
        scaled     = Signal(signed(centred.shape().width + REQUANTISE.multiplier_bits))
        shifted    = Signal(signed(scaled.shape().width + (1 << len(shift)) - 1))
        m.d.comb += multiplier.eq(self.channel.residual_multiplier)
        m.d.sync += [
            scaled.eq(centred * multiplier),
            shift.eq(self.channel.residual_shift),
            shifted.eq(scaled << shift),
        ]
        return shifted


def _piece(value: Value, at: int) -> Value:
    """Return the bits of a piece from ``at`` on; only the last has a sign."""
    piece = value[at:at + _PIECE]
    return piece.as_signed() if at + _PIECE >= len(value) else piece


def _shift(
    value: Value, shift: Value, levels: range, width: int, sign: Value | None = None,
) -> tuple[Value, Value]:
    """Shift right by some levels (bits) of ``shift``, of which the lowest ``width`` bits remain.

    Also return whether a bit above them differs from the value's sign. Each level of the shifter
    is only as wide as what the levels below it can still ask for.
    """
    sign    = value[-1] if sign is None else sign
    outside = Const(0)
    for level in reversed(levels):
        wanted  = width + (1 << level) - 1
        lost    = value[wanted:]
        moved   = value[1 << level:][:wanted]
        moved   = Cat(moved, sign.replicate(max(0, wanted - len(moved))))
        kept    = Cat(value[:wanted], sign.replicate(max(0, wanted - len(value))))
        if len(lost):
            gone = Mux(shift[level], value[wanted + (1 << level):] != sign.replicate(
                max(0, len(value) - wanted - (1 << level))), lost != sign.replicate(len(lost)))
            outside = outside | gone
        value = Mux(shift[level], moved, kept)
    return value, outside
