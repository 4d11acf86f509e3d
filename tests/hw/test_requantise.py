"""Requantisation against Python's integers."""

import random

import pytest

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.requantise import RequantiseLane


def expected(total, residual, channel, limits, add_residual):
    t = (total + channel["bias"]) * channel["multiplier"]
    if add_residual:
        t += ((residual - limits["zp_res"]) * channel["residual_multiplier"]
              << channel["residual_shift"])
    half = 1 << channel["shift"] - 1 if channel["shift"] else 0
    q = ((t + half) >> channel["shift"]) + limits["zp_out"]
    # The order of hardware and RequantiseFormat: lower bound first.
    return limits["lo"] if q < limits["lo"] else min(q, limits["hi"])


@pytest.mark.parametrize("sum_bits", [32, 40, 44])
@pytest.mark.parametrize("residual", [False, True])
def test_formula(simulate, residual, sum_bits):
    config = AcceleratorConfig(rows=3, cols=2, residual=residual, sum_bits=sum_bits)
    dut = RequantiseLane(config)
    rng = random.Random(sum_bits)
    largest = (1 << sum_bits - 1) - 1
    sums = [0, 1, -1, largest, -largest - 1]

    async def bench(ctx):
        for trial in range(300):
            total = sums[trial] if trial < len(sums) else rng.randrange(-1 << rng.randrange(8, 31),
                                                                        1 << rng.randrange(8, 31))
            channel = {
                "bias": rng.choice([0, largest, -largest - 1, rng.randrange(-1000, 1000)]),
                "multiplier": rng.choice([0, 0xFFFF, rng.randrange(1 << 16)]),
                "residual_multiplier": rng.choice([0, 0xFFFF, rng.randrange(1 << 16)]),
                "shift": rng.choice([0, 1, 63, rng.randrange(12, 40)]),
                "residual_shift": rng.choice([0, 31, rng.randrange(32)]),
            }
            lo, hi = sorted(rng.sample(range(-128, 128), 2))
            limits = {"zp_out": rng.randrange(-128, 128), "lo": lo, "hi": hi,
                      "zp_res": rng.randrange(-128, 128)}
            operand, add = rng.randrange(-128, 128), rng.randrange(2) if residual else 0
            ctx.set(dut.total, total)
            ctx.set(dut.channel, channel)
            ctx.set(dut.limits, limits)
            if residual:
                ctx.set(dut.residual, operand)
                ctx.set(dut.add_residual, add)
            await ctx.tick().repeat(dut.RESIDUAL_AHEAD + dut.LATENCY)
            assert ctx.get(dut.result) == expected(total, operand, channel, limits, add)

    simulate(dut, bench)
