"""LOAD, WAIT, JUMP and EXTERNAL layers in the interpreter: what programs by hand show."""

from typing import Any

import numpy as np
import pytest

from smartdeal.compiler.image import pack_activations, write_image
from smartdeal.compiler.instructions import (
    END_WORDS,
    jump_words,
    load_words,
    move_words,
    program_section,
    wait_words,
)
from smartdeal.golden.interpreter import EndlessProgramError, Interpreter, ProgramError
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ErrorCode, SectionKind

CONFIG = AcceleratorConfig(rows=2, cols=6, host_bits=32, activation_words=32, program_words=128,
                           memory=True)
#: Word k of the region, as it is padded to whole beats: bytes 10k … 10k + 5.
REGION = pack_activations((np.arange(12)[:, None] * 10 + np.arange(6)).astype(np.int8), CONFIG)


def loaded(*words: np.ndarray, region: bytes = REGION) -> Interpreter:
    """Return an interpreter with a program, not yet run."""
    section = program_section(np.concatenate(words), CONFIG)
    interpreter = Interpreter(CONFIG, bytearray(region))
    interpreter.load(write_image(CONFIG, [section], program=True))
    return interpreter


def places(**fields: int) -> dict[int, int]:
    """Return, by word of the buffer that a LOAD of activations wrote, the region's word."""
    values = {"kind": SectionKind.ACTIVATIONS, "runs": 1, "count": 1, "inner": 1, **fields}
    interpreter = loaded(load_words(values), END_WORDS)
    interpreter.activations[:] = -1
    interpreter.run()
    words = interpreter.activations.reshape(-1, CONFIG.cols)
    for word in words[words[:, 0] >= 0]:
        assert list(word - word[0]) == list(range(CONFIG.cols))
    return {word: int(content[0]) // 10 for word, content in enumerate(words) if content[0] >= 0}


@pytest.mark.parametrize(("fields", "wanted"), [
    ({"offset": 16, "address": 3}, {3: 2}),
    ({"count": 3, "inner": 3, "inner_stride": 1, "address": 1}, {1: 0, 2: 1, 3: 2}),
    ({"count": 4, "inner": 2, "inner_stride": 5, "outer_stride": 1}, {0: 0, 5: 1, 1: 2, 6: 3}),
    ({"count": 3, "inner": 2, "inner_stride": 1, "outer_stride": 9}, {0: 0, 1: 1, 9: 2}),
    ({"runs": 2, "count": 2, "inner": 9, "inner_stride": 2, "memory_stride": 40, "run_stride": 1},
     {0: 0, 2: 1, 1: 5, 3: 6}),
    ({"runs": 3, "memory_stride": 0, "run_stride": 4}, {0: 0, 4: 0, 8: 0}),
    ({"count": 3, "inner": 3, "inner_stride": 0}, {0: 2}),
    ({"runs": 2, "offset": 16, "memory_stride": 2**32 - 16, "address": 7, "run_stride": 2**32 - 3},
     {7: 2, 4: 0}),
])
def test_where_units_go(fields: dict[str, int], wanted: dict[int, int]) -> None:
    assert places(**fields) == wanted


def test_no_region() -> None:
    interpreter = loaded(load_words({"kind": SectionKind.ACTIVATIONS, "runs": 1, "count": 1,
                                     "inner": 1}), END_WORDS, region=b"")
    with pytest.raises(ProgramError, match=r"^MEMORY_RANGE at instruction 0$"):
        interpreter.run()


def test_what_is_right_is_written_before_an_error() -> None:
    fields = {"kind": SectionKind.ACTIVATIONS, "runs": 4, "count": 2, "inner": 2,
              "inner_stride": 1, "memory_stride": 40, "run_stride": 2}
    interpreter = loaded(jump_words(1), load_words(fields), END_WORDS)
    with pytest.raises(ProgramError) as caught:
        interpreter.run()
    assert (caught.value.code, caught.value.instruction) == (ErrorCode.MEMORY_RANGE, 1)
    firsts = interpreter.activations.reshape(-1, CONFIG.cols)[:, 0]
    assert list(firsts[:7]) == [0, 10, 50, 60, 100, 110, 0]


def test_observer() -> None:
    """It sees each instruction in the order of execution, and what it wrote."""
    interpreter = loaded(
        load_words({"kind": SectionKind.ACTIVATIONS, "runs": 1, "count": 1, "inner": 1,
                    "offset": 40}),
        jump_words(18), END_WORDS, move_words({"channels": 1, "rows": 1, "columns": 6,
                                               "target_word": 2}),
        wait_words(3), END_WORDS)
    seen: list[tuple[int, list[int], dict[str, int]]] = []

    def look(address: int, fields: Any) -> None:
        seen.append((address, interpreter.activations[[0, 12]].tolist(), dict(fields)))

    interpreter.run(look)
    assert [entry[:2] for entry in seen] == [
        (0, [50, 0]), (16, [50, 0]), (18, [50, 50]), (34, [50, 50])]
    assert seen[1][2] == {"opcode": 6, "address": 18}
    assert seen[3][2] == {"opcode": 5, "flags": 0, "loads": 3, "reserved": 0}


def test_endless_loops() -> None:
    """A JUMP that comes again with nothing loaded since would come for ever."""
    interpreter = loaded(wait_words(0), jump_words(3), END_WORDS, jump_words(0))
    with pytest.raises(EndlessProgramError, match=r"^Program must reach END; the JUMP at 1 was "
                                                  r"taken before, with nothing loaded since$"):
        interpreter.run()
    with pytest.raises(EndlessProgramError) as caught:
        loaded(jump_words(0)).run()
    assert caught.value.instruction == 0


def test_endless_loop_that_loads_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Interpreter, "JUMP_LIMIT", 500)
    load = load_words({"kind": SectionKind.PROGRAM, "runs": 1, "count": 1, "inner": 1,
                       "address": 60})
    interpreter = loaded(load, jump_words(0))
    with pytest.raises(EndlessProgramError, match=r"; the JUMP at 16 is one of too many$"):
        interpreter.run()
