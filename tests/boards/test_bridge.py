"""The serial bridge in hardware against frames that Python makes."""

import random

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from smartdeal.boards.bridge import SerialBridge
from smartdeal.boards.protocol import (
    HELLO,
    MAX_PAYLOAD,
    NAK,
    REPLY_BIT,
    Deframer,
    Operation,
    Status,
    frame,
)
from smartdeal.boards.uart import UartReceiver, UartTransmitter

CLOCK_HZ = 115_200 * 6


class Echo(wiring.Component):
    """A bridge to four registers and a queue from load to store, with the line's other end."""

    divisor: In(16)
    valid:   In(1)
    data:    In(8)
    ready:   Out(1)
    got:     Out(1)
    byte:    Out(8)

    def __init__(self, host_bits):
        self.host_bits = host_bits
        super().__init__()

    def elaborate(self, platform):
        from amaranth.lib.fifo import SyncFIFOBuffered

        m = Module()
        m.submodules.bridge = bridge = SerialBridge(clock_hz=CLOCK_HZ, host_bits=self.host_bits)
        m.submodules.tx = tx = UartTransmitter()
        m.submodules.rx = rx = UartReceiver()
        m.submodules.queue = queue = SyncFIFOBuffered(width=self.host_bits, depth=64)
        registers = Array(Signal(32, name=f"register_{i}") for i in range(4))
        bus = bridge.bus
        m.d.comb += [
            bridge.rx.eq(tx.tx), rx.rx.eq(bridge.tx),
            tx.divisor.eq(self.divisor), rx.divisor.eq(self.divisor),
            tx.i.valid.eq(self.valid), tx.i.payload.eq(self.data), self.ready.eq(tx.i.ready),
            self.got.eq(rx.valid), self.byte.eq(rx.data),
            bus.read_data.eq(registers[bus.address[2:4]]),
            queue.w_en.eq(bridge.load.valid), queue.w_data.eq(bridge.load.payload),
            bridge.load.ready.eq(queue.w_rdy),
            bridge.store.valid.eq(queue.r_rdy), bridge.store.payload.eq(queue.r_data),
            queue.r_en.eq(bridge.store.ready),
        ]
        m.d.sync += bus.ready.eq(bus.valid & ~bus.ready)
        with m.If(bus.valid & bus.ready & bus.write):
            m.d.sync += registers[bus.address[2:4]].eq(bus.write_data)
        return m


