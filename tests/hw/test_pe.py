"""The PE against a naive accumulator."""

import random

import pytest

from smartdeal.golden.formats import CoefficientFormat
from smartdeal.hw.pe import ProcessingElement, ProcessingRow


def wrapped(value, bits):
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


@pytest.mark.parametrize("acc_bits", [16, 24])
@pytest.mark.parametrize("exponents", [1, 5, 8, 16])
def test_shift_and_add(simulate, exponents, acc_bits):
    fmt = CoefficientFormat(exponents)
    dut = ProcessingElement(fmt=fmt, acc_bits=acc_bits, max_pool=False)
    rng = random.Random(1)

    async def bench(ctx):
        acc, due, before = 0, None, 0  # what the result must be in the next cycle
        for _ in range(400):
            operand, valid, sign = rng.randrange(-128, 128), rng.random() < 0.8, rng.randrange(2)
            exponent, last = rng.randrange(exponents), rng.random() < 0.1
            ctx.set(dut.operand, operand)
            ctx.set(dut.coefficient, {"valid": valid, "sign": valid and sign, "exponent": exponent})
            ctx.set(dut.last, before)  # a cycle after its operand
            before = last
            await ctx.tick()
            acc = wrapped(acc + valid * (-1) ** sign * (operand << exponent), acc_bits)
            if due is not None:
                assert ctx.get(dut.result) == due
            due = acc if last else None
            acc = 0 if last else acc

    simulate(dut, bench)


def test_binary(simulate):
    """Twice what is counted is the dot product of two vectors of eight ±1."""
    dut = ProcessingElement(fmt=CoefficientFormat(8), acc_bits=24, max_pool=False, binary=True)
    rng = random.Random(3)

    async def bench(ctx):
        total, due, before = 0, None, 0
        for number in range(400):
            operand, weights, last = rng.randrange(256), rng.randrange(256), rng.random() < 0.1
            if number < 2:  # all equal, none equal
                operand, weights = 0xFF, 0xFF * (1 - number)
            binary = rng.random() < 0.7
            ctx.set(dut.operand, operand - 256 * (operand > 127))
            ctx.set(dut.weights, weights)
            ctx.set(dut.binary, binary)
            ctx.set(dut.coefficient, {"valid": binary, "sign": 0, "exponent": 1})
            ctx.set(dut.last, before)  # a cycle after its operand
            before = last
            await ctx.tick()
            dot = sum(1 if operand >> bit & 1 == weights >> bit & 1 else -1 for bit in range(8))
            total += dot * binary
            if due is not None:
                assert ctx.get(dut.result) == due
            due = total if last else None
            total = 0 if last else total

    simulate(dut, bench)


def test_maximum(simulate):
    dut = ProcessingElement(fmt=CoefficientFormat(8), acc_bits=24, max_pool=True)
    rng = random.Random(2)

    async def bench(ctx):
        largest, due, before = 0, None, 0
        for _ in range(400):
            operand, taken, last = rng.randrange(-128, 128), rng.random() < 0.5, rng.random() < 0.2
            ctx.set(dut.operand, operand)
            ctx.set(dut.maximum, taken)
            ctx.set(dut.last, before)  # a cycle after its operand
            before = last
            await ctx.tick()
            largest = max(largest, operand + 128) if taken else largest
            if due is not None:
                assert ctx.get(dut.result) == due
            due = largest if last else None
            largest = 0 if last else largest

    simulate(dut, bench)


def test_result_holds(simulate):
    dut = ProcessingElement(fmt=CoefficientFormat(8), acc_bits=24, max_pool=False)

    async def bench(ctx):
        ctx.set(dut.operand, 5)
        ctx.set(dut.coefficient, {"valid": 1, "sign": 0, "exponent": 2})
        await ctx.tick()
        ctx.set(dut.last, 1)
        ctx.set(dut.coefficient, {"valid": 0})
        await ctx.tick()
        ctx.set(dut.last, 0)
        await ctx.tick().repeat(10)
        assert ctx.get(dut.result) == 20

    simulate(dut, bench)


def test_row_shares_the_coefficient(simulate):
    dut = ProcessingRow(cols=3, fmt=CoefficientFormat(8), acc_bits=24, max_pool=False)

    async def bench(ctx):
        ctx.set(dut.coefficient, {"valid": 1, "sign": 1, "exponent": 3})
        await ctx.tick()
        ctx.set(dut.coefficient, {"valid": 0})
        ctx.set(dut.vector, [1, -2, 3])
        await ctx.tick()
        ctx.set(dut.vector, [0, 0, 0])
        ctx.set(dut.last, 1)
        await ctx.tick()
        assert [ctx.get(dut.results[col]) for col in range(3)] == [-8, 16, -24]

    simulate(dut, bench)
