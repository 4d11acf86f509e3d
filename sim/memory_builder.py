"""Assembles programs that use system memory, and the region that they work on."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.image import pack_activations, write_image
from smartdeal.compiler.instructions import layer_words, load_words, program_section, wait_words
from smartdeal.golden.formats import ACT_MAX, ACT_MIN
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    MIN_STEPS,
    ErrorCode,
    LayerFlag,
    SectionKind,
    WaitFlag,
    group_channels,
    section_format,
)
from smartdeal.sim.crafted import pack_units

__all__ = ["MOST_TILES", "MemoryCase", "ProgramBuilder", "Words"]

Words = NDArray[np.uint32]
#: Most tiles of a layer.
MOST_TILES = 3


@dataclass(frozen=True)
class MemoryCase:
    """A program that works on a region of system memory.

    Parameters
    ----------
    name : str
    image : bytes
        What the host loads before it starts the program.
    region : bytes
        The region when the program starts; its length is MEMORY_BYTES.
    error : ErrorCode
        What stops the program; NONE if it reaches END.
    """

    name: str
    image: bytes
    region: bytes
    error: ErrorCode = ErrorCode.NONE


@dataclass
class ProgramBuilder:
    """A program in the making, and its region.

    Layers have all their memories filled with random numbers; they read activations from the lower
    third of the buffer and store in the upper one.
    """

    config: AcceleratorConfig
    rng: np.random.Generator
    region: bytearray = field(default_factory=bytearray)
    words: list[Words] = field(default_factory=list)

    @property
    def beat(self) -> int:
        """Bytes of a beat."""
        return self.config.host_bits // 8

    @property
    def third(self) -> int:
        """Words of activations in each third of the buffer."""
        return self.config.activation_words // 3

    def unit(self, kind: SectionKind) -> int:
        """Return the bytes of a unit."""
        return section_format(kind, self.config).unit_bytes(self.config.host_bits)

    def case(self, name: str, error: ErrorCode = ErrorCode.NONE) -> MemoryCase:
        """Return the program and the region, as far as they were written."""
        words = np.concatenate(self.words)
        if len(words) > self.config.program_words:
            raise ValueError(f"Program {name!r} must have at most {self.config.program_words} "
                             f"words, not {len(words)}")
        image = write_image(self.config, [program_section(words, self.config)], program=True)
        return MemoryCase(name, image, bytes(self.region), error)

    def here(self) -> int:
        """Return the word address of the next instruction."""
        return sum(map(len, self.words))

    def place(self, data: bytes, gap: int = 0) -> int:
        """Append bytes to the region, after some beats; return where they are."""
        self.region += self.rng.bytes(gap * self.beat)
        offset = len(self.region)
        self.region += data
        return offset

    def add(self, *words: Words) -> None:
        """Append instructions."""
        self.words += words

    def wait(self, loads: int = 0, *, stores: bool = False) -> None:
        """Append a WAIT."""
        self.add(wait_words(loads, WaitFlag.STORES if stores else WaitFlag(0)))

    def load(self, kind: SectionKind, address: int, data: bytes, **fields: int) -> dict[str, int]:
        """Append a LOAD of units that the region gets; by default one run, word after word."""
        count = len(data) // self.unit(kind)
        values = {"kind": kind, "address": address, "runs": 1, "count": count, "inner": count,
                  "inner_stride": 1, "offset": self.place(data, int(self.rng.integers(3))),
                  **fields}
        self.add(load_words(values))
        return values

    def activations(self, words: int) -> bytes:
        """Return units of random activations."""
        data = self.rng.integers(ACT_MIN, ACT_MAX + 1, (words, self.config.cols))
        return pack_activations(data.astype(np.int8), self.config)

    def units(self, kind: SectionKind, count: int) -> bytes:
        """Return random units that a layer can run with."""
        config, rng = self.config, self.rng
        values: dict[str, Any] = {}
        match kind:
            case SectionKind.ACTIVATIONS:
                return self.activations(count)
            case SectionKind.STEPS:
                return self.steps([count])
            case SectionKind.CHANNELS:
                values = {"bias": rng.integers(-99, 100, count),
                          "multiplier": rng.integers(1, 4, count), "shift": 1 + rng.integers(
                              3, size=count), "residual_multiplier": rng.integers(1, 4, count),
                          "residual_shift": [0] * count}
            case SectionKind.BASIS:
                values = {"taps": rng.integers(-3, 4, (count, 9)), "align": [0] * count}
            case _:
                values = {"word": rng.integers(1 << 32, size=count)}
        return pack_units(kind, config, 0, **values).data

    def steps(self, lengths: list[int], *, maximum: bool = False) -> bytes:
        """Return the steps of some units of work; vectors lie in the lower third."""
        config, rng, count = self.config, self.rng, sum(lengths)
        sign = rng.choice([-1, 0, 1], (count, config.rows))
        exponent = rng.integers(0, min(3, config.exponents), (count, config.rows))
        if maximum:
            sign, exponent = np.abs(sign), np.zeros_like(exponent)
        flags = np.zeros(count, np.int64)
        flags[np.cumsum(lengths) - MIN_STEPS] = 1
        return pack_units(
            SectionKind.STEPS, config, 0, coefficients=config.coefficient.encode(sign, exponent),
            lane=rng.integers(config.cols, size=count),
            word=rng.integers(self.third - MOST_TILES, size=count), next_last=flags).data

    def layer(self, **fields: int) -> None:
        """Append a layer of one slice with all its tables; the fields given win."""
        values = self.fill(**fields)
        self.wait()
        self.add(layer_words(values))

    def fill(self, *, steps_base: int = 0, **fields: int) -> dict[str, int]:
        """Append the LOADs of a layer; return its fields."""
        config = self.config
        flags = LayerFlag(fields.get("flags", 0))
        group = group_channels(flags, config)
        channels = fields.get("channels", 1)
        groups = -(-channels // group)
        self.load(SectionKind.STEPS, steps_base, self.steps(
            [3 + number % 2 for number in range(groups)],
            maximum=LayerFlag.MAX_POOL in flags))
        self.load(SectionKind.CHANNELS, 0, self.units(SectionKind.CHANNELS, channels))
        if LayerFlag.BASIS in flags:
            self.load(SectionKind.BASIS, 0, self.units(SectionKind.BASIS, groups * group))
        self.load(SectionKind.ACTIVATIONS, 0, self.activations(self.third))
        return {"slices": 1, "tiles": 1, "channels": channels, "pitch": 5, "width": 4, "end": 1000,
                "column_step": config.drain_lanes % 5, "lo": ACT_MIN, "hi": ACT_MAX, "zp_out": 3,
                "steps_base": steps_base, "output_base": 2 * self.third, "output_stride": 1,
                **fields}

    def external(self, channels: int, tiles: int = 2, **fields: int) -> int:
        """Append an EXTERNAL layer with all its tables; return where its output goes."""
        size = channels * tiles * self.unit(SectionKind.ACTIVATIONS)
        offset = self.place(self.rng.bytes(size), gap=1)
        flags = LayerFlag.EXTERNAL | LayerFlag(fields.pop("flags", 0))
        self.layer(flags=flags, channels=channels, tiles=tiles, output_base=offset, **fields)
        return offset
