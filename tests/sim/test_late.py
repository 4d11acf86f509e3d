"""The check that programs wait for what they use, on programs that do and that do not."""

from collections.abc import Callable

import numpy as np
import pytest

from smartdeal.compiler.instructions import END_WORDS, jump_words, layer_words, load_words
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import LayerFlag, SectionKind
from smartdeal.sim.late import describe_race
from smartdeal.sim.memory_builder import MOST_TILES, ProgramBuilder
from smartdeal.sim.memory_programs import good_memory_programs

CONFIG = AcceleratorConfig(rows=4, cols=6, host_bits=32, activation_words=64, weight_steps=64,
                           channel_entries=16, basis_entries=16, program_words=256, memory=True)


def test_programs_that_wait() -> None:
    for case in good_memory_programs(CONFIG):
        assert describe_race([case.image], case.region, CONFIG) == "", case.name


def without_wait(b: ProgramBuilder, kind: SectionKind) -> None:
    """A layer that runs before one of its memories is filled."""
    values = b.fill(flags=LayerFlag.BASIS, tiles=2)
    others = [words for words in b.words if int(words[0]) >> 8 & 0xFF != kind]
    late = [words for words in b.words if int(words[0]) >> 8 & 0xFF == kind]
    b.words = [*others, *late]
    b.wait(1)
    b.add(layer_words(values))


def stores_where_it_loads(b: ProgramBuilder) -> None:
    values = b.fill()
    b.wait()
    b.load(SectionKind.ACTIVATIONS, 2 * b.third, b.activations(2))
    b.add(layer_words(values))


def reads_output_too_early(b: ProgramBuilder) -> None:
    offset = b.external(channels=2, tiles=MOST_TILES)
    b.add(load_words({"kind": SectionKind.ACTIVATIONS, "runs": 1, "count": 2, "inner": 2,
                      "inner_stride": 1, "offset": offset}))
    b.wait(stores=True)


def overwrites_what_is_being_read(b: ProgramBuilder) -> None:
    values = b.fill(flags=LayerFlag.EXTERNAL)
    b.wait()
    load = b.load(SectionKind.ACTIVATIONS, 2 * b.third, b.activations(2))
    b.add(layer_words({**values, "output_base": load["offset"]}))


def jumps_too_early(b: ProgramBuilder) -> None:
    b.load(SectionKind.PROGRAM, 100, np.array([END_WORDS[0]], "<u4").tobytes())
    b.add(jump_words(100))


@pytest.mark.parametrize("write", [
    *(pytest.param(lambda b, kind=kind: without_wait(b, kind), id=kind.name)
      for kind in (SectionKind.STEPS, SectionKind.CHANNELS, SectionKind.BASIS,
                   SectionKind.ACTIVATIONS)),
    stores_where_it_loads, reads_output_too_early, overwrites_what_is_being_read, jumps_too_early,
])
def test_programs_that_do_not_wait(write: Callable[[ProgramBuilder], None]) -> None:
    b = ProgramBuilder(CONFIG, np.random.default_rng(3))
    write(b)
    b.add(END_WORDS)
    case = b.case("race")
    assert describe_race([case.image], case.region, CONFIG) != ""


def test_what_it_says() -> None:
    b = ProgramBuilder(CONFIG, np.random.default_rng(3))
    overwrites_what_is_being_read(b)
    b.add(END_WORDS)
    case = b.case("race")
    assert describe_race([case.image], case.region, CONFIG) == (
        "activation word 42 depends on when transfers end, and 5 other bytes")
