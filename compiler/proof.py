"""The proof that no instruction of a network touches what is not its business.

It walks over the instructions as they stand in the program and keeps, for every word of the
activation buffer, the view that it belongs to. A view may only take words whose view no later
instruction touches; an instruction may write only words of its target and read only words of its
sources. The allocator is not asked.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.emit import Instruction
from smartdeal.compiler.errors import CompileError
from smartdeal.compiler.views import View, ViewKey
from smartdeal.golden.formats import PACKED
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import LayerFlag, MoveFlag

__all__ = ["prove"]


def prove(
    instructions: Iterable[Instruction], views: dict[ViewKey, View], outputs: Iterable[ViewKey],
    config: AcceleratorConfig,
) -> None:
    """Prove that every instruction reads and writes only its own views, all of them alive.

    Parameters
    ----------
    outputs : iterable of ViewKey
        What the host reads at the end.

    Raises
    ------
    CompileError
        If not; it is a mistake of the compiler.
    """
    instructions, outputs = list(instructions), list(outputs)
    last: dict[ViewKey, int] = {}
    for number, instruction in enumerate(instructions):
        for key in (instruction.source, instruction.residual, instruction.target):
            if key is not None:
                last[key] = number
    last |= dict.fromkeys(outputs, len(instructions))
    memory = _Memory(views, last, config)
    started: set[ViewKey] = set()
    for key in views:
        if key[0] == IntegerNetwork.IMAGE:
            memory.claim(key, 0, IntegerNetwork.IMAGE)
            started.add(key)
    for number, instruction in enumerate(instructions):
        layer, fields = instruction.layer, instruction.fields
        if instruction.target not in started:
            memory.claim(instruction.target, number, layer)
            started.add(instruction.target)
        if instruction.taps is None:
            reads, writes = _move_spans(fields, config)
            residuals = np.zeros((0, 2), np.int64)
        else:
            reads, writes, residuals = _layer_spans(fields, instruction.taps, config)
        for key, spans in ((instruction.source, reads), (instruction.residual, residuals),
                           (instruction.target, writes)):
            if len(spans):
                memory.check(key, spans, layer)
    for key in outputs:
        view = views[key]
        memory.check(key, np.array([[view.base, view.stop]]), view.tensor)


class _Memory:
    """Which view each word of the buffer belongs to.

    Parameters
    ----------
    last : dict of int
        The last instruction that touches a view.
    """

    def __init__(
        self, views: dict[ViewKey, View], last: dict[ViewKey, int], config: AcceleratorConfig,
    ) -> None:
        self.views, self.keys = views, list(views)
        self.numbers = {key: number for number, key in enumerate(views)}
        self.last = last
        self.owner = np.full(config.activation_words, -1)

    def claim(self, key: ViewKey, now: int, layer: str) -> None:
        """Give a view its words, which no view may hold that is touched now or later."""
        view = self.views[key]
        if view.base < 0 or view.stop > len(self.owner):
            raise CompileError(layer, f"words {view.base} to {view.stop} of {key} are not in the "
                                      "activation buffer; this is a mistake of the compiler")
        for number in np.unique(self.owner[view.base:view.stop]):
            if number >= 0 and self.last[self.keys[number]] >= now:
                raise CompileError(layer, f"words {view.base} to {view.stop} of {key} are not free "
                                          f"but hold {self.keys[number]}; this is a mistake of the "
                                          "compiler")
        self.owner[view.base:view.stop] = self.numbers[key]

    def check(self, key: ViewKey | None, spans: NDArray[np.int64], layer: str) -> None:
        """Refuse spans of words, (n, 2), that are not all those of a view."""
        if spans.min() >= 0 and spans.max() <= len(self.owner) and key is not None:
            wrong = np.concatenate([[0], np.cumsum(self.owner != self.numbers[key])])
            bad = np.flatnonzero(wrong[spans[:, 1]] > wrong[spans[:, 0]])
        else:
            bad = np.array([0])
        if len(bad):
            start, stop = spans[bad[0]]
            raise CompileError(layer, f"words {start} to {stop} do not hold {key}; this is a "
                                      "mistake of the compiler")


def _runs(
    fields: dict[str, int], name: str, cols: int,
) -> NDArray[np.int64]:
    """Return the flat address of every run of a MOVE."""
    def flat(place: str) -> int:
        return fields.get(f"{place}_word", 0) * cols + fields.get(f"{place}_lane", 0)

    channel, row = np.ogrid[:fields["channels"], :fields["rows"]]
    return (flat(name) + channel * flat(f"{name}_channel") + row * flat(f"{name}_row")).ravel()


def _spans(start: NDArray[np.int64], stop: NDArray[np.int64], cols: int) -> NDArray[np.int64]:
    """Return first word and end of bytes from ``start`` to ``stop``."""
    return np.stack([start // cols, -(-stop // cols)], axis=1)


def _move_spans(
    fields: dict[str, int], config: AcceleratorConfig,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the words that a MOVE reads and writes."""
    cols = config.cols
    target = _runs(fields, "target", cols)
    writes = _spans(target, target + fields["columns"], cols)
    if fields["flags"] & MoveFlag.FILL:
        return np.zeros((0, 2), np.int64), writes
    source = _runs(fields, "source", cols)
    vectors = -(-fields["columns"] // cols) * (2 if fields["flags"] & MoveFlag.DECIMATE else 1)
    return _spans(source, source + vectors * cols, cols), writes


def _layer_spans(
    fields: dict[str, int], taps: NDArray[np.int64], config: AcceleratorConfig,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the words that a LAYER reads, writes, and reads as residual operand."""
    cols, length = config.cols, fields["tiles"] * config.cols
    channel = np.arange(fields["channels"])
    source = fields["input_base"] * cols + taps
    planes = channel
    if fields["flags"] & LayerFlag.PACK:
        planes = np.arange(fields["channels"] // PACKED)
    target = (fields["output_base"] + planes * fields["output_stride"]) * cols
    stored = cols if fields["flags"] & LayerFlag.REDUCE else length
    residual = np.zeros(0, np.int64)
    if fields["flags"] & LayerFlag.RESIDUAL:
        residual = ((fields["residual_base"] + channel * fields["residual_stride"]) * cols
                    + fields["residual_lane"])
    return (_spans(source, source + length, cols), _spans(target, target + stored, cols),
            _spans(residual, residual + length, cols))
