"""The synthesised netlist, of each technology's cells, runs a network exactly as it should."""

import re

import numpy as np
import pytest

from smartdeal.boards.catalogue import board
from smartdeal.boards.netlist import NETLIST_TARGETS, gate_level
from smartdeal.compiler import CompileError, NetworkProgram, compile_network
from smartdeal.golden.interpreter import Interpreter
from smartdeal.hw.accelerator import Accelerator
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.verilog import ports
from smartdeal.sim.host import Host
from smartdeal.sim.latency import predict
from smartdeal.sim.networks import draw_network
from smartdeal.sim.runner import build_simulator, run_job

#: Small, for the netlist is compiled cell by cell; every feature but one is in it.
CONFIG = AcceleratorConfig(rows=3, cols=2, activation_words=1024, weight_steps=256,
                           basis_entries=32, channel_entries=32, program_words=64, acc_bits=20,
                           sum_bits=32, exponents=4, max_slices=4, host_bits=32, max_pool=False)


#: On iCE40 what fits a UP5K, with its multipliers.
CONFIGS = {"ecp5": CONFIG, "ice40": board("icebreaker").config}


def drawn(seed: int, config: AcceleratorConfig) -> NetworkProgram:
    rng = np.random.default_rng(seed)
    while True:
        try:
            result = compile_network(draw_network(rng, config, 4), config)
        except CompileError:
            continue
        if 1_000 < result.steps < 10_000:
            return result


@pytest.mark.slow
@pytest.mark.parametrize("target", NETLIST_TARGETS)
def test_runs_a_network(target):
    top, config = "netlist", CONFIGS[target]
    names = ["clk", "rst", *(port.name for port in ports(Accelerator(config)))]
    netlist = gate_level(Accelerator(config), config, top, target)
    # Weights of the UP5K stand in its SPRAM: two blocks of 16,384 words.
    assert len(re.findall(r"^ *reg \[15:0\] .* \[16383:0\];$", netlist, re.MULTILINE)) == (
        2 if target == "ice40" else 0)
    simulator = build_simulator(netlist, top, names, quick=True)
    for seed in range(3):
        program = drawn(seed, config)
        rng = np.random.default_rng(seed)
        image = program.input_image(
            rng.integers(-128, 128, program.input_shape).astype(np.int8), clear=True)
        interpreter, host = Interpreter(config), Host(config)
        interpreter.load(image)
        host.load(image)
        for segment in program.segments:
            interpreter.load(segment)
            interpreter.run()
            host.load(segment)
            host.start()
            host.finish(1_000_000, word=0, words=program.used_words)
        outcomes = host.outcomes(run_job(simulator, host.job(seed=seed)))
        assert all(outcome.finished and not outcome.error for outcome in outcomes), seed
        assert [outcome.cycles for outcome in outcomes] == [
            predict(segment, config) for segment in program.segments], seed
        assert outcomes[-1].region == interpreter.read(0, program.used_words), seed
