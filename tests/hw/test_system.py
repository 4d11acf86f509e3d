"""The AXI system against a memory model with pauses, errors and canaries."""

from typing import Any

import numpy as np
import pytest

from smartdeal.golden.interpreter import Interpreter
from smartdeal.hw.axi import Response
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ErrorCode, SectionKind, section_format
from smartdeal.hw.registers import Control, DmaError, DmaRegister, Register, Status
from smartdeal.hw.system import AxiSystem
from smartdeal.sim.amaranth_axi import CANARY, Host, Memory
from smartdeal.sim.crafted import draw_image

_SMALL: dict[str, Any] = dict(rows=4, cols=6, activation_words=64, weight_steps=64,
                              channel_entries=16, basis_entries=16, program_words=64)


class Bench:
    """A system with a program in memory, and what the program must leave behind."""

    def __init__(self, seed, *, host_bits=64, pause=0.0, address=3000, data_first=False,
                 **system):
        self.config = AcceleratorConfig(**_SMALL, host_bits=host_bits)
        self.dut = AxiSystem(self.config, **{"burst_beats": 16, "outstanding": 2, **system})
        self.memory = Memory(self.dut, pause=pause, seed=seed, data_first=data_first)
        self.host = Host(self.dut)
        self.image = draw_image(np.random.default_rng(seed), self.config)
        self.address = address // (host_bits // 8) * (host_bits // 8)
        self.memory.bytes[self.address:self.address + len(self.image)] = self.image
        interpreter = Interpreter(self.config)
        interpreter.load(self.image)
        interpreter.run()
        self.want = self.padded(interpreter.read(0, 64))

    def padded(self, content):
        """Return words as the store stream sends them."""
        cols = self.config.cols
        unit = section_format(SectionKind.ACTIVATIONS, self.config).unit_bytes(
            self.config.host_bits)
        return b"".join(content[i:i + cols].ljust(unit, b"\0")
                        for i in range(0, len(content), cols))

    async def whole(self, ctx):
        """Load, run and store; compare every byte of the memory."""
        target = 20000 // 32 * 32
        before = bytes(self.memory.bytes)
        await self.host.load(ctx, self.address, len(self.image))
        assert await self.host.run(ctx) == Status.DONE | Status.PROGRAM
        await self.host.store(ctx, target, 0, 64)
        want = bytearray(before)
        want[target:target + len(self.want)] = self.want
        assert self.memory.bytes == want
        assert await self.host.read(ctx, DmaRegister.DMA_ERROR) == DmaError.NONE


@pytest.mark.parametrize("pause", [0.0, 0.5])
@pytest.mark.parametrize(("host_bits", "system"), [
    (32, {}), (64, {"burst_beats": 1}), (128, {"burst_beats": 256, "address_bits": 40}),
    (256, {"outstanding": 1}),
])
@pytest.mark.parametrize("data_first", [False, True])
def test_load_run_store(simulate, host_bits, system, pause, data_first):
    bench = Bench(1, host_bits=host_bits, pause=pause, data_first=data_first, **system)
    simulate(bench.dut, bench.whole, background=bench.memory.benches, cycles=100_000)
    assert {kind for kind, _, _ in bench.memory.bursts} == {"ar", "aw"}


@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_error_responses(simulate, pause):
    bench = Bench(2, pause=pause)
    memory, host = bench.memory, bench.host

    async def run(ctx):
        memory.bad = range(bench.address + 64, bench.address + 72)
        await host.load(ctx, bench.address, len(bench.image))
        assert await host.read(ctx, DmaRegister.DMA_ERROR) == DmaError.READ_RESPONSE
        assert await host.run(ctx) & Status.ERROR
        assert await host.read(ctx, Register.ERROR) == ErrorCode.INCOMPLETE
        await host.write(ctx, Register.CONTROL, Control.CLEAR)
        memory.bad = range(20000, 20008)
        await host.store(ctx, 19968, 0, 16)
        assert await host.read(ctx, DmaRegister.DMA_ERROR) == DmaError.WRITE_RESPONSE
        memory.bad = range(0)
        await host.write(ctx, Register.CONTROL, Control.CLEAR)
        memory.bytes[19968:] = bytes([CANARY]) * (len(memory.bytes) - 19968)
        await bench.whole(ctx)

    simulate(bench.dut, run, background=memory.benches, cycles=100_000)


