"""What a network program tells about its layers."""

from collections.abc import Mapping

import numpy as np

from smartdeal.compiler.network_program import LayerInfo
from smartdeal.compiler.schedule import Schedule, Stage
from smartdeal.compiler.tables import unit_steps
from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.golden.forms import BasisWeights

__all__ = ["layer_infos", "stored_steps"]


def layer_infos(
    plan: Schedule, table_bytes: Mapping[str, int], executed: Mapping[str, int],
    saved: Mapping[str, int] | None = None,
) -> tuple[LayerInfo, ...]:
    """Return what is known about each layer.

    Parameters
    ----------
    table_bytes : mapping of str to int
        Bytes of steps, requantisation and basis, by layer.
    executed : mapping of str to int
        Steps that run, by layer.
    saved : mapping of str to int, optional
        Bytes that entropy coding saves, by layer.
    """
    infos: list[LayerInfo] = []
    for stage in plan.stages:
        layer = stage.layer
        vectors, zero = _vectors(stage)
        infos.append(LayerInfo(
            name=layer.name, kind=layer.kind, input_shape=layer.input_shape,
            output_shape=layer.output_shape, macs=layer.macs,
            weights=int(np.prod(layer.weights.shape)) if layer.weights is not None else 0,
            nonzero_terms=layer.nonzero_terms, vectors=vectors, zero_vectors=zero,
            stored_steps=stored_steps(stage, (0, len(stage.lowering.blocks))),
            executed_steps=executed[layer.name], table_bytes=table_bytes[layer.name],
            saved_bytes=(saved or {}).get(layer.name, 0)))
    return tuple(infos)


def stored_steps(stage: Stage, groups: tuple[int, int]) -> int:
    """Return the steps of some groups in the weight buffer."""
    return sum(unit_steps(block) for group in stage.lowering.blocks[groups[0]:groups[1]]
               for block in group)


def _vectors(stage: Stage) -> tuple[int, int]:
    """Return the activation vectors of all groups, and those that are zero in a whole group."""
    weights = stage.layer.weights
    if weights is None:
        return 0, 0
    # In the basis forms three neighbouring taps belong to one vector of coefficients.
    size = BASIS_SIZE if isinstance(weights, BasisWeights) else 1
    total = -(-stage.layer.input_planes * int(np.prod(weights.shape[2:])) // size)
    used = sum(len(np.unique(np.concatenate([block.taps for block in group]) // size))
               for group in stage.lowering.blocks)
    groups = len(stage.lowering.blocks)
    return groups * total, groups * total - used
