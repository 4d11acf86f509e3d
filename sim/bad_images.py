"""One image for each thing that the accelerator refuses, checksum and all else being right."""

import struct
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.image import (
    Section,
    block_bytes,
    pack_activations,
    read_image,
    write_image,
)
from smartdeal.compiler.instructions import (
    END_WORDS,
    layer_words,
    move_words,
    program_section,
)
from smartdeal.golden.formats import PACKED
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    INSTRUCTION_WORDS,
    MIN_STEPS,
    MOVE_INSTRUCTION,
    ErrorCode,
    LayerFlag,
    MoveFlag,
    SectionKind,
    section_capacity,
)
from smartdeal.sim.bad_coding import bad_payloads, draw_steps
from smartdeal.sim.crafted import FEATURES, pack_units

__all__ = ["BadImage", "bad_images"]

#: Name, image, and what the accelerator reports: while loading or, if it loads, after a start.
BadImage = tuple[str, bytes, ErrorCode]


def bad_images(config: AcceleratorConfig) -> list[BadImage]:
    """Return images that must be refused, by name and with the code to be reported.

    Load the image; if no error comes, start. The image that is cut short is reported at the start.
    NO_PROGRAM and ABORTED do not depend on an image, FEATURE only occurs where the
    configuration leaves something out. Clear after each.
    """
    return [*_bad_containers(config), *_bad_opcodes(config), *_bad_fields(config),
            *_bad_addresses(config), *_bad_moves(config), *_bad_coding(config)]


def _program(
    config: AcceleratorConfig, fields: Mapping[str, int], *,
    words: NDArray[np.uint32] | None = None, step: Mapping[str, int] | None = None,
) -> bytes:
    """Return an image with one tiny layer that is right but for the fields given.

    It has two steps at the end of the weight buffer, one group and tile, one channel, and writes
    its output to the last word of the activation buffer.

    Parameters
    ----------
    words : array, optional
        The program memory instead of that layer and END.
    step : mapping, optional
        Fields of both steps.
    """
    if words is None:
        words = np.append(_layer(config, fields), END_WORDS)
    steps = {"lane": 0, "word": 0, "next_last": 0, **(step or {})}
    columns = {name: [value] * MIN_STEPS for name, value in steps.items()}
    if step is None or "next_last" not in step:
        columns["next_last"] = [1, 0]
    coefficients = np.zeros((MIN_STEPS, config.rows), np.int64)
    zero = [0]
    sections = [
        program_section(words, config),
        pack_units(SectionKind.STEPS, config, config.weight_steps - MIN_STEPS,
                   coefficients=coefficients, **columns),
        pack_units(SectionKind.CHANNELS, config, 0, bias=zero, multiplier=zero, shift=zero,
                   residual_multiplier=zero, residual_shift=zero),
    ]
    return write_image(config, sections, program=True)


def _layer(config: AcceleratorConfig, fields: Mapping[str, int]) -> NDArray[np.uint32]:
    """Return the instruction of :func:`_program`."""
    right = {"slices": 1, "tiles": 1, "channels": 1, "pitch": 4, "width": 3, "end": 4,
             "column_step": config.drain_lanes % 4, "hi": 1,
             "output_base": config.activation_words - 1,
             "steps_base": config.weight_steps - MIN_STEPS}
    return layer_words({**right, **fields})


def _move(config: AcceleratorConfig, fields: Mapping[str, int]) -> NDArray[np.uint32]:
    """Return a MOVE of one byte, right but for the fields given."""
    return move_words({"channels": 1, "rows": 1, "columns": 1,
                       "target_word": config.activation_words - 1, **fields})


def _with_checksum(image: bytes, config: AcceleratorConfig) -> bytes:
    """Return the image with the checksum that its bytes have."""
    size = block_bytes(config)
    body, trailer = image[:-size], bytearray(image[-size:])
    struct.pack_into("<I", trailer, 4, zlib.crc32(body))
    return body + bytes(trailer)


def _patched(image: bytes, offset: int, value: int, config: AcceleratorConfig) -> bytes:
    """Return the image with another 32-bit number at an offset, and the right checksum."""
    data = bytearray(image)
    struct.pack_into("<I", data, offset, value)
    return _with_checksum(bytes(data), config)


