"""How many cycles a program takes: the constants that the latency model and the tests import.

``docs/execution.md`` has the rule; the hardware's tests hold these numbers against the counters.
"""

__all__ = ["END_CYCLES", "LAYER_CYCLES"]

#: Cycles of a LAYER instruction besides its units of work and ``drain_lanes``: fetch and decode of
#: the instruction, the way of the first step to the array, and the flush of the last read-out.
LAYER_CYCLES = 40

#: Cycles of the END instruction, the start included.
END_CYCLES = 3
