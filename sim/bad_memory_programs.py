"""One program for each thing about system memory that the accelerator refuses."""

from collections.abc import Iterator, Mapping

import numpy as np

from smartdeal.compiler.instructions import (
    END_WORDS,
    jump_words,
    layer_words,
    load_words,
    wait_words,
)
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    LOAD_INSTRUCTION,
    ErrorCode,
    LayerFlag,
    SectionKind,
    section_capacity,
    section_format,
)
from smartdeal.sim.memory_builder import MemoryCase, ProgramBuilder, Words

__all__ = ["bad_memory_programs"]

#: Words of activations of the region of the bad programs.
_BAD_UNITS = 6


def bad_memory_programs(config: AcceleratorConfig) -> list[MemoryCase]:
    """Return programs that are stopped by an error; without the feature memory, by its lack."""
    if not config.memory:
        return list(_bad_features(config))
    return [*_bad_loads(config), *_bad_waits_and_jumps(config), *_bad_layers(config),
            *_bad_ranges(config), *_bad_places(config)]


def _bad(
    config: AcceleratorConfig, name: str, error: ErrorCode, words: list[Words],
) -> MemoryCase:
    """Return a program that runs into an error, on a region of a few words of activations."""
    b = ProgramBuilder(config, np.random.default_rng(0), words=[*words, END_WORDS])
    b.place(b.activations(_BAD_UNITS))
    return b.case(name, error)


def _load(config: AcceleratorConfig, fields: Mapping[str, int]) -> Words:
    """Return a LOAD of one word of activations, right but for the fields given."""
    return load_words({"kind": SectionKind.ACTIVATIONS, "runs": 1, "count": 1, "inner": 1,
                       **fields})


def _layer(config: AcceleratorConfig, fields: Mapping[str, int]) -> Words:
    """Return an EXTERNAL layer of one word, right but for the fields given and its steps."""
    return layer_words({"flags": LayerFlag.EXTERNAL, "slices": 1, "tiles": 1, "channels": 1,
                        "pitch": 4, "width": 3, "end": 4, "column_step": config.drain_lanes % 4,
                        "hi": 1, **fields})


def _bad_features(config: AcceleratorConfig) -> Iterator[MemoryCase]:
    """Yield what needs the feature memory; its lack is noticed before wrong fields."""
    programs = {
        "LOAD": _load(config, {}), "LOAD with wrong fields": _load(config, {"runs": 0}),
        "WAIT": wait_words(0), "WAIT with wrong fields": wait_words(0) | np.uint32(1 << 31),
        "JUMP": jump_words(1), "JUMP behind": jump_words(config.program_words),
        "EXTERNAL": _layer(config, {}),
    }
    for name, words in programs.items():
        yield _bad(config, f"feature memory: {name}", ErrorCode.FEATURE, [words])
    yield _bad(config, "feature memory: EXTERNAL with wrong fields", ErrorCode.FIELD,
               [_layer(config, {"output_base": 1})])


