"""Small programs written by hand that use system memory: good ones, and one for each refusal.

Interpreter and hardware run the same list. Each program brings its region; all other memories hold
what the program before left, and what a good program writes does not depend on that.
"""

from collections.abc import Callable

import numpy as np

from smartdeal.compiler.instructions import (
    END_WORDS,
    jump_words,
    layer_words,
    load_words,
    move_words,
    program_section,
    wait_words,
)
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import INSTRUCTION_WORDS, LOAD_QUEUE, LayerFlag, SectionKind
from smartdeal.sim.bad_memory_programs import bad_memory_programs
from smartdeal.sim.memory_builder import MOST_TILES, MemoryCase, ProgramBuilder, Words

__all__ = ["MemoryCase", "bad_memory_programs", "good_memory_programs"]


def good_memory_programs(config: AcceleratorConfig) -> list[MemoryCase]:
    """Return programs that reach END.

    Raises
    ------
    ValueError
        If the configuration lacks the feature memory, or is too small for them.
    """
    if not config.memory or config.program_words < 256 or config.activation_words < 48:
        raise ValueError("Configuration must have the feature memory, 256 instruction words and "
                         f"48 activation words, not {config}")
    cases: list[MemoryCase] = []
    for number, write in enumerate(_GOOD):
        builder = ProgramBuilder(config, np.random.default_rng(number))
        write(builder)
        builder.add(END_WORDS)
        cases.append(builder.case(write.__name__.strip("_").replace("_", " ")))
    return cases


def _each_kind(b: ProgramBuilder) -> None:
    b.layer(channels=min(b.config.rows, 3), tiles=2, output_stride=2)
    if b.config.basis:
        b.layer(channels=1, tiles=2, flags=LayerFlag.BASIS, output_base=2 * b.third + 6)


def _runs_with_gaps(b: ProgramBuilder) -> None:
    """Runs apart from each other, in the region and in the buffer."""
    unit = b.unit(SectionKind.ACTIVATIONS)
    b.load(SectionKind.ACTIVATIONS, 1, b.activations(9), runs=3, count=2, inner=2,
           memory_stride=3 * unit + b.beat, run_stride=5)
    b.place(b.rng.bytes(2 * b.beat))


def _transposed(b: ProgramBuilder) -> None:
    b.load(SectionKind.ACTIVATIONS, 0, b.activations(12), inner=4, inner_stride=3, outer_stride=1)
    b.load(SectionKind.ACTIVATIONS, 20, b.activations(11), inner=3, inner_stride=0,
           outer_stride=1)  # of four units, the last of each block stays


def _runs_of_blocks(b: ProgramBuilder) -> None:
    unit = b.unit(SectionKind.ACTIVATIONS)
    b.load(SectionKind.ACTIVATIONS, 2, b.activations(15), runs=3, count=5, inner=2,
           inner_stride=9, outer_stride=1, memory_stride=5 * unit, run_stride=3)


def _downwards(b: ProgramBuilder) -> None:
    """Strides are modulo 2^32: runs and units in falling order."""
    unit = b.unit(SectionKind.ACTIVATIONS)
    data = b.activations(8)
    b.load(SectionKind.ACTIVATIONS, 30, data, runs=4, count=2, inner=1, inner_stride=77,
           outer_stride=(1 << 32) - 1, run_stride=(1 << 32) - 2,
           memory_stride=(1 << 32) - 2 * unit, offset=b.place(data) + 6 * unit)


def _overlapping_runs(b: ProgramBuilder) -> None:
    """The same bytes several times, and words that are written several times."""
    b.load(SectionKind.ACTIVATIONS, 3, b.activations(3), runs=6, memory_stride=0, run_stride=2)
    b.load(SectionKind.ACTIVATIONS, 4, b.activations(6), inner_stride=0)


