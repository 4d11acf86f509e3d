"""The reference interpreter: runs program images exactly as ``docs/execution.md`` says.

It knows memories, instructions and widths, and nothing of networks or of how images come about.
"""

from collections.abc import Callable, Iterator, Mapping

from smartdeal.golden.layer_instruction import Layer
from smartdeal.golden.layer_run import LayerMachine
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
    ErrorCode,
    Opcode,
    SectionKind,
)

__all__ = ["EndlessProgramError", "Instruction", "Interpreter", "Observer", "ProgramError"]

Instruction = Layer | Move | Load | Wait | Jump
#: Told the word address and the fields of each instruction when it is done.
Observer = Callable[[int, Mapping[str, int]], None]

_DECODERS = {
    Opcode.LAYER: (INSTRUCTION, Layer), Opcode.MOVE: (MOVE_INSTRUCTION, Move),
    Opcode.LOAD: (LOAD_INSTRUCTION, Load), Opcode.WAIT: (WAIT_INSTRUCTION, Wait),
    Opcode.JUMP: (JUMP_INSTRUCTION, Jump),
}
_TRANSFERS = (Opcode.LOAD, Opcode.WAIT, Opcode.JUMP)


class EndlessProgramError(RuntimeError):
    """A program that the accelerator would run until the host stops it.

    Parameters
    ----------
    instruction : int
        Word address of the JUMP that closes the loop.
    """

    def __init__(self, instruction: int, why: str) -> None:
        super().__init__(f"Program must reach END; the JUMP at {instruction} {why}")
        self.instruction = instruction


class Interpreter(LayerMachine):
    """One accelerator: its memories, and what it does.

    LOADs are carried out at once, and output of EXTERNAL layers is in the region at once: a
    program that waits as it must cannot tell (:mod:`smartdeal.sim.late` can).

    Parameters
    ----------
    config : AcceleratorConfig
    region : bytearray, optional
        The program's region of system memory; a program may write to it. Without one every
        transfer is outside.
    """

    #: JUMPs after which a program counts as endless although its instructions change.
    JUMP_LIMIT = 100_000

    def run(self, on_instruction: Observer | None = None) -> None:
        """Run the program from its first instruction to END.

        Parameters
        ----------
        on_instruction : callable, optional
            Called after each instruction but END, when all that it writes is there.

        Raises
        ------
        ProgramError
            If there is no program, or it is stopped by an error.
        EndlessProgramError
            If it would never end.
        """
        if self._pending or self._swallowing:
            raise ProgramError(ErrorCode.INCOMPLETE)
        if not self._valid:
            raise ProgramError(ErrorCode.NO_PROGRAM)
        for instruction in self._instructions():
            match instruction:
                case Layer():
                    self.run_layer(instruction)
                case Move():
                    instruction.run(self.activations)
                case Load():
                    self.begin_load(instruction)
                case Wait():
                    self.wait(instruction)
            if on_instruction is not None:
                on_instruction(instruction.address, instruction.values)
        self.finish()

    def begin_load(self, load: Load) -> None:
        """Take a LOAD into the queue."""
        load.run(self)

    def wait(self, wait: Wait) -> None:
        """Wait for transfers; there are none under way."""

    def finish(self) -> None:
        """Wait for all transfers at END; there are none under way."""

    def _instructions(self) -> Iterator[Instruction]:
        """Fetch and decode up to END."""
        pointer, jumps = 0, _Jumps(self.JUMP_LIMIT)
        while (instruction := self._fetch(pointer)) is not None:
            yield instruction
            pointer += 1 if isinstance(instruction, Wait) else INSTRUCTION_WORDS
            if isinstance(instruction, Load) and instruction.kind == SectionKind.PROGRAM:
                jumps.loaded = True
            elif isinstance(instruction, Jump):
                pointer = instruction.target
                jumps.take(instruction)

    def _fetch(self, pointer: int) -> Instruction | None:
        """Decode one instruction, or return None for END."""
        depth = self.config.program_words
        if pointer >= depth:
            raise ProgramError(ErrorCode.PROGRAM_RANGE, pointer)
        number = int(self._program[pointer]) & 0xFF
        if number == Opcode.END:
            return None
        if number in _TRANSFERS and not self.config.memory:
            raise ProgramError(ErrorCode.FEATURE, pointer)
        if number not in _DECODERS:
            raise ProgramError(ErrorCode.OPCODE, pointer)
        layout, decode = _DECODERS[Opcode(number)]
        count = layout.bits // 32
        if pointer + count > depth:
            raise ProgramError(ErrorCode.PROGRAM_RANGE, pointer)
        words = self._program[pointer:pointer + count].astype("<u4").tobytes()
        return decode(pointer, layout.unpack_word(int.from_bytes(words, "little")), self.config)


class _Jumps:
    """The JUMPs of one run: no data decide where a program goes on, so a loop is one for ever."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        #: Whether instructions were loaded since the last JUMP.
        self.loaded = True
        self._taken: set[int] = set()

    def take(self, jump: Jump) -> None:
        """Note a JUMP; raise :exc:`EndlessProgramError` if it closes a loop."""
        self.left -= 1
        if self.left == 0:
            raise EndlessProgramError(jump.address, "is one of too many")
        if self.loaded:
            self._taken.clear()
            self.loaded = False
        if jump.address in self._taken:
            raise EndlessProgramError(jump.address, "was taken before, with nothing loaded since")
        self._taken.add(jump.address)
