"""How many cycles a program takes: the constants that the latency model and the tests import.

``docs/execution.md`` has the rule; the hardware's tests hold these numbers against the counters.
"""

__all__ = ["CHECK_CYCLES", "END_CYCLES", "FETCH_CYCLES", "FLUSH_CYCLES", "LAYER_CYCLES",
           "MOVE_CYCLES"]

#: Cycles in which an instruction is fetched (END, WAIT, JUMP: 2), and checked.
FETCH_CYCLES = 17
CHECK_CYCLES = 1

#: Cycles from the last read-out command of a layer to its last byte in the activation buffer, the
#: same for every configuration; a shorter pipeline waits.
FLUSH_CYCLES = 18

#: Cycles of a LAYER instruction besides its units of work and ``drain_lanes``: to fetch and check
#: it, 2 to prepare and start, 1 to notice the end, and the flush.
LAYER_CYCLES = FETCH_CYCLES + CHECK_CYCLES + 3 + FLUSH_CYCLES

#: Cycles of a MOVE instruction besides those in which it reads or fills: as for a LAYER, without
#: the preparation.
MOVE_CYCLES = FETCH_CYCLES + CHECK_CYCLES + 2 + FLUSH_CYCLES

#: Cycles of the END instruction.
END_CYCLES = 2
