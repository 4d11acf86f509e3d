"""The whole accelerator in the Amaranth simulator: programs without a network, and bad ones.

The quick tier of what the cocotb bench does on generated Verilog.
"""

from typing import Any

import numpy as np
import pytest

from smartdeal.golden.interpreter import Interpreter
from smartdeal.hw.accelerator import Accelerator
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ErrorCode, SectionKind, section_format
from smartdeal.hw.registers import HARDWARE_ID, HARDWARE_VERSION, Control, Register, Status
from smartdeal.sim.bad_images import bad_images
from smartdeal.sim.cases import draw_case, draw_config
from smartdeal.sim.crafted import draw_image
from smartdeal.sim.latency import predict

_SMALL: dict[str, Any] = dict(activation_words=64, weight_steps=64, channel_entries=16,
                              basis_entries=16, program_words=64)


class Host:
    """Drive the ports as a host does."""

    def __init__(self, dut):
        self.dut = dut

    async def write(self, ctx, register, value):
        bus = self.dut.bus
        ctx.set(bus.valid, 1)
        ctx.set(bus.write, 1)
        ctx.set(bus.address, int(register))
        ctx.set(bus.write_data, value)
        await ctx.tick().until(bus.ready)
        ctx.set(bus.valid, 0)

    async def read(self, ctx, register):
        bus = self.dut.bus
        ctx.set(bus.valid, 1)
        ctx.set(bus.write, 0)
        ctx.set(bus.address, int(register))
        value, = await ctx.tick().sample(bus.read_data).until(bus.ready)
        ctx.set(bus.valid, 0)
        return value

    async def load(self, ctx, image):
        size = self.dut.config.host_bits // 8
        ctx.set(self.dut.load.valid, 1)
        for start in range(0, len(image), size):
            ctx.set(self.dut.load.payload, int.from_bytes(image[start:start + size], "little"))
            await ctx.tick().until(self.dut.load.ready)
        ctx.set(self.dut.load.valid, 0)

    async def run(self, ctx):
        await self.write(ctx, Register.CONTROL, Control.START)
        while (status := await self.read(ctx, Register.STATUS)) & Status.BUSY:
            pass
        return Status(status)

    async def memory(self, ctx, words):
        config = self.dut.config
        unit = section_format(SectionKind.ACTIVATIONS, config).unit_bytes(config.host_bits)
        await self.write(ctx, Register.READ_ADDRESS, 0)
        await self.write(ctx, Register.READ_COUNT, words)
        result = b""
        ctx.set(self.dut.store.ready, 1)
        for _ in range(words):
            beats = b""
            while len(beats) < unit:
                beat, = await ctx.tick().sample(self.dut.store.payload).until(self.dut.store.valid)
                beats += beat.to_bytes(config.host_bits // 8, "little")
            result += beats[:config.cols]
        ctx.set(self.dut.store.ready, 0)
        return result


def expected_counters(image, config):
    cycles = predict(image, config)
    return [cycles.total, cycles.busy, cycles.stall_drain, cycles.stall_residual, cycles.overhead,
            cycles.move]


COUNTERS = [Register.CYCLES, Register.BUSY, Register.STALL_DRAIN, Register.STALL_RESIDUAL,
            Register.OVERHEAD, Register.MOVE]


@pytest.mark.parametrize("seed", range(10))
def test_random_program(simulate, seed):
    rng = np.random.default_rng(seed)
    config = draw_config(rng, rows=int(rng.integers(2, 8)), cols=int(rng.integers(2, 8)), **_SMALL)
    check_program(simulate, rng, config)


def check_program(simulate, rng, config):
    image = draw_image(rng, config)
    interpreter = Interpreter(config)
    interpreter.load(image)
    interpreter.run()
    dut = Accelerator(config)
    host = Host(dut)

    async def bench(ctx):
        await host.load(ctx, image)
        assert await host.run(ctx) == Status.DONE | Status.PROGRAM
        assert ([await host.read(ctx, counter) for counter in COUNTERS]
                == expected_counters(image, config))
        assert await host.memory(ctx, 64) == interpreter.read(0, 64)

    simulate(dut, bench)


@pytest.mark.parametrize("seed", range(6))
def test_random_binary_program(simulate, seed):
    rng = np.random.default_rng(seed)
    config = draw_config(rng, rows=int(rng.integers(8, 18)), cols=int(rng.integers(2, 6)),
                         exponents=int(rng.integers(2, 9)), **_SMALL, binary=True)
    check_program(simulate, rng, config)


@pytest.mark.parametrize("features", [
    {}, dict(binary=True, rows=9),
    dict(basis=False, max_pool=False, residual=False, reduce=False, move=False),
])
def test_bad_images_then_a_good_one(simulate, features):
    config = AcceleratorConfig(**{"rows": 4, "cols": 3, **_SMALL, **features})
    good = draw_image(np.random.default_rng(7), config)
    interpreter = Interpreter(config)
    interpreter.load(good)
    interpreter.run()
    dut = Accelerator(config)
    host = Host(dut)

    async def bench(ctx):
        for name, image, code in bad_images(config):
            await host.load(ctx, image)
            if await host.read(ctx, Register.ERROR) == ErrorCode.NONE:
                await host.run(ctx)
            assert ErrorCode(await host.read(ctx, Register.ERROR)) == code, name
            assert await host.read(ctx, Register.STATUS) & Status.ERROR, name
            await host.write(ctx, Register.CONTROL, Control.CLEAR)
            assert await host.read(ctx, Register.STATUS) & ~Status.PROGRAM == 0, name
        await host.load(ctx, good)
        assert await host.run(ctx) == Status.DONE | Status.PROGRAM
        assert await host.memory(ctx, 64) == interpreter.read(0, 64)

    simulate(dut, bench)


def test_start_without_a_program(simulate):
    dut = Accelerator(AcceleratorConfig(rows=3, cols=2, **_SMALL))
    host = Host(dut)

    async def bench(ctx):
        assert await host.run(ctx) == Status.ERROR
        assert await host.read(ctx, Register.ERROR) == ErrorCode.NO_PROGRAM

    simulate(dut, bench)


def test_abort_and_interrupt(simulate):
    config = AcceleratorConfig(rows=4, cols=3, **_SMALL)
    image = draw_image(np.random.default_rng(5), config)
    interpreter = Interpreter(config)
    interpreter.load(image)
    interpreter.run()
    dut = Accelerator(config)
    host = Host(dut)

    async def bench(ctx):
        await host.load(ctx, image)
        await host.write(ctx, Register.INTERRUPT, 1)
        for delay in range(0, 120, 7):
            await host.write(ctx, Register.CONTROL, Control.START)
            await ctx.tick().repeat(delay + 1)
            assert not ctx.get(dut.interrupt)
            await host.write(ctx, Register.CONTROL, Control.CLEAR)
            await ctx.tick().until(dut.interrupt)
            assert await host.read(ctx, Register.ERROR) == ErrorCode.ABORTED
            assert await host.run(ctx) == Status.DONE | Status.PROGRAM
            assert ctx.get(dut.interrupt)
            assert await host.memory(ctx, 64) == interpreter.read(0, 64)
            await host.write(ctx, Register.CONTROL, Control.CLEAR)
            assert not ctx.get(dut.interrupt)

    simulate(dut, bench, cycles=100_000)


@pytest.mark.slow
def test_abort_in_every_cycle(simulate):
    """What a stopped program leaves behind must not reach the next one."""
    config = AcceleratorConfig(rows=4, cols=3, **_SMALL)
    case = draw_case(np.random.default_rng(2), config, form="terms", channels=2, filters=3,
                     height=3, width=3, kernel=(3, 3), stride=1, padding=(1, 1, 1, 1))
    part, = case.program.parts
    interpreter = Interpreter(config)
    dut = Accelerator(config)
    host = Host(dut)
    data = part.data_image(case.x, case.residual)
    interpreter.load(part.image)
    interpreter.load(data)
    interpreter.run()
    want = interpreter.read(0, 64)
    assert len(set(want)) > 10  # not saturated: a wrong sum is seen
    cycles = predict(part.image, config).total

    async def bench(ctx):
        await host.load(ctx, part.image)
        await host.load(ctx, data)
        await host.write(ctx, Register.INTERRUPT, 1)
        for delay in range(cycles - 1):
            await host.write(ctx, Register.CONTROL, Control.START)
            await ctx.tick().repeat(delay + 1)
            await host.write(ctx, Register.CONTROL, Control.CLEAR)
            while await host.read(ctx, Register.STATUS) & Status.BUSY:
                pass
            status = Status(await host.read(ctx, Register.STATUS))
            assert not (status & Status.DONE and status & Status.ERROR), delay
            await host.write(ctx, Register.CONTROL, Control.CLEAR)
            assert await host.run(ctx) == Status.DONE | Status.PROGRAM
            assert await host.memory(ctx, 64) == want, delay

    simulate(dut, bench, cycles=1_000_000)


def test_start_with_the_first_beat(simulate):
    """An image that is offered when a program is started is refused or held, never half taken."""
    config = AcceleratorConfig(rows=4, cols=3, **_SMALL, host_bits=128)
    image = draw_image(np.random.default_rng(5), config)
    dut = Accelerator(config)
    host = Host(dut)

    async def bench(ctx):
        await host.load(ctx, image)
        for lead in range(5):
            bus = dut.bus
            for signal, value in ((bus.valid, 1), (bus.write, 1),
                                  (bus.address, int(Register.CONTROL)),
                                  (bus.write_data, int(Control.START))):
                ctx.set(signal, value)
            taken = 0
            for cycle in range(12):
                ctx.set(dut.load.payload, int.from_bytes(image[16 * taken:][:16], "little"))
                ctx.set(dut.load.valid, cycle >= lead)
                if ctx.get(bus.ready):
                    await ctx.tick()
                    ctx.set(bus.valid, 0)
                else:
                    accepted = ctx.get(dut.load.ready) and cycle >= lead
                    await ctx.tick()
                    taken += accepted
            busy = await host.read(ctx, Register.STATUS) & Status.BUSY
            assert not (busy and taken), lead
            ctx.set(dut.load.valid, 0)
            while await host.read(ctx, Register.STATUS) & Status.BUSY:
                pass
            await host.write(ctx, Register.CONTROL, Control.CLEAR)
            await host.load(ctx, image)

    simulate(dut, bench)


def test_identification(simulate):
    config = AcceleratorConfig(rows=4, cols=6, drain_lanes=3, **_SMALL)
    dut = Accelerator(config)
    host = Host(dut)

    async def bench(ctx):
        assert await host.read(ctx, Register.ID) == HARDWARE_ID
        assert await host.read(ctx, Register.VERSION) == HARDWARE_VERSION
        assert await host.read(ctx, Register.FINGERPRINT) == config.fingerprint
        assert await host.read(ctx, Register.GEOMETRY) == 4 | 6 << 8 | 3 << 16 | 8 << 24
        assert await host.read(ctx, 0xF0) == 0

    simulate(dut, bench)