class Line:
    """The host's end, in the simulator."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut = ctx, dut
        self.deframer = Deframer()
        self.bodies: list[bytes] = []

    async def tick(self):
        _, _, got, byte = await self.ctx.tick().sample(self.dut.got, self.dut.byte)
        if got:
            self.bodies += self.deframer.feed(bytes([byte]))

    async def send(self, data):
        for byte in data:
            self.ctx.set(self.dut.data, byte)
            self.ctx.set(self.dut.valid, 1)
            while not self.ctx.get(self.dut.ready):
                await self.tick()
            await self.tick()
        self.ctx.set(self.dut.valid, 0)

    async def reply(self, cycles=100_000):
        for _ in range(cycles):
            if self.bodies:
                return self.bodies.pop(0)
            await self.tick()
        return None

    async def ask(self, sequence, operation, payload=b""):
        await self.send(frame(bytes([sequence & 255, operation]) + payload))
        body = await self.reply()
        assert body is not None
        assert body[:2] == bytes([sequence & 255, operation | REPLY_BIT])
        return Status(body[2]), body[3:]


@pytest.mark.parametrize("host_bits", [32, 64])
def test_operations(simulate, host_bits):
    dut = Echo(host_bits)
    rng = random.Random(host_bits)

    async def bench(ctx):
        ctx.set(dut.divisor, 6)
        line = Line(ctx, dut)
        assert await line.ask(3, Operation.READ, b"\x04") == (Status.SEQUENCE, b"")
        status, payload = await line.ask(250, Operation.HELLO)
        assert (status, HELLO.unpack(payload)) == (
            Status.OK, (1, host_bits // 8, MAX_PAYLOAD, CLOCK_HZ, 6))
        assert await line.ask(251, Operation.WRITE, b"\x04\x7e\x7d\x01\xfe") == (Status.OK, b"")
        assert await line.ask(252, Operation.READ, b"\x04") == (Status.OK, b"\x7e\x7d\x01\xfe")
        # The same again: sent again, not executed.
        assert await line.ask(252, Operation.READ, b"\x04") == (Status.OK, b"\x7e\x7d\x01\xfe")
        image = rng.randbytes(9 * host_bits // 8)
        assert await line.ask(253, Operation.LOAD, image) == (
            Status.OK, len(image).to_bytes(2, "little"))
        assert await line.ask(253, Operation.LOAD, image) == (
            Status.OK, len(image).to_bytes(2, "little"))
        assert await line.ask(254, Operation.LOAD, b"123") == (Status.MALFORMED, b"")
        size = len(image).to_bytes(2, "little")
        assert await line.ask(255, Operation.STORE, size) == (Status.OK, image)
        assert await line.ask(255, Operation.STORE, size) == (Status.OK, image)
        assert await line.ask(256, Operation.STORE, size) == (Status.STALLED, b"")
        assert await line.ask(257, Operation.STORE, b"\x01\x00") == (Status.MALFORMED, b"")
        assert await line.ask(258, 9) == (Status.MALFORMED, b"")
        assert await line.ask(17, Operation.READ, b"\x04") == (Status.SEQUENCE, b"")
        assert await line.ask(259, Operation.READ, b"\x04") == (Status.OK, b"\x7e\x7d\x01\xfe")

    simulate(dut, bench, cycles=400_000)


def test_damaged_frames_change_nothing(simulate):
    dut = Echo(32)
    rng = random.Random(5)

    async def bench(ctx):
        ctx.set(dut.divisor, 6)
        line = Line(ctx, dut)
        await line.ask(0, Operation.HELLO)
        await line.ask(1, Operation.WRITE, b"\x08\x11\x22\x33\x44")
        for trial in range(15):
            good = bytearray(frame(bytes([2, Operation.WRITE]) + b"\x08" + rng.randbytes(4)))
            place = rng.randrange(1, len(good) - 1)
            kind = trial % 3
            if kind == 0:
                good[place] ^= 1 << rng.randrange(8)
            elif kind == 1:
                del good[place]
            else:
                good.insert(place, good[place])
            await line.send(bytes(good))
            while (body := await line.reply(3_000)) is not None:
                assert body[1] == NAK
        assert await line.ask(2, Operation.READ, b"\x08") == (Status.OK, b"\x11\x22\x33\x44")

    simulate(dut, bench, cycles=600_000)


def test_baud_rate(simulate):
    dut = Echo(32)

    async def bench(ctx):
        ctx.set(dut.divisor, 6)
        line = Line(ctx, dut)
        await line.ask(0, Operation.HELLO)
        assert await line.ask(1, Operation.BAUD, b"\x03\x00") == (Status.MALFORMED, b"")
        assert await line.ask(2, Operation.BAUD, b"\x04\x00") == (Status.OK, b"")
        ctx.set(dut.divisor, 4)
        status, payload = await line.ask(3, Operation.HELLO)
        assert (status, HELLO.unpack(payload)[-1]) == (Status.OK, 4)
        # A host that speaks at the default rate again, far slower here, is understood in the end.
        ctx.set(dut.divisor, 60)
        await line.send(frame(bytes([4, Operation.HELLO])) * 2)
        await ctx.tick().repeat(1000)
        ctx.set(dut.divisor, 6)
        line.deframer = Deframer()
        line.bodies.clear()
        await line.send(b"\x7e")
        await line.reply(3000)
        line.bodies.clear()
        status, payload = await line.ask(5, Operation.HELLO)
        assert (status, HELLO.unpack(payload)[-1]) == (Status.OK, 6)

    simulate(dut, bench, cycles=200_000)
