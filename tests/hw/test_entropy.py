"""The entropy decoder: the reference decoder's steps, a symbol per cycle, and clean refusals."""

import struct
import zlib

import numpy as np
import pytest

from smartdeal.compiler.errors import ImageError
from smartdeal.compiler.image import Section, read_image, write_image
from smartdeal.golden.coded_steps import encode_steps
from smartdeal.golden.interpreter import Interpreter, ProgramError
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ErrorCode, SectionKind, step_format
from smartdeal.hw.loader import LOADED_KINDS, Loader
from smartdeal.sim.bad_coding import bad_payloads, draw_steps
from smartdeal.sim.loading import load_cycles


def numbers(units, config):
    size = step_format(config).unit_bytes(config.host_bits)
    return [int.from_bytes(units[at:at + size], "little") for at in range(0, len(units), size)]


class Driver:
    """Feed an image; record steps, errors, and the cycles from the first beat to the end."""

    def __init__(self, dut, idle=0.0, seed=0):
        self.dut, self.idle, self.rng = dut, idle, np.random.default_rng(seed)
        self.written, self.errors, self.cycles = [], [], 0

    async def tick(self, ctx):
        if ctx.get(self.dut.write) >> LOADED_KINDS.index(SectionKind.STEPS) & 1:
            self.written.append((ctx.get(self.dut.address),
                                 ctx.get(self.dut.unit_of(SectionKind.STEPS))))
        if ctx.get(self.dut.failed):
            self.errors.append(ErrorCode(ctx.get(self.dut.error)))
        await ctx.tick()
        self.cycles += 1

    async def send(self, ctx, image, after=12):
        size = self.dut.config.host_bits // 8
        self.cycles = 0
        for start in range(0, len(image), size):
            while self.rng.random() < self.idle:
                await self.tick(ctx)
            ctx.set(self.dut.i.payload, int.from_bytes(image[start:start + size], "little"))
            ctx.set(self.dut.i.valid, 1)
            while not ctx.get(self.dut.i.ready):
                await self.tick(ctx)
            await self.tick(ctx)
            ctx.set(self.dut.i.valid, 0)
        while ctx.get(self.dut.ongoing) and after and not self.errors:
            await self.tick(ctx)
            after -= 1

    async def clear(self, ctx):
        ctx.set(self.dut.clear, 1)
        await self.tick(ctx)
        ctx.set(self.dut.clear, 0)
        self.written, self.errors = [], []


def config_of(host_bits=64, **values):
    return AcceleratorConfig(**{
        "rows": 4, "cols": 3, "activation_words": 64, "weight_steps": 256, "channel_entries": 16,
        "basis_entries": 16, "program_words": 32, "host_bits": host_bits, "entropy": True,
        **values})


@pytest.mark.parametrize("idle", [0.0, 0.6])
@pytest.mark.parametrize(("host_bits", "rows", "exponents", "binary"), [
    (32, 2, 1, False), (64, 5, 8, False), (128, 7, 16, False), (256, 3, 4, False),
    (64, 8, 8, True), (32, 9, 2, True)])
def test_steps_and_cycles(simulate, host_bits, rows, exponents, binary, idle):
    config = config_of(host_bits, rows=rows, exponents=exponents, binary=binary)
    rng = np.random.default_rng(host_bits)
    sections = []
    expected = []
    for address, steps, places, coded in ((7, 30, 5, True), (40, 3, 2, False), (60, 1, 1, True),
                                          (61, 120, 20, True)):
        units = draw_steps(rng, config, steps, places)
        sections.append(Section(SectionKind.STEPS, address, units,
                                coded=(encode_steps(units, config) or b"") if coded else b""))
        assert bool(sections[-1].coded) == coded
        expected += [(address + i, unit) for i, unit in enumerate(numbers(units, config))]
    image = write_image(config, sections, program=True)
    assert [(s.address, s.data) for s in read_image(image, config).sections] == [
        (s.address, s.data) for s in sections]
    dut = Loader(config)

    async def bench(ctx):
        driver = Driver(dut, idle)
        await driver.send(ctx, image)
        assert driver.errors == []
        assert driver.written == expected
        assert ctx.get(dut.program_valid)
        if idle == 0.0:
            assert driver.cycles == load_cycles(image, config)

    simulate(dut, bench)


