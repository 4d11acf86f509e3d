"""Dead filters leave the network: implicit filter-level sparsity (Mehta, Kim, Theobalt, CVPR 2019).

Training with weight decay lets whole filters fade: their normalisation's gamma is nearly zero. Such
a filter emits a constant, its beta, wherever it looks. It leaves the network together with the
input channel of every layer that takes it, and the constant moves into the next bias. That is the
same network but for gamma's rest, so a filter stays where the constant cannot move exactly: before
zero padding (the border would see it too), or where it is added to another tensor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from smartdeal.golden.forms import BasisWeights, select_filters, select_inputs
from smartdeal.golden.graph import FloatGraph, FloatNode, reached_padding
from smartdeal.golden.networks import NetworkError

__all__ = ["Removal", "remove_dead_filters"]


@dataclass(frozen=True)
class Removal:
    """What was found in a layer, in numbers of filters.

    Parameters
    ----------
    filters : int
        All of them before.
    dead, removed : int
        Those that emit constants, and those of them that left.
    """

    filters: int
    dead: int
    removed: int


def _constants(node: FloatNode, threshold: float) -> tuple[Tensor, Tensor]:
    """Return which filters are dead, (M,) bool, and what they emit, (M,) float64."""
    assert node.weights is not None  # only pools have none
    if node.norm is not None:
        dead, value = node.norm.gamma.abs() <= threshold, node.norm.beta.double()
    else:
        largest = node.weights.abs().amax(dim=(1, 2, 3))
        dead = largest <= threshold * largest.max()
        value = torch.zeros(len(dead), dtype=torch.float64) if node.bias is None else (
            node.bias.double())
    return dead, value.relu() if node.relu else value


class _Network:
    """A graph with its consumers by tensor."""

    def __init__(self, graph: FloatGraph) -> None:
        self.graph = graph
        self.consumers: dict[str, list[FloatNode]] = {node.name: [] for node in graph.nodes}
        self.added = {node.residual for node in graph.nodes}
        for node in graph.nodes:
            if node.input in self.consumers:
                self.consumers[node.input].append(node)

    def movable(self, tensor: str, value: Tensor) -> Tensor:
        """Return which channels of a tensor may leave if they hold constants ``value``, (C,)."""
        if tensor in self.added or tensor == self.graph.nodes[-1].name:
            return torch.zeros(len(value), dtype=torch.bool)
        allowed = torch.ones(len(value), dtype=torch.bool)
        for node in self.consumers[tensor]:
            if node.weights is None:  # a pool of a constant is that constant
                allowed &= self.movable(node.name, value)
            elif node.binary_input or node.signs:
                allowed[:] = False  # what is no constant zero here is ±1 there
            elif isinstance(node.trained, BasisWeights) and node.trained.axis == "channel":
                allowed[:] = False  # three channels are one vector
            elif node.exact or self._padded(node):
                allowed &= value == 0
        return allowed

    def _padded(self, node: FloatNode) -> bool:
        shapes = self.graph.shapes
        return any(reached_padding(node, shapes[node.input], shapes[node.name]))


def _without_inputs(node: FloatNode, keep: Tensor, value: Tensor) -> FloatNode:
    """Return a layer that takes only the channels ``keep``, with the others' constants moved."""
    if node.weights is None:
        return node
    moved = node.weights[:, ~keep].double().sum(dim=(2, 3)) @ value[~keep]
    bias = moved if node.bias is None else node.bias.double() + moved
    trained = node.trained and select_inputs(node.trained, keep.numpy())
    return replace(node, weights=node.weights[:, keep], trained=trained,
                   bias=bias.float() if moved.any() else node.bias)


def _without_filters(node: FloatNode, keep: Tensor) -> FloatNode:
    assert node.weights is not None
    norm = node.norm
    if norm is not None:
        norm = replace(norm, gamma=norm.gamma[keep], beta=norm.beta[keep], mean=norm.mean[keep],
                       variance=norm.variance[keep])
    trained = node.trained and select_filters(node.trained, keep.numpy())
    return replace(node, weights=node.weights[keep], norm=norm, trained=trained,
                   bias=None if node.bias is None else node.bias[keep])


def remove_dead_filters(
    graph: FloatGraph, threshold: float = 1e-3,
) -> tuple[FloatGraph, Mapping[str, Removal]]:
    """Remove filters that emit constants, and the input channels that took them.

    Parameters
    ----------
    threshold : float
        Largest \\|gamma\\| of a dead filter (the published code uses 1e-3). Where a layer has no
        normalisation, or an exporter has folded it in: the filter's largest weight as a share of
        the layer's.

    Returns
    -------
    FloatGraph
        Equal to ``graph`` with the dead filters' gamma set to 0, but for rounding.
    dict of Removal
        By the names of layers that have dead filters.

    Raises
    ------
    NetworkError
        If the threshold is not from 0 to 1.
    """
    if not 0 <= threshold < 1:
        raise NetworkError(f"threshold must be at least 0 and less than 1, not {threshold!r}")
    network = _Network(graph)
    kept: dict[str, tuple[Tensor, Tensor]] = {}
    found: dict[str, Removal] = {}
    nodes: list[FloatNode] = []
    for node in graph.nodes:
        if node.input in kept:
            node = _without_inputs(node, *kept[node.input])
        if node.weights is None:
            if node.input in kept:
                kept[node.name] = kept[node.input]
        elif node.residual is None and not node.exact:
            dead, value = _constants(node, threshold)
            leaves = dead & network.movable(node.name, value)
            if leaves.all():
                leaves[0] = False  # a layer needs a channel
            if dead.any():
                found[node.name] = Removal(len(dead), int(dead.sum()), int(leaves.sum()))
            if leaves.any():
                kept[node.name] = (~leaves, value)
                node = _without_filters(node, ~leaves)
        nodes.append(node)
    removed = sum(layer.removed for layer in found.values())
    notes = (*graph.notes, f"{removed} dead filters were removed.") if removed else graph.notes
    return replace(graph, nodes=tuple(nodes), notes=notes), found
