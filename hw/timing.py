"""How many cycles a program takes: the constants that the latency model and the tests import.

``docs/execution.md`` has the rule; the hardware's tests hold these numbers against the counters.
"""

__all__ = ["END_CYCLES", "FLUSH_CYCLES", "LAYER_CYCLES", "MOVE_CYCLES"]

#: Cycles from the last read-out command of a layer to its last byte in the activation buffer, the
#: same for every configuration; a shorter pipeline waits.
FLUSH_CYCLES = 18

#: Cycles of a LAYER instruction besides its units of work and ``drain_lanes``: 17 to fetch the
#: instruction, 1 to check it, 2 to prepare and start, 1 to notice the end, and the flush.
LAYER_CYCLES = 21 + FLUSH_CYCLES

#: Cycles of a MOVE instruction besides those in which it reads or fills: as for a LAYER, without
#: the preparation.
MOVE_CYCLES = 20 + FLUSH_CYCLES

#: Cycles of the END instruction.
END_CYCLES = 2
