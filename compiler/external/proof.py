"""The proof that a program with system memory computes its network, whatever the transfers' speed.

It walks over the instructions as they stand in the bytes of program and region, and knows for
every byte of the activation buffer and of the region whose pixel it is. A load has happened only
when a WAIT says so; until then nothing may read or write where it writes, nor store what it reads.
Everything that goes into an output must be what the layer says. Neither the allocator nor the
order of loads is asked.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from smartdeal.compiler.external.proof_layer import LayerProof
from smartdeal.compiler.external.proof_memories import (
    UNKNOWN,
    Memories,
    Refusal,
    fill_token,
)
from smartdeal.compiler.external.proof_reads import Claim
from smartdeal.compiler.external.proof_tables import Tables
from smartdeal.compiler.image import read_image
from smartdeal.compiler.network_info import gather_blocks
from smartdeal.compiler.network_program import NetworkProgram
from smartdeal.compiler.schedule import Stage
from smartdeal.golden.layer_instruction import Layer
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.memories import ProgramError
from smartdeal.golden.moves import Move
from smartdeal.golden.transfers import Jump, Load, Wait
from smartdeal.hw.isa import (
    INSTRUCTION,
    INSTRUCTION_WORDS,
    JUMP_INSTRUCTION,
    LOAD_INSTRUCTION,
    MOVE_INSTRUCTION,
    WAIT_INSTRUCTION,
    Opcode,
    SectionKind,
    WaitFlag,
)

__all__ = ["prove_external"]

_DECODERS = {Opcode.LAYER: (INSTRUCTION, Layer), Opcode.MOVE: (MOVE_INSTRUCTION, Move),
             Opcode.LOAD: (LOAD_INSTRUCTION, Load), Opcode.WAIT: (WAIT_INSTRUCTION, Wait),
             Opcode.JUMP: (JUMP_INSTRUCTION, Jump)}
_SHORT = (Opcode.WAIT, Opcode.JUMP, Opcode.END)


def prove_external(
    program: NetworkProgram, stages: Sequence[Stage], claims: Iterable[Claim | None],
) -> None:
    """Prove that a program computes its network.

    Parameters
    ----------
    program : NetworkProgram
    stages : sequence of Stage
    claims : iterable of Claim or None
        What each instruction computes, in the order of execution; None for all but LAYER.

    Raises
    ------
    CompileError
        If it does not; it is a mistake of the compiler.
    """
    _Proof(program, stages).run(list(claims))


class _Proof:
    """The accelerator while the program runs."""

    def __init__(self, program: NetworkProgram, stages: Sequence[Stage]) -> None:
        self.program, self.config = program, program.config
        self.shapes = {IntegerNetwork.IMAGE: stages[0].layer.input_shape}
        self.shapes |= {stage.layer.name: stage.layer.output_shape for stage in stages}
        sizes = np.cumsum([0, *(int(np.prod(shape)) for shape in self.shapes.values())])
        self.numbers = dict(zip(self.shapes, sizes.tolist(), strict=False))
        self.memories = Memories(self.config, program.memory, program.memory_bytes)
        self.tables = Tables(self.memories)
        for section in read_image(program.segments[0], self.config).sections:
            if section.kind == SectionKind.PROGRAM:
                words = np.frombuffer(section.data, "<u4").reshape(
                    -1, self.config.host_bits // 32)[:, 0]
                self.memories.program[section.address:section.address + len(words)] = words
        self._put_image()

    def _put_image(self) -> None:
        """Write the tokens of the image as the host writes its pixels."""
        cols, beat = self.config.cols, self.config.host_bits // 8
        tokens = self._tokens(IntegerNetwork.IMAGE)
        for view, offset in zip(self.program.inputs, self.program.image_offsets, strict=True):
            words = view.spread(tokens, int(fill_token(view.fill))).reshape(-1, cols)
            units = np.full((len(words), -(-cols // beat) * beat), UNKNOWN, np.int32)
            units[:, :cols] = words
            self.memories.region[offset:offset + units.size] = units.ravel()

    def _tokens(self, tensor: str) -> np.ndarray:
        """Return the tokens of a tensor's pixels, (channels, height, width)."""
        shape = self.shapes[tensor]
        return (self.numbers[tensor] + np.arange(np.prod(shape), dtype=np.int32)).reshape(
            shape).astype(np.int32)

    def run(self, claims: Sequence[Claim | None]) -> None:
        """Walk to END, then look at the outputs."""
        pointer = 0
        names = self.program.instructions[0]
        for name, claim in zip(names, claims, strict=True):
            opcode, fields = self._fetch(name, pointer)
            pointer += 1 if opcode in _SHORT else INSTRUCTION_WORDS
            if (opcode == Opcode.LAYER) != (claim is not None):
                raise Refusal(name, f"{opcode.name} stands where another instruction should")
            match opcode:
                case Opcode.LAYER:
                    assert claim is not None
                    LayerProof(claim, fields, self.numbers, self.shapes, self.memories,
                               self.tables).run()
                case Opcode.MOVE:
                    self.memories.move(name, fields)
                case Opcode.LOAD:
                    self.memories.load(name, fields)
                case Opcode.WAIT:
                    self.memories.finish(fields["loads"])
                    if fields["flags"] & WaitFlag.STORES:
                        self.memories.stored()
                case Opcode.JUMP:
                    pointer = fields["address"]
                case Opcode.END:
                    raise Refusal(name, "the program ends too early")
        if self._fetch(names[-1], pointer)[0] != Opcode.END:
            raise Refusal(names[-1], "the program does not end")
        self.memories.finish(0)
        self._check_outputs()

    def _fetch(self, layer: str, pointer: int) -> tuple[Opcode, dict[str, int]]:
        """Return the instruction at a word of the instruction memory."""
        word = int(self.memories.program[pointer]) if pointer < self.config.program_words else -1
        if word < 0 or word & 0xFF not in list(Opcode):
            raise Refusal(layer, f"there is no instruction at word {pointer}")
        opcode = Opcode(word & 0xFF)
        if opcode == Opcode.END:
            return opcode, {}
        words = self.memories.program[
            pointer:pointer + (1 if opcode in _SHORT else INSTRUCTION_WORDS)]
        if np.any(words < 0):
            raise Refusal(layer, f"the instruction at word {pointer} is not all there")
        value = int.from_bytes(words.astype("<u4").tobytes(), "little")
        layout, decode = _DECODERS[opcode]
        fields = layout.unpack_word(value)
        try:
            decode(pointer, fields, self.config)
        except ProgramError as error:
            raise Refusal(layer, f"the accelerator refuses {opcode.name} with {error}") from None
        return opcode, fields

    def _check_outputs(self) -> None:
        """Refuse an output that is not where the host reads it."""
        for name, view in self.program.outputs.items():
            if name in self.program.spilled:
                data = gather_blocks(view, self.program.spilled[name], self.memories.region,
                                     self.config)
            else:
                data = self.memories.activations[view.base:view.stop].ravel()
            if np.any(view.gather(data) != self._tokens(name)):
                raise Refusal(name, "its output is not where the host reads it")