def _scattered_tables(b: ProgramBuilder) -> None:
    """Steps and channels that only scattering puts in order."""
    config = b.config
    values = b.fill(channels=2, tiles=1, steps_base=4)
    for kind, count in ((SectionKind.STEPS, 4), (SectionKind.CHANNELS, 6)):
        unit = b.unit(kind)
        data = b.steps([count]) if kind == SectionKind.STEPS else b.units(kind, count)
        halves = np.frombuffer(data, np.uint8).reshape(count // 2, 2, unit).swapaxes(0, 1)
        b.load(kind, 4 if kind == SectionKind.STEPS else 0, halves.tobytes(), inner=count // 2,
               inner_stride=2, outer_stride=1)
    b.wait()
    b.add(layer_words({**values, "output_base": config.activation_words - 2}))


def _beside_a_layer(b: ProgramBuilder) -> None:
    """The next layer's steps and activations arrive while a layer computes and stores."""
    half = b.config.weight_steps // 2
    first = b.fill(channels=min(3, b.config.rows), tiles=MOST_TILES, output_stride=MOST_TILES)
    b.wait()
    b.load(SectionKind.STEPS, half, b.steps([4]))
    b.load(SectionKind.ACTIVATIONS, b.third, b.activations(b.third))
    b.add(layer_words(first))
    b.wait()
    b.add(layer_words({**first, "steps_base": half, "input_base": b.third,
                       "output_base": 2 * b.third + 3, "channels": 1, "output_stride": 0}))


def _wait_for_some(b: ProgramBuilder) -> None:
    """What a WAIT lets go on is not used."""
    values = b.fill(tiles=2)
    b.load(SectionKind.ACTIVATIONS, b.third, b.activations(b.third))
    b.load(SectionKind.STEPS, 8, b.steps([5]))
    b.wait(2)
    b.add(layer_words(values))
    b.wait(1)
    b.add(move_words({"channels": 1, "rows": 1, "columns": 2 * b.config.cols + 1,
                      "source_word": b.third, "target_word": 2 * b.third + 4})
          if b.config.move else layer_words({**values, "input_base": b.third}))


def _full_queue(b: ProgramBuilder) -> None:
    for number in range(LOAD_QUEUE + 3):
        b.load(SectionKind.ACTIVATIONS, 2 * number, b.activations(2 + number % 2))


def _late_move(b: ProgramBuilder) -> None:
    """A MOVE while steps arrive."""
    b.load(SectionKind.ACTIVATIONS, 0, b.activations(b.third))
    b.load(SectionKind.STEPS, 0, b.steps([9]))
    b.wait(1)
    if b.config.move:
        b.add(move_words({"channels": 2, "rows": 2, "columns": b.config.cols + 1,
                          "source_row_lane": 1, "source_channel_word": 2,
                          "target_word": 2 * b.third, "target_row_word": 2,
                          "target_channel_word": 4}))


def _external(b: ProgramBuilder) -> None:
    b.external(channels=min(b.config.rows, 3), tiles=MOST_TILES)


def _external_groups(b: ProgramBuilder) -> None:
    """Several groups; the last is not full."""
    b.external(channels=min(2 * b.config.rows + 1, b.config.channel_entries), tiles=2)


def _external_modes(b: ProgramBuilder) -> None:
    config = b.config
    if config.residual:
        b.external(channels=2, tiles=2, flags=LayerFlag.RESIDUAL, residual_stride=3,
                   residual_lane=1)
    if config.max_pool:
        b.external(channels=2, tiles=2, flags=LayerFlag.MAX_POOL)
    if config.basis:
        b.external(channels=2, tiles=2, flags=LayerFlag.BASIS)


def _external_one_after_the_other(b: ProgramBuilder) -> None:
    """The second begins when the words of the first have left the queue."""
    first = b.external(channels=min(b.config.rows, 3), tiles=MOST_TILES)
    fields = {"flags": LayerFlag.EXTERNAL, "channels": 1, "tiles": 1}
    size = b.unit(SectionKind.ACTIVATIONS)
    values = b.fill(**fields, steps_base=8)
    b.wait()
    for _ in range(3):
        b.add(layer_words({**values, "output_base": b.place(b.rng.bytes(size))}))
    b.wait(stores=True)
    b.add(layer_words({**values, "output_base": first}))  # over what was written before


def _back_again(b: ProgramBuilder) -> None:
    """What an EXTERNAL layer wrote is the next one's input."""
    channels = min(b.config.rows, 3)
    offset = b.external(channels=channels, tiles=2)
    values = b.fill(tiles=1, steps_base=8)
    b.wait(stores=True)
    b.add(load_words({
        "kind": SectionKind.ACTIVATIONS, "runs": 2, "count": channels, "inner": 1, "offset": offset,
        "memory_stride": channels * b.unit(SectionKind.ACTIVATIONS), "address": 0,
        "run_stride": 1, "outer_stride": 2}))
    b.wait()
    b.add(layer_words(values))


def _jumps(b: ProgramBuilder) -> None:
    """Forwards and backwards, over words that are no instructions."""
    junk = np.array([0xAB], np.uint32)
    b.load(SectionKind.ACTIVATIONS, 0, b.activations(1))
    start = b.here()
    behind = start + 1 + 2 * INSTRUCTION_WORDS
    b.add(jump_words(behind), np.tile(junk, INSTRUCTION_WORDS - 1))
    back = b.here()
    b.load(SectionKind.ACTIVATIONS, 1, b.activations(1))
    b.add(jump_words(behind + 2), junk)
    assert b.here() == behind + 1
    b.words[-1] = jump_words(back)
    b.words.append(junk)
    b.load(SectionKind.ACTIVATIONS, 2, b.activations(1))


def _pages(b: ProgramBuilder) -> None:
    """Instructions that the program loads: two pages in turn, the second one twice."""
    config = b.config
    pages = config.program_words // 2, config.program_words - 60
    unit = b.unit(SectionKind.ACTIVATIONS)
    data = b.place(b.activations(4))

    def page(number: int, following: Words) -> bytes:
        words = np.concatenate([load_words({
            "kind": SectionKind.ACTIVATIONS, "runs": 1, "count": 1, "inner": 1,
            "offset": data + number * unit, "address": 5 + 3 * number}), following])
        return program_section(words, config).data

    def call(content: bytes, address: int) -> Words:
        offset = b.place(content)
        return np.concatenate([load_words({
            "kind": SectionKind.PROGRAM, "runs": 1, "count": len(content) // b.unit(
                SectionKind.PROGRAM), "offset": offset, "address": address, "inner": 1000,
            "inner_stride": 1}), wait_words(0), jump_words(address)])

    last = call(page(2, END_WORDS), pages[1])
    second = call(page(1, last), pages[0])
    first = call(page(0, second), pages[1])
    b.add(first)


