"""The events that cost energy, as numbers: what a program makes the hardware do."""

from dataclasses import dataclass, fields
from typing import Self

__all__ = ["EVENT_MEANINGS", "Events"]


@dataclass(frozen=True, kw_only=True)
class Events:
    """How often each thing happens; what each means is in :data:`EVENT_MEANINGS`.

    The counts are exact: a test holds each against the signals of the simulated hardware.
    """

    steps: int = 0
    shift_adds: int = 0
    maximums: int = 0
    xnor_counts: int = 0
    accumulator_writes: int = 0
    result_writes: int = 0
    result_reads: int = 0
    weight_reads: int = 0
    vector_reads: int = 0
    residual_reads: int = 0
    move_reads: int = 0
    stored_words: int = 0
    stored_bytes: int = 0
    moved_words: int = 0
    moved_bytes: int = 0
    basis_reads: int = 0
    basis_multiplies: int = 0
    basis_adds: int = 0
    state_reads: int = 0
    state_writes: int = 0
    partial_reads: int = 0
    partial_writes: int = 0
    sum_adds: int = 0
    channel_reads: int = 0
    requantise_multiplies: int = 0
    residual_multiplies: int = 0
    packed_signs: int = 0
    instruction_words: int = 0
    weight_loads: int = 0
    channel_loads: int = 0
    basis_loads: int = 0
    program_loads: int = 0
    activation_loads: int = 0
    host_reads: int = 0
    load_commands: int = 0
    fetched_beats: int = 0
    spilled_words: int = 0
    spilled_beats: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(**{field.name: getattr(self, field.name) + getattr(other, field.name)
                             for field in fields(self)})

    def as_dict(self) -> dict[str, int]:
        """Return every count by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


#: What one event of each kind is.
EVENT_MEANINGS: dict[str, str] = {
    "steps": "step taken: one vector to all rows, one coefficient per row to all columns",
    "shift_adds": "a PE shifts its operand and adds it to its sum",
    "maximums": "a PE compares its operand with its maximum",
    "xnor_counts": "a PE counts equal bits of an operand and eight weights, and adds the count",
    "accumulator_writes": "an accumulator takes a new sum, or restarts from 0",
    "result_writes": "a result register takes the sum of a unit of work",
    "result_reads": "an accumulator result is read out: one of the drain lanes",
    "weight_reads": "word of the weight buffer: one step",
    "vector_reads": "vector of `cols` bytes from the activation buffer, for a step",
    "residual_reads": "vector of `cols` bytes from the activation buffer, a residual operand",
    "move_reads": "vector of `cols` bytes from the activation buffer, for the mover",
    "stored_words": "write to the activation buffer by the read-out",
    "stored_bytes": "byte written by the read-out",
    "moved_words": "write to the activation buffer by the mover",
    "moved_bytes": "byte written by the mover",
    "basis_reads": "word of the basis table: the B of one filter and slice",
    "basis_multiplies": "product of a sum with an entry of B",
    "basis_adds": "addition in the basis stage",
    "state_reads": "two partial sums of the column filter, from the tile before",
    "state_writes": "two partial sums of the column filter, for the next tile",
    "partial_reads": "sums of the drain lanes, from the slice or tile before",
    "partial_writes": "sums of the drain lanes, for the next slice or tile",
    "sum_adds": "addition of sums of slices, or of a map",
    "channel_reads": "word of the requantisation table",
    "requantise_multiplies": "product of a sum with a multiplier",
    "residual_multiplies": "product of a residual operand with a multiplier",
    "packed_signs": "sign of a sum put behind seven others of its column",
    "instruction_words": "word of the instruction memory, 32 bits",
    "weight_loads": "step written to the weight buffer",
    "channel_loads": "word written to the requantisation table",
    "basis_loads": "word written to the basis table",
    "program_loads": "word written to the instruction memory",
    "activation_loads": "word written to the activation buffer by the host or a LOAD",
    "host_reads": "word of the activation buffer read by the host",
    "load_commands": "LOAD put into the queue of the load engine",
    "fetched_beats": "beat from system memory taken by the load engine",
    "spilled_words": "word of an EXTERNAL layer through the queue of the store port",
    "spilled_beats": "beat of an EXTERNAL layer to system memory",
}
