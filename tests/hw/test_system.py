"""The AXI system against a memory model with pauses, errors and canaries."""

import random
from typing import Any

import numpy as np
import pytest

from smartdeal.golden.interpreter import Interpreter
from smartdeal.hw.axi import BOUNDARY_BYTES, Response
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ErrorCode, SectionKind, section_format
from smartdeal.hw.registers import Control, DmaError, DmaRegister, DmaStatus, Register, Status
from smartdeal.hw.system import AxiSystem
from smartdeal.sim.crafted import draw_image

_SMALL: dict[str, Any] = dict(rows=4, cols=6, activation_words=64, weight_steps=64,
                              channel_entries=16, basis_entries=16, program_words=64)
MEMORY_BYTES = 32768
CANARY = 0xA5


async def until(ctx, condition, *fields):
    """Tick up to the edge at which a condition holds; return the fields' values there.

    A bench in the background is cut off at the end, which ``tick().until()`` does not survive
    before Python 3.13.
    """
    while True:
        done, values = ctx.get(condition), [ctx.get(field) for field in fields]
        await ctx.tick()
        if done:
            return values


class Memory:
    """An AXI4 slave: one process per channel group, with random pauses."""

    def __init__(self, dut, *, pause, seed=0, data_first=False):
        self.data_first = data_first
        self.take_addresses = not data_first
        self.dut, self.axi, self.pause = dut, dut.memory, pause
        self.rng = random.Random(seed)
        self.bytes = bytearray([CANARY]) * MEMORY_BYTES
        self.bad = range(0)  # addresses that answer with an error
        self.bursts = []     # (kind, address, beats)

    def check_burst(self, kind, address, beats, size, burst):
        beat_bytes = self.dut.config.host_bits // 8
        assert 1 << size == beat_bytes
        assert burst == 1
        assert address % beat_bytes == 0
        assert address // BOUNDARY_BYTES == (address + beats * beat_bytes - 1) // BOUNDARY_BYTES
        self.bursts.append((kind, address, beats))

    async def wait(self, ctx):
        while self.rng.random() < self.pause:
            await ctx.tick()

    async def addresses(self, ctx, channel, queue):
        axi = self.axi
        valid, ready = getattr(axi, f"{channel}valid"), getattr(axi, f"{channel}ready")
        fields = [getattr(axi, channel + name) for name in ("addr", "len", "size", "burst")]
        while True:
            while channel == "aw" and not self.take_addresses:
                await ctx.tick()
            await self.wait(ctx)
            if ctx.get(valid):  # shown: must stay until it is taken
                before = [ctx.get(field) for field in fields]
                await self.wait(ctx)
                assert ctx.get(valid)
                assert [ctx.get(field) for field in fields] == before
            ctx.set(ready, 1)
            address, length, size, burst = await until(ctx, valid, *fields)
            ctx.set(ready, 0)
            self.check_burst(channel, address, length + 1, size, burst)
            queue.append((address, length + 1))

    async def reads(self, ctx):
        queue = []
        self.read_queue = queue
        await self.addresses(ctx, "ar", queue)

    async def read_data(self, ctx):
        axi, size = self.axi, self.dut.config.host_bits // 8
        while True:
            while not getattr(self, "read_queue", None):
                await ctx.tick()
            address, beats = self.read_queue.pop(0)
            for beat in range(beats):
                await self.wait(ctx)
                place = address + beat * size
                ctx.set(axi.rdata, int.from_bytes(self.bytes[place:place + size], "little"))
                ctx.set(axi.rresp, Response.SLVERR if place in self.bad else Response.OKAY)
                ctx.set(axi.rlast, beat == beats - 1)
                ctx.set(axi.rvalid, 1)
                await until(ctx, axi.rready)
                ctx.set(axi.rvalid, 0)

    async def writes(self, ctx):
        queue = []
        self.write_queue = queue
        await self.addresses(ctx, "aw", queue)

    async def data_beat(self, ctx):
        """Take a beat of write data; what is shown must stay as it is."""
        axi = self.axi
        fields = axi.wdata, axi.wstrb, axi.wlast
        while not ctx.get(axi.wvalid):
            await ctx.tick()
        before = [ctx.get(field) for field in fields]
        while self.rng.random() < self.pause:
            await ctx.tick()
            assert ctx.get(axi.wvalid)
            assert [ctx.get(field) for field in fields] == before
        ctx.set(axi.wready, 1)
        await ctx.tick()
        ctx.set(axi.wready, 0)
        return before

    async def write_data(self, ctx):
        axi, size = self.axi, self.dut.config.host_bits // 8
        while True:
            # Data may come before their address: some slaves take the address only then.
            ahead = await self.data_beat(ctx) if self.data_first else None
            while not getattr(self, "write_queue", None):
                self.take_addresses = True
                await ctx.tick()
            address, beats = self.write_queue.pop(0)
            self.take_addresses = not self.data_first
            answer = Response.OKAY
            for beat in range(beats):
                data, strobe, last = ahead or await self.data_beat(ctx)
                ahead = None
                assert last == (beat == beats - 1)
                place = address + beat * size
                for byte in range(size):
                    if strobe >> byte & 1:
                        self.bytes[place + byte] = data >> 8 * byte & 0xFF
                if place in self.bad:
                    answer = Response.DECERR
            await self.wait(ctx)
            ctx.set(axi.bresp, answer)
            ctx.set(axi.bvalid, 1)
            await until(ctx, axi.bready)
            ctx.set(axi.bvalid, 0)

    @property
    def benches(self):
        return self.reads, self.read_data, self.writes, self.write_data


