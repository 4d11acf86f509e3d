"""A delay line: what travels beside a pipeline arrives when the pipeline's result does."""

from typing import Any

from amaranth import *
from amaranth.hdl import ShapeLike
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["Delay"]

#: Shorter lines are as small as the ring's address.
_LEAST_IN_MEMORY = 4


class Delay(wiring.Component):
    """Delay a value by a fixed number of cycles.

    Parameters
    ----------
    shape : shape-castable
    cycles : int
        At least 1.
    memory : bool
        Keep what is on its way in a memory instead of registers, where that is smaller. A reset
        must then last as many cycles, or what was on its way still arrives.

    Members
    -------
    i : In(shape)
    o : Out(shape)
    """

    i: Any
    o: Any

    def __init__(self, shape: ShapeLike, cycles: int, *, memory: bool = False):
        if cycles < 1:
            raise ValueError(f"Delay must be at least 1 cycle, not {cycles!r}")
        self.shape  = shape
        self.cycles = cycles
        self.memory = memory and cycles >= _LEAST_IN_MEMORY
        super().__init__({"i": In(shape), "o": Out(shape)})

    def elaborate(self, platform):
        m = Module()
        if self.memory:
            self._ring(m)
            return m
        previous = self.i
        for cycle in range(1, self.cycles):
            stage = Signal(self.shape, name=f"stage_{cycle}")
            m.d.sync += stage.eq(previous)
            previous = stage
        m.d.sync += self.o.eq(previous)
        return m

    def _ring(self, m):
        """Write round and round, and read what was written a cycle less than the delay before."""
        bits = ceil_log2(self.cycles)
        m.submodules.ring = ring = Memory(
            shape=unsigned(Shape.cast(self.shape).width), depth=1 << bits, init=[],
            attrs={"ram_style": "block"})
        write, read = ring.write_port(), ring.read_port()
        place = Signal(bits, reset_less=True)  # goes on in a reset, which so clears the memory
        m.d.sync += place.eq(place + 1)
        m.d.comb += [
            write.en.eq(1),
            write.addr.eq(place),
            write.data.eq(self.i),
            read.en.eq(1),
            read.addr.eq(place - (self.cycles - 1)),
            Value.cast(self.o).eq(read.data),
        ]