def _end_waits(b: ProgramBuilder) -> None:
    """No WAIT stands before END: that of the host comes when everything is there."""
    b.external(channels=min(b.config.rows, 2), tiles=2)
    b.load(SectionKind.ACTIVATIONS, 0, b.activations(b.third))


def _nothing_to_wait_for(b: ProgramBuilder) -> None:
    b.wait(255, stores=True)
    b.wait(0, stores=True)
    b.wait()


def _page_boundaries(b: ProgramBuilder) -> None:
    """Transfers across multiples of 4 KiB, beginning right before and right behind them."""
    unit = b.unit(SectionKind.ACTIVATIONS)
    words = min(b.third, 4096 // unit + 2)
    for distance in (b.beat, 0, 3 * b.beat):
        b.place(bytes(-(len(b.region) + distance) % 4096))
        b.add(load_words({"kind": SectionKind.ACTIVATIONS, "runs": 1, "count": words,
                          "inner": words, "inner_stride": 1, "offset": b.place(b.activations(
                              words)), "address": 0}))
    b.place(bytes(-(len(b.region) + 2 * b.beat) % 4096))
    b.external(channels=min(b.config.rows, 3), tiles=MOST_TILES)


def _to_the_last_byte(b: ProgramBuilder) -> None:
    """Runs and words that end where region and memories do."""
    depth = b.config.activation_words
    fields = b.fill(channels=2, tiles=1, output_base=depth - 2)
    b.wait()
    b.load(SectionKind.ACTIVATIONS, depth - 3, b.activations(3))
    b.load(SectionKind.STEPS, b.config.weight_steps - 4, b.steps([4]))
    b.wait()
    b.add(layer_words({**fields, "output_base": depth - 2,
                       "steps_base": b.config.weight_steps - 4}))
    size = 2 * b.unit(SectionKind.ACTIVATIONS)
    b.add(layer_words({**fields, "flags": LayerFlag.EXTERNAL,
                       "output_base": b.place(b.rng.bytes(size))}))


_GOOD: tuple[Callable[[ProgramBuilder], None], ...] = (
    _each_kind, _runs_with_gaps, _transposed, _runs_of_blocks, _downwards, _overlapping_runs,
    _scattered_tables, _beside_a_layer, _wait_for_some, _full_queue, _late_move, _external,
    _external_groups, _external_modes, _external_one_after_the_other, _back_again, _jumps, _pages,
    _end_waits, _nothing_to_wait_for, _page_boundaries, _to_the_last_byte,
)
