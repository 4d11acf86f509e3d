"""What a layer's weights take in the memories of steps, requantisation and basis."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.errors import CompileError, advice
from smartdeal.compiler.schedule import Stage
from smartdeal.compiler.tables import unit_steps
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind

__all__ = ["BASES", "TABLES", "Need", "group_needs", "refuse_group"]

#: Memories that hold a layer's weights, in the order of an image.
TABLES = (SectionKind.STEPS, SectionKind.CHANNELS, SectionKind.BASIS)
#: The field of a LAYER that says where a table begins.
BASES = {SectionKind.STEPS: "steps_base", SectionKind.CHANNELS: "channel_base",
         SectionKind.BASIS: "basis_base"}
_PARAMETERS = {SectionKind.STEPS: "weight_steps", SectionKind.CHANNELS: "channel_entries",
               SectionKind.BASIS: "basis_entries"}

#: Units of a range of groups in each memory of :data:`TABLES`.
Need = NDArray[np.int64]


def group_needs(stage: Stage) -> Need:
    """Return the units that each group takes in each memory, (groups, memories)."""
    lowering, channels = stage.lowering, stage.layer.array_channels
    basis = 0 if lowering.basis is None else len(lowering.blocks[0]) * lowering.group
    rows: Sequence[tuple[int, int, int]] = [
        (sum(map(unit_steps, group)), min(lowering.group, channels - number * lowering.group),
         basis) for number, group in enumerate(lowering.blocks)]
    return np.array(rows, np.int64)


def refuse_group(stage: Stage, need: Need, capacity: Need, config: AcceleratorConfig) -> None:
    """Raise :exc:`CompileError` if a group does not fit the empty memories."""
    for kind, needed, depth in zip(TABLES, need, capacity, strict=True):
        if needed > depth:
            parameter = _PARAMETERS[kind]
            raise CompileError(
                stage.layer.name, f"one group of {stage.lowering.group} output channels takes "
                f"{needed} words of the {kind.name} memory, the accelerator has {parameter} = "
                f"{depth}; {advice(config, parameter, int(needed))}")
