"""The closed form against the rule of docs/execution.md, one cycle at a time."""

from collections.abc import Iterator

import numpy as np
import pytest

from smartdeal.compiler import ImageError
from smartdeal.compiler.image import read_image
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    INSTRUCTION,
    MOVE_INSTRUCTION,
    LayerFlag,
    MoveFlag,
    Opcode,
    SectionKind,
    section_format,
)
from smartdeal.hw.timing import END_CYCLES, LAYER_CYCLES, MOVE_CYCLES
from smartdeal.sim.cases import bad_images, draw_case, draw_config, draw_image
from smartdeal.sim.latency import Cycles, predict

#: Steps, read-out cycles and residual operands of a unit of work.
Unit = tuple[int, int, int]


def instructions(
    image: bytes, config: AcceleratorConfig,
) -> Iterator[list[Unit] | dict[str, int]]:
    """Yield the units of work of each layer, and the fields of each MOVE, in order."""
    flags: dict[int, int] = {}
    words: dict[int, int] = {}
    for section in read_image(image, config).sections:
        columns = section_format(section.kind, config).unpack(section.data, config.host_bits)
        if section.kind == SectionKind.STEPS:
            flags |= enumerate_from(section.address, columns["next_last"])
        elif section.kind == SectionKind.PROGRAM:
            words |= enumerate_from(section.address, columns["word"])
    size = INSTRUCTION.bits // 32
    for pointer in range(0, len(words) - 1, size):
        raw = b"".join(words[pointer + i].to_bytes(4, "little") for i in range(size))
        layout = MOVE_INSTRUCTION if raw[0] == Opcode.MOVE else INSTRUCTION
        fields = {k: int(v[0]) for k, v in layout.unpack(raw, 32).items()}
        yield fields if raw[0] == Opcode.MOVE else list(units(fields, flags, config))


def enumerate_from(start: int, values: np.ndarray) -> dict[int, int]:
    return {start + index: int(value) for index, value in enumerate(values)}


def units(i: dict[str, int], flags: dict[int, int], config: AcceleratorConfig) -> Iterator[Unit]:
    basis = bool(i["flags"] & LayerFlag.BASIS)
    size = config.rows // 3 if basis else config.rows
    if i["flags"] & LayerFlag.MAX_POOL:
        size = 1
    pointer = i["steps_base"]
    for first in range(0, i["channels"], size):
        channels = min(size, i["channels"] - first)
        start = pointer
        for _ in range(i["tiles"]):
            pointer = start
            for s in range(i["slices"]):
                begin = pointer
                while not flags[pointer]:
                    pointer += 1
                pointer += 2
                residual = i["flags"] & LayerFlag.RESIDUAL and s == i["slices"] - 1
                yield (pointer - begin, config.cols // config.drain_lanes * channels
                       * (3 if basis else 1), channels if residual else 0)


def simulate(work: list[Unit] | dict[str, int], config: AcceleratorConfig) -> Cycles:
    """Count cycle by cycle: a step, a fetch or a wait in each; or a vector of a MOVE."""
    if isinstance(work, dict):
        vectors = 0
        for _ in range(work["channels"] * work["rows"]):
            for _ in range(0, work["columns"], config.cols):
                vectors += 2 if work["flags"] & MoveFlag.DECIMATE else 1
        return Cycles(vectors + MOVE_CYCLES, 0, 0, 0, vectors)
    cycle = busy = drain = residual = 0
    free = pending = 0  # cycle in which the read-out before ends; fetches it still needs
    for steps, read_out, fetches in work:
        left = steps
        while left:
            cycle += 1
            if pending:
                pending -= 1
                residual += 1
            elif left == 1 and cycle < free:
                drain += 1
            else:
                left -= 1
                busy += 1
        free, pending = cycle + read_out, fetches
    residual += pending
    return Cycles(free + LAYER_CYCLES + config.drain_lanes, busy, drain, residual)


@pytest.mark.parametrize("seed", range(60))
def test_random_programs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = draw_config(rng)
    image = draw_image(rng, config, layers=3)
    expected = Cycles(END_CYCLES, 0, 0, 0)
    for work in instructions(image, config):
        expected += simulate(work, config)
    assert predict(image, config) == expected


@pytest.mark.parametrize("seed", range(30))
def test_compiled_layers(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    config = draw_config(rng)
    program = draw_case(rng, config, max_steps=20_000).program
    for part in program.parts:
        predicted = predict(part.image, config)
        (work,) = instructions(part.image, config)
        assert predicted == simulate(work, config) + Cycles(END_CYCLES, 0, 0, 0)
        assert predicted.busy == part.executed_steps
        assert predicted.overhead >= 0


def test_refused() -> None:
    config = AcceleratorConfig()
    images = {name: image for name, image, _ in bad_images(config)}
    with pytest.raises(ImageError, match=r"^image offset 0: magic must be "):
        predict(images["wrong magic"], config)
    with pytest.raises(ValueError, match=r"^Program must reach END, not stop at word 1024$"):
        predict(images["no END"], config)
    with pytest.raises(ValueError, match=r"^Program must reach END, not stop at word 16$"):
        predict(images["opcode after a layer"], config)
    with pytest.raises(ValueError, match=r"^Steps from 20478 must end 1 units of work, not 0$"):
        predict(images["unit without end"], config)
