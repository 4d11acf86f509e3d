"""Run a component in the Amaranth simulator, bounded by a watchdog."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest
from amaranth.lib import wiring
from amaranth.sim import Simulator

Bench = Callable[..., Coroutine[Any, Any, None]]


@pytest.fixture
def simulate() -> Callable[..., None]:
    """Return ``simulate(dut, *benches, background=(…), cycles=N)``: it ends when the benches do."""

    def run(
        dut: wiring.Component, *benches: Bench, background: Iterable[Bench] = (),
        cycles: int = 20_000,
    ) -> None:
        ended = 0
        simulator = Simulator(dut)
        simulator.add_clock(1e-6)

        def bounded(bench: Bench) -> Bench:
            async def wrapped(ctx):
                nonlocal ended
                await bench(ctx)
                ended += 1
            return wrapped

        async def watchdog(ctx):
            for _ in range(cycles):
                await ctx.tick()
            if ended < len(benches):
                raise AssertionError(f"watchdog: a bench still waits after {cycles} cycles")

        for bench in benches:
            simulator.add_testbench(bounded(bench))
        for bench in (*background, watchdog):
            simulator.add_testbench(bench, background=True)
        simulator.run()
        assert ended == len(benches)

    return run
