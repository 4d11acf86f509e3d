"""A residual network as a list of layers to execute, with floating-point evaluation.

The graph holds plain tensors and knows nothing of where they come from: the built-in networks and
the importers both produce it, and quantisation takes it.
"""

import difflib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from smartdeal.golden.float_nodes import FloatNode, Normalisation, Padding, Shape
from smartdeal.golden.form_layers import FormLayer, original_weights
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import NetworkError, ResNet
from smartdeal.golden.shift_norm import ShiftBatchNorm2d
from smartdeal.golden.signs import with_signs

__all__ = [
    "FloatGraph", "FloatNode", "Network", "Normalisation", "Padding", "Shape", "find_layer",
    "float_graph", "layer_names", "reached_padding", "run_float",
]

_IMAGE = IntegerNetwork.IMAGE


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """A network in floating point.

    Parameters
    ----------
    name : str
        For messages.
    nodes : tuple of FloatNode
        In an order of execution. The last is the output.
    input_shape : (channels, height, width)
    notes : tuple of str
        What an importer changed that the user should know, a sentence each.
    """

    name: str
    nodes: tuple[FloatNode, ...]
    input_shape: Shape
    notes: tuple[str, ...] = ()

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shapes of all tensors by name, the image's included.

        Raises
        ------
        NetworkError
            If two layers do not fit together, naming the second.
        """
        shapes = {_IMAGE: self.input_shape}
        for node in self.nodes:
            shape = node.output_shape(shapes[node.input])
            if node.residual is not None and shapes[node.residual] != shape:
                raise NetworkError(f"{node.name}: residual must have the output's shape {shape}, "
                                   f"not {shapes[node.residual]}")
            shapes[node.name] = shape
        return shapes

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Map images, (B, C, H, W), to logits, (B, classes)."""
        _, output = deque(run_float(self.nodes, images), maxlen=1).pop()
        return torch.flatten(output, 1)


#: A built-in network, or one that was imported.
Network = ResNet | FloatGraph


def reached_padding(node: FloatNode, shape: Shape, output: Shape) -> Padding:
    """Return the part of a layer's padding that its kernel reaches."""
    top, left, _, _ = node.padding
    bottom, right = (
        max(0, (outputs - 1) * node.stride + taps - before - inputs)
        for outputs, taps, before, inputs in zip(
            output[1:], node.kernel, (top, left), shape[1:], strict=True))
    return top, left, bottom, right


def _convolution(
    model: ResNet, name: str, norm: str, relu: bool, source: str, residual: str | None = None,
) -> FloatNode:
    conv = model.get_submodule(name)
    if not isinstance(conv, nn.Conv2d):
        raise NetworkError(f"{name}: must be a Conv2d, not {type(conv).__name__}")
    top, left = _check_convolution(name, conv)
    batch_norm = model.get_submodule(norm)
    if not isinstance(batch_norm, nn.BatchNorm2d | ShiftBatchNorm2d):
        raise NetworkError(f"{norm}: must be a BatchNorm2d, not {type(batch_norm).__name__}")
    return FloatNode(
        name=name, kind="conv", input=source, residual=residual, relu=relu,
        **_weights(conv), bias=None if conv.bias is None else conv.bias.detach(),
        norm=_normalisation(batch_norm), kernel=(conv.kernel_size[0], conv.kernel_size[1]),
        stride=conv.stride[0], padding=(top, left, top, left))


def _weights(layer: nn.Conv2d | nn.Linear) -> dict[str, Any]:
    """Return a layer's weights, and the form that a drop-in layer was trained in."""
    if isinstance(layer, FormLayer):
        trained = layer.export()  # first: it may round the layer's weights
        return {"trained": trained, "weights": original_weights(layer), "form": layer.form,
                "binary_input": layer.binary_input, "pad_value": layer.pad_value}
    return {"weights": original_weights(layer)}


def _normalisation(norm: nn.BatchNorm2d | ShiftBatchNorm2d) -> Normalisation:
    if isinstance(norm, ShiftBatchNorm2d):
        return Normalisation(gamma=norm.factor().detach(), beta=norm.bias.detach(),
                             mean=norm.running_mean, variance=torch.ones_like(norm.running_var),
                             eps=0.0)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return Normalisation(
        gamma=norm.weight.detach() if norm.affine else torch.ones_like(norm.running_mean),
        beta=norm.bias.detach() if norm.affine else torch.zeros_like(norm.running_mean),
        mean=norm.running_mean, variance=norm.running_var, eps=norm.eps)


