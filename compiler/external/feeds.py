"""Feeds: windows that are filled from system memory, strip by strip."""

from dataclasses import dataclass, field, replace

from smartdeal.compiler.emit import move_instructions
from smartdeal.compiler.errors import CompileError
from smartdeal.compiler.external.actions import Action, Actions
from smartdeal.compiler.external.areas import Area, unit_bytes
from smartdeal.compiler.external.loads import image_loads, tensor_loads
from smartdeal.compiler.external.residency import Operands
from smartdeal.compiler.external.strips import Copies, Window
from smartdeal.compiler.occupancy import Span
from smartdeal.compiler.schedule import Fill, Stage
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.hw.isa import MOVE_INSTRUCTION, MoveFlag, SectionKind

__all__ = ["Feed", "feeds"]

#: The largest count of channels, rows or columns of a MOVE.
_MOST = (1 << next(f.bits for f in MOVE_INSTRUCTION.fields if f.name == "columns")) - 1


@dataclass(eq=False)
class Feed:
    """A window and what it holds at the moment.

    Parameters
    ----------
    program : Actions
    layer : str
    window : Window
    area : Area or None
        Where the host has put the view, if it is the image's.
    copies : Copies or None
        How the window is made, if it is not loaded as it is.
    """

    program: Actions
    layer: str
    window: Window
    area: Area | None
    copies: Copies | None = None
    _held: list[int | None] = field(init=False)
    _last: int = 0

    def __post_init__(self) -> None:
        self._held = [None] * len(self.window.bases)

    @property
    def bytes(self) -> int:
        """Bytes that all strips load."""
        window = self.window if self.copies is None else self.copies.base
        words = int((window.high - window.low).sum()) * window.planes
        return words * unit_bytes(SectionKind.ACTIVATIONS, self.program.config)

    def fetch(self, strip: int) -> int:
        """Return where the window of a strip lies; load it if it is not there."""
        if strip not in self._held:
            self._last = (self._last + 1) % len(self._held)
            self._held[self._last] = strip
            if self.copies is None:
                self._load(self.window, strip, self._last)
            else:
                self._copy(self.copies, strip)
        self._last = self._held.index(strip)
        return self.window.bases[self._last]

    def span(self, strip: int) -> Span:
        """Return the words of a strip's window."""
        return self.window.span(self._held.index(strip))

    def _load(self, window: Window, strip: int, number: int) -> None:
        program, base = self.program, window.bases[number]
        if self.area is not None:
            loads = image_loads(self.layer, self.area, window, strip, base, program.config)
        else:
            loads = tensor_loads(self.layer, program.blocks[window.view.tensor], window, strip,
                                 base, program.paddings, program.config)
        after = program.last_use(base, base + window.words)
        for load in loads:
            load.after = max(after, load.written)
            program.load(load)

    def _copy(self, copies: Copies, strip: int) -> None:
        """Load the window of the base view and make this one from it."""
        program, made, base = self.program, copies.made, copies.base
        self._load(base, strip, 0)
        spans = made.span(0), base.span(0)
        filled = replace(made.view, base=made.bases[0], words=made.words)
        for instruction in move_instructions(self.layer, Fill(filled.key, whole=True),
                                             {filled.key: filled}, program.config):
            program.append(Action(layer=self.layer, fields=instruction.fields, spans=spans))
        for number, phase in enumerate(made.view.phases):
            first, stop = (int(row) for row in copies.rows[strip, number])
            if first < stop:
                fields = self._copy_fields(copies, strip, phase, first, stop)
                program.append(Action(layer=self.layer, fields=fields, spans=spans))

    def _copy_fields(
        self, copies: Copies, strip: int, phase: tuple[int, int], first: int, stop: int,
    ) -> dict[str, int]:
        """Return the MOVE that copies some rows of a phase."""
        made, base, cols = copies.made, copies.base, self.program.config.cols
        view, step, (p, q) = made.view, made.view.stride, phase
        source = base.view.skip + (step * first + p) * base.view.pitch + q
        source += (base.bases[0] - int(base.origin[strip])) * cols
        target = view.skip + first * view.pitch
        target += (made.bases[0] + made.plane(0, phase) - int(made.origin[strip])) * cols
        fields = {
            "flags": MoveFlag.DECIMATE if step == 2 else MoveFlag(0),
            "channels": view.shape[0], "rows": stop - first, "columns": view.size(phase)[1],
            "source_channel_word": base.plane_words,
            "target_channel_word": len(view.phases) * made.plane_words,
        }
        for name, flat in (("source", source), ("source_row", step * base.view.pitch),
                           ("target", target), ("target_row", view.pitch)):
            fields |= {f"{name}_word": flat // cols, f"{name}_lane": flat % cols}
        if max(fields["channels"], fields["rows"], fields["columns"]) > _MOST:
            raise CompileError(self.layer, f"its input of shape {view.shape} has more than {_MOST} "
                                           "channels, rows or columns")
        return fields


def feeds(
    program: Actions, stage: Stage, operands: Operands,
    image: dict[tuple[str, int, int], Area],
) -> tuple[Feed | None, Feed | None]:
    """Return the feeds of a layer's source and residual operand; None for what is resident."""
    name, source, residual = stage.layer.name, None, None
    if operands.source is not None:
        copies = operands.source if isinstance(operands.source, Copies) else None
        window = operands.source if isinstance(operands.source, Window) else operands.source.made
        area = image[stage.source] if stage.source[0] == IntegerNetwork.IMAGE else None
        source = Feed(program, name, window, area, copies)
    if operands.residual is not None:
        assert stage.residual is not None
        area = image[stage.residual] if stage.residual[0] == IntegerNetwork.IMAGE else None
        residual = Feed(program, name, operands.residual, area)
    return source, residual
