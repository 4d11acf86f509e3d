"""Programs that transfer data by themselves, on the AXI system: every byte and every counter."""

import numpy as np
import pytest

from smartdeal.golden.interpreter import Interpreter, ProgramError
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ErrorCode, SectionKind, section_format
from smartdeal.hw.registers import Control, DmaError, DmaRegister, Register, Status
from smartdeal.hw.system import AxiSystem
from smartdeal.sim.amaranth_axi import CANARY, Host, Memory, RegularMemory
from smartdeal.sim.crafted_memory import draw_memory_program
from smartdeal.sim.latency import Cycles
from smartdeal.sim.latency_memory import predict_memory
from smartdeal.sim.memory_programs import bad_memory_programs, good_memory_programs
from smartdeal.sim.memory_timing import MemoryTiming

IMAGE, BASE, TARGET, SIZE = 0x40000, 0x8000, 0x100, 0x60000


class Drawn:
    """A drawn system and program, what it must leave behind, and where everything lies."""

    def __init__(self, seed, memory, host_bits=None):
        rng = np.random.default_rng(seed)
        host_bits = host_bits or int(rng.choice([32, 64]))
        choices = {128: (17, 20, 32), 256: (33, 36)}.get(host_bits, (5, 6, 8, 9, 10, 12))
        cols = int(rng.choice([cols for cols in choices if 8 * cols > host_bits]))
        self.config = AcceleratorConfig(
            rows=int(rng.integers(2, 8)), cols=cols, host_bits=host_bits, memory=True,
            activation_words=64, weight_steps=64, channel_entries=16, basis_entries=16,
            program_words=768)
        self.dma = {"burst_beats": int(rng.choice([1, 4, 16, 64])),
                    "outstanding": int(rng.choice([1, 2, 4]))}
        self.program = draw_memory_program(rng, self.config, layers=int(rng.integers(1, 5)))
        self.dut = AxiSystem(self.config, **self.dma)
        self.host = Host(self.dut)
        self.memory = memory(self, rng)
        for place, content in ((BASE, self.program.region), (IMAGE, self.program.image)):
            self.memory.bytes[place:place + len(content)] = content
        region = bytearray(self.program.region)
        interpreter = Interpreter(self.config, region)
        interpreter.load(self.program.image)
        interpreter.run()
        self.want = bytearray(self.memory.bytes)
        self.want[BASE:BASE + len(region)] = region
        unit = section_format(SectionKind.ACTIVATIONS, self.config).unit_bytes(host_bits)
        words = interpreter.read(0, 64)
        stored = b"".join(words[i:i + cols].ljust(unit, b"\0") for i in range(0, len(words), cols))
        self.want[TARGET:TARGET + len(stored)] = stored

    async def run(self, ctx, dma_error=DmaError.NONE):
        """Load, run, read the activation buffer back; compare all of system memory."""
        await self.host.load(ctx, IMAGE, len(self.program.image))
        await self.host.prepare(ctx, BASE, len(self.program.region))
        assert await self.host.run(ctx) == Status.DONE | Status.PROGRAM
        self.counted = await self.host.counters(ctx)
        await self.host.store(ctx, TARGET, 0, 64)
        assert await self.host.read(ctx, DmaRegister.DMA_ERROR) == dma_error
        assert self.memory.bytes == self.want
        assert self.memory.bytes[:TARGET] == bytes([CANARY]) * TARGET


@pytest.mark.parametrize(("seed", "host_bits"), [
    *((seed, None) for seed in range(2)),
    *(pytest.param(seed, bits, marks=pytest.mark.slow) for seed, bits in (
        *((seed, None) for seed in range(2, 12)), (12, 128), (13, 256))),
])
def test_regular_memory(simulate, seed, host_bits):
    """Bytes equal the interpreter's, and every counter is as predicted."""
    def memory(drawn, rng):
        beat = drawn.config.host_bits // 8
        timing = MemoryTiming(
            latency_cycles=int(rng.choice([1, 3, 17, 60, 200])),
            bytes_per_cycle=int(rng.choice([width for width in (1, 2, 4, 8) if width <= beat])))
        return RegularMemory(drawn.dut, timing, size=SIZE)

    drawn = Drawn(seed, memory, host_bits)
    predicted = predict_memory(drawn.program.image, drawn.program.region, drawn.config,
                               drawn.memory.timing, **drawn.dma).cycles

    async def bench(ctx):
        await drawn.run(ctx)
        total, busy, drain, residual, overhead, move, stall = drawn.counted
        assert Cycles(total, busy, drain, residual, move, stall) == predicted, f"seed {seed}"
        assert overhead == predicted.overhead

    simulate(drawn.dut, bench, background=drawn.memory.benches, cycles=60_000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 104))
