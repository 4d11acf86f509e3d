"""Actions: what the program does besides transfers, and the loads that it needs for that."""

from dataclasses import dataclass, field

import numpy as np

from smartdeal.compiler.emit import move_instructions
from smartdeal.compiler.external.areas import Area, Block
from smartdeal.compiler.external.loads import NOTHING, Load, Paddings
from smartdeal.compiler.external.residency import Residency
from smartdeal.compiler.external.rings import Ring
from smartdeal.compiler.occupancy import Span
from smartdeal.compiler.schedule import Copy, Fill, Schedule, Stage
from smartdeal.compiler.weights import TABLES
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["Action", "Actions"]

@dataclass(eq=False, kw_only=True)
class Action:
    """One LAYER or MOVE.

    Parameters
    ----------
    layer : str
    fields : dict of int
        Without ``output_base``, if it is external.
    stage : Stage or None
        Of a LAYER.
    groups : (first, end)
        Groups of output channels of a LAYER.
    tile : int
        Tile of the stream with which a LAYER begins.
    output : Area or None
        Where an EXTERNAL layer writes.
    spans : tuple of Span
        The pieces of the activation buffer that it uses.
    """

    layer: str
    fields: dict[str, int]
    stage: Stage | None = None
    groups: tuple[int, int] = (0, 0)
    tile: int = 0
    output: Area | None = None
    spans: tuple[Span, ...] = ()

    def complete(self) -> dict[str, int]:
        """Return the fields of the instruction; the area must be placed."""
        if self.output is None:
            return self.fields
        return {**self.fields, "output_base": self.output.offset}


@dataclass(eq=False)
class Actions:
    """The actions of a network in their order, and the loads in the order in which they are needed.

    Parameters
    ----------
    plan : Schedule
    residency : Residency
    config : AcceleratorConfig
    """

    plan: Schedule
    residency: Residency
    config: AcceleratorConfig
    actions: list[Action] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    #: Words of tables, by what they are.
    tables: dict[object, Area] = field(default_factory=dict)
    #: What EXTERNAL layers write, by tensor.
    blocks: dict[str, list[Block]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rings = {kind: Ring(kind, self.config) for kind in TABLES}
        self.paddings = Paddings(self.config)
        #: The last action that uses each word of the activation buffer.
        self._used = np.full(self.config.activation_words, NOTHING, np.int64)

    @property
    def now(self) -> int:
        """Number of the next action."""
        return len(self.actions)

    def append(self, action: Action) -> None:
        """Append an action."""
        for start, stop, _ in action.spans:
            self._used[start:stop] = self.now
        self.actions.append(action)

    def load(self, load: Load) -> None:
        """Append a load that the next action needs."""
        load.need = self.now
        self.loads.append(load)

    def last_use(self, start: int, stop: int) -> int:
        """Return the last action that uses words of the activation buffer."""
        return int(self._used[start:stop].max(initial=NOTHING))

    def move(self, layer: str, operation: Fill | Copy) -> None:
        """Append the instructions of an operation on resident views."""
        views = self.residency.views
        spans = tuple(views[key].span for key in (
            (operation.source, operation.target) if isinstance(operation, Copy)
            else (operation.target,)))
        for instruction in move_instructions(layer, operation, views, self.config):
            self.append(Action(layer=layer, fields=instruction.fields, spans=spans))
