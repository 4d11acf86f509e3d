"""The proof of programs with system memory: what is wrong does not pass, what passes is right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from smartdeal.compiler import CompileError, NetworkProgram, compile_network
from smartdeal.compiler.external import build
from smartdeal.compiler.external.proof import prove_external
from smartdeal.compiler.external.proof_reads import Claim
from smartdeal.compiler.image import Section, read_image, write_image
from smartdeal.compiler.schedule import Stage
from smartdeal.golden.integer import run_network
from smartdeal.golden.interpreter import Interpreter, ProgramError
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    INSTRUCTION,
    INSTRUCTION_WORDS,
    LOAD_INSTRUCTION,
    LOAD_QUEUE,
    MOVE_INSTRUCTION,
    LayerFlag,
    Opcode,
    SectionKind,
    section_format,
)
from smartdeal.hw.packing import WordFormat
from smartdeal.sim.late import LateInterpreter
from smartdeal.sim.networks import draw_network

FORMATS = {Opcode.LAYER: INSTRUCTION, Opcode.MOVE: MOVE_INSTRUCTION, Opcode.LOAD: LOAD_INSTRUCTION}


@dataclass
class Compiled:
    """A program of one page, and what the compiler claims of it."""

    network: IntegerNetwork
    program: NetworkProgram
    stages: Sequence[Stage]
    claims: list[Claim | None]

    @property
    def words(self) -> NDArray[np.uint32]:
        section, = read_image(self.program.segments[0], self.program.config).sections
        units = np.frombuffer(section.data, "<u4")
        return units.reshape(-1, self.program.config.host_bits // 32)[:, 0].copy()

    def changed(self, words: NDArray[np.uint32]) -> NetworkProgram:
        config = self.program.config
        units = np.zeros((len(words), config.host_bits // 32), "<u4")
        units[:, 0] = words
        image = write_image(config, [Section(SectionKind.PROGRAM, 0, units.tobytes())],
                            program=True)
        return replace(self.program, segments=(image,))

    def refused(self, words: NDArray[np.uint32]) -> bool:
        try:
            prove_external(self.changed(words), self.stages, self.claims)
        except CompileError as error:
            return "mistake of the compiler" in str(error)
        return False


def compiled(
    seed: int, monkeypatch: pytest.MonkeyPatch, cols: int = 8, **changes: Any,
) -> Compiled:
    """Draw networks until one takes strips and spilled tensors, and one page."""
    found: list[tuple[Sequence[Stage], list[Claim | None]]] = []

    def keep(
        program: NetworkProgram, stages: Sequence[Stage], claims: list[Claim | None],
    ) -> None:
        found.append((stages, claims))
        prove_external(program, stages, claims)

    monkeypatch.setattr(build, "prove_external", keep)
    rng = np.random.default_rng(seed)
    config = AcceleratorConfig(
        rows=6, cols=cols, activation_words=90, weight_steps=150, channel_entries=16,
        basis_entries=100, program_words=4096, host_bits=32, max_slices=64, memory=True, **changes)
    while True:
        network = draw_network(rng, config, 3)
        try:
            program = compile_network(network, config)
        except CompileError:
            continue
        stages, claims = found[-1]
        result = Compiled(network, program, stages, claims)
        if result.words[-1] != Opcode.END:  # several pages
            continue
        external = any(claim is not None and fields["flags"] & LayerFlag.EXTERNAL
                       for claim, fields in zip(claims, decoded(result.words), strict=True))
        if external and len(claims) < 120:
            return result


def instructions(words: NDArray[np.uint32]) -> Iterator[tuple[Opcode, int]]:
    """Yield opcode and address up to END."""
    pointer = 0
    while (opcode := Opcode(int(words[pointer]) & 0xFF)) != Opcode.END:
        yield opcode, pointer
        pointer += INSTRUCTION_WORDS if opcode in FORMATS else 1


def decoded(words: NDArray[np.uint32]) -> Iterator[dict[str, int]]:
    for opcode, pointer in instructions(words):
        raw = words[pointer:pointer + INSTRUCTION_WORDS].astype("<u4").tobytes()
        yield (FORMATS[opcode].unpack_word(int.from_bytes(raw, "little"))
               if opcode in FORMATS else {})


def put(
    words: NDArray[np.uint32], pointer: int, layout: WordFormat, fields: dict[str, int],
) -> NDArray[np.uint32]:
    raw = layout.pack(32, **{name: np.array([value]) for name, value in fields.items()})
    result = words.copy()
    result[pointer:pointer + INSTRUCTION_WORDS] = np.frombuffer(raw, "<u4")
    return result


@pytest.mark.parametrize("seed", range(4))
def test_every_wait_is_needed(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A WAIT that waits for one load less, or not for stores, is refused, wherever it stands."""
    case = compiled(seed, monkeypatch)
    words, waits = case.words, 0
    assert not case.refused(words)
    for opcode, pointer in instructions(words):
        if opcode != Opcode.WAIT:
            continue
        loads, stores = int(words[pointer]) >> 16 & 0xFF, int(words[pointer]) >> 8 & 0xFF
        less = words.copy()
        less[pointer] = Opcode.WAIT | (LOAD_QUEUE if stores else loads + 1) << 16
        assert case.refused(less), (pointer, loads, stores)
        waits += 1
    assert waits > 5


