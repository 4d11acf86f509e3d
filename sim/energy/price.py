"""The energy of events on one accelerator: which hardware each event moves, and at what width."""

from smartdeal.golden.formats import ACT_BITS, BASIS_BITS, BASIS_SIZE, PACKED, REQUANTISE
from smartdeal.hw.block import BLOCK_COLS, BLOCK_ROWS
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import LOAD_INSTRUCTION, basis_format, channel_format, step_format
from smartdeal.hw.reader import Reader
from smartdeal.sim.energy.arithmetic import (
    add_pj,
    multiply_pj,
    register_pj,
    shift_pj,
    wide_sram_pj,
)
from smartdeal.sim.energy.events import Events
from smartdeal.sim.energy.technology import Technology

__all__ = ["COMPONENTS", "CONTROL_BITS", "price", "step_register_bits"]

#: Where energy goes, and what that is.
COMPONENTS: dict[str, str] = {
    "DRAM": "bytes from and to external memory",
    "weight buffer": "steps read and loaded",
    "activation buffer": "vectors read; bytes stored, moved and loaded",
    "PE shift": "the shifters of the array",
    "PE add": "the adders of the array; comparisons of a pool; counts of equal bits",
    "PE registers": "accumulators and result registers; what PEs and rows take of a step",
    "read-out": "from result registers to the basis stage; sums of slices and maps",
    "basis": "products with B and their sums; its table and its state",
    "requantise": "products, residual operands, rounding, clamping; its table",
    "transfers": "the program's own: load engine, queue of the store port",
    "control": "instructions, counters and addresses; pipeline registers beside the data",
}

#: Register bits of control that are written in a cycle: counters of steps, tiles and positions,
#: addresses, state machines. Our estimate.
CONTROL_BITS = 64
#: Stages that a step's coefficients and vector pass on the way to the array.
_COEFFICIENT_STAGES, _VECTOR_STAGES = 5, 2


def step_register_bits(config: AcceleratorConfig) -> int:
    """Return the register bits of the array that take a step, accumulators apart.

    Each block has registers for its vector and ``last``, which goes on with the shifted operands;
    each of its rows one for what its PEs share, each PE one for its shifted operand and what to add
    to that. A test counts the same in the netlist.
    """
    down, across = -(-config.rows // BLOCK_ROWS), -(-config.cols // BLOCK_COLS)
    shared = config.coefficient.bits
    if config.binary:
        shared += 1 + PACKED  # the mode, and eight weights
    own = ACT_BITS + config.exponents - 1 + 1
    bits = (down * config.cols * ACT_BITS + 2 * down * across
            + config.rows * (across * shared + config.cols * own))
    if config.max_pool:  # the first row's mode, and operand as it came
        bits += across + config.cols * (1 + ACT_BITS)
    return bits


def price(
    events: Events, cycles: int, dram_bytes: int, config: AcceleratorConfig,
    technology: Technology,
) -> dict[str, float]:
    """Return the energy of events in pJ, by component in the order of :data:`COMPONENTS`.

    Parameters
    ----------
    cycles : int
        In which control runs.
    dram_bytes : int
        From and to external memory.
    """
    t, e = technology, events
    acc, lanes = config.acc_bits, config.drain_lanes
    shifted = ACT_BITS + config.exponents - 1
    product = acc + BASIS_BITS
    step, basis, channel = (layout.bits for layout in (
        step_format(config), basis_format(config), channel_format(config)))
    bank = t.sram(config.activation_words)  # byte-wide banks
    vectors = e.vector_reads + e.residual_reads + e.move_reads + e.host_reads
    written = e.stored_bytes + e.moved_bytes + e.activation_loads * config.cols
    partial = wide_sram_pj(lanes * config.sum_bits, config.rows * config.chunks, t)
    state = wide_sram_pj((BASIS_SIZE - 1) * (product + 4),
                         max(1, config.filters_per_group) * config.max_slices, t)
    adds = e.shift_adds + e.xnor_counts  # a count goes to the sum through the shifter
    return {
        "DRAM": dram_bytes * t["dram"],
        "weight buffer": (e.weight_reads + e.weight_loads)
        * wide_sram_pj(step, config.weight_steps, t),
        "activation buffer": (vectors * config.cols + written) * bank,
        "PE shift": adds * shift_pj(shifted, t),
        "PE add": adds * add_pj(acc, t) + e.maximums * add_pj(ACT_BITS, t)
        + e.xnor_counts * t["xnor"],
        "PE registers": (e.accumulator_writes + e.result_writes) * register_pj(acc, t)
        + e.steps * register_pj(step_register_bits(config), t),
        "read-out": e.result_reads * register_pj(acc * (config.chunks + 1), t)
        + (e.partial_reads + e.partial_writes) * partial
        + e.sum_adds * add_pj(config.sum_bits, t),
        "basis": e.basis_multiplies * (multiply_pj(acc, BASIS_BITS, t) + register_pj(product, t))
        + e.basis_adds * (add_pj(product, t) + register_pj(product, t))
        + (e.basis_reads + e.basis_loads) * wide_sram_pj(basis, config.basis_entries, t)
        + (e.state_reads + e.state_writes) * state,
        "requantise": _requantise(e, config, t)
        + (e.channel_reads + e.channel_loads) * wide_sram_pj(channel, config.channel_entries, t),
        "transfers": _transfers(e, config, t),
        "control": (e.instruction_words + e.program_loads)
        * wide_sram_pj(32, config.program_words, t)
        + register_pj(cycles * CONTROL_BITS + e.steps * _COEFFICIENT_STAGES
                      * config.rows * config.code_bits
                      + (vectors * _VECTOR_STAGES * config.cols + written) * ACT_BITS, t),
    }


def _transfers(events: Events, config: AcceleratorConfig, t: Technology) -> float:
    """Return the energy of LOADs and spilled words between system memory and the buffers."""
    word = ACT_BITS * config.cols
    queue = wide_sram_pj(word, Reader.queue_words(config), t)
    # A LOAD is written to the queue of the load engine, and copied where its places are counted.
    return (register_pj(2 * events.load_commands * LOAD_INSTRUCTION.bits, t)
            + register_pj(events.fetched_beats * config.host_bits, t)
            + 2 * events.spilled_words * queue  # into the queue and out of it
            + register_pj(events.spilled_beats * word, t))  # the word is shifted out by beats


def _requantise(events: Events, config: AcceleratorConfig, t: Technology) -> float:
    """Return the energy of bias, product, residual, shift and clamp, per lane."""
    total = REQUANTISE.total_bits(config.sum_bits)
    once = (add_pj(config.sum_bits, t) + add_pj(total, t) + shift_pj(total, t)
            + multiply_pj(config.sum_bits + 1, REQUANTISE.multiplier_bits, t)
            + register_pj(config.sum_bits + 2 * total + 2 * ACT_BITS, t))
    residual = (multiply_pj(ACT_BITS + 1, REQUANTISE.multiplier_bits, t)
                + add_pj(total, t) + register_pj(total, t))
    queue = events.packed_signs * register_pj(PACKED - 1, t)
    return events.requantise_multiplies * once + events.residual_multiplies * residual + queue