def _check_convolution(name: str, conv: nn.Conv2d) -> tuple[int, int]:
    """Return the padding, (vertical, horizontal), or raise for what cannot be expressed."""
    if conv.groups != 1:
        raise NetworkError(f"{name}: groups must be 1, not {conv.groups}")
    if conv.dilation != (1, 1):
        raise NetworkError(f"{name}: dilation must be 1, not {conv.dilation}")
    if conv.stride not in ((1, 1), (2, 2)):
        raise NetworkError(f"{name}: stride must be 1 or 2, not {conv.stride}")
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise NetworkError(f"{name}: padding must be a number of zeros, "
                           f"not {conv.padding!r} of {conv.padding_mode!r}")
    return conv.padding[0], conv.padding[1]


def _max_pool(pool: nn.MaxPool2d, source: str) -> FloatNode:
    size, stride, padding = pool.kernel_size, pool.stride, pool.padding
    assert isinstance(size, int)
    assert isinstance(stride, int)
    assert isinstance(padding, int)
    return FloatNode(name="maxpool", kind="max_pool", input=source, kernel=(size, size),
                     stride=stride, padding=(padding, padding, padding, padding))


def _linear(linear: nn.Linear, source: str) -> FloatNode:
    return FloatNode(name="fc", kind="linear", input=source, bias=linear.bias.detach(),
                     **_weights(linear))


def float_graph(model: ResNet, size: tuple[int, int] | None = None) -> FloatGraph:
    """Return a built-in network as a graph, which shares its parameters' memory.

    A shortcut's convolution comes directly before the convolution that adds it. Where a layer has a
    binary input, the signs are a tensor of the graph (:mod:`smartdeal.golden.signs`).

    Parameters
    ----------
    size : (height, width), optional
        Of the images (default: the network's own).

    Raises
    ------
    NetworkError
        If a layer is not supported, naming it.
    """
    first, *others = model.rectified
    nodes = [_convolution(model, "conv1", "bn1", first, _IMAGE)]
    if model.maxpool is not None:
        nodes.append(_max_pool(model.maxpool, "conv1"))
    for (prefix, block), relu in zip(model.blocks, others, strict=True):
        source = shortcut = nodes[-1].name
        *firsts, last = block.chain
        for (conv, norm), rectified in zip(firsts, block.rectified(relu), strict=False):
            nodes.append(_convolution(
                model, f"{prefix}.{conv}", f"{prefix}.{norm}", rectified, nodes[-1].name))
        inner = nodes[-1].name
        if block.downsample is not None:
            shortcut = f"{prefix}.downsample.0"
            nodes.append(_convolution(
                model, shortcut, f"{prefix}.downsample.1", False, source))
        nodes.append(_convolution(
            model, f"{prefix}.{last[0]}", f"{prefix}.{last[1]}", relu, inner, shortcut))
    nodes.append(FloatNode(name="avgpool", kind="average_pool", input=nodes[-1].name))
    nodes.append(_linear(model.fc, "avgpool"))
    channels, height, width = model.spec.input_shape
    shape = (channels, *(size or (height, width)))
    if any(node.binary_input for node in nodes):
        nodes = with_signs(nodes, shape)
    return FloatGraph(model.name, tuple(nodes), shape)


@torch.no_grad()
def run_float(nodes: Sequence[FloatNode], images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Evaluate layer by layer, yielding each tensor's name and value, the image first.

    Tensors that no later layer needs are let go.

    Parameters
    ----------
    images : float32 tensor, (B, C, H, W)
    """
    last_use = {name: i for i, node in enumerate(nodes)
                for name in (node.input, node.residual) if name is not None}
    tensors = {_IMAGE: images}
    yield _IMAGE, images
    for i, node in enumerate(nodes):
        residual = tensors[node.residual] if node.residual is not None else None
        tensors[node.name] = node.forward(tensors[node.input], residual)
        yield node.name, tensors[node.name]
        for name in [n for n in tensors if last_use.get(n, len(nodes)) <= i]:
            del tensors[name]


def layer_names(model: Network) -> list[str]:
    """Return the names of the layers that are executed, in order."""
    graph = float_graph(model) if isinstance(model, ResNet) else model
    return [node.name for node in graph.nodes]


def find_layer(model: Network, name: str) -> str:
    """Return the executed layer that ``name`` means; a shortcut may be named without its ``.0``.

    Raises
    ------
    NetworkError
        If there is none; the message names the nearest.
    """
    names = layer_names(model)
    for candidate in (name, f"{name}.0"):
        if candidate in names:
            return candidate
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names[:3]
    raise NetworkError(f"{model.name} has no layer {name!r}; the nearest are {', '.join(near)}")
