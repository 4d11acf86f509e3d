"""A residual network as a list of layers to execute, with floating-point evaluation."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from smartdeal.golden.layers import IntegerNetwork, LayerKind
from smartdeal.golden.networks import NetworkError, ResNet

__all__ = ["FloatNode", "find_layer", "float_graph", "layer_names", "run_float"]

_IMAGE = IntegerNetwork.IMAGE


@dataclass(frozen=True, eq=False)
class FloatNode:
    """One layer as the accelerator runs it: normalisation, residual and ReLU belong to it.

    Parameters
    ----------
    name : str
        Torch name of the convolution, linear layer or pool; also the output tensor's.
    kind : LayerKind
    module : nn.Module
    norm : nn.BatchNorm2d or None
    relu : bool
    input, residual : str
        Names of the operand tensors; ``residual`` may be None.
    """

    name: str
    kind: LayerKind
    module: nn.Module
    norm: nn.BatchNorm2d | None
    relu: bool
    input: str
    residual: str | None = None

    def forward(self, x: Tensor, residual: Tensor | None) -> Tensor:
        """Evaluate in floating point: (B, C, H, W) to (B, M, H', W')."""
        if self.kind == "linear":
            x = self.module(torch.flatten(x, 1))[:, :, None, None]
        else:
            x = self.module(x)
        if self.norm is not None:
            x = self.norm(x)
        if residual is not None:
            x = x + residual
        return x.relu() if self.relu else x


def _convolution(
    model: ResNet, name: str, norm: str, relu: bool, source: str, residual: str | None = None,
) -> FloatNode:
    conv = model.get_submodule(name)
    if not isinstance(conv, nn.Conv2d):
        raise NetworkError(f"{name}: must be a Conv2d, not {type(conv).__name__}")
    _check_convolution(name, conv)
    batch_norm = model.get_submodule(norm)
    if not isinstance(batch_norm, nn.BatchNorm2d):
        raise NetworkError(f"{norm}: must be a BatchNorm2d, not {type(batch_norm).__name__}")
    return FloatNode(name, "conv", conv, batch_norm, relu, source, residual)


def _check_convolution(name: str, conv: nn.Conv2d) -> None:
    """Raise for what the integer layer cannot express."""
    if conv.groups != 1:
        raise NetworkError(f"{name}: groups must be 1, not {conv.groups}")
    if conv.dilation != (1, 1):
        raise NetworkError(f"{name}: dilation must be 1, not {conv.dilation}")
    if conv.stride not in ((1, 1), (2, 2)):
        raise NetworkError(f"{name}: stride must be 1 or 2, not {conv.stride}")
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise NetworkError(f"{name}: padding must be a number of zeros, "
                           f"not {conv.padding!r} of {conv.padding_mode!r}")


def float_graph(model: ResNet) -> list[FloatNode]:
    """Return the network's layers in an order of execution.

    A shortcut's convolution comes directly before the convolution that adds it.

    Raises
    ------
    NetworkError
        If a layer is not supported, naming it.
    """
    nodes = [_convolution(model, "conv1", "bn1", True, _IMAGE)]
    if model.maxpool is not None:
        nodes.append(FloatNode("maxpool", "max_pool", model.maxpool, None, False, "conv1"))
    for prefix, block in model.blocks:
        source = shortcut = nodes[-1].name
        *firsts, last = block.chain
        for conv, norm in firsts:
            nodes.append(_convolution(
                model, f"{prefix}.{conv}", f"{prefix}.{norm}", True, nodes[-1].name))
        inner = nodes[-1].name
        if block.downsample is not None:
            shortcut = f"{prefix}.downsample.0"
            nodes.append(_convolution(
                model, shortcut, f"{prefix}.downsample.1", False, source))
        nodes.append(_convolution(
            model, f"{prefix}.{last[0]}", f"{prefix}.{last[1]}", True, inner, shortcut))
    nodes.append(FloatNode(
        "avgpool", "average_pool", model.avgpool, None, False, nodes[-1].name))
    nodes.append(FloatNode("fc", "linear", model.fc, None, False, "avgpool"))
    return nodes


@torch.no_grad()
def run_float(nodes: list[FloatNode], images: Tensor) -> Iterator[tuple[str, Tensor]]:
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


def layer_names(model: ResNet) -> list[str]:
    """Return the names of the layers that are executed, in order."""
    return [node.name for node in float_graph(model)]


def find_layer(model: ResNet, name: str) -> str:
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
