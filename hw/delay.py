"""A delay line: what travels beside a pipeline arrives when the pipeline's result does."""

from typing import Any

from amaranth import *
from amaranth.hdl import ShapeLike
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Delay"]


class Delay(wiring.Component):
    """Delay a value by a fixed number of cycles.

    Parameters
    ----------
    shape : shape-castable
    cycles : int
        At least 1.

    Members
    -------
    i : In(shape)
    o : Out(shape)
    """

    i: Any
    o: Any

    def __init__(self, shape: ShapeLike, cycles: int):
        if cycles < 1:
            raise ValueError(f"Delay must be at least 1 cycle, not {cycles!r}")
        self.shape  = shape
        self.cycles = cycles
        super().__init__({"i": In(shape), "o": Out(shape)})

    def elaborate(self, platform):
        m = Module()
        previous = self.i
        for cycle in range(1, self.cycles):
            stage = Signal(self.shape, name=f"stage_{cycle}")
            m.d.sync += stage.eq(previous)
            previous = stage
        m.d.sync += self.o.eq(previous)
        return m
