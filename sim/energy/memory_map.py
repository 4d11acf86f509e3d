"""What lies where: in the activation buffer, in the other memories, in system memory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from smartdeal.compiler import NetworkProgram, Program
from smartdeal.compiler.image import read_image
from smartdeal.golden.transfers import Load
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    LayerFlag,
    MoveFlag,
    Opcode,
    SectionKind,
    section_capacity,
    section_format,
)
from smartdeal.sim.latency_memory import Executed

__all__ = ["ChipMemory", "Region", "SystemRange", "chip_memories", "part_regions", "system_ranges",
           "touched", "united"]

_NAMES = {SectionKind.PROGRAM: "instructions", SectionKind.STEPS: "steps",
          SectionKind.CHANNELS: "requantisation", SectionKind.BASIS: "basis",
          SectionKind.ACTIVATIONS: "activations"}


@dataclass(frozen=True)
class Region:
    """Words of the activation buffer that a layer uses: ``first`` up to ``end``.

    Parameters
    ----------
    kind : str
        "input", "residual" or "output"; "loaded" from system memory, or "laid out" anew by MOVE.
    """

    layer: str
    first: int
    end: int
    kind: str = "output"


@dataclass(frozen=True)
class ChipMemory:
    """A memory of the accelerator.

    Parameters
    ----------
    name : str
    used, depth : int
        Words up to the last one that is written, and all.
    word_bits : int
    """

    name: str
    used: int
    depth: int
    word_bits: int


@dataclass(frozen=True, order=True)
class SystemRange:
    """Bytes of a program's region of system memory: ``first`` up to ``end``.

    Parameters
    ----------
    kind : str
        What it holds; "tensor" for what the program itself writes.
    name : str
        Of the tensor.
    """

    first: int
    end: int
    kind: str
    name: str = ""


def touched(
    layer: str, opcode: Opcode, fields: Mapping[str, int], config: AcceleratorConfig,
) -> Region | None:
    """Return the words of the activation buffer that an instruction writes, gaps included."""
    if opcode == Opcode.LAYER and not fields["flags"] & LayerFlag.EXTERNAL:
        size = 1 if fields["flags"] & LayerFlag.REDUCE else fields["tiles"]
        first = fields["output_base"]
        return Region(layer, first, first + (fields["channels"] - 1) * fields["output_stride"]
                      + size)
    if opcode == Opcode.MOVE and not fields["flags"] & MoveFlag.FILL:
        start = fields["target_word"] * config.cols + fields["target_lane"]
        last = start + fields["columns"] - 1
        for name in ("channel", "row"):
            count = fields[f"{name}s"] - 1
            last += count * (fields[f"target_{name}_word"] * config.cols
                             + fields[f"target_{name}_lane"])
        return Region(layer, start // config.cols, last // config.cols + 1, "laid out")
    if opcode == Opcode.LOAD and fields["kind"] == SectionKind.ACTIVATIONS:
        return Region(layer, *_local(fields, config), "loaded")
    return None


def _local(fields: Mapping[str, int], config: AcceleratorConfig) -> tuple[int, int]:
    """Return first word and end of what a LOAD writes."""
    places = Load(0, dict(fields), config).places()
    return int(places.min()), int(places.max()) + 1


def united(regions: Iterable[Region]) -> list[Region]:
    """Return one region for all of a layer and kind that touch or overlap."""
    found: dict[tuple[str, str], list[Region]] = {}
    for region in regions:
        found.setdefault((region.layer, region.kind), []).append(region)
    result: list[Region] = []
    for ranges in found.values():
        merged: list[Region] = []
        for region in sorted(ranges, key=lambda one: one.first):
            if merged and region.first <= merged[-1].end:
                last = merged.pop()
                region = Region(last.layer, last.first, max(last.end, region.end), last.kind)
            merged.append(region)
        result += merged
    return result


def part_regions(program: Program) -> list[Region]:
    """Return what the part that uses most of the activation buffer holds in it."""
    part = max(program.parts, key=lambda one: one.output_word + one.output_words)
    regions = [Region(program.name, 0, part.input_words, "input")]
    if part.residual:
        regions.append(Region(program.name, part.residual_word, part.output_word, "residual"))
    return [*regions, Region(program.name, part.output_word,
                             part.output_word + part.output_words)]


def chip_memories(
    images: Sequence[bytes], executed: Sequence[Executed], activation_words: int,
    config: AcceleratorConfig,
) -> tuple[ChipMemory, ...]:
    """Return how far each memory is filled.

    Parameters
    ----------
    images : sequence of bytes
        Program images.
    executed : sequence of Executed
        Instructions, of which LOADs count.
    activation_words : int
        Words of the activation buffer in use.
    """
    used = dict.fromkeys(_NAMES, 0)
    for image in images:
        for section in read_image(image, config).sections:
            unit = section_format(section.kind, config).unit_bytes(config.host_bits)
            used[section.kind] = max(used[section.kind],
                                     section.address + len(section.data) // unit)
    for one in executed:
        if one.opcode == Opcode.LOAD:
            kind = SectionKind(one.fields["kind"])
            used[kind] = max(used[kind], _local(one.fields, config)[1])
    used[SectionKind.ACTIVATIONS] = activation_words
    return tuple(ChipMemory(name, used[kind], section_capacity(kind, config),
                            section_format(kind, config).bits)
                 for kind, name in _NAMES.items() if kind != SectionKind.BASIS or config.basis)


def system_ranges(
    program: NetworkProgram, executed: Sequence[Executed],
) -> tuple[SystemRange, ...]:
    """Return what the region of a program holds, in the order of addresses.

    Constants are what LOADs read in front of the image's views; bytes that nobody reads are left
    out.
    """
    config = program.config
    unit = section_format(SectionKind.ACTIVATIONS, config).unit_bytes(config.host_bits)
    ranges: set[SystemRange] = set()
    names = (*program.instructions[0], "")
    for layer, one in zip(names, executed, strict=True):
        fields = one.fields
        if one.opcode == Opcode.LAYER and fields["flags"] & LayerFlag.EXTERNAL:
            size = fields["channels"] * fields["tiles"] * unit
            first = fields["output_base"]
            ranges.add(SystemRange(first, first + size, "tensor", layer))
        if one.opcode != Opcode.LOAD:
            continue
        kind = SectionKind(fields["kind"])
        size = fields["count"] * section_format(kind, config).unit_bytes(config.host_bits)
        name = "padding" if kind == SectionKind.ACTIVATIONS else _NAMES[kind]
        for run in range(fields["runs"] if fields["memory_stride"] else 1):
            first = fields["offset"] + run * fields["memory_stride"]
            if first < len(program.memory):
                ranges.add(SystemRange(first, first + size, name))
    for view, offset in zip(program.inputs, program.image_offsets, strict=True):
        ranges.add(SystemRange(offset, offset + view.words * unit, "image"))
    merged: list[SystemRange] = []
    for found in sorted(ranges):
        last = merged[-1] if merged else None
        if last and (last.kind, last.name) == (found.kind, found.name) and (
                found.first <= last.end):
            merged[-1] = SystemRange(last.first, max(last.end, found.end), last.kind, last.name)
        else:
            merged.append(found)
    return tuple(merged)