class Host:
    """An AXI4-Lite master."""

    def __init__(self, dut):
        self.axi = dut.control

    async def write(self, ctx, register, value, strobe=0b1111):
        axi = self.axi
        for signal, content in ((axi.awaddr, int(register)), (axi.awvalid, 1), (axi.wdata, value),
                                (axi.wstrb, strobe), (axi.wvalid, 1), (axi.bready, 1)):
            ctx.set(signal, content)
        await ctx.tick().until(axi.awready)
        ctx.set(axi.awvalid, 0)
        ctx.set(axi.wvalid, 0)
        response, = await ctx.tick().sample(axi.bresp).until(axi.bvalid)
        return response

    async def read(self, ctx, register, response=Response.OKAY):
        axi = self.axi
        ctx.set(axi.araddr, int(register))
        ctx.set(axi.arvalid, 1)
        ctx.set(axi.rready, 1)
        await ctx.tick().until(axi.arready)
        ctx.set(axi.arvalid, 0)
        data, answer = await ctx.tick().sample(axi.rdata, axi.rresp).until(axi.rvalid)
        assert answer == response
        return data

    async def idle(self, ctx):
        while await self.read(ctx, DmaRegister.DMA_STATUS) & (DmaStatus.LOADING
                                                              | DmaStatus.STORING):
            pass

    async def load(self, ctx, address, size):
        await self.write(ctx, DmaRegister.LOAD_ADDRESS, address)
        await self.write(ctx, DmaRegister.LOAD_BYTES, size)
        await self.idle(ctx)

    async def run(self, ctx):
        await self.write(ctx, Register.CONTROL, Control.START)
        while (status := await self.read(ctx, Register.STATUS)) & Status.BUSY:
            pass
        return Status(status)

    async def store(self, ctx, address, word, words):
        await self.write(ctx, DmaRegister.STORE_ADDRESS, address)
        await self.write(ctx, Register.READ_ADDRESS, word)
        await self.write(ctx, Register.READ_COUNT, words)
        await self.idle(ctx)


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
        memory.bytes[19968:] = bytes([CANARY]) * (MEMORY_BYTES - 19968)
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
            memory.bytes[24576:] = bytes([CANARY]) * (MEMORY_BYTES - 24576)
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
        want = bytearray([CANARY]) * MEMORY_BYTES
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