def mutants(
    words: NDArray[np.uint32], rng: np.random.Generator, count: int,
) -> Iterator[tuple[str, NDArray[np.uint32]]]:
    """Yield programs in which one field of one instruction differs by little."""
    places = [(opcode, pointer) for opcode, pointer in instructions(words) if opcode in FORMATS]
    fields = dict(zip((pointer for _, pointer in instructions(words)), decoded(words),
                      strict=True))
    for _ in range(count):
        opcode, pointer = places[int(rng.integers(len(places)))]
        layout = FORMATS[opcode]
        names = [field for field in layout.fields if not field.name.startswith("reserved")
                 and field.name != "opcode"]
        chosen = names[int(rng.integers(len(names)))]
        change = int(rng.choice([-4, -1, 1, 4]))
        try:
            yield f"{opcode.name} at {pointer}: {chosen.name} {change:+}", put(
                words, pointer, layout, {**fields[pointer],
                                         chosen.name: fields[pointer][chosen.name] + change})
        except ValueError:  # does not fit the field
            continue


def right(case: Compiled, program: NetworkProgram, image: NDArray[np.int8]) -> bool:
    """Return whether the output is right with transfers at once and late."""
    expected = run_network(case.network, image)
    for machine in (Interpreter, LateInterpreter):
        rng = np.random.default_rng(1)
        region = program.region(image, noise=rng)
        interpreter = machine(program.config, region)
        interpreter.activations[:] = rng.integers(-128, 128, interpreter.activations.shape)
        interpreter.load(program.segments[0])
        interpreter.run()
        activations = interpreter.read(0, program.used_words)
        if any(np.any(program.read(name, activations, region) != expected[name])
               for name in program.outputs):
            return False
    return True


@pytest.mark.parametrize("seed", range(4))
def test_what_passes_is_right(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few changed programs pass the proof, and those that do compute the same."""
    case = compiled(seed, monkeypatch)
    rng = np.random.default_rng(seed)
    image = rng.integers(-128, 128, case.network.nodes[0].layer.input_shape).astype(np.int8)
    passed = total = 0
    for what, words in mutants(case.words, rng, 60):
        total += 1
        if case.refused(words):
            continue
        passed += 1
        try:
            assert right(case, case.changed(words), image), what
        except ProgramError as error:
            raise AssertionError(f"{what}: {error}") from error
    assert passed < total / 2, (passed, total)


@pytest.mark.parametrize("seed", range(4))
def test_what_passes_with_other_constants_is_right(
    seed: int, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same for single bits of steps, tables and padding in system memory."""
    case = compiled(seed, monkeypatch)
    rng = np.random.default_rng(seed)
    image = rng.integers(-128, 128, case.network.nodes[0].layer.input_shape).astype(np.int8)
    refused = 0
    for place in rng.integers(0, 8 * len(case.program.memory), 80).tolist():
        memory = bytearray(case.program.memory)
        memory[place // 8] ^= 1 << place % 8
        changed = replace(case.program, memory=bytes(memory))
        try:
            prove_external(changed, case.stages, case.claims)
        except CompileError:
            refused += 1
            continue
        try:
            assert right(case, changed, image), f"bit {place}"
        except ProgramError as error:
            raise AssertionError(f"bit {place}: {error}") from error
    assert refused > 8


@pytest.mark.parametrize("field", ["word", "lane"])
def test_addresses_of_all_steps_are_looked_at(
    field: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether a step has coefficients or not, its vector is read; a lane is one of a word."""
    case = compiled(1, monkeypatch, cols=6)
    config = case.program.config
    layout = section_format(SectionKind.STEPS, config)
    unit = layout.unit_bytes(config.host_bits)
    places = {fields["offset"]: fields["count"] for fields in decoded(case.words)
              if fields.get("kind") == SectionKind.STEPS}
    empty = 0
    for offset, count in places.items():
        data = case.program.memory[offset:offset + count * unit]
        steps = layout.unpack(data, config.host_bits)
        for number in range(count):
            empty += not np.any(config.coefficient.decode(steps["coefficients"][number]))
            changed = {name: values.copy() for name, values in steps.items()}
            if field == "word":
                changed["word"][number] = config.activation_words - 1
            else:  # the same byte, counted from the word before, if the fields hold that
                changed["word"][number] -= 1
                changed["lane"][number] += config.cols
                if changed["word"][number] < 0 or changed["lane"][number] > 7:
                    continue
            memory = bytearray(case.program.memory)
            memory[offset:offset + len(data)] = layout.pack(config.host_bits, **changed)
            with pytest.raises(CompileError, match="mistake of the compiler"):
                prove_external(replace(case.program, memory=bytes(memory)), case.stages,
                               case.claims)
    assert empty > 0