@pytest.mark.parametrize("data_first", [False, True])
def test_pauses(simulate, seed, data_first):
    """A memory that pauses at random changes no byte."""
    drawn = Drawn(seed, lambda drawn, rng: Memory(
        drawn.dut, pause=float(rng.choice([0.1, 0.5, 0.8])), seed=seed, data_first=data_first,
        size=SIZE))
    simulate(drawn.dut, drawn.run, background=drawn.memory.benches, cycles=200_000)


def pausing(seed, pause):
    return lambda drawn, rng: Memory(drawn.dut, pause=pause, seed=seed, size=SIZE)


async def failed_run(ctx, drawn, disturb):
    """Start the program, let something go wrong, and wait until the accelerator is idle."""
    host = drawn.host
    await host.load(ctx, IMAGE, len(drawn.program.image))
    await host.prepare(ctx, BASE, len(drawn.program.region))
    await host.write(ctx, Register.CONTROL, Control.START)
    await disturb(ctx)
    while await host.read(ctx, Register.STATUS) & Status.BUSY:
        pass
    error = ErrorCode(await host.read(ctx, Register.ERROR))
    await host.write(ctx, Register.CONTROL, Control.CLEAR)
    return error


async def good_run(ctx, drawn, dma_error=DmaError.NONE):
    """Put the region back as it was, and run the program once more."""
    region = drawn.program.region
    drawn.memory.bytes[BASE:BASE + len(region)] = region
    await drawn.run(ctx, dma_error)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 202))
@pytest.mark.parametrize("pause", [0.0, 0.4])
def test_clear_in_the_middle(simulate, seed, pause):
    """A program that is stopped anywhere leaves nothing behind that disturbs the next."""
    drawn = Drawn(seed, pausing(seed, pause))

    async def bench(ctx):
        rng = np.random.default_rng(seed)

        async def disturb(ctx):
            await ctx.tick().repeat(int(rng.integers(1, 1500)))
            await drawn.host.write(ctx, Register.CONTROL, Control.CLEAR)

        for _ in range(2):
            assert await failed_run(ctx, drawn, disturb) in (ErrorCode.ABORTED, ErrorCode.NONE)
        await good_run(ctx, drawn)

    simulate(drawn.dut, bench, background=drawn.memory.benches, cycles=200_000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300, 302))
@pytest.mark.parametrize("pause", [0.0, 0.4])
def test_error_responses(simulate, seed, pause):
    """An error response anywhere in the region ends the program with its code."""
    drawn = Drawn(seed, pausing(seed, pause))
    size = len(drawn.program.region)

    async def bench(ctx):
        rng = np.random.default_rng(seed)

        async def nothing(ctx):
            pass

        for _ in range(3):
            start = BASE + int(rng.integers(size))
            drawn.memory.bad = range(start, start + int(rng.integers(8, size)))
            assert await failed_run(ctx, drawn, nothing) in (
                ErrorCode.MEMORY_READ, ErrorCode.MEMORY_WRITE, ErrorCode.NONE)
        drawn.memory.bad = range(BASE, BASE + size)
        assert await failed_run(ctx, drawn, nothing) == ErrorCode.MEMORY_READ
        drawn.memory.bad = range(0)
        await good_run(ctx, drawn)

    simulate(drawn.dut, bench, background=drawn.memory.benches, cycles=200_000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(400, 402))
