"""Images that no compiler wrote: random programs.

A random program uses every field of an instruction, wraps accumulators, reads tables and steps
from any address, and fills the whole activation buffer, so that interpreter and hardware can be
compared on every byte of it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.image import Section, pack_activations, write_image
from smartdeal.compiler.instructions import (
    END_WORDS,
    layer_words,
    move_words,
    program_section,
)
from smartdeal.golden.formats import ACT_BITS, ACT_MAX, ACT_MIN, BASIS_BITS, PACKED
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    INSTRUCTION_WORDS,
    MIN_STEPS,
    LayerFlag,
    MoveFlag,
    SectionKind,
    group_channels,
    section_capacity,
    section_format,
)

__all__ = ["FEATURES", "draw_image", "pack_units"]

#: Feature of the configuration that each flag needs.
FEATURES = {LayerFlag.MAX_POOL: "max_pool", LayerFlag.BASIS: "basis",
            LayerFlag.RESIDUAL: "residual", LayerFlag.REDUCE: "reduce",
            LayerFlag.BINARY: "binary", LayerFlag.PACK: "binary"}


def pack_units(
    kind: SectionKind, config: AcceleratorConfig, address: int = 0, /, **values: Any,
) -> Section:
    """Return a section from the fields of its words; see :func:`section_format`."""
    arrays = {name: np.asarray(value, np.int64) for name, value in values.items()}
    return Section(kind, address, section_format(kind, config).pack(config.host_bits, **arrays))


def draw_image(rng: np.random.Generator, config: AcceleratorConfig, layers: int = 2) -> bytes:
    """Draw a program image with all memories filled, that runs without an error.

    Parameters
    ----------
    layers : int
        LAYER instructions; as many as fit the instruction memory. Where the configuration has
        MOVE, some of these stand among them.
    """
    room = (config.program_words - 1) // INSTRUCTION_WORDS
    layers = min(layers, room)
    moves = min(int(rng.integers(layers + 2)), room - layers) if config.move else 0
    program: list[NDArray[np.uint32]] = []
    steps: list[dict[str, NDArray[np.int64]]] = []
    # Each layer gets its own range of the weight buffer.
    bounds = np.linspace(0, config.weight_steps, layers + 1).astype(int)
    for number in range(layers):
        start, stop = int(bounds[number]), int(bounds[number + 1])
        layer = _DrawnLayer(rng, config, stop - start)
        steps.append(layer.draw_steps())
        program.append(layer_words({**layer.fields, "steps_base": start}))
    for _ in range(moves):
        program.insert(int(rng.integers(len(program) + 1)), move_words(_draw_move(rng, config)))
    words = np.concatenate([*program, END_WORDS])
    tables = [_draw_table(rng, config, SectionKind.CHANNELS)]
    if config.basis:
        tables.append(_draw_table(rng, config, SectionKind.BASIS))
    sections = [program_section(words, config)]
    sections += [pack_units(SectionKind.STEPS, config, int(start), **values)
                 for start, values in zip(bounds, steps, strict=False)]
    return write_image(config, [*sections, *tables, *_draw_activations(rng, config)],
                       program=True)


class _DrawnLayer:
    """One LAYER instruction, and the steps that it runs.

    It reads activations from one part of the buffer and stores in the other.

    Parameters
    ----------
    room : int
        Steps that it may have.
    """

    def __init__(self, rng: np.random.Generator, config: AcceleratorConfig, room: int) -> None:
        self.rng, self.config = rng, config
        self.flags = self._draw_flags()
        self.group = group_channels(self.flags, config)
        words = config.activation_words
        half = words // 2
        low_reads = bool(rng.integers(2))
        self.read = (0, half) if low_reads else (half, words)
        self.write = (half, words) if low_reads else (0, half)
        self.tiles = self._upto(min(6, half - 2))
        units = room // MIN_STEPS
        self.slices = self._upto(min(3, config.max_slices, units))
        groups = units // self.slices
        out_words = 1 if LayerFlag.REDUCE in self.flags else self.tiles
        most = min(groups * self.group, config.channel_entries, half // out_words,
                   half // self.tiles, 3 * self.group)
        if LayerFlag.BASIS in self.flags:
            most = min(most, config.basis_entries // (self.slices * self.group) * self.group)
            if most == 0:
                self.flags ^= LayerFlag.BASIS
                self.group, most = config.rows, 1
        if LayerFlag.PACK in self.flags and most < PACKED:
            self.flags ^= LayerFlag.PACK
            self.group = group_channels(self.flags, config)
        self.channels = self._upto(most)
        if LayerFlag.PACK in self.flags:
            self.channels = max(PACKED, self.channels // PACKED * PACKED)
        self.groups = -(-self.channels // self.group)
        self.room = room
        self.base = self.read[0] + self._below(half - self.tiles)
        self.fields = self._draw_fields(out_words)

    def _upto(self, most: int) -> int:
        return int(self.rng.integers(1, most + 1))

    def _below(self, limit: int) -> int:
        return int(self.rng.integers(limit))

    def _draw_flags(self) -> LayerFlag:
        flags = LayerFlag(0)
        for flag, feature in FEATURES.items():
            if getattr(self.config, feature) and self.rng.random() < 0.4:
                flags |= flag
        for one, other in ((LayerFlag.MAX_POOL, LayerFlag.BASIS),
                           (LayerFlag.REDUCE, LayerFlag.RESIDUAL)):
            if one in flags and other in flags:
                flags ^= other if self.rng.integers(2) else one
        if LayerFlag.PACK in flags:
            flags &= ~(LayerFlag.MAX_POOL | LayerFlag.BASIS | LayerFlag.REDUCE)
        if LayerFlag.BINARY in flags:
            flags &= ~(LayerFlag.MAX_POOL | LayerFlag.BASIS)
        return flags

    def _draw_fields(self, out_words: int) -> dict[str, int]:
        """Draw the instruction's fields but for ``steps_base``."""
        config = self.config
        positions = self.tiles * config.cols
        pitch = self._upto(max(3, 2 * config.cols))
        start, words = self._region(self.write, out_words, 0)
        fields = {
            "flags": self.flags, "slices": self.slices, "tiles": self.tiles,
            "channels": self.channels, "column_step": config.drain_lanes % pitch, "pitch": pitch,
            "width": self._below(pitch + 1), "start_column": self._below(pitch),
            "skip": self._below(positions + 1), "end": self._below(positions + config.cols + 1),
            "input_base": self.base, "output_base": start, "output_stride": words,
            "channel_base": self._below(config.channel_entries - self.channels + 1),
            "zp_out": int(self.rng.integers(ACT_MIN, ACT_MAX + 1)),
            "zp_res": int(self.rng.integers(ACT_MIN, ACT_MAX + 1)),
            "lo": ACT_MIN + self._below(100), "hi": ACT_MAX - self._below(100),
        }
        if self.rng.random() < 0.7:  # mostly something is inside
            fields["skip"], fields["end"] = self._below(3), positions - self._below(config.cols)
            fields["width"] = self._upto(pitch)
        if LayerFlag.RESIDUAL in self.flags:
            lane = self._below(config.cols) if self.channels * self.tiles < len(
                range(*self.read)) else 0
            start, words = self._region(self.read, self.tiles, int(lane > 0))
            fields |= {"residual_base": start, "residual_stride": words, "residual_lane": lane}
        if LayerFlag.BASIS in self.flags:
            entries = self.groups * self.slices * self.group
            fields["basis_base"] = self._below(config.basis_entries - entries + 1)
        return fields

    def _region(self, bounds: tuple[int, int], words: int, extra: int) -> tuple[int, int]:
        """Draw base and stride of one region per channel, within bounds less ``extra`` words."""
        room = bounds[1] - bounds[0] - extra
        stride = words
        if self.channels > 1:
            stride += self._below((room - words) // (self.channels - 1) - words + 1)
        used = (self.channels - 1) * stride + words
        return bounds[0] + self._below(room - used + 1), stride

    def draw_steps(self) -> dict[str, NDArray[np.int64]]:
        """Draw as many steps as there is room for, at most 12 per unit of work."""
        rng, config = self.rng, self.config
        units = self.groups * self.slices
        lengths = rng.integers(MIN_STEPS, min(12, self.room // units) + 1, units)
        count = int(lengths.sum())
        sign = rng.choice([-1, 0, 1], (count, config.rows))
        exponent = rng.integers(0, config.exponents, (count, config.rows))
        if LayerFlag.MAX_POOL in self.flags:
            sign, exponent = np.abs(sign), np.zeros_like(exponent)
        next_last = np.zeros(count, np.int64)
        next_last[np.cumsum(lengths) - MIN_STEPS] = 1
        # The last tile's vector may start in any word with a successor in the part that is read.
        span = self.read[1] - self.base - self.tiles
        coefficients = config.coefficient.encode(sign, exponent).astype(np.int64)
        if LayerFlag.BINARY in self.flags:
            coefficients = rng.integers(0, 1 << PACKED, (count, config.rows))
        return {
            "coefficients": coefficients,
            "lane": rng.integers(0, config.cols, count),
            "word": rng.integers(0, span, count),
            "next_last": next_last,
        }


def _draw_move(rng: np.random.Generator, config: AcceleratorConfig) -> dict[str, int]:
    """Draw one MOVE that reads one half of the buffer and stores in the other."""
    cols = config.cols
    half = config.activation_words // 2 * cols
    reads = int(rng.integers(2)) * half
    flags = [MoveFlag(0), MoveFlag.FILL, MoveFlag.DECIMATE][int(rng.integers(3))]
    step = 2 if flags == MoveFlag.DECIMATE else 1
    columns = int(rng.integers(1, min(3 * cols + 2, half // step - cols) + 1))
    columns = -(-columns // cols) * cols if rng.random() < 0.2 and columns <= 2 * cols else columns
    counts = {"channels": int(rng.integers(1, 6)), "rows": int(rng.integers(1, 6))}
    # Below the other half a vector may reach into it; its last bytes are not used.
    span = step * columns if reads == 0 else step * -(-columns // cols) * cols
    flat = (_draw_places(rng, "source", reads, half - span, counts)
            | _draw_places(rng, "target", half - reads, half - columns, counts))
    if flags == MoveFlag.FILL and rng.random() < 0.5:  # what would be read does not matter
        flat["source"] = int(rng.integers(1 << min(24, config.field_bits))) * cols
    places = {name + part: value for name, address in flat.items()
              for part, value in zip(("_word", "_lane"), divmod(address, cols), strict=True)}
    return {"flags": flags, "value": int(rng.integers(ACT_MIN, ACT_MAX + 1)), "columns": columns,
            **counts, **places}


def _draw_places(
    rng: np.random.Generator, name: str, start: int, room: int, counts: dict[str, int],
) -> dict[str, int]:
    """Draw the first byte and the distances of runs that start at most ``room`` bytes in."""
    used = int(rng.integers(room + 1))
    base, distances = room - used, {}
    for axis in ("row", "channel"):
        steps = counts[f"{axis}s"] - 1
        part = used if axis == "channel" else int(rng.integers(used + 1))
        # Of a single run the distance does not matter.
        distances[f"{name}_{axis}"] = part // steps if steps else int(rng.integers(room + 1))
        used -= part
    return {name: start + int(rng.integers(base + 1)), **distances}


def _draw_table(
    rng: np.random.Generator, config: AcceleratorConfig, kind: SectionKind,
) -> Section:
    """Fill a whole table; most parameters of requantisation suit usual sums."""
    depth = section_capacity(kind, config)
    values: dict[str, NDArray[np.int64]] = {}
    for entry in section_format(kind, config).fields:
        low = -(1 << entry.bits - 1) if entry.signed else 0
        values[entry.name] = rng.integers(low, low + (1 << entry.bits), (depth, entry.count))
    if kind == SectionKind.CHANNELS:
        usual = rng.random(depth) < 0.8
        # Bits of a sum of few steps, without and with a basis; the multiplier has 16.
        sums = min(config.acc_bits - 1, ACT_BITS + config.exponents)
        basis = (BASIS_BITS + 1) * rng.integers(0, 2, (depth, 1)) if config.basis else 0
        sums = np.full((depth, 1), sums) + basis
        bias = np.minimum(sums, config.sum_bits - 2)
        values["bias"][usual] = (rng.uniform(-1, 1, (depth, 1)) * 2.0 ** bias)[usual].astype(int)
        values["shift"][usual] = (sums + 8 + rng.integers(0, 5, (depth, 1)))[usual]
        values["residual_shift"][usual] = np.clip(sums - 10, 0, 31)[usual]
    else:
        values["align"][rng.random(depth) < 0.7] = 0
    return pack_units(kind, config, 0, **values)


def _draw_activations(rng: np.random.Generator, config: AcceleratorConfig) -> list[Section]:
    """Fill the activation buffer, in two sections."""
    data = rng.integers(ACT_MIN, ACT_MAX + 1, (config.activation_words, config.cols))
    cut = int(rng.integers(1, config.activation_words))
    data = data.astype(np.int8)
    return [Section(SectionKind.ACTIVATIONS, 0, pack_activations(data[:cut], config)),
            Section(SectionKind.ACTIVATIONS, cut, pack_activations(data[cut:], config))]