@pytest.mark.parametrize("pause", [0.0, 0.4])
def test_clear_in_the_middle(simulate, pause):
    bench = Bench(3, pause=pause)
    memory, host = bench.memory, bench.host

    async def run(ctx):
        for delay in range(0, 60, 7):
            await host.write(ctx, DmaRegister.LOAD_ADDRESS, bench.address)
            await host.write(ctx, DmaRegister.LOAD_BYTES, len(bench.image))
            await ctx.tick().repeat(delay + 1)
            await host.write(ctx, Register.CONTROL, Control.CLEAR)
            await host.idle(ctx)
            await host.write(ctx, DmaRegister.STORE_ADDRESS, 24576)
            await host.write(ctx, Register.READ_ADDRESS, 0)
            await host.write(ctx, Register.READ_COUNT, 40)
            await ctx.tick().repeat(delay + 1)
            await host.write(ctx, Register.CONTROL, Control.CLEAR)
            await host.idle(ctx)
            memory.bytes[24576:] = bytes([CANARY]) * (len(memory.bytes) - 24576)
        await bench.whole(ctx)

    simulate(bench.dut, run, background=memory.benches, cycles=100_000)


def test_refusals(simulate):
    bench = Bench(4)
    memory, host = bench.memory, bench.host

    async def run(ctx):
        await host.load(ctx, bench.address + 4, 64)
        assert await host.read(ctx, DmaRegister.DMA_ERROR) == DmaError.ADDRESS
        await host.write(ctx, Register.CONTROL, Control.CLEAR)
        await host.store(ctx, 20001, 0, 4)
        assert await host.read(ctx, DmaRegister.DMA_ERROR) == DmaError.ADDRESS
        assert not await host.read(ctx, Register.STATUS) & Status.READING
        await host.write(ctx, Register.CONTROL, Control.CLEAR)
        await host.write(ctx, DmaRegister.LOAD_ADDRESS, bench.address)
        await host.write(ctx, DmaRegister.LOAD_BYTES, len(bench.image))
        await host.write(ctx, DmaRegister.LOAD_BYTES, len(bench.image))
        assert await host.read(ctx, DmaRegister.DMA_ERROR) == DmaError.BUSY
        await host.idle(ctx)
        await host.write(ctx, Register.CONTROL, Control.START)
        await host.write(ctx, Register.CONTROL, Control.START)
        assert await host.read(ctx, Register.ERROR) == ErrorCode.BUSY
        while await host.read(ctx, Register.STATUS) & Status.BUSY:
            pass
        assert await host.read(ctx, Register.STATUS) & Status.DONE
        await host.write(ctx, Register.CONTROL, Control.CLEAR)
        assert await host.write(ctx, DmaRegister.STORE_ADDRESS, 1, strobe=0b0011) \
            == Response.SLVERR
        await host.read(ctx, 0x204, response=Response.SLVERR)
        await host.write(ctx, Register.READ_ADDRESS, 60)
        await host.write(ctx, Register.READ_COUNT, 10)
        assert await host.read(ctx, Register.ERROR) == ErrorCode.ACTIVATION_RANGE
        await host.write(ctx, Register.CONTROL, Control.CLEAR)
        for register in (DmaRegister.LOAD_BYTES, Register.READ_COUNT):
            await host.write(ctx, register, 0)
            assert await host.read(ctx, DmaRegister.DMA_ERROR) == DmaError.ADDRESS
            await host.write(ctx, Register.CONTROL, Control.CLEAR)
        await host.write(ctx, DmaRegister.LOAD_ADDRESS_HIGH, 1)
        await host.write(ctx, DmaRegister.LOAD_BYTES, 64)
        assert await host.read(ctx, DmaRegister.DMA_ERROR) == DmaError.ADDRESS
        await host.write(ctx, DmaRegister.LOAD_ADDRESS_HIGH, 0)
        await host.write(ctx, Register.CONTROL, Control.CLEAR)
        want = bytearray([CANARY]) * len(memory.bytes)
        want[bench.address:bench.address + len(bench.image)] = bench.image
        assert memory.bytes == want
        await bench.whole(ctx)


def test_load_and_store_during_a_run(simulate):
    """Transfers that are asked for while a program runs wait for its end."""
    bench = Bench(6)
    memory, host = bench.memory, bench.host

    async def run(ctx):
        await host.load(ctx, bench.address, len(bench.image))
        await host.write(ctx, Register.CONTROL, Control.START)
        await host.write(ctx, DmaRegister.STORE_ADDRESS, 20000)
        await host.write(ctx, Register.READ_COUNT, 64)
        await host.write(ctx, DmaRegister.LOAD_BYTES, len(bench.image))
        assert await host.read(ctx, Register.STATUS) & Status.BUSY
        assert not ctx.get(bench.dut.memory.awvalid | bench.dut.memory.arvalid)
        await host.idle(ctx)
        assert await host.read(ctx, Register.STATUS) & Status.DONE
        assert memory.bytes[20000:20000 + len(bench.want)] == bench.want

    simulate(bench.dut, run, background=memory.benches, cycles=100_000)

    simulate(bench.dut, run, background=memory.benches, cycles=100_000)