@pytest.mark.parametrize("different", [255, 256])
def test_all_codes_of_eight_weights(simulate, different):
    """255 codewords fill the table; for 256, all of eight bits, a byte cannot tell the number."""
    config = config_of(rows=8, binary=True, weight_steps=64)
    codes = np.arange(256).reshape(32, 8) % different
    zero = np.zeros(32, np.int64)
    units = step_format(config).pack(64, coefficients=codes, lane=zero, word=zero, next_last=zero)
    payload = encode_steps(units, config)
    if different == 256:
        assert payload is None
        return
    assert payload is not None
    assert len(payload) > 256
    image = write_image(config, [Section(SectionKind.STEPS, 0, units, coded=payload)],
                        program=True)
    dut = Loader(config)

    async def bench(ctx):
        driver = Driver(dut)
        await driver.send(ctx, image)
        assert driver.errors == []
        assert driver.written == list(enumerate(numbers(units, config)))
        assert driver.cycles == load_cycles(image, config)

    simulate(dut, bench)


@pytest.mark.parametrize("seed", range(6))
def test_drawn_sections(simulate, seed):
    """Any host width, any size: tiny sections end before their last beats are needed."""
    rng = np.random.default_rng(seed)
    config = config_of(int(rng.choice([32, 64, 128, 256])), rows=int(rng.integers(2, 13)),
                       cols=int(rng.integers(2, 9)), exponents=int(rng.integers(1, 17)))
    dut = Loader(config)

    async def bench(ctx):
        for _ in range(8):
            steps = int(rng.integers(1, 8) if rng.integers(2) else rng.integers(8, 60))
            units = draw_steps(rng, config, steps, int(rng.integers(1, 9)))
            section = Section(SectionKind.STEPS, 0, units,
                              coded=encode_steps(units, config) or b"")
            image = write_image(config, [section, section], program=True)
            driver = Driver(dut)
            await driver.send(ctx, image)
            assert driver.errors == []
            assert driver.written == 2 * list(enumerate(numbers(units, config)))
            assert driver.cycles == load_cycles(image, config), f"seed {seed}, {steps} steps"

    simulate(dut, bench, cycles=60_000)


def coded_image(config, address, steps, payload):
    """Return a program image with one coded section, whatever is in it."""
    head = write_image(config, [], program=True)[:16]
    body = head + struct.pack("<4I", SectionKind.STEPS, address, steps,
                              len(payload) * 8 // config.host_bits) + payload
    return body + struct.pack("<4I", SectionKind.END, zlib.crc32(body), 0, 0)


@pytest.mark.parametrize("host_bits", [32, 64])
def test_malformed_sections_are_refused(simulate, host_bits):
    config = config_of(host_bits)
    units = draw_steps(np.random.default_rng(5), config, 60, 4)
    good = coded_image(config, 3, 60, encode_steps(units, config))
    dut = Loader(config)

    async def bench(ctx):
        driver = Driver(dut)
        for name, payload in bad_payloads(units, config).items():
            bad = coded_image(config, 3, 60, payload)
            with pytest.raises(ImageError) as caught:
                read_image(bad, config)
            assert caught.value.code == ErrorCode.ENTROPY
            with pytest.raises(ProgramError) as stopped:
                Interpreter(config).load(bad)
            assert stopped.value.code == ErrorCode.ENTROPY
            await driver.send(ctx, bad)
            assert driver.errors == [ErrorCode.ENTROPY], name
            assert not ctx.get(dut.program_valid)
            await driver.clear(ctx)
            await driver.send(ctx, good)  # the accelerator stays usable
            assert (name, driver.errors) == (name, [])
            assert driver.written == [(3 + i, unit)
                                      for i, unit in enumerate(numbers(units, config))]
            assert ctx.get(dut.program_valid)
            await driver.clear(ctx)

    simulate(dut, bench, cycles=60_000)


def test_cut_short_and_cleared(simulate):
    """A half-loaded section is abandoned at any beat, and the next image is right."""
    config = config_of(32)
    units = draw_steps(np.random.default_rng(6), config, 20, 3)
    good = coded_image(config, 0, 20, encode_steps(units, config))
    dut = Loader(config)

    async def bench(ctx):
        driver = Driver(dut)
        for beats in range(5, len(good) // 4 - 1, 3):
            await driver.send(ctx, good[:4 * beats], after=beats % 8)
            assert driver.errors == []
            assert ctx.get(dut.ongoing)
            await driver.clear(ctx)
            await driver.send(ctx, good)
            assert driver.errors == []
            assert driver.written == list(enumerate(numbers(units, config)))
            await driver.clear(ctx)

    simulate(dut, bench, cycles=60_000)
