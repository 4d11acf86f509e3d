"""The bench on small devices that keep or break the rules of the ports."""

import re
from pathlib import Path

import pytest

from smartdeal.sim.errors import SimulationError
from smartdeal.sim.job import Job, Load, Read, Store, Wait, Write
from smartdeal.sim.runner import Simulator, build_simulator, run_job

PORTS = ("clk", "rst", "bus__valid", "bus__write", "bus__address", "bus__write_data", "bus__ready",
         "bus__read_data", "load__payload", "load__valid", "load__ready", "store__payload",
         "store__valid", "store__ready", "interrupt")

# What is loaded is stored, register 0 counts beats, register 4 asks for beats, and writing
# register 8 raises the interrupt so many cycles later. {fault} is what a test adds.
DEVICE = """
module device(input clk, input rst,
  input bus__valid, input bus__write, input [7:0] bus__address, input [31:0] bus__write_data,
  output bus__ready, output [31:0] bus__read_data,
  input [31:0] load__payload, input load__valid, output load__ready,
  output [31:0] store__payload, output store__valid, input store__ready,
  output reg interrupt);
  reg [31:0] words [0:1023];
  reg [9:0] taken, given, wanted, now;
  reg [31:0] delay;
  reg turn;
  assign bus__ready = turn;
  assign bus__read_data = bus__address == 0 ? taken : 32'hx;
  assign load__ready = now[1:0] != 3;
  assign store__payload = words[given] {payload};
  assign store__valid = {valid};
  always @(posedge clk) begin
    now <= now + 1;
    turn <= bus__valid & ~turn;
    if (load__valid & load__ready) begin
      words[taken] <= load__payload;
      taken <= taken + 1;
    end
    if (store__valid & store__ready) given <= given + 1;
    if (bus__valid & bus__ready & bus__write & bus__address == 4) wanted <= bus__write_data;
    if (bus__valid & bus__ready & bus__write & bus__address == 8) delay <= bus__write_data;
    else if (delay != 0) delay <= delay - 1;
    if (delay == 1) interrupt <= 1;
    if (rst) begin
      taken <= 0; given <= 0; wanted <= 0; delay <= 0; interrupt <= 0; now <= 0; turn <= 0;
    end
  end
endmodule
"""


def device(valid: str = "given != wanted", payload: str = "") -> Simulator:
    text = DEVICE.replace("{valid}", valid).replace("{payload}", payload)
    return build_simulator(text, "device", PORTS)


def job(*operations: object, idle: float = 0.0, seed: int = 1, stall_cycles: int = 50) -> Job:
    return Job(tuple(operations), 32, idle, seed, stall_cycles)  # type: ignore[arg-type]


@pytest.mark.parametrize("idle", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("seed", [1, 2])
def test_loopback(idle: float, seed: int) -> None:
    image = bytes(range(256)) * 3
    results = run_job(device(), job(Load(image), Read(0), Write(4, 192), Store(192), Wait(10),
                                    Write(8, 40), Wait(100), idle=idle, seed=seed))
    *_, stored, nothing, _, waited = results
    assert results[1] == 192
    assert stored == image
    assert nothing is None
    assert waited is not None
    assert 38 <= int(waited) <= 42


def test_last_beat_is_filled() -> None:
    results = run_job(device(), job(Load(b"\x01\x02\x03\x04\x05"), Write(4, 2), Store(2)))
    assert results[2] == b"\x01\x02\x03\x04\x05\0\0\0"


@pytest.mark.parametrize(("valid", "payload", "idle", "operations", "reason"), [
    ("given != wanted & now[0]", "", 0.9, (Load(b"1234"), Write(4, 1), Store(1)),
     r"store: beat 0 was withdrawn before it was taken"),
    ("given != wanted", "+ now", 0.9, (Load(b"1234"), Write(4, 1), Store(1)),
     r"store: beat 0 changed from 0x\w+ to 0x\w+ before it was taken"),
    ("given != wanted", "", 0.0, (Load(b"1234"), Write(4, 1), Store(2)),
     r"store: beat 1 of 2 did not come for 50 cycles"),
    ("given != wanted", "", 0.0, (Load(b"12345678"), Write(4, 2), Store(1)),
     r"store: a beat that nobody asked for, after 1 beats"),
    ("1", "", 0.0, (), r"store: a beat that nobody asked for, after reset"),
])
def test_broken_rule(valid: str, payload: str, idle: float, operations: tuple[object, ...],
                     reason: str) -> None:
    with pytest.raises(SimulationError) as caught:
        run_job(device(valid, payload), job(*operations, idle=idle, seed=3))
    match = re.fullmatch(rf"{reason} \(seed 3, log (.+)\)", str(caught.value))
    assert match is not None, str(caught.value)
    assert Path(match[1]).exists()


def test_load_never_ready() -> None:
    text = DEVICE.replace("{valid}", "0").replace("{payload}", "").replace(
        "now[1:0] != 3", "0")
    with pytest.raises(SimulationError, match=r"^load: beat 0 was not taken for 50 cycles \(seed"):
        run_job(build_simulator(text, "device", PORTS), job(Load(b"1234")))


def test_bus_never_ready() -> None:
    text = DEVICE.replace("{valid}", "0").replace("{payload}", "").replace(
        "bus__ready = turn", "bus__ready = 0")
    with pytest.raises(SimulationError, match=r"^bus: register 0x08 was not ready for 50 cycles"):
        run_job(build_simulator(text, "device", PORTS), job(Read(8)))


def test_job_file(tmp_path: Path) -> None:
    wanted = job(Load(b"abc"), Read(4), Write(8, 1), Load(b""), Wait(7), Store(3), idle=0.25)
    wanted.save(tmp_path)
    assert Job.open(tmp_path) == wanted
