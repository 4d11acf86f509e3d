"""AXI slaves and a master for Amaranth's simulator: benches of the AXI system.

:class:`Memory` pauses at random, answers with errors and checks the rules of AXI;
:class:`RegularMemory` is the memory of :class:`~smartdeal.sim.memory_timing.MemoryTiming`, cycle by
cycle. Both are bytes that a test fills and compares.
"""

import random
from collections import deque

from smartdeal.hw.axi import BOUNDARY_BYTES, Response
from smartdeal.hw.registers import COUNTERS, Control, DmaRegister, DmaStatus, Register, Status

__all__ = ["CANARY", "Host", "Memory", "RegularMemory"]

#: What a memory holds where nobody wrote.
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

    def __init__(self, dut, *, pause, seed=0, data_first=False, size=32768):
        self.data_first = data_first
        self.take_addresses = not data_first
        self.dut, self.axi, self.pause = dut, dut.memory, pause
        self.rng = random.Random(seed)
        self.bytes = bytearray([CANARY]) * size
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

    async def prepare(self, ctx, base, size):
        """Assign the program's region."""
        await self.write(ctx, DmaRegister.MEMORY_BASE, base)
        await self.write(ctx, DmaRegister.MEMORY_BYTES, size)

    async def counters(self, ctx):
        """Return the counters in the order of :data:`COUNTERS`."""
        return [await self.read(ctx, counter) | await self.read(ctx, counter + 4) << 32
                for counter in COUNTERS]


class RegularMemory:
    """An AXI4 slave as regular as a memory can be.

    Parameters
    ----------
    dut : AxiSystem
    timing : MemoryTiming
    size : int
        Bytes.
    """

    def __init__(self, dut, timing, *, size):
        self.dut, self.timing = dut, timing
        self.interval = timing.beat_cycles(dut.config)
        self.beat_bytes = dut.config.host_bits // 8
        self.bytes = bytearray([CANARY]) * size

    async def run(self, ctx):
        """Play the memory: one turn per cycle."""
        axi = self.dut.memory
        ctx.set(axi.arready, 1)
        ctx.set(axi.awready, 1)
        self.reads, self.addresses, self.data, self.answers = deque(), deque(), deque(), deque()
        self.last_beat, self.next_beat, self.cycle = -(1 << 30), 0, 0
        while True:
            self.read(ctx, axi)
            self.write(ctx, axi)
            await ctx.tick()
            self.cycle += 1

    def read(self, ctx, axi):
        if ctx.get(axi.arvalid):
            self.reads.append([ctx.get(axi.araddr), ctx.get(axi.arlen) + 1,
                               self.cycle + self.timing.latency_cycles])
        offered = bool(self.reads) and self.cycle >= max(self.reads[0][2],
                                                         self.last_beat + self.interval)
        ctx.set(axi.rvalid, offered)
        if not offered:
            return
        burst = self.reads[0]
        ctx.set(axi.rdata, int.from_bytes(self.bytes[burst[0]:burst[0] + self.beat_bytes],
                                          "little"))
        ctx.set(axi.rlast, burst[1] == 1)
        if ctx.get(axi.rready):
            self.last_beat = self.cycle
            burst[0] += self.beat_bytes
            burst[1] -= 1
            if not burst[1]:
                self.reads.popleft()

    def write(self, ctx, axi):
        if ctx.get(axi.awvalid):
            self.addresses.append([ctx.get(axi.awaddr), ctx.get(axi.awlen) + 1])
        taking = self.cycle >= self.next_beat
        ctx.set(axi.wready, taking)
        if taking and ctx.get(axi.wvalid):
            self.next_beat = self.cycle + self.interval
            last = ctx.get(axi.wlast)
            self.data.append((ctx.get(axi.wdata), ctx.get(axi.wstrb), last))
            if last:
                self.answers.append(self.cycle + self.timing.latency_cycles)
        while self.data and self.addresses:
            data, strobe, last = self.data.popleft()
            burst = self.addresses[0]
            for byte in range(self.beat_bytes):
                if strobe >> byte & 1:
                    self.bytes[burst[0] + byte] = data >> 8 * byte & 0xFF
            burst[0] += self.beat_bytes
            burst[1] -= 1
            assert last == (burst[1] == 0)
            if last:
                self.addresses.popleft()
        answering = bool(self.answers) and self.answers[0] <= self.cycle
        ctx.set(axi.bvalid, answering)
        if answering:
            self.answers.popleft()

    @property
    def benches(self):
        return (self.run,)
