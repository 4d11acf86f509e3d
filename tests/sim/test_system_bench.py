"""The bench for AXI systems on a small master that keeps or breaks the rules and tells the time."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smartdeal.sim.axi_storage import CANARY, Storage
from smartdeal.sim.errors import PortError, SimulationError
from smartdeal.sim.job import (
    Count,
    Dump,
    Fault,
    Fill,
    Job,
    Load,
    Memory,
    Operation,
    Pass,
    Poll,
    Read,
    Reset,
    Result,
    Store,
    Wait,
    Write,
)
from smartdeal.sim.runner import Simulator, build_simulator, run_job

# Register 0 is the address of the next transfer, 4 the mask of a counter's bits that must be 0 for
# RREADY and BREADY, 8 what is wrong. Writing bursts << 16 | beats - 1 to 12 reads, to 16 writes
# numbers that count up. Then 20 has the cycles from the first address to the first beat, 24 to
# the last beat, 28 to the last response (each in its cycle), 32 the sum of what was read, 36
# whether anything is going on, 40 the errors that were answered.
DEVICE = """
module device(input clk, input rst, output interrupt,
  input [11:0] control__awaddr, input [2:0] control__awprot, input control__awvalid,
  output control__awready, input [31:0] control__wdata, input [3:0] control__wstrb,
  input control__wvalid, output control__wready, output [1:0] control__bresp,
  output reg control__bvalid, input control__bready,
  input [11:0] control__araddr, input [2:0] control__arprot, input control__arvalid,
  output control__arready, output reg [31:0] control__rdata, output [1:0] control__rresp,
  output reg control__rvalid, input control__rready,
  output [31:0] memory__araddr, output [7:0] memory__arlen, output [2:0] memory__arsize,
  output [1:0] memory__arburst, output [3:0] memory__arcache, output [2:0] memory__arprot,
  output memory__arvalid, input memory__arready, input [31:0] memory__rdata,
  input [1:0] memory__rresp, input memory__rlast, input memory__rvalid, output memory__rready,
  output [31:0] memory__awaddr, output [7:0] memory__awlen, output [2:0] memory__awsize,
  output [1:0] memory__awburst, output [3:0] memory__awcache, output [2:0] memory__awprot,
  output memory__awvalid, input memory__awready, output [31:0] memory__wdata,
  output [3:0] memory__wstrb, output memory__wlast, output memory__wvalid, input memory__wready,
  input [1:0] memory__bresp, input memory__bvalid, output memory__bready);
  reg [31:0] address, mask, wrong, now, start, first, last, answered, sum, errors;
  reg [31:0] araddr, awaddr, count;
  reg [7:0] length, beat;
  reg [15:0] ar, r, aw, w, b;  // bursts that are left on each channel
  reg seen, waited;
  wire take = control__awvalid & control__wvalid & ~control__bvalid;
  wire go_read = take & control__awaddr == 12, go_write = take & control__awaddr == 16;
  assign control__awready = take, control__wready = take, control__bresp = wrong[31] ? 2 : 0;
  assign control__arready = ~control__rvalid, control__rresp = 0;
  assign interrupt = ~(|ar | |r | |aw | |w | |b);
  assign memory__araddr = araddr + (wrong[0] & waited ? 4 : 0), memory__arlen = length;
  assign memory__arsize = wrong[1] ? 1 : 2, memory__arburst = wrong[2] ? 2 : 1;
  assign memory__arcache = 3, memory__arprot = 0;
  assign memory__arvalid = |ar & ~(wrong[3] & waited);
  assign memory__rready = (now & mask) == 0;
  assign memory__awaddr = awaddr, memory__awlen = length, memory__awsize = 2;
  assign memory__awburst = 1, memory__awcache = 3, memory__awprot = 0, memory__awvalid = |aw;
  assign memory__wdata = count + (wrong[4] ? now : 0), memory__wvalid = |w;
  assign memory__wstrb = wrong[5] ? 4'b0110 : wrong[8] ? 0 : 4'b1111;
  assign memory__wlast = (beat == length) & ~wrong[6] | wrong[7] & beat == 1;
  assign memory__bready = (now & mask) == 0;
  always @(posedge clk) begin
    now <= now + 1;
    waited <= memory__arvalid & ~memory__arready;
    if (control__bvalid & control__bready) control__bvalid <= 0;
    if (control__rvalid & control__rready) control__rvalid <= 0;
    if (take) begin
      control__bvalid <= ~wrong[30];
      if (control__awaddr == 0) address <= control__wdata;
      if (control__awaddr == 4) mask <= control__wdata;
      if (control__awaddr == 8) wrong <= control__wdata;
    end
    if (control__arvalid & control__arready) begin
      control__rvalid <= 1;
      case (control__araddr)
        20: control__rdata <= first;  24: control__rdata <= last;
        28: control__rdata <= answered;  32: control__rdata <= sum;
        36: control__rdata <= {31'b0, ~interrupt};  40: control__rdata <= errors;
        default: control__rdata <= 32'hx;
      endcase
    end
    if (memory__arvalid & memory__arready) begin
      ar <= ar - 1; araddr <= araddr + 4 * (length + 1);
    end
    if (memory__awvalid & memory__awready) begin
      aw <= aw - 1; awaddr <= awaddr + 4 * (length + 1);
    end
    if (memory__rvalid & memory__rready) begin
      seen <= 1; last <= now - start;
      if (~seen) first <= now - start;
      sum <= sum * 3 + memory__rdata;
      if (memory__rlast) r <= r - 1;
      if (memory__rresp != 0) errors <= errors + 1;
    end
    if (memory__wvalid & memory__wready) begin
      seen <= 1; last <= now - start;
      if (~seen) first <= now - start;
      count <= count + 1; beat <= beat == length ? 0 : beat + 1;
      if (beat == length) w <= w - 1;
    end
    if (memory__bvalid & memory__bready) begin
      b <= b - 1; answered <= now - start;
      if (memory__bresp != 0) errors <= errors + 1;
    end
    if (go_read | go_write) begin
      start <= now + 1; seen <= 0; sum <= 0; errors <= 0; count <= 1; beat <= 0;
      length <= control__wdata[7:0]; araddr <= address; awaddr <= address;
      if (go_read) begin ar <= control__wdata[31:16]; r <= control__wdata[31:16]; end
      else begin aw <= control__wdata[31:16]; w <= control__wdata[31:16];
        b <= control__wdata[31:16]; end
    end
    if (rst) begin
      control__bvalid <= 0; control__rvalid <= 0; mask <= 0; wrong <= 0; now <= 0; ar <= 0; r <= 0;
      aw <= 0; w <= 0; b <= 0; waited <= 0;
    end
  end
endmodule
"""
BASE = 0x8000_0000
BYTES = 16384
(ADDRESS, MASK, WRONG, READ, WRITE, FIRST, LAST, ANSWERED, SUM, ACTIVE, ERRORS) = range(0, 44, 4)


@pytest.fixture(scope="module")
def device() -> Simulator:
    ports = re.findall(r"(?:in|out)put (?:reg )?(?:\[\S+\] )?(\w+)", DEVICE)
    return build_simulator(DEVICE, "device", ports)


def run(device: Simulator, *operations: Operation, seed: int = 1, stall_cycles: int = 100,
        **memory: Any) -> list[Result]:
    return run_job(device, Job(operations, 32, seed=seed, stall_cycles=stall_cycles,
                               memory=Memory(BASE, BYTES, **memory)))


def transfer(register: int, address: int, bursts: int, beats: int, mask: int = 0,
             limit: int = 20_000) -> list[Operation]:
    """Return the operations of a transfer; the results of the last six are registers."""
    return [Write(MASK, mask), Write(ADDRESS, address), Write(register, bursts << 16 | beats - 1),
            Wait(limit), *map(Read, (FIRST, LAST, ANSWERED, SUM, ACTIVE, ERRORS))]


@pytest.mark.parametrize(("latency", "interval"), [
    (1, 1), (1, 2), (2, 1), (2, 2), (3, 5), (17, 1), (17, 3)])
def test_timing(device: Simulator, latency: int, interval: int) -> None:
    shapes = [(1, 1), (1, 2), (1, 4), (3, 1), (30, 1), (4, 7), (2, 64)]
    operations = [operation for bursts, beats in shapes for register in (READ, WRITE)
                  for operation in transfer(register, BASE, bursts, beats)]
    results = run(device, *operations, latency_cycles=latency, beat_cycles=interval)
    for number, (bursts, beats) in enumerate(shapes):
        read = results[20 * number:][4:]
        last = -interval
        for burst in range(bursts):  # addresses are taken one per cycle
            last = max(burst + latency, last + interval) + (beats - 1) * interval
        assert read[:2] == [latency, last], (bursts, beats)
        last = (bursts * beats - 1) * interval
        assert read[10:13] == [0, last, last + latency], (bursts, beats)


def taken(offered: int, start: int, mask: int) -> int:
    while start + offered & mask:
        offered += 1
    return offered


@pytest.mark.parametrize(("interval", "mask"), [(1, 1), (1, 5), (3, 3)])
def test_timing_with_back_pressure(device: Simulator, interval: int, mask: int) -> None:
    """A beat that is not taken stays, and delays those after it."""
    results = run(device, *transfer(READ, BASE, 3, 9, mask), latency_cycles=4,
                  beat_cycles=interval)
    possible = set()
    for start in range(8):  # of the counter that gives RREADY
        place, last = -interval, 0
        for burst in range(3):
            for beat in range(9):
                offered = place + interval if beat else max(burst + 4, place + interval)
                place = last = taken(offered, start, mask)
        possible.add(last)
    assert results[5] in possible
    assert isinstance(results[5], int)
    assert results[5] > 4 + 26 * interval


@pytest.mark.parametrize(("memory", "mask"), [
    ({"latency_cycles": 1}, 0), ({"latency_cycles": 9, "beat_cycles": 2}, 2), ({"pause": 0.3}, 0),
    ({"pause": 0.8}, 2),
])
def test_content(device: Simulator, memory: dict[str, Any], mask: int) -> None:
    numbers = [7 * i * i % 1000003 for i in range(60)]
    data = b"".join(number.to_bytes(4, "little") for number in numbers)
    results = run(
        device, Fill(BASE + 4000, data), *transfer(READ, BASE + 4000 + 96, 3, 12, mask),
        *transfer(WRITE, BASE + 8192, 5, 8, mask), Dump(BASE, BYTES), Count("bytes_read"),
        Count("bytes_written"), Count("read_bursts"), Count("write_bursts"), **memory)
    total = 0
    for number in numbers[24:]:
        total = (total * 3 + number) % 2**32
    assert results[8:11] == [total, 0, 0]
    *_, content, read, written, read_bursts, write_bursts = results
    right = bytearray([CANARY]) * BYTES
    right[4000:4240] = data
    for i in range(40):
        right[8192 + 4 * i:8196 + 4 * i] = (i + 1).to_bytes(4, "little")
    assert content == right
    assert (read, written, read_bursts, write_bursts) == (144, 160, 3, 5)


def test_strobes(device: Simulator) -> None:
    """Bytes without a strobe stay."""
    results = run(device, Write(WRONG, 1 << 5), *transfer(WRITE, BASE, 1, 2), Write(WRONG, 1 << 8),
                  *transfer(WRITE, BASE, 1, 2), Dump(BASE, 8), Count("bytes_written"))
    assert results[-2:] == [bytes([CANARY, 0, 0, CANARY]) * 2, 8]


@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_faults(device: Simulator, pause: float) -> None:
    """Each beat of a read that touches a fault is answered with an error, a write as a whole."""
    results = run(
        device, Fault(BASE + 8, 4), Fault(BASE + 15, 2), *transfer(READ, BASE, 1, 8),
        *transfer(WRITE, BASE, 4, 2), Fault(0, 0), *transfer(READ, BASE, 1, 8), pause=pause)
    assert (results[11], results[21], results[32]) == (3, 2, 0)


@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_reset_in_the_middle(device: Simulator, pause: float) -> None:
    results = run(
        device, Write(ADDRESS, BASE), Write(READ, 8 << 16 | 30), Pass(40), Reset(),
        Write(ADDRESS, BASE), Write(WRITE, 8 << 16 | 30), Pass(40), Reset(), Read(ACTIVE),
        Fill(BASE, bytes(64)), *transfer(READ, BASE, 1, 16), Dump(BASE + 64, 8), pause=pause,
        latency_cycles=20)
    assert results[8] == 0
    assert results[17:20] == [0, 0, 0]


def test_poll(device: Simulator) -> None:
    results = run(device, Write(ADDRESS, BASE), Write(READ, 8 << 16 | 63), Poll(ACTIVE, 1, 9000),
                  Poll(ACTIVE, 1, 0), Write(READ, 8 << 16 | 63), Poll(ACTIVE, 1, 200))
    assert isinstance(results[2], int)
    assert 8 * 64 / 60 < results[2] < 8 * 64 / 45
    assert results[3:] == [1, None, None]


@pytest.mark.parametrize(("wrong", "operation", "memory", "reason"), [
    (0, [*transfer(READ, BASE + 4092, 1, 2)], {},
     r"memory: ar: burst at 0x80000ffc of 2 beats crosses a boundary of 4096 bytes"),
    (0, [*transfer(READ, BASE - 4, 1, 1)], {}, r"memory: ar: burst at 0x7ffffffc of 4 bytes from "
     r"0x7ffffffc leaves the memory from 0x80000000 to 0x80004000"),
    (0, [*transfer(WRITE, BASE + BYTES, 1, 1)], {},
     r"memory: aw: burst at 0x80004000 of 4 bytes .*"),
    (0, [*transfer(READ, BASE + 2, 1, 1)], {},
     r"memory: ar: burst at 0x80000002 does not begin at a multiple of 4"),
    (1, [*transfer(READ, BASE, 8, 1)], {"pause": 0.9},
     r"memory: ar: what was offered changed from .*"),
    (1 << 1, [*transfer(READ, BASE, 1, 1)], {},
     r"memory: ar: burst at 0x80000000 has beats of 2 bytes, not 4"),
    (1 << 2, [*transfer(READ, BASE, 1, 1)], {},
     r"memory: ar: burst at 0x80000000 is of kind 2, not incrementing"),
    (1 << 3, [*transfer(READ, BASE, 8, 1)], {"pause": 0.9},
     r"memory: ar: what was offered changed from .* to None before it was taken"),
    (1 << 4, [*transfer(WRITE, BASE, 1, 9)], {"pause": 0.9},
     r"memory: w: what was offered changed from .*"),
    (1 << 4, [*transfer(WRITE, BASE, 1, 9)], {"beat_cycles": 3},
     r"memory: w: a beat changed before it was taken"),
    (1 << 6, [*transfer(WRITE, BASE, 1, 3)], {},
     r"memory: w: WLAST is 0 in beat 2 of 3 at 0x80000000"),
    (1 << 7, [*transfer(WRITE, BASE, 1, 3)], {"pause": 0.5},
     r"memory: w: WLAST is 1 in beat 1 of 3 at 0x80000000"),
    (1 << 31, [], {}, r"control: write of register 0x08 was answered with SLVERR"),
    (1 << 30, [Write(ADDRESS, 0), Write(ADDRESS, 0)], {},
     r"control: write of register 0x00 was not answered for 100 cycles"),
    (0, [Fill(BASE + BYTES - 2, b"abc")], {}, r"Host's data of 3 bytes from 0x80003ffe leaves .*"),
    (0, [Load(b"")], {}, r"an AXI system has no stream for the operation Load"),
    (0, [Store(1)], {}, r"an AXI system has no stream for the operation Store"),
])
def test_broken_rule(
    device: Simulator, wrong: int, operation: list[Operation], memory: dict[str, Any],
    reason: str,
) -> None:
    first = [Write(WRONG, wrong)] if wrong else []
    with pytest.raises(SimulationError) as caught:
        run(device, *first, *operation, seed=3, **memory)
    match = re.fullmatch(rf"{reason} \(seed 3, log (.+)\)", str(caught.value))
    assert match is not None, str(caught.value)
    assert Path(match[1]).exists()


def every_operation() -> Iterator[Operation]:
    yield from (Fill(3, b"abc"), Dump(3, 2), Fault(1, 0), Count("bytes_read"), Reset(), Pass(3),
                Poll(1, 2, 3), Read(4), Write(8, 1), Wait(7))


def test_job_file(tmp_path: Path) -> None:
    wanted = Job(tuple(every_operation()), 64, seed=4,
                 memory=Memory(BASE, 4096, latency_cycles=3, beat_cycles=2, pause=0.25))
    wanted.save(tmp_path)
    assert Job.open(tmp_path) == wanted


def test_storage_of_wide_beats() -> None:
    storage = Storage(4096, bytearray(64), 16)
    storage.write(4096 + 16, int.from_bytes(bytes(range(16)), "little"), 0xFFFF)
    storage.write(4096 + 32, (1 << 128) - 1, 0x8001)
    burst = storage.burst("ar", 4096 + 16, 1, 4, 1)
    beats = storage.read(burst)
    assert beats[0].to_bytes(16, "little") == bytes(range(16))
    assert beats[1].to_bytes(16, "little") == b"\xff" + bytes(14) + b"\xff"
    with pytest.raises(PortError, match=r"^Host's range of 4 bytes from 0x103e leaves the memory "):
        storage.dump(4096 + 62, 4)
