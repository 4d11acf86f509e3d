"""The host's driver against a simulated board, over a line that spoils bytes."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from smartdeal.boards.errors import LinkError
from smartdeal.boards.faults import FaultyPort
from smartdeal.boards.host import run_on_board
from smartdeal.boards.simulated import SimulatedPort, build_board_simulator
from smartdeal.compiler import NetworkProgram, compile_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.networks import draw_network
from smartdeal.sim.simulate_network import simulate_network

pytestmark = pytest.mark.slow

CLOCK_HZ = 12_000_000
CONFIG = AcceleratorConfig(rows=3, cols=4, activation_words=4096, weight_steps=300,
                           basis_entries=64, channel_entries=64, program_words=128, acc_bits=32,
                           max_slices=16, host_bits=32)


@pytest.fixture(scope="module")
def program() -> NetworkProgram:
    rng = np.random.default_rng(4)
    while True:
        network = draw_network(rng, CONFIG, 3)
        try:
            result = compile_network(network, CONFIG)
        except ValueError:
            continue
        if result.steps < 20_000 and sum(map(len, result.segments)) < 20_000:
            return result


@pytest.fixture
def port() -> Iterator[SimulatedPort]:
    result = SimulatedPort(build_board_simulator(CONFIG, CLOCK_HZ), CLOCK_HZ)
    yield result
    result.close()  # once more does no harm


@pytest.mark.parametrize("rate", [0.0, 0.002])
def test_network_over_a_bad_line(program, port, rate):
    rng = np.random.default_rng(2)
    images = [rng.integers(-128, 128, program.input_shape).astype(np.int8) for _ in range(2)]
    line = FaultyPort(port, rate=rate, seed=3)
    results, session = run_on_board(program, images, line)
    print(f"{line.faults} faults, {session.link.retries} retries")
    assert (line.faults > 20) == (session.link.retries > 5) == (rate > 0)
    for image, result in zip(images, results, strict=True):
        report, = simulate_network(program, [image], engine="interpreter")
        assert np.array_equal(result.output, report.output)
        assert result.cycles == report.predicted.total


def test_other_configuration(program, port):
    other = replace(program, config=CONFIG.replace(weight_steps=301))
    image = np.zeros(program.input_shape, np.int8)
    with pytest.raises(LinkError, match="the program is for a 3×4 array, configuration 0x"):
        run_on_board(other, [image], port)
