"""From an integer network to one program whose tensors stay in the activation buffer."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from smartdeal.compiler.allocate import place
from smartdeal.compiler.emit import move_instructions
from smartdeal.compiler.network_program import LayerInfo, NetworkProgram
from smartdeal.compiler.proof import prove
from smartdeal.compiler.schedule import Run, Schedule, Stage, schedule
from smartdeal.compiler.segments import SegmentBuilder
from smartdeal.compiler.tables import unit_steps
from smartdeal.compiler.views import View, ViewKey
from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.golden.forms import BasisWeights
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["compile_network"]


def compile_network(
    network: IntegerNetwork, config: AcceleratorConfig, *, keep_all: bool = False,
    about: Mapping[str, Any] | None = None,
) -> NetworkProgram:
    """Compile a network for an accelerator.

    Parameters
    ----------
    network : IntegerNetwork
    config : AcceleratorConfig
    keep_all : bool
        Use no word of the activation buffer twice, so that every tensor can be read at the end.
    about : mapping, optional
        JSON values to be kept with the program.

    Returns
    -------
    NetworkProgram
        Depends on nothing but the arguments: the same bytes every time.

    Raises
    ------
    CompileError
        If a layer or its tensors do not fit the accelerator; one line that says what to change.
    """
    plan = schedule(network, config)
    views = place(plan, config, keep_all=keep_all)
    builder = SegmentBuilder(views, config)
    for layer, operation in plan.operations:
        if isinstance(operation, Run):
            builder.layer(operation.stage)
            continue
        for instruction in move_instructions(layer, operation, views, config):
            builder.move(instruction)
    kept = [stage.target for stage in (plan.stages if keep_all else plan.stages[-1:])]
    prove((i for segment in builder.instructions for i in segment), views, kept, config)
    outputs = {key[0]: views[key] for key in kept}
    scales = {name: scale for name, scale in network.scales.items()
              if name == IntegerNetwork.IMAGE or name in outputs}
    return NetworkProgram(
        name=network.name, config=config, segments=builder.images(),
        instructions=tuple(tuple(i.layer for i in segment) for segment in builder.instructions),
        inputs=tuple(view for key, view in views.items() if key[0] == IntegerNetwork.IMAGE),
        outputs=outputs, layers=_layers(plan, views, builder.table_bytes, config),
        used_words=max(view.stop for view in views.values()), scales=scales, about=about or {})


def _layers(
    plan: Schedule, views: dict[ViewKey, View], table_bytes: dict[str, int],
    config: AcceleratorConfig,
) -> tuple[LayerInfo, ...]:
    infos: list[LayerInfo] = []
    for stage in plan.stages:
        layer = stage.layer
        stored = sum(unit_steps(block) for group in stage.lowering.blocks for block in group)
        tiles = stage.tiles(views[stage.source].pitch, config)
        vectors, zero = _vectors(stage)
        infos.append(LayerInfo(
            name=layer.name, kind=layer.kind, input_shape=layer.input_shape,
            output_shape=layer.output_shape, macs=layer.macs,
            weights=int(np.prod(layer.weights.shape)) if layer.weights is not None else 0,
            nonzero_terms=layer.nonzero_terms, vectors=vectors, zero_vectors=zero,
            stored_steps=stored, executed_steps=stored * tiles,
            table_bytes=table_bytes[layer.name]))
    return tuple(infos)


def _vectors(stage: Stage) -> tuple[int, int]:
    """Return the activation vectors of all groups, and those that are zero in a whole group."""
    weights = stage.layer.weights
    if weights is None:
        return 0, 0
    # In the basis forms three neighbouring taps belong to one vector of coefficients.
    size = BASIS_SIZE if isinstance(weights, BasisWeights) else 1
    total = -(-int(np.prod(weights.shape[1:])) // size)
    used = sum(len(np.unique(np.concatenate([block.taps for block in group]) // size))
               for group in stage.lowering.blocks)
    groups = len(stage.lowering.blocks)
    return groups * total, groups * total - used
