"""How many cycles a program takes: the constants that the latency model and the tests import.

``docs/execution.md`` has the rule; the hardware's tests hold these numbers against the counters.
"""

__all__ = ["CHECK_CYCLES", "END_CYCLES", "FETCH_CYCLES", "FLUSH_CYCLES", "LAYER_CYCLES",
           "MOVE_CYCLES", "MOVE_FLUSH_CYCLES", "SHORT_CYCLES"]

#: Cycles in which an instruction is fetched, one of a single word (END, WAIT, JUMP) is fetched, and
#: one is checked.
FETCH_CYCLES = 17
SHORT_CYCLES = 3
CHECK_CYCLES = 1

#: Cycles from the last read-out command of a layer to its last byte in the activation buffer, the
#: same for every configuration; a shorter pipeline waits.
FLUSH_CYCLES = 22

#: The same from the last vector that a MOVE instruction asks for.
MOVE_FLUSH_CYCLES = 9

#: Cycles of a LAYER instruction besides its units of work and ``drain_lanes``: to fetch and check
#: it, 2 to prepare and start, 1 until the last unit is known to the read-out, 1 to notice the end,
#: and the flush.
LAYER_CYCLES = FETCH_CYCLES + CHECK_CYCLES + 4 + FLUSH_CYCLES

#: Cycles of a MOVE instruction besides those in which it reads or fills: to fetch and check it, 1
#: to start, 1 to notice the end, and the flush.
MOVE_CYCLES = FETCH_CYCLES + CHECK_CYCLES + 3 + MOVE_FLUSH_CYCLES

#: Cycles of the END instruction.
END_CYCLES = SHORT_CYCLES
