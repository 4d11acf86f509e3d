"""Modules with drop-in layers: exported with plain ones, whose forms come back in the graph.

A drop-in layer (:mod:`smartdeal.golden.convert`) rounds its weights by itself and, with binary
input, takes signs. An exporter would see that arithmetic, not the form. So it gets a copy of the
module with plain layers of the same names and just these weights, and the graph's layers of these
names get the form. Shift-based normalisations become plain ones in the same way.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from smartdeal.golden.form_layers import (
    FormConv2d,
    FormLayer,
    FormLinear,
    form_layers,
    real_weights,
)
from smartdeal.golden.forms import BasisWeights, Weights
from smartdeal.golden.graph import FloatGraph, FloatNode
from smartdeal.golden.networks import NetworkError
from smartdeal.golden.shift_norm import ShiftBatchNorm1d, ShiftBatchNorm2d
from smartdeal.golden.signs import with_signs

__all__ = ["plain_module", "with_forms"]


def plain_module(module: nn.Module) -> nn.Module:
    """Return a module that computes the same with plain layers, but for the signs of inputs.

    It is the module itself if all its layers are plain.
    """
    norms = {name: norm for name, norm in module.named_modules()
             if isinstance(norm, ShiftBatchNorm1d | ShiftBatchNorm2d)}
    layers = form_layers(module)
    if not layers and not norms:
        return module
    made = copy.deepcopy(module)
    replaced = {name: _plain_layer(layer) for name, layer in layers.items()} | {
        name: _plain_norm(norm) for name, norm in norms.items()}
    for name, plain in replaced.items():
        if not name:
            return plain
        made.set_submodule(name, plain)
    return made


@torch.no_grad()
def _plain_layer(layer: FormLayer) -> nn.Module:
    weights = real_weights(layer.export())
    if isinstance(layer, FormConv2d):
        sizes: dict[str, Any] = {name: getattr(layer, name) for name in (
            "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation",
            "groups", "padding_mode")}
        plain: nn.Module = nn.Conv2d(**sizes, bias=layer.bias is not None)
    else:
        assert isinstance(layer, FormLinear)
        plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
    for name, values in (("weight", weights), ("bias", layer.bias)):
        if values is not None:
            target = plain.get_parameter(name)
            target.copy_(values.reshape(target.shape))
    return plain.eval()


@torch.no_grad()
def _plain_norm(norm: ShiftBatchNorm1d | ShiftBatchNorm2d) -> nn.Module:
    """Return the normalisation whose only factor is the shift-based one's, a power of two."""
    kind = nn.BatchNorm2d if isinstance(norm, ShiftBatchNorm2d) else nn.BatchNorm1d
    plain = kind(len(norm.weight), eps=0.0)
    plain.weight.copy_(norm.factor())
    plain.bias.copy_(norm.bias)
    plain.get_buffer("running_mean").copy_(norm.running_mean)
    return plain.eval()


def with_forms(graph: FloatGraph, layers: Mapping[str, FormLayer]) -> FloatGraph:
    """Return a graph whose layers of these names have the forms of drop-in layers.

    Parameters
    ----------
    graph : FloatGraph
        Of :func:`plain_module`.
    layers : mapping of str to FormLayer

    Raises
    ------
    NetworkError
        If a layer of the graph cannot have its drop-in layer's form, naming it.
    """
    for node in graph.nodes:
        called = re.sub(r"_\d+$", "", node.name)  # a second call's layer is numbered
        if called in layers and node.name not in layers and node.weights is not None:
            raise NetworkError(f"{called}: a drop-in layer must be called once, but the graph has "
                               f"it as {node.name} too; make a layer for each call")
    nodes = [_formed(node, layers) for node in graph.nodes]
    if any(node.binary_input for node in nodes):
        nodes = with_signs(nodes, graph.input_shape)
    return replace(graph, nodes=tuple(nodes))


def _formed(node: FloatNode, layers: Mapping[str, FormLayer]) -> FloatNode:
    layer = layers.get(node.name)
    if layer is None or node.weights is None:
        return node
    trained = _shaped(node.name, layer.export(), node.weights)
    if layer.binary_input and isinstance(layer, FormConv2d):
        high, wide = (int(size) for size in layer.padding)
        if node.padding != (high, wide, high, wide):
            raise NetworkError(f"{node.name}: what comes before a layer with binary input must not "
                               "pad it; give the layer itself the padding")
    return replace(node, trained=trained, form=layer.form, binary_input=layer.binary_input,
                   pad_value=layer.pad_value)


def _shaped(name: str, trained: Weights, weights: Tensor) -> Weights:
    """Return weights in the shape of a layer's: a linear one may take a whole map."""
    shape = tuple(weights.shape)
    if trained.shape != shape:
        if isinstance(trained, BasisWeights):
            raise NetworkError(f"{name}: a layer of SmartDeal's weights must take a vector of one "
                               f"number per channel, not a flattened map of {shape[2]}×{shape[3]}; "
                               "choose another form for it")
        terms = len(trained.sign)
        trained = replace(trained, sign=trained.sign.reshape(terms, *shape),
                          exponent=trained.exponent.reshape(terms, *shape))
    if not torch.equal(real_weights(trained), weights):
        raise NetworkError(f"{name}: the graph's weights are not those of the drop-in layer; its "
                           "input must have the channels first")
    return trained
