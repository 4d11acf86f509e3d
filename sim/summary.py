"""What a compiled network costs, layer by layer: the table of ``smartdeal compile``."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from smartdeal.compiler import NetworkProgram
from smartdeal.golden.decompose import form_used
from smartdeal.golden.graph import Network, float_graph
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import ResNet
from smartdeal.golden.quantise import DEFAULT_FORM, folded
from smartdeal.sim.latency import Cycles
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.network_latency import predict_network

__all__ = ["LayerSummary", "network_cycles", "summarise"]

#: Bytes of a weight in a checkpoint: float32.
_FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class LayerSummary:
    """One layer of a compiled network.

    Parameters
    ----------
    name, kind : str
    form : str
        Weight form; empty for the pools, ``exact`` where weights are 0 and ±1 as they are.
    input_shape, output_shape : (channels, height, width)
    macs : int
    terms_per_weight : float
        Non-zero powers of two per weight of the dense layer.
    zero_vectors : float
        Fraction of activation vectors that a group of filters does not need.
    bytes_before, bytes_after : int
        Weights as float32; steps, requantisation and basis in the program.
    saved_bytes : int
        What entropy coding of the steps saves; 0 where they are plain.
    weight_error : float
        Root of the squared error of the weights, relative to the weights.
    cycles : Cycles
        Predicted, layout changes for this layer included.
    """

    name: str
    kind: str
    form: str
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    macs: int
    terms_per_weight: float
    zero_vectors: float
    bytes_before: int
    bytes_after: int
    weight_error: float
    cycles: Cycles
    saved_bytes: int = 0


def network_cycles(program: NetworkProgram, timing: MemoryTiming | None = None) -> int:
    """Return the cycles of an image, of all layers and segments."""
    return predict_network(program, timing).cycles.total


def summarise(
    program: NetworkProgram, network: IntegerNetwork, model: Network,
    form: str | Mapping[str, str], original: Network | None = None,
    timing: MemoryTiming | None = None,
) -> list[LayerSummary]:
    """Return what each layer costs.

    Parameters
    ----------
    program : NetworkProgram
    network : IntegerNetwork
        What was compiled.
    model : ResNet or FloatGraph
        What the network approximates.
    form : str or mapping of str to str
        As :func:`smartdeal.golden.quantise.quantise_network` took it.
    original : ResNet or FloatGraph, optional
        What ``model`` was before filters left it, to count the bytes before (default: ``model``).
    timing : MemoryTiming, optional
        Of the system memory, for programs that use it.
    """
    graph = float_graph(model) if isinstance(model, ResNet) else model
    whole = float_graph(original) if isinstance(original, ResNet) else original or graph
    before = {node.name: node.weights.numel() for node in whole.nodes
              if node.weights is not None and not (node.exact and node.signs)}  # nobody's weights
    cycles = predict_network(program, timing).layers
    rows: list[LayerSummary] = []
    for info, node, source in zip(program.layers, network.nodes, graph.nodes, strict=True):
        weights, error = node.layer.weights, 0.0
        name = form if isinstance(form, str) else form.get(info.name, form.get(DEFAULT_FORM, ""))
        if weights is None:
            name = ""
        else:
            name = form_used(name, weights.shape)
            real, _ = folded(source)
            lost = real - weights.integer() * weights.scale[:, None, None, None]
            error = float(np.linalg.norm(lost) / (np.linalg.norm(real) or 1.0))
        rows.append(LayerSummary(
            name=info.name, kind=info.kind,
            form="exact" if name and source.exact else name and (source.form or name),
            input_shape=info.input_shape, output_shape=info.output_shape, macs=info.macs,
            terms_per_weight=info.nonzero_terms / info.weights if info.weights else 0.0,
            zero_vectors=info.zero_vectors / info.vectors if info.vectors else 0.0,
            bytes_before=before.get(info.name, 0) * _FLOAT_BYTES, bytes_after=info.table_bytes,
            weight_error=error, cycles=cycles[info.name], saved_bytes=info.saved_bytes))
    return rows
