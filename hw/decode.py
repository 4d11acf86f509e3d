"""What the decoder refuses: fields out of range, and features that were left out."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.golden.formats import PACKED
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    INSTRUCTION,
    INSTRUCTION_WORDS,
    LOAD_INSTRUCTION,
    MOVE_INSTRUCTION,
    LayerFlag,
    MoveFlag,
    Opcode,
    SectionKind,
    field_mask,
)
from smartdeal.hw.layouts import layout_of
from smartdeal.hw.loader import LOADED_KINDS

__all__ = ["InstructionCheck", "instruction_layout", "load_layout", "move_layout",
           "take_word", "watch_words"]

instruction_layout = layout_of(INSTRUCTION)
move_layout = layout_of(MOVE_INSTRUCTION)
load_layout = layout_of(LOAD_INSTRUCTION)


class InstructionCheck(wiring.Component):
    """Check an instruction of ``INSTRUCTION_WORDS`` words (docs/execution.md, "Errors").

    Without the feature ``memory`` bits that no field has are dropped, and checked, before.

    Timing: combinational.

    Parameters
    ----------
    config : AcceleratorConfig

    Members
    -------
    instruction : In(instruction_layout)
        LAYER, MOVE or LOAD.
    field_wrong, feature_missing : Out(1)
    """

    instruction:     data.View
    field_wrong:     Signal
    feature_missing: Signal

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "instruction":     In(instruction_layout),
            "field_wrong":     Out(1),
            "feature_missing": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, flags = self.config, self.instruction.flags
        missing = sum(int(flag) for flag, there in {
            LayerFlag.MAX_POOL: config.max_pool,
            LayerFlag.BASIS:    config.basis,
            LayerFlag.RESIDUAL: config.residual,
            LayerFlag.REDUCE:   config.reduce,
            LayerFlag.EXTERNAL: config.memory,
            LayerFlag.BINARY:   config.binary,
            LayerFlag.PACK:     config.binary,
        }.items() if not there)
        with m.Switch(self.instruction.opcode):
            with m.Case(Opcode.LAYER):
                m.d.comb += [
                    self.field_wrong.eq(self._layer_wrong()),
                    self.feature_missing.eq((flags & missing) != 0),
                ]
            if config.move:
                with m.Case(Opcode.MOVE):
                    m.d.comb += self.field_wrong.eq(self._move_wrong())
            if config.memory:
                with m.Case(Opcode.LOAD):
                    m.d.comb += self.field_wrong.eq(self._load_wrong())
        return m

    def _layer_wrong(self):
        i = self.instruction
        flags = i.flags
        known = sum(int(flag) for flag in LayerFlag)
        external = (flags & LayerFlag.EXTERNAL) != 0
        return (
            self._reserved(i, 3) | ((flags & ~known & 0xFF) != 0)
            | _both(flags, LayerFlag.MAX_POOL, LayerFlag.BASIS)
            | _both(flags, LayerFlag.REDUCE, LayerFlag.RESIDUAL)
            | _both(flags, LayerFlag.REDUCE, LayerFlag.EXTERNAL)
            | self._binary_wrong(i)
            | (i.slices == 0) | (i.slices > self.config.max_slices)
            | (i.tiles == 0) | (i.channels == 0) | (i.pitch == 0)
            | (i.width > i.pitch) | (i.column_step >= i.pitch) | (i.start_column >= i.pitch)
            | (i.residual_lane >= self.config.cols)
            | (external & self._within_beat(i.output_base))
        )

    def _binary_wrong(self, i):
        """Return whether BINARY or PACK stands beside a mode that it excludes."""
        if not self.config.binary:
            return Const(0)  # the missing feature is told
        other = LayerFlag.MAX_POOL | LayerFlag.BASIS
        pack  = (i.flags & LayerFlag.PACK) != 0
        return (
            (((i.flags & LayerFlag.BINARY) != 0) & ((i.flags & other) != 0))
            | (pack & ((i.flags & (other | LayerFlag.REDUCE | LayerFlag.EXTERNAL)) != 0))
            | (pack & (i.channels % PACKED != 0))
        )

    def _move_wrong(self):
        i = data.View(move_layout, self.instruction)
        known = sum(int(flag) for flag in MoveFlag)
        lanes = ("source", "source_row", "source_channel", "target", "target_row",
                 "target_channel")
        wrong = (
            ((i.flags & ~known & 0xFF) != 0) | _both(i.flags, MoveFlag.FILL, MoveFlag.DECIMATE)
            | (i.channels == 0) | (i.rows == 0) | (i.columns == 0)
        )
        for name in lanes:
            wrong |= i[f"{name}_lane"] >= self.config.cols
        return wrong | self._reserved(i, 9)

    def _reserved(self, i, count):
        if not self.config.memory:
            return Const(0)
        return Cat(i[f"reserved_{index}"] for index in range(count)) != 0

    def _load_wrong(self):
        i = data.View(load_layout, self.instruction)
        kinds = [kind for kind in LOADED_KINDS
                 if kind is not SectionKind.BASIS or self.config.basis]
        wrong = (
            ~i.kind.matches(*kinds) | (i.runs == 0) | (i.count == 0) | (i.inner == 0)
            | self._within_beat(i.offset) | self._within_beat(i.memory_stride)
        )
        for index in range(7):
            wrong |= i[f"reserved_{index}"] != 0
        return wrong

    def _within_beat(self, offset):
        return (offset & (self.config.host_bits // 8 - 1)) != 0


def _both(flags, one, other):
    return (flags & (one | other)) == (one | other)


def take_word(m, config, instruction, fetched, word):
    """Keep of word ``fetched`` - 1 what a LAYER or MOVE can hold."""
    kept = 0
    for mask in _masks(config).values():
        kept |= mask
    value = instruction.as_value()
    with m.Switch(fetched):
        for index in range(INSTRUCTION_WORDS):
            with m.Case(index + 1):
                for start, stop in _runs(kept >> 32 * index & 0xFFFF_FFFF):
                    m.d.sync += value[32 * index + start:32 * index + stop].eq(word[start:stop])


def watch_words(m, config, instruction, fetched, word):
    """Return whether a word had a bit that :func:`take_word` did not keep, two cycles after it."""
    # Block RAM is slow to answer: its word is looked at a cycle later.
    excess       = Signal()
    late_fetched = Signal.like(fetched)
    late_word    = Signal.like(word)
    m.d.sync += [late_fetched.eq(fetched), late_word.eq(word)]
    with m.Switch(late_fetched):
        with m.Case(0):
            m.d.sync += excess.eq(0)
        for index in range(INSTRUCTION_WORDS):
            with m.Case(index + 1):
                for operation, mask in _masks(config).items():
                    beyond = late_word & ~(mask >> 32 * index) & 0xFFFF_FFFF
                    with m.If((instruction.opcode == operation) & (beyond != 0)):
                        m.d.sync += excess.eq(1)
    return excess


def _masks(config):
    masks = {Opcode.LAYER: field_mask(INSTRUCTION, config)}
    if config.move:
        masks[Opcode.MOVE] = field_mask(MOVE_INSTRUCTION, config)
    return masks


def _runs(mask):
    """Yield (start, stop) of each run of ones, from bit 0 upwards."""
    start = 0
    while mask >> start:
        start += (mask >> start & -(mask >> start)).bit_length() - 1
        stop = start + (~(mask >> start) & (mask >> start) + 1).bit_length() - 1
        yield start, stop
        start = stop