def test_region_too_small(simulate, seed):
    """Beyond MEMORY_BYTES nothing is asked for or written."""
    drawn = Drawn(seed, pausing(seed, 0.2))
    host, memory = drawn.host, drawn.memory

    async def bench(ctx):
        rng = np.random.default_rng(seed)
        for size in (0, *map(int, rng.integers(1, len(drawn.program.region) // 2, 2))):
            before = bytes(memory.bytes)
            memory.bursts.clear()
            await host.load(ctx, IMAGE, len(drawn.program.image))
            await host.prepare(ctx, BASE, size)
            assert await host.run(ctx) == Status.ERROR | Status.PROGRAM
            assert await host.read(ctx, Register.ERROR) == ErrorCode.MEMORY_RANGE
            beat = drawn.config.host_bits // 8
            for _, address, beats in memory.bursts:
                assert address >= IMAGE or BASE <= address <= BASE + size - beats * beat
            assert memory.bytes[:BASE] == before[:BASE]
            assert memory.bytes[BASE + size:] == before[BASE + size:]
            await host.write(ctx, Register.CONTROL, Control.CLEAR)
        await good_run(ctx, drawn)

    simulate(drawn.dut, bench, background=drawn.memory.benches, cycles=200_000)


def test_bus_is_the_programs(simulate):
    """While a program runs the host's transfers are refused, and the program goes on."""
    drawn = Drawn(500, pausing(500, 0.3))
    host = drawn.host

    async def bench(ctx):
        async def disturb(ctx):
            for register, value in ((DmaRegister.LOAD_BYTES, 64), (Register.READ_COUNT, 4),
                                    (DmaRegister.MEMORY_BASE, 0), (DmaRegister.MEMORY_BYTES, 8)):
                await host.write(ctx, register, value)
                assert await host.read(ctx, DmaRegister.DMA_ERROR) == DmaError.BUSY
            assert await host.read(ctx, DmaRegister.MEMORY_BASE) == BASE
            await host.write(ctx, Register.CONTROL, Control.START)
            assert await host.read(ctx, Register.ERROR) == ErrorCode.BUSY

        assert await failed_run(ctx, drawn, disturb) == ErrorCode.BUSY  # that of the second start
        await good_run(ctx, drawn)

    simulate(drawn.dut, bench, background=drawn.memory.benches, cycles=200_000)


def test_refused_start_is_no_success(simulate):
    """After a good run a start that is refused leaves an error, and disturbs no later run."""
    drawn = Drawn(606, pausing(606, 0.1))
    host, size = drawn.host, len(drawn.program.region)

    async def refused(ctx, error, dma_error):
        assert await host.read(ctx, Register.STATUS) & Status.DONE
        await host.write(ctx, Register.CONTROL, Control.START)
        status = await host.read(ctx, Register.STATUS)
        assert status & (Status.BUSY | Status.DONE | Status.ERROR) == Status.ERROR
        assert status & Status.PROGRAM or status & Status.LOADING
        assert await host.read(ctx, Register.ERROR) == error
        assert await host.read(ctx, DmaRegister.DMA_ERROR) == dma_error
        await host.idle(ctx)

    async def load(ctx):
        await host.write(ctx, DmaRegister.LOAD_ADDRESS, IMAGE)
        await host.write(ctx, DmaRegister.LOAD_BYTES, len(drawn.program.image))

    async def store(ctx):
        await host.write(ctx, Register.READ_COUNT, 64)  # once more to TARGET

    async def misplaced(ctx):
        await host.prepare(ctx, BASE + 1, size)

    async def too_long(ctx):
        await host.prepare(ctx, 0xFFFF_F000, 1 << 20)

    causes = [(load, ErrorCode.BUSY, DmaError.BUSY), (store, ErrorCode.BUSY, DmaError.BUSY),
              (misplaced, ErrorCode.MEMORY_RANGE, DmaError.ADDRESS),
              (too_long, ErrorCode.MEMORY_RANGE, DmaError.ADDRESS)]

    async def bench(ctx):
        await host.write(ctx, Register.INTERRUPT, 1)
        await drawn.run(ctx)
        for number, (cause, error, dma_error) in enumerate(causes):
            await cause(ctx)
            await refused(ctx, error, dma_error)
            assert ctx.get(drawn.dut.interrupt)  # for the error
            if number % 2:  # the next start does not depend on it
                await host.write(ctx, Register.CONTROL, Control.CLEAR)
                assert not ctx.get(drawn.dut.interrupt)
                dma_error = DmaError.NONE
            await good_run(ctx, drawn, dma_error)
            assert await host.read(ctx, Register.ERROR) == ErrorCode.NONE

    simulate(drawn.dut, bench, background=drawn.memory.benches, cycles=200_000)


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_written_programs(simulate, pause):
    """Every program of the list, the refused ones too, one after the other in one accelerator."""
    config = AcceleratorConfig(rows=4, cols=6, host_bits=32, memory=True, activation_words=96,
                               weight_steps=64, channel_entries=16, basis_entries=16,
                               program_words=512)
    dut = AxiSystem(config, burst_beats=16)
    memory, host = Memory(dut, pause=pause, seed=7, size=SIZE), Host(dut)
    cases = [*good_memory_programs(config), *bad_memory_programs(config)]
    np.random.default_rng(7).shuffle(cases)

    async def bench(ctx):
        interpreter = Interpreter(config, bytearray())
        for case in cases:
            region = bytearray(case.region)
            memory.bytes[:] = bytes([CANARY]) * SIZE
            memory.bytes[IMAGE:IMAGE + len(case.image)] = case.image
            memory.bytes[BASE:BASE + len(region)] = region
            interpreter.region = region
            interpreter.load(case.image)
            await host.load(ctx, IMAGE, len(case.image))
            await host.prepare(ctx, BASE, len(region))
            status = await host.run(ctx)
            if case.error is not ErrorCode.NONE:
                with pytest.raises(ProgramError) as caught:
                    interpreter.run()
                assert caught.value.code == case.error, case.name
                assert status == Status.ERROR | Status.PROGRAM, case.name
                assert await host.read(ctx, Register.ERROR) == case.error, case.name
                await host.write(ctx, Register.CONTROL, Control.CLEAR)
                continue
            interpreter.run()
            assert status == Status.DONE | Status.PROGRAM, case.name
            assert memory.bytes[BASE:BASE + len(region)] == region, case.name
            assert memory.bytes[:BASE] == bytes([CANARY]) * BASE
            assert memory.bytes[BASE + len(region):IMAGE] == bytes(
                [CANARY]) * (IMAGE - BASE - len(region))

    simulate(dut, bench, background=memory.benches, cycles=400_000)