def _bad_containers(config: AcceleratorConfig) -> Iterator[BadImage]:
    """Yield images that are refused while loading, or are cut short."""
    good = _program(config, {})
    size = block_bytes(config)
    magic, version, fingerprint = (int.from_bytes(good[i:i + 4], "little") for i in (0, 4, 8))
    yield "wrong magic", _patched(good, 0, magic ^ 1, config), ErrorCode.MAGIC
    yield "wrong version", _patched(good, 4, version + 1, config), ErrorCode.VERSION
    yield "wrong fingerprint", _patched(good, 8, fingerprint ^ 1 << 31, config), \
        ErrorCode.FINGERPRINT
    yield "unknown section kind", _patched(good, size, 6, config), ErrorCode.SECTION
    yield "section kind 0", _patched(good, size, 0, config), ErrorCode.SECTION
    yield "section kind beyond 8 bits", _patched(good, size, 0x101, config), ErrorCode.SECTION
    flagless = _patched(good, 4, version & 0xFFFF, config)
    yield "program section in a data image", flagless, ErrorCode.SECTION
    for kind in SectionKind:
        if kind == SectionKind.END or (kind == SectionKind.BASIS and not config.basis):
            continue
        depth = section_capacity(kind, config)
        for name, address, count in (("behind", depth, 1), ("far behind", 0xFFFFFFFF, 1),
                                     ("across the end", depth - 1, 2)):
            header = struct.pack("<IIII", kind, address, count, 0).ljust(size, b"\0")
            image = good[:size] + header + good[size:]
            yield f"section {kind.name} {name}", _with_checksum(image, config), \
                ErrorCode.SECTION_RANGE
    for offset in (size + 4 * 5, len(good) // 2, len(good) - size - 1):
        flipped = bytearray(good)
        flipped[offset] ^= 1 << offset % 8
        # A flipped bit in a section header would be another error.
        if flipped[:2 * size] == good[:2 * size] and _in_units(good, offset, config):
            yield f"flipped bit at {offset}", bytes(flipped), ErrorCode.CHECKSUM
    trailer = bytearray(good)
    trailer[-size + 7] ^= 0x80
    yield "flipped bit in the checksum", bytes(trailer), ErrorCode.CHECKSUM
    data = np.zeros(config.cols * 2, np.int8)
    section = Section(SectionKind.ACTIVATIONS, 0, pack_activations(data, config))
    flipped = bytearray(write_image(config, [section], program=False))
    flipped[2 * size] ^= 1
    yield "flipped bit in a data image", bytes(flipped), ErrorCode.CHECKSUM
    beat = config.host_bits // 8
    for name, length in (("after a beat", beat), ("after the header", size),
                         ("in a section", 2 * size + beat), ("before the trailer",
                                                             len(good) - size)):
        yield f"cut short {name}", good[:length], ErrorCode.INCOMPLETE


def _in_units(image: bytes, offset: int, config: AcceleratorConfig) -> bool:
    """Return whether a byte of a correct image belongs to a section's units."""
    size = block_bytes(config)
    return any(section.offset + size <= offset < section.offset + size + len(section.data)
               for section in read_image(image, config).sections)


def _bad_opcodes(config: AcceleratorConfig) -> Iterator[BadImage]:
    """Yield programs with unknown opcodes, or without END."""
    for opcode in (0x00, 0x07, 0x82, 0xFF):
        yield f"opcode {opcode:#04x}", _program(config, {"opcode": opcode}), ErrorCode.OPCODE
    layer = _layer(config, {})
    after = np.append(layer, np.uint32(0xAB))
    yield "opcode after a layer", _program(config, {}, words=after), ErrorCode.OPCODE
    count = -(-config.program_words // INSTRUCTION_WORDS)
    endless = np.tile(layer, count)[:config.program_words]
    yield "no END", _program(config, {}, words=endless), ErrorCode.PROGRAM_RANGE
    endless[INSTRUCTION_WORDS * (count - 1):] = _move(config, {})[:config.program_words
                                                                  - INSTRUCTION_WORDS * (count - 1)]
    if config.program_words % INSTRUCTION_WORDS:
        yield "MOVE cut short", _program(config, {}, words=endless), ErrorCode.PROGRAM_RANGE


def _bad_fields(config: AcceleratorConfig) -> Iterator[BadImage]:
    """Yield instructions that the decoder refuses."""
    wrong: dict[str, dict[str, int]] = {
        "reserved_0": {"reserved_0": 1},
        "reserved_1": {"reserved_1": 1 << 15},
        "reserved_2": {"reserved_2": 1 << 31},
        "unknown flag 7": {"flags": 0x80},
        "MAX_POOL with BASIS": {"flags": LayerFlag.MAX_POOL | LayerFlag.BASIS},
        "REDUCE with RESIDUAL": {"flags": LayerFlag.REDUCE | LayerFlag.RESIDUAL},
        "no slices": {"slices": 0},
        "too many slices": {"slices": config.max_slices + 1},
        "no tiles": {"tiles": 0},
        "no channels": {"channels": 0},
        "no pitch": {"pitch": 0, "width": 0, "column_step": 0},
        "width above pitch": {"width": 5},
        "column step of a pitch": {"column_step": 4},
        "start column of a pitch": {"start_column": 4},
        "residual lane of a word": {"residual_lane": config.cols},
    }
    if config.field_bits < 32:
        wrong |= {f"wide {name}": {name: 1 << config.field_bits}
                  for name in ("end", "input_base", "channel_base", "output_stride")}
    if config.binary:
        pack = {"channels": PACKED, "output_base": 0}
        wrong |= {
            **{f"BINARY with {flag.name}": {"flags": LayerFlag.BINARY | flag}
               for flag in (LayerFlag.MAX_POOL, LayerFlag.BASIS)},
            **{f"PACK with {flag.name}": {"flags": LayerFlag.PACK | flag, **pack}
               for flag in (LayerFlag.MAX_POOL, LayerFlag.BASIS, LayerFlag.REDUCE,
                            LayerFlag.EXTERNAL)},
            "half a byte of channels": {**pack, "flags": LayerFlag.PACK, "channels": 12},
        }
    for name, fields in wrong.items():
        yield f"field: {name}", _program(config, fields), ErrorCode.FIELD
    for flag, feature in FEATURES.items():
        if not getattr(config, feature):
            yield (f"feature {feature}, {flag.name}", _program(config, {"flags": flag}),
                   ErrorCode.FEATURE)


def _bad_addresses(config: AcceleratorConfig) -> Iterator[BadImage]:
    """Yield programs that leave a memory while running."""
    words, steps = config.activation_words, config.weight_steps
    yield "steps behind the weight buffer", _program(config, {"steps_base": steps}), \
        ErrorCode.STEP_RANGE
    yield "unit without end", _program(config, {}, step={"next_last": 0}), ErrorCode.STEP_RANGE
    yield "last step behind the weight buffer", _program(
        config, {"steps_base": steps - 1}, step={"next_last": 1}), ErrorCode.STEP_RANGE
    if config.rows < config.channel_entries:
        yield "second group without steps", _program(
            config, {"channels": config.rows + 1, "output_base": 0}), ErrorCode.STEP_RANGE
    activation: dict[str, tuple[dict[str, int], dict[str, int] | None]] = {
        "vector behind": ({"input_base": words}, None),
        "vector far behind": ({"input_base": 1 << config.field_bits - 1}, None),
        "vector word and base": ({"input_base": 1}, {"word": words - 1}),
        "second tile behind": ({"input_base": words - 1, "tiles": 2, "output_base": 0}, None),
        "second word behind": ({"input_base": words - 1, "output_base": 0}, {"lane": 1}),
        "store behind": ({"output_base": words}, None),
        "second channel's store behind": ({"channels": 2, "output_stride": 1}, None),
        "second tile's store behind": ({"tiles": 2}, None),
    }
    if config.cols < 1 << (config.cols - 1).bit_length():
        activation["lane outside the word"] = ({}, {"lane": config.cols})
    if config.reduce:
        activation["reduced store behind"] = (
            {"flags": LayerFlag.REDUCE, "output_base": words}, None)
    if config.residual:
        flags = {"flags": LayerFlag.RESIDUAL}
        activation["residual behind"] = ({**flags, "residual_base": words}, None)
        activation["residual's second word behind"] = (
            {**flags, "residual_base": words - 1, "residual_lane": 1, "output_base": 0}, None)
    for name, (fields, step) in activation.items():
        yield f"activation: {name}", _program(config, fields, step=step), \
            ErrorCode.ACTIVATION_RANGE
    yield "channel entry behind", _program(
        config, {"channel_base": config.channel_entries}), ErrorCode.TABLE_RANGE
    yield "second channel's entry behind", _program(
        config, {"channel_base": config.channel_entries - 1, "channels": 2, "output_base": 0}), \
        ErrorCode.TABLE_RANGE
    if config.basis:
        yield "basis entry behind", _program(
            config, {"flags": LayerFlag.BASIS, "basis_base": config.basis_entries}), \
            ErrorCode.TABLE_RANGE


def _bad_coding(config: AcceleratorConfig) -> Iterator[BadImage]:
    """Yield programs with a section of coded steps that is malformed."""
    if not config.entropy:
        return
    count = min(60, config.weight_steps)
    units = draw_steps(np.random.default_rng(0), config, count, 4)
    for name, payload in bad_payloads(units, config).items():
        section = Section(SectionKind.STEPS, 0, units, coded=payload)
        yield f"coded steps: {name}", write_image(config, [section], program=True), \
            ErrorCode.ENTROPY


def _bad_moves(config: AcceleratorConfig) -> Iterator[BadImage]:
    """Yield MOVE instructions that are refused."""
    reserved = [f for f in MOVE_INSTRUCTION.fields if f.name.startswith("reserved")]
    lanes = [f.name for f in MOVE_INSTRUCTION.fields if f.name.endswith("_lane")]
    wrong: dict[str, dict[str, int]] = {
        **{f.name: {f.name: 1 << f.bits - 1} for f in reserved},
        "unknown flag": {"flags": 4},
        "unknown flag 7": {"flags": 0x80},
        "FILL with DECIMATE": {"flags": MoveFlag.FILL | MoveFlag.DECIMATE},
        "no channels": {"channels": 0}, "no rows": {"rows": 0}, "no columns": {"columns": 0},
        **{f"{name} of a word": {name: config.cols} for name in lanes},
    }
    if not config.move:
        yield "feature move", _moving(config, {}), ErrorCode.FEATURE
        yield "feature move with wrong fields", _moving(config, {"flags": 0x80}), ErrorCode.FEATURE
        return
    if config.field_bits < 24:
        wrong["wide target"] = {"target_word": 1 << config.field_bits}
        wrong["wide distance"] = {"source_row_word": 1 << config.field_bits}
    for name, fields in wrong.items():
        yield f"MOVE field: {name}", _moving(config, fields), ErrorCode.FIELD
    words, cols = config.activation_words, config.cols
    farthest = min(24, config.field_bits)
    high, low = {"source_word": words - 1, "target_word": 0}, {"target_word": words - 1}
    addresses: dict[str, dict[str, int]] = {
        "source behind": {"source_word": words},
        "source far behind": {"source_word": (1 << farthest) - 1},
        "source's second word behind": {**high, "source_lane": 1},
        "second chunk behind": {**high, "columns": cols + 1},
        "second vector behind": {**high, "flags": MoveFlag.DECIMATE},
        "second row's source behind": {**high, "rows": 2, "source_row_lane": 1},
        "second channel's source behind": {**high, "channels": 2, "source_channel_word": 1},
        "target behind": {"target_word": words},
        "target far behind": {"target_word": (1 << farthest) - 1, "flags": MoveFlag.FILL},
        "target's second word behind": {**low, "target_lane": cols - 1, "columns": 2},
        "target's second chunk behind": {**low, "columns": cols + 1},
        "second row's target behind": {**low, "rows": 2, "target_row_word": 1},
        "second channel's fill behind": {**low, "channels": 2, "target_channel_word": 1,
                                         "flags": MoveFlag.FILL},
        "filled word behind": {**low, "columns": cols + 1, "flags": MoveFlag.FILL},
    }
    for name, fields in addresses.items():
        yield f"MOVE: {name}", _moving(config, fields), ErrorCode.ACTIVATION_RANGE


def _moving(config: AcceleratorConfig, fields: Mapping[str, int]) -> bytes:
    """Return an image with one MOVE."""
    return _program(config, {}, words=np.append(_move(config, fields), END_WORDS))
