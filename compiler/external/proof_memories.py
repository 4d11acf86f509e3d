"""What the proof knows about every memory: whose pixel each byte is, and what is on its way.

A byte of an activation is known by its *token*: the number of a pixel among those of all tensors,
:func:`fill_token` for a byte of padding, or one of the tokens below.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.errors import CompileError
from smartdeal.compiler.external.areas import unit_bytes
from smartdeal.golden.formats import ACT_MIN
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import LOAD_QUEUE, MoveFlag, SectionKind, section_capacity

__all__ = ["UNKNOWN", "Memories", "Refusal", "fill_token"]

#: A byte of which nothing is known, and one that an unfinished load will write.
UNKNOWN, PENDING = -1, -2
_FIRST_FILL = -3
_TABLES = (SectionKind.STEPS, SectionKind.CHANNELS, SectionKind.BASIS)


class Refusal(CompileError):
    """An instruction that the proof does not let pass; it is a mistake of the compiler."""

    def __init__(self, layer: str, problem: str) -> None:
        super().__init__(layer, f"{problem}; this is a mistake of the compiler")


def fill_token(value: int | NDArray[np.int64]) -> int | NDArray[np.int64]:
    """Return the token of a byte that holds a value and belongs to no pixel."""
    return _FIRST_FILL - (value - ACT_MIN)


@dataclass(frozen=True, eq=False)
class _Unfinished:
    """A load that may not have happened yet."""

    kind: SectionKind
    target: NDArray[np.int64]
    values: NDArray[np.int64]
    reads: NDArray[np.int64]


class Memories:
    """All memories of the accelerator, and its region.

    Parameters
    ----------
    config : AcceleratorConfig
    constants : bytes
        The beginning of the region.
    size : int
        Bytes of the region.
    """

    def __init__(self, config: AcceleratorConfig, constants: bytes, size: int) -> None:
        self.config, self.constants = config, np.frombuffer(constants, np.uint8)
        self.beat = config.host_bits // 8
        self.activations = np.full((config.activation_words, config.cols), UNKNOWN, np.int32)
        #: By word of a table, the byte of the region that it comes from.
        self.tables: dict[SectionKind, NDArray[np.int64]] = {
            kind: np.full(section_capacity(kind, config), UNKNOWN, np.int64)
            for kind in _TABLES}
        self.program = np.full(config.program_words, UNKNOWN, np.int64)
        self.region = np.full(size, UNKNOWN, np.int32)
        self.region[:len(constants)] = fill_token(self.constants.view(np.int8).astype(np.int64))
        #: By beat of the region: stored, but perhaps not there yet; read by how many loads.
        self.unstored = np.zeros(size // self.beat, np.bool_)
        self.reading = np.zeros(size // self.beat, np.int16)
        self.queue: deque[_Unfinished] = deque()

    def load(self, layer: str, fields: dict[str, int]) -> None:
        """Begin a LOAD."""
        if fields["kind"] not in (SectionKind.PROGRAM, SectionKind.ACTIVATIONS, *_TABLES):
            raise Refusal(layer, f"a load has the kind {fields['kind']}")
        kind = SectionKind(fields["kind"])
        unit = unit_bytes(kind, self.config)
        run, k = np.ogrid[:fields["runs"], :fields["count"]]
        source = (fields["offset"] + run * fields["memory_stride"] + k * unit).ravel()
        target = (fields["address"] + run * fields["run_stride"]
                  + k // fields["inner"] * fields["outer_stride"]
                  + k % fields["inner"] * fields["inner_stride"]).ravel()
        if source.max() + unit > len(self.region) or np.any(source % self.beat):
            raise Refusal(layer, "a load reads outside of the region")
        if len(self.queue) == LOAD_QUEUE:
            self.finish(LOAD_QUEUE - 1)
        beats = (source[:, None] // self.beat + np.arange(unit // self.beat)).ravel()
        if np.any(self.unstored[beats]):
            raise Refusal(layer, "a load reads what may not be stored yet")
        memory = self._memory(kind)
        if target.max() >= len(memory):
            raise Refusal(layer, f"a load writes outside of the {kind.name} memory")
        if np.any(memory[target] == PENDING):
            raise Refusal(layer, "a load overwrites what an unfinished load writes")
        self.queue.append(_Unfinished(kind, target, self._values(layer, kind, source), beats))
        memory[target] = PENDING
        np.add.at(self.reading, beats, 1)

    def _memory(self, kind: SectionKind) -> NDArray[np.signedinteger]:
        if kind == SectionKind.ACTIVATIONS:
            return self.activations
        return self.program if kind == SectionKind.PROGRAM else self.tables[kind]

    def _values(
        self, layer: str, kind: SectionKind, source: NDArray[np.int64],
    ) -> NDArray[np.signedinteger]:
        """Return what a load brings."""
        if kind == SectionKind.ACTIVATIONS:
            return self.region[source[:, None] + np.arange(self.config.cols)]
        if source.max() + unit_bytes(kind, self.config) > len(self.constants):
            raise Refusal(layer, f"a load of {kind.name} reads what is no constant")
        if kind != SectionKind.PROGRAM:
            return source
        words = self.constants[source[:, None] + np.arange(4)].astype(np.int64)
        return words @ (np.int64(1) << np.arange(0, 32, 8))

    def finish(self, loads: int) -> None:
        """Finish loads until so many are left."""
        while len(self.queue) > loads:
            done = self.queue.popleft()
            self._memory(done.kind)[done.target] = done.values
            np.subtract.at(self.reading, done.reads, 1)

    def store(self, layer: str, offset: int, tokens: NDArray[np.int32]) -> None:
        """Write the words of an EXTERNAL layer, (words, cols)."""
        unit = unit_bytes(SectionKind.ACTIVATIONS, self.config)
        stop = offset + len(tokens) * unit
        if offset < len(self.constants) or stop > len(self.region):
            raise Refusal(layer, f"it stores at bytes {offset} to {stop} of the region")
        beats = slice(offset // self.beat, stop // self.beat)
        if np.any(self.reading[beats]):
            raise Refusal(layer, "it stores what an unfinished load reads")
        self.unstored[beats] = True
        units = np.full((len(tokens), unit), UNKNOWN, np.int32)
        units[:, :self.config.cols] = tokens
        self.region[offset:stop] = units.ravel()

    def stored(self) -> None:
        """Note that system memory has acknowledged all that was written."""
        self.unstored[:] = False

    def write(self, layer: str, words: NDArray[np.int64], tokens: NDArray[np.int32]) -> None:
        """Write whole words of the activation buffer."""
        if words.min() < 0 or words.max() >= len(self.activations):
            raise Refusal(layer, "it stores outside of the activation buffer")
        if np.any(self.activations[words, 0] == PENDING):
            raise Refusal(layer, "it stores where an unfinished load writes")
        self.activations[words] = tokens

    def move(self, layer: str, fields: dict[str, int]) -> None:
        """Run a MOVE, which takes the tokens along."""
        cols, flat = self.config.cols, self.activations.reshape(-1)
        if any(one.kind == SectionKind.ACTIVATIONS for one in self.queue):
            raise Refusal(layer, "a MOVE runs while activations are loaded")

        def runs(name: str) -> NDArray[np.int64]:
            def place(part: str) -> int:
                return fields[f"{part}_word"] * cols + fields[f"{part}_lane"]

            channel, row = np.ogrid[:fields["channels"], :fields["rows"]]
            return (place(name) + channel * place(f"{name}_channel")
                    + row * place(f"{name}_row")).reshape(-1, 1)

        columns = np.arange(fields["columns"])
        target = (runs("target") + columns).ravel()
        if target.max() >= len(flat):
            raise Refusal(layer, "a MOVE writes outside of the activation buffer")
        if fields["flags"] & MoveFlag.FILL:
            flat[target] = fill_token(fields["value"])
            return
        step = 2 if fields["flags"] & MoveFlag.DECIMATE else 1
        begin = runs("source")
        if begin.max() + step * -(-len(columns) // cols) * cols > len(flat):
            raise Refusal(layer, "a MOVE reads outside of the activation buffer")
        source = (begin + step * columns).ravel()
        written = np.zeros(len(flat), np.bool_)
        written[target] = True
        if np.any(written[source]):
            raise Refusal(layer, "a MOVE reads what it writes")
        flat[target] = flat[source]
