"""The interpreter against a naive twin: Python integers, one tile, row and column at a time."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartdeal.golden.interpreter import Interpreter, ProgramError
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    INSTRUCTION,
    INSTRUCTION_WORDS,
    LOAD_INSTRUCTION,
    MOVE_INSTRUCTION,
    ErrorCode,
    LayerFlag,
    MoveFlag,
    Opcode,
    SectionKind,
    section_format,
)
from smartdeal.hw.packing import WordFormat
from smartdeal.sim.cases import bad_images, draw_case, draw_config, draw_image
from smartdeal.sim.crafted_memory import draw_memory_program
from smartdeal.sim.memory_programs import bad_memory_programs, good_memory_programs


def fields_of(word: int, layout: WordFormat) -> dict[str, Any]:
    """Take a word apart: numbers, and lists for array fields."""
    values: dict[str, Any] = {}
    for field in layout.fields:
        elements = []
        for _ in range(field.count):
            value = word & ((1 << field.bits) - 1)
            word >>= field.bits
            if field.signed and value >> (field.bits - 1):
                value -= 1 << field.bits
            elements.append(value)
        values[field.name] = elements[0] if field.count == 1 else elements
    return values


def wrapped(value: int, bits: int) -> int:
    """Keep the lowest bits, as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class NaiveAccelerator:
    """docs/execution.md, sentence by sentence; trusts the image."""

    def __init__(self, image: bytes, config: AcceleratorConfig, region: bytes = b"") -> None:
        self.config = config
        self.region = bytearray(region)
        self.memory: dict[SectionKind, dict[int, dict[str, Any]]] = {k: {} for k in SectionKind}
        self.act = [0] * config.activation_bytes
        beat = config.host_bits // 8
        block = max(16, beat)
        position = block
        while True:
            kind, address, count, _ = struct.unpack_from("<IIII", image, position)
            position += block
            if kind == SectionKind.END:
                break
            layout = section_format(SectionKind(kind), config)
            unit = -(-layout.bits // config.host_bits) * beat
            for index in range(count):
                word = int.from_bytes(image[position:position + unit], "little")
                values = fields_of(word, layout)
                self.memory[SectionKind(kind)][address + index] = values
                if kind == SectionKind.ACTIVATIONS:
                    start = (address + index) * config.cols
                    self.act[start:start + config.cols] = values["bytes"]
                position += unit

    def run(self) -> bytes:
        """Run to END and return the activation buffer."""
        program = self.memory[SectionKind.PROGRAM]
        pointer = 0
        while (opcode := program[pointer]["word"] & 0xFF) != Opcode.END:
            if opcode in (Opcode.WAIT, Opcode.JUMP):
                pointer = pointer + 1 if opcode == Opcode.WAIT else program[pointer]["word"] >> 8
                continue
            word = sum(program[pointer + i]["word"] << 32 * i for i in range(INSTRUCTION_WORDS))
            if opcode == Opcode.MOVE:
                self.move(fields_of(word, MOVE_INSTRUCTION))
            elif opcode == Opcode.LOAD:
                self.load(fields_of(word, LOAD_INSTRUCTION))
            else:
                self.layer(fields_of(word, INSTRUCTION))
            pointer += INSTRUCTION_WORDS
        return struct.pack(f"{len(self.act)}b", *self.act)

    def load(self, i: dict[str, Any]) -> None:
        kind = SectionKind(i["kind"])
        layout = section_format(kind, self.config)
        unit = -(-layout.bits // self.config.host_bits) * self.config.host_bits // 8
        for run in range(i["runs"]):
            for k in range(i["count"]):
                place = (i["offset"] + run * i["memory_stride"]) % 2**32 + k * unit
                data = self.region[place:place + unit]
                assert len(data) == unit
                address = (i["address"] + run * i["run_stride"]
                           + k // i["inner"] * i["outer_stride"]
                           + k % i["inner"] * i["inner_stride"]) % 2**32
                values = fields_of(int.from_bytes(data, "little"), layout)
                self.memory[kind][address] = values
                if kind == SectionKind.ACTIVATIONS:
                    start = address * self.config.cols
                    self.act[start:start + self.config.cols] = values["bytes"]

    def layer(self, i: dict[str, Any]) -> None:
        basis = bool(i["flags"] & LayerFlag.BASIS)
        size = self.config.rows // 3 if basis else self.config.rows
        if i["flags"] & LayerFlag.MAX_POOL:
            size = 1
        pointer = i["steps_base"]
        for group, first in enumerate(range(0, i["channels"], size)):
            count = min(size, i["channels"] - first)
            streams: dict[tuple[int, int], list[int]] = {}
            reduced = [0] * count
            start = pointer
            for tile in range(i["tiles"]):
                pointer = start
                total = [[0] * self.config.cols for _ in range(count)]
                for s in range(i["slices"]):
                    acc, pointer = self.unit(i, tile, pointer)
                    self.add(i, total, acc, (group, s, size, tile), streams)
                self.store(i, tile, first, total, reduced)

    def move(self, i: dict[str, Any]) -> None:
        def flat(name: str) -> int:
            return i[f"{name}_word"] * self.config.cols + i[f"{name}_lane"]

        def run(name: str, channel: int, row: int) -> int:
            return flat(name) + channel * flat(f"{name}_channel") + row * flat(f"{name}_row")

        step = 2 if i["flags"] & MoveFlag.DECIMATE else 1
        for channel in range(i["channels"]):
            for row in range(i["rows"]):
                for column in range(i["columns"]):
                    value = (i["value"] if i["flags"] & MoveFlag.FILL else
                             self.act[run("source", channel, row) + step * column])
                    self.act[run("target", channel, row) + column] = value

    def unit(self, i: dict[str, Any], tile: int, pointer: int) -> tuple[list[list[int]], int]:
        config = self.config
        acc = [[0] * config.cols for _ in range(config.rows)]
        last = False
        while True:
            step = self.memory[SectionKind.STEPS][pointer]
            flat = (i["input_base"] + tile + step["word"]) * config.cols + step["lane"]
            x = self.act[flat:flat + config.cols]
            for row, code in enumerate(step["coefficients"]):
                if not code & 1:
                    continue
                for j in range(config.cols):
                    if i["flags"] & LayerFlag.MAX_POOL:
                        acc[row][j] = max(acc[row][j], x[j] + 128)
                    else:
                        term = x[j] << (code >> 2)
                        acc[row][j] = wrapped(acc[row][j] + (-term if code & 2 else term),
                                              config.acc_bits)
            pointer += 1
            if last:
                return acc, pointer
            last = bool(step["next_last"])

    def add(
        self, i: dict[str, Any], total: list[list[int]], acc: list[list[int]],
        place: tuple[int, int, int, int], streams: dict[tuple[int, int], list[int]],
    ) -> None:
        """Add a slice's sums; ``streams`` holds each slice's rows from position 0 on."""
        group, s, size, tile = place
        bits = self.config.sum_bits
        if not i["flags"] & LayerFlag.BASIS:
            for f, sums in enumerate(total):
                for j, value in enumerate(acc[f]):
                    sums[j] = wrapped(sums[j] + value, bits)
            return
        for row, values in enumerate(acc):
            streams.setdefault((s, row), []).extend(values)
        for f, sums in enumerate(total):
            entry = self.memory[SectionKind.BASIS][
                i["basis_base"] + (group * i["slices"] + s) * size + f]
            for j in range(self.config.cols):
                position = tile * self.config.cols + j
                value = sum(entry["taps"][3 * k + lag] * streams[s, 3 * f + k][position - lag]
                            for k in range(3) for lag in range(3) if position >= lag)
                sums[j] = wrapped(sums[j] + (value << entry["align"]), bits)

    def store(
        self, i: dict[str, Any], tile: int, first: int, total: list[list[int]],
        reduced: list[int],
    ) -> None:
        cols = self.config.cols
        for f, sums in enumerate(total):
            channel = first + f
            word = i["output_base"] + channel * i["output_stride"]
            for j, value in enumerate(sums):
                position = tile * cols + j
                inside = (i["skip"] <= position < i["end"]
                          and (i["start_column"] + position) % i["pitch"] < i["width"])
                if i["flags"] & LayerFlag.REDUCE:
                    reduced[f] = wrapped(reduced[f] + inside * value, self.config.sum_bits)
                    continue
                residual = 0
                if i["flags"] & LayerFlag.RESIDUAL:
                    base = i["residual_base"] + channel * i["residual_stride"] + tile
                    residual = self.act[base * cols + i["residual_lane"] + j] - i["zp_res"]
                out = self.requantised(i, channel, value, residual)
                out = out if inside else i["zp_out"]
                if i["flags"] & LayerFlag.EXTERNAL:
                    unit = -(-8 * cols // self.config.host_bits) * self.config.host_bits // 8
                    place = i["output_base"] + unit * (first * i["tiles"] + tile * len(total) + f)
                    if j == 0:
                        self.region[place:place + unit] = bytes(unit)
                    self.region[place + j] = out & 0xFF
                else:
                    self.act[(word + tile) * cols + j] = out
            if i["flags"] & LayerFlag.REDUCE and tile == i["tiles"] - 1:
                self.act[word * cols] = self.requantised(i, channel, reduced[f], 0)

    def requantised(self, i: dict[str, Any], channel: int, value: int, residual: int) -> int:
        entry = self.memory[SectionKind.CHANNELS][i["channel_base"] + channel]
        t = (value + entry["bias"]) * entry["multiplier"]
        t += residual * entry["residual_multiplier"] << entry["residual_shift"]
        if entry["shift"]:
            t += 1 << (entry["shift"] - 1)
        return max(i["lo"], min(i["hi"], (t >> entry["shift"]) + i["zp_out"]))


@settings(derandomize=True, print_blob=True, database=None, deadline=None, max_examples=300)
@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_random_programs(rows: int, cols: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = draw_config(rng, rows=rows, cols=cols, activation_words=int(rng.integers(16, 200)),
                         max_pool=bool(rng.integers(2)), reduce=bool(rng.integers(2)))
    image = draw_image(rng, config)
    interpreter = Interpreter(config)
    interpreter.load(image)
    interpreter.run()
    naive = NaiveAccelerator(image, config).run()
    assert interpreter.read(0, config.activation_words) == naive


@settings(derandomize=True, print_blob=True, database=None, deadline=None, max_examples=50)
@given(st.integers(2, 8), st.integers(5, 12), st.integers(0, 2**32 - 1))
def test_random_memory_programs(rows: int, cols: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = draw_config(rng, rows=rows, cols=cols, activation_words=int(rng.integers(16, 200)),
                         program_words=1024, memory=True, host_bits=32, drain_lanes=0)
    drawn = draw_memory_program(rng, config)
    check_memory_program(config, drawn.image, drawn.region)


@pytest.mark.parametrize("host_bits", [32, 64, 128, 256])
@pytest.mark.parametrize("basis", [True, False])
def test_memory_programs(host_bits: int, basis: bool) -> None:
    config = AcceleratorConfig(rows=5, cols=host_bits // 8 + 2, basis=basis, memory=True,
                               host_bits=host_bits, activation_words=64, program_words=256)
    for case in good_memory_programs(config):
        check_memory_program(config, case.image, case.region)


def check_memory_program(config: AcceleratorConfig, image: bytes, region: bytes) -> None:
    """Compare the buffer and the whole region."""
    naive = NaiveAccelerator(image, config, region)
    interpreter = Interpreter(config, bytearray(region))
    interpreter.load(image)
    interpreter.run()
    assert interpreter.read(0, config.activation_words) == naive.run()
    assert interpreter.region == naive.region


def configurations() -> list[AcceleratorConfig]:
    """Accelerators with every feature, with none, and with odd sizes."""
    return [
        AcceleratorConfig(),
        AcceleratorConfig(rows=5, cols=6, host_bits=256, exponents=1, basis=False, max_pool=False,
                          residual=False, reduce=False, move=False),
        AcceleratorConfig(rows=2, cols=2, host_bits=32, program_words=37),
        AcceleratorConfig(rows=3, cols=7, host_bits=128, weight_steps=16, activation_words=16),
        AcceleratorConfig(rows=4, cols=5, host_bits=64, weight_steps=64, entropy=True),
    ]


def load_and_run(interpreter: Interpreter, image: bytes) -> None:
    interpreter.load(image)
    interpreter.run()


@pytest.mark.parametrize("config", configurations(), ids=lambda c: f"{c.rows}x{c.cols}")
def test_bad_images(config: AcceleratorConfig) -> None:
    good = draw_image(np.random.default_rng(1), config)
    interpreter = Interpreter(config)
    for name, image, code in bad_images(config):
        with pytest.raises(ProgramError) as caught:
            load_and_run(interpreter, image)
        assert caught.value.code == code, name
        interpreter.clear()
        interpreter.load(good)
        interpreter.run()


def with_memory() -> list[AcceleratorConfig]:
    """Accelerators with and without system memory."""
    sizes: dict[str, Any] = {"activation_words": 64, "program_words": 256}
    return [
        AcceleratorConfig(memory=True, **sizes),
        AcceleratorConfig(rows=2, cols=40, host_bits=256, memory=True, basis=False,
                          weight_steps=16, channel_entries=16, **sizes),
        AcceleratorConfig(**sizes),
    ]


@pytest.mark.parametrize("config", with_memory(), ids=lambda c: f"{c.rows}x{c.cols}-{c.memory}")
def test_bad_memory_programs(config: AcceleratorConfig) -> None:
    interpreter = Interpreter(config)
    for case in bad_memory_programs(config):
        interpreter.region = bytearray(case.region)
        with pytest.raises(ProgramError) as caught:
            load_and_run(interpreter, case.image)
        assert caught.value.code == case.error, case.name


def test_bad_images_cover_every_code() -> None:
    codes = {code for config in configurations() for _, _, code in bad_images(config)}
    codes |= {case.error for config in with_memory() for case in bad_memory_programs(config)}
    # These do not come from an image: no program, stopped by the host, started twice, and what
    # only the memory itself can answer.
    assert codes == set(ErrorCode) - {
        ErrorCode.NONE, ErrorCode.NO_PROGRAM, ErrorCode.ABORTED, ErrorCode.BUSY,
        ErrorCode.MEMORY_READ, ErrorCode.MEMORY_WRITE}


def test_start_without_program() -> None:
    with pytest.raises(ProgramError, match=r"^NO_PROGRAM at instruction 0$"):
        Interpreter(AcceleratorConfig()).run()


def test_swallows_until_clear() -> None:
    config = AcceleratorConfig()
    good = draw_image(np.random.default_rng(1), config)
    interpreter = Interpreter(config)
    with pytest.raises(ProgramError, match=r"^MAGIC at instruction 0$"):
        interpreter.load(b"not an image, but long enough")
    interpreter.load(good)
    with pytest.raises(ProgramError, match=r"^INCOMPLETE at instruction 0$"):
        interpreter.run()
    interpreter.clear()
    with pytest.raises(ProgramError, match=r"^NO_PROGRAM at instruction 0$"):
        interpreter.run()
    interpreter.load(good)
    interpreter.run()


def test_names_the_instruction() -> None:
    config = AcceleratorConfig()
    (image,) = [image for name, image, _ in bad_images(config) if name == "opcode after a layer"]
    interpreter = Interpreter(config)
    interpreter.load(image)
    with pytest.raises(ProgramError, match=r"^OPCODE at instruction 16$"):
        interpreter.run()


def test_loads_in_pieces() -> None:
    """The load stream knows no image boundaries."""
    rng = np.random.default_rng(4)
    config = draw_config(rng)
    case = draw_case(rng, config)
    part = case.program.parts[0]
    stream = part.image + part.data_image(case.x, case.residual)
    whole, pieces = Interpreter(config), Interpreter(config)
    whole.load(stream)
    for start in range(0, len(stream), 100):
        pieces.load(stream[start:start + 100])
    whole.run()
    pieces.run()
    assert whole.read(0, config.activation_words) == pieces.read(0, config.activation_words)


def test_read_wrong() -> None:
    interpreter = Interpreter(AcceleratorConfig(activation_words=64))
    with pytest.raises(ValueError, match=r"^Words must be within 0 to 64, not 60 to 65$"):
        interpreter.read(60, 5)
