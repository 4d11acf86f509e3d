"""The loader: units reach their memory, and every bad image is refused with its code."""

import random
import struct
import zlib
from typing import Any

import pytest

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ErrorCode, SectionKind, section_format
from smartdeal.hw.loader import LOADED_KINDS, Loader

_SMALL: dict[str, Any] = dict(rows=4, cols=3, activation_words=32, weight_steps=64,
                              channel_entries=16, basis_entries=16, program_words=32)


def block(config, *words):
    data = struct.pack("<4I", *words)
    return data.ljust(max(len(data), config.host_bits // 8), b"\0")


def image(config, sections, *, program=True, magic=b"SDPI", version=1, fingerprint=None, crc=0):
    """Build an image without the compiler: sections are (kind, address, units as integers)."""
    flags = version | int(program) << 16
    data = block(config, int.from_bytes(magic, "little"), flags,
                 config.fingerprint if fingerprint is None else fingerprint, 0)
    for kind, address, units in sections:
        data += block(config, kind, address, len(units), 0)
        for unit in units:
            size = section_format(kind, config).unit_bytes(config.host_bits)
            data += unit.to_bytes(size, "little")
    return data + block(config, SectionKind.END, zlib.crc32(data) ^ crc, 0, 0)


class Driver:
    """Feed beats and record what the loader writes and reports."""

    def __init__(self, dut, idle=0.0):
        self.dut, self.idle = dut, idle
        self.rng = random.Random(3)
        self.written, self.errors = [], []

    async def tick(self, ctx):
        mask = ctx.get(self.dut.write)
        for index, kind in enumerate(LOADED_KINDS):
            if mask >> index & 1:
                self.written.append((kind, ctx.get(self.dut.address),
                                     ctx.get(self.dut.unit_of(kind))))
        if ctx.get(self.dut.failed):
            self.errors.append(ErrorCode(ctx.get(self.dut.error)))
        await ctx.tick()

    async def send(self, ctx, data):
        size = self.dut.config.host_bits // 8
        for start in range(0, len(data), size):
            while self.rng.random() < self.idle:
                await self.tick(ctx)
            ctx.set(self.dut.i.payload, int.from_bytes(data[start:start + size], "little"))
            ctx.set(self.dut.i.valid, 1)
            while not ctx.get(self.dut.i.ready):
                await self.tick(ctx)
            await self.tick(ctx)
            ctx.set(self.dut.i.valid, 0)
        for _ in range(4):
            await self.tick(ctx)

    async def clear(self, ctx):
        ctx.set(self.dut.clear, 1)
        await self.tick(ctx)
        ctx.set(self.dut.clear, 0)


def words(config, kind, count, seed=1):
    rng = random.Random(seed)
    return [rng.getrandbits(section_format(kind, config).bits) for _ in range(count)]


@pytest.mark.parametrize("idle", [0.0, 0.4])
@pytest.mark.parametrize("host_bits", [32, 64, 128, 256])
def test_units_reach_their_memory(simulate, host_bits, idle):
    config = AcceleratorConfig(**_SMALL, host_bits=host_bits)
    dut = Loader(config)
    sections = [(kind, 3, words(config, kind, 4)) for kind in LOADED_KINDS]
    sections.insert(2, (SectionKind.STEPS, 60, []))

    async def bench(ctx):
        driver = Driver(dut, idle)
        for _ in range(2):
            await driver.send(ctx, image(config, sections))
        assert driver.errors == []
        assert driver.written == 2 * [(kind, address + i, unit) for kind, address, units in sections
                                      for i, unit in enumerate(units)]
        assert ctx.get(dut.program_valid)
        assert not ctx.get(dut.ongoing)

    simulate(dut, bench)


def bad_images(config):
    steps = (SectionKind.STEPS, 0, words(config, SectionKind.STEPS, 2))
    bytes_ = (SectionKind.ACTIVATIONS, 0, words(config, SectionKind.ACTIVATIONS, 2))
    good = image(config, [steps])
    flipped = bytearray(good)
    flipped[40] ^= 4
    unknown = bytearray(good)
    unknown[max(16, config.host_bits // 8)] = 0x77
    return [
        (image(config, [steps], magic=b"SDPX"), ErrorCode.MAGIC),
        (image(config, [steps], version=2), ErrorCode.VERSION),
        (image(config, [steps], fingerprint=config.fingerprint ^ 1), ErrorCode.FINGERPRINT),
        (bytes(unknown), ErrorCode.SECTION),
        (image(config, [bytes_, steps], program=False), ErrorCode.SECTION),
        (image(config, [(SectionKind.STEPS, 63, steps[2])]), ErrorCode.SECTION_RANGE),
        (image(config, [(SectionKind.STEPS, 0xFFFF_FFFF, steps[2])]), ErrorCode.SECTION_RANGE),
        (image(config, [steps], crc=1), ErrorCode.CHECKSUM),
        (bytes(flipped), ErrorCode.CHECKSUM),
    ]


@pytest.mark.parametrize("case", range(9))
def test_bad_image_then_good_image(simulate, case):
    config = AcceleratorConfig(**_SMALL)
    dut = Loader(config)
    bad, code = bad_images(config)[case]
    good = image(config, [(SectionKind.STEPS, 0, words(config, SectionKind.STEPS, 2))])

    async def bench(ctx):
        driver = Driver(dut)
        await driver.send(ctx, good)
        assert ctx.get(dut.program_valid)
        await driver.send(ctx, bad)
        assert driver.errors == [code]
        assert ctx.get(dut.ongoing)
        # The header alone ends the program; a data image leaves it.
        assert ctx.get(dut.program_valid) == (not bad[6] & 1)
        await driver.send(ctx, good)  # swallowed
        assert driver.errors == [code]
        await driver.clear(ctx)
        assert not ctx.get(dut.ongoing)
        await driver.send(ctx, good)
        assert driver.errors == [code]
        assert ctx.get(dut.program_valid)

    simulate(dut, bench)


def test_cut_short(simulate):
    config = AcceleratorConfig(**_SMALL)
    dut = Loader(config)
    good = image(config, [(SectionKind.STEPS, 0, words(config, SectionKind.STEPS, 2))])

    async def bench(ctx):
        for beats in range(1, len(good) // 8):
            driver = Driver(dut)
            await driver.send(ctx, good[:beats * 8])
            assert ctx.get(dut.ongoing)
            await driver.clear(ctx)
            assert not ctx.get(dut.ongoing)
            await driver.send(ctx, good)
            assert driver.errors == []
            assert ctx.get(dut.program_valid)

    simulate(dut, bench)


def test_waits_while_a_program_runs(simulate):
    config = AcceleratorConfig(**_SMALL)
    dut = Loader(config)

    async def bench(ctx):
        ctx.set(dut.hold, 1)
        ctx.set(dut.i.valid, 1)
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.i.ready)
        ctx.set(dut.hold, 0)
        assert ctx.get(dut.i.ready)

    simulate(dut, bench)