def _bad_loads(config: AcceleratorConfig) -> Iterator[MemoryCase]:
    """Yield LOADs that the decoder refuses."""
    reserved = [f for f in LOAD_INSTRUCTION.fields if f.name.startswith("reserved")]
    beat = config.host_bits // 8
    wrong: dict[str, dict[str, int]] = {
        **{f.name: {f.name: 1 << f.bits - 1} for f in reserved},
        "kind 0": {"kind": 0}, "kind 6": {"kind": 6}, "kind END": {"kind": SectionKind.END},
        "kind 0x85": {"kind": 0x80 | SectionKind.ACTIVATIONS},
        "no runs": {"runs": 0}, "no units": {"count": 0}, "no inner units": {"inner": 0},
        "offset 1": {"offset": 1}, "offset of half a beat": {"offset": beat // 2},
        "stride 2": {"memory_stride": 2},
        "stride of half a beat": {"memory_stride": beat + beat // 2},
        **({} if config.basis else {"kind BASIS": {"kind": SectionKind.BASIS}}),
    }
    for name, fields in wrong.items():
        yield _bad(config, f"LOAD field: {name}", ErrorCode.FIELD, [_load(config, fields)])


def _bad_waits_and_jumps(config: AcceleratorConfig) -> Iterator[MemoryCase]:
    """Yield instructions of one word that are refused, and JUMPs to what is no instruction."""
    for name, bits in (("unknown flag", 1 << 9), ("unknown flag 7", 1 << 15),
                       ("reserved", 1 << 31), ("reserved 0", 1 << 24)):
        yield _bad(config, f"WAIT field: {name}", ErrorCode.FIELD,
                   [wait_words(0) | np.uint32(bits)])
    depth = config.program_words
    for target in (depth, depth + 1, (1 << 24) - 1):
        yield _bad(config, f"JUMP to {target}", ErrorCode.PROGRAM_RANGE, [jump_words(target)])
    yield _bad(config, "JUMP to an unknown opcode", ErrorCode.OPCODE,
               [jump_words(2), END_WORDS, np.array([0x0A], np.uint32)])
    last = {"LOAD cut short": _load(config, {})[:-1], "LAYER cut short": _layer(config, {})[:1],
            "WAIT in the last word": wait_words(0)}
    for name, words in last.items():
        start = depth - len(words)
        b = ProgramBuilder(config, np.random.default_rng(0))
        b.add(jump_words(start), np.zeros(start - 1, np.uint32), words)
        yield b.case(name, ErrorCode.PROGRAM_RANGE)


def _bad_layers(config: AcceleratorConfig) -> Iterator[MemoryCase]:
    """Yield EXTERNAL layers that the decoder refuses."""
    beat = config.host_bits // 8
    wrong: dict[str, dict[str, int]] = {
        "offset 1": {"output_base": 1}, "offset of half a beat": {"output_base": beat // 2},
        "REDUCE": {"flags": LayerFlag.EXTERNAL | LayerFlag.REDUCE},
        "unknown flag": {"flags": LayerFlag.EXTERNAL | 0x80},
    }
    for name, fields in wrong.items():
        yield _bad(config, f"EXTERNAL field: {name}", ErrorCode.FIELD, [_layer(config, fields)])


def _bad_ranges(config: AcceleratorConfig) -> Iterator[MemoryCase]:
    """Yield transfers that leave the region."""
    unit = section_format(SectionKind.ACTIVATIONS, config).unit_bytes(config.host_bits)
    beat = config.host_bits // 8
    size = _BAD_UNITS * unit
    loads: dict[str, dict[str, int]] = {
        "behind": {"offset": size}, "far behind": {"offset": (1 << 32) - beat},
        "across the end": {"offset": size - unit, "count": 2, "inner": 2, "inner_stride": 1},
        "a beat too far": {"offset": size - unit + beat},
        "second run": {"runs": 2, "memory_stride": size},
        "third run, a beat too far": {"runs": 3, "offset": 2 * unit,
                                      "memory_stride": 2 * unit, "count": 1, "run_stride": 1}
        if unit == beat else {"runs": 3, "offset": unit + beat, "memory_stride": 2 * unit,
                              "run_stride": 1},
        "second run below the start": {"runs": 2, "memory_stride": (1 << 32) - beat},
        "endless": {"count": (1 << 32) - 1, "inner_stride": 0},
        "endless runs": {"runs": (1 << 16) - 1, "memory_stride": unit},
    }
    for name, fields in loads.items():
        yield _bad(config, f"LOAD {name}", ErrorCode.MEMORY_RANGE,
                   [_load(config, fields), wait_words(0)])
    yield _bad(config, "LOAD behind, without WAIT", ErrorCode.MEMORY_RANGE,
               [_load(config, {"offset": size})])
    layers: dict[str, dict[str, int]] = {
        "behind": {"output_base": size}, "far behind": {"output_base": (1 << 32) - beat},
        "a beat too far": {"output_base": size - unit + beat},
        "channel behind": {"channels": _BAD_UNITS + 1}, "tile behind": {"tiles": _BAD_UNITS + 1},
        "endless": {"channels": (1 << 16) - 1, "tiles": (1 << 16) - 1},
    }
    for name, fields in layers.items():
        yield _bad(config, f"EXTERNAL {name}", ErrorCode.MEMORY_RANGE, [_layer(config, fields)])


def _bad_places(config: AcceleratorConfig) -> Iterator[MemoryCase]:
    """Yield LOADs of units outside their memory."""
    kinds = [kind for kind in SectionKind if kind != SectionKind.END
             and (kind != SectionKind.BASIS or config.basis)]
    for kind in kinds:
        yield from _bad_places_of(kind, config)


def _bad_places_of(kind: SectionKind, config: AcceleratorConfig) -> Iterator[MemoryCase]:
    depth = section_capacity(kind, config)
    unit = section_format(kind, config).unit_bytes(config.host_bits)
    two = {"count": 2, "inner": 2, "inner_stride": 1}
    places: dict[str, dict[str, int]] = {
        "behind": {"address": depth}, "far behind": {"address": (1 << 32) - 1},
        "second unit": {"address": depth - 1, **two},
        "second block": {"address": depth - 1, "count": 2, "outer_stride": 1},
        "second run": {"address": depth - 1, "runs": 2, "memory_stride": unit,
                       "run_stride": 1},
        "below the start": {"address": 0, **two, "inner_stride": (1 << 32) - 1},
        "only the first": {"address": depth, **two, "inner_stride": (1 << 32) - 1},
    }
    for name, fields in places.items():
        words = [_load(config, {"kind": kind, **fields}), wait_words(0)]
        case = _bad(config, f"LOAD of {kind.name} {name}", ErrorCode.SECTION_RANGE, words)
        size = max(len(case.region), 2 * unit)
        yield MemoryCase(case.name, case.image, case.region.ljust(size, b"\0"), case.error)
    yield _bad(config, f"LOAD of {kind.name} behind, without WAIT", ErrorCode.SECTION_RANGE,
               [_load(config, {"kind": kind, "address": depth})])
