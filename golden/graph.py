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
from torch.nn import functional

from smartdeal.golden.form_layers import FormLayer, original_weights
from smartdeal.golden.forms import Weights
from smartdeal.golden.layers import IntegerNetwork, LayerKind
from smartdeal.golden.networks import NetworkError, ResNet
from smartdeal.golden.shift_norm import ShiftBatchNorm2d
from smartdeal.golden.straight import sign

__all__ = [
    "FloatGraph", "FloatNode", "Network", "Normalisation", "Padding", "Shape", "find_layer",
    "float_graph", "layer_names", "reached_padding", "run_float",
]

_IMAGE = IntegerNetwork.IMAGE

#: (channels, height, width)
Shape = tuple[int, int, int]
#: (top, left, bottom, right)
Padding = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class Normalisation:
    """Batch normalisation in inference: gamma · (x - mean) / √(variance + eps) + beta.

    Parameters
    ----------
    gamma, beta, mean, variance : float32 tensors, (M,)
    eps : float
    """

    gamma: Tensor
    beta: Tensor
    mean: Tensor
    variance: Tensor
    eps: float


@dataclass(frozen=True, eq=False, kw_only=True)
class FloatNode:
    """One layer as the accelerator runs it: normalisation, residual and ReLU belong to it.

    Parameters
    ----------
    name : str
        Of the layer, and of its output tensor.
    kind : "conv", "linear", "max_pool" or "average_pool"
        An average pool covers the whole map.
    input, residual : str
        Names of the operand tensors; ``residual`` may be None.
    relu : bool
    weights : float32 tensor, (M, C, kh, kw), or None
        None for the pools; a linear layer has kh = kw = 1.
    bias : float32 tensor, (M,), or None
    norm : Normalisation or None
        Comes after the bias and before the residual.
    kernel : (kh, kw)
        Not used by an average pool.
    stride : int
    padding : (top, left, bottom, right)
        Zeros around the input of a convolution; a maximum does not see them.
    exact : bool
        Weights are 0, 1 or -1 and stay so in every form: an identity that subsamples, or adds
        channels of zeros.
    trained : TermWeights, BasisWeights or None
        The form that the weights were trained in, equal to them: no other is made.
    form : str
        Its name.
    binary_input : bool
        The input is a tensor of ±1, and ``pad_value`` outside the image.
    pad_value : +1 or -1
    signs : 0, +1 or -1
        The output is its signs, +1 for zero, and readers pad it with this value; 0 if it is not.
    """

    name: str
    kind: LayerKind
    input: str
    residual: str | None = None
    relu: bool = False
    weights: Tensor | None = None
    bias: Tensor | None = None
    norm: Normalisation | None = None
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: Padding = (0, 0, 0, 0)
    exact: bool = False
    trained: Weights | None = None
    form: str = ""
    binary_input: bool = False
    pad_value: int = -1
    signs: int = 0

    def forward(self, x: Tensor, residual: Tensor | None) -> Tensor:
        """Evaluate in floating point: (B, C, H, W) to (B, M, H', W')."""
        x = self._operation(x)
        if self.norm is not None:
            x = functional.batch_norm(x, self.norm.mean, self.norm.variance, self.norm.gamma,
                                      self.norm.beta, eps=self.norm.eps)
        if residual is not None:
            x = x + residual
        x = x.relu() if self.relu else x
        return sign(x) if self.signs else x

    def _operation(self, x: Tensor) -> Tensor:
        if self.kind == "average_pool":
            return functional.adaptive_avg_pool2d(x, 1)
        top, left, bottom, right = self.padding
        if self.kind == "max_pool":
            x = functional.pad(x, (left, right, top, bottom), value=-torch.inf)
            return functional.max_pool2d(x, self.kernel, self.stride)
        assert self.weights is not None  # only pools have none
        if self.kind == "linear":
            flat = functional.linear(torch.flatten(x, 1), self.weights[:, :, 0, 0], self.bias)
            return flat[:, :, None, None]
        if (top, left) != (bottom, right) or self.binary_input:
            outside = float(self.pad_value) if self.binary_input else 0.0
            x, top, left = functional.pad(x, (left, right, top, bottom), value=outside), 0, 0
        return functional.conv2d(x, self.weights, self.bias, self.stride, (top, left))

    def output_shape(self, shape: Shape) -> Shape:
        """Return the output's shape for an input's.

        Raises
        ------
        NetworkError
            If the layer does not take such an input.
        """
        channels, height, width = shape
        if self.weights is not None:
            if self.weights.shape[1] != channels:
                raise NetworkError(f"{self.name}: input must have {self.weights.shape[1]} "
                                   f"channels, not {channels}")
            channels = len(self.weights)
        if self.kind == "average_pool":
            return channels, 1, 1
        if self.kind == "linear" and (height, width) != (1, 1):
            raise NetworkError(f"{self.name}: input must be a vector, not a map of "
                               f"{height}×{width}")
        top, left, bottom, right = self.padding
        rows = (height + top + bottom - self.kernel[0]) // self.stride + 1
        columns = (width + left + right - self.kernel[1]) // self.stride + 1
        if rows < 1 or columns < 1:
            raise NetworkError(f"{self.name}: input must be at least as large as the kernel of "
                               f"{self.kernel[0]}×{self.kernel[1]}, not {height}×{width}")
        return channels, rows, columns


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
        from smartdeal.golden.signs import with_signs  # which knows what a node is

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
