"""From a model's operators to layers: normalisation, ReLU and residual join their convolution.

An importer calls one method per operator, in the model's order. Whatever the accelerator cannot run
raises :class:`.errors.Refusal`.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from smartdeal.compiler.importers.errors import Refusal
from smartdeal.compiler.importers.values import Array, Axes, Site, Value
from smartdeal.golden.graph import FloatGraph, FloatNode, Normalisation, Padding, Shape
from smartdeal.golden.layers import IntegerNetwork

__all__ = ["GraphBuilder"]

_IMAGE = IntegerNetwork.IMAGE


def _tensor(values: Array) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32))


def _one(what: str, values: Sequence[int]) -> int:
    """Return the number that a pair holds twice."""
    if len(set(values)) != 1:
        raise Refusal(f"{what} must be the same in both directions, not {tuple(values)}")
    return values[0]


def _stride(values: Sequence[int]) -> int:
    stride = _one("stride", values)
    if stride not in (1, 2):
        raise Refusal(f"stride must be 1 or 2, not {stride}")
    return stride


def _last_window(size: int, kernel: int, step: int, before: int, after: int) -> int:
    """Return the padding behind a map that a last, partial window needs."""
    windows = -(-(size + before + after - kernel) // step) + 1
    if (windows - 1) * step >= size + before:
        windows -= 1  # it would begin behind the map
    return max(0, (windows - 1) * step + kernel - size - before)


class GraphBuilder:
    """Layers of a model that is being read.

    Parameters
    ----------
    name : str
        Of the model.
    image : (channels, height, width)
        Shape of an image.
    """

    def __init__(self, name: str, image: Shape) -> None:
        self._name = name
        self._nodes: dict[str, FloatNode] = {}
        self._shapes: dict[str, Shape] = {_IMAGE: image}
        self._depths: dict[str, int] = {_IMAGE: 0}
        self.notes: list[str] = []

    def _new(self, node: FloatNode, x: Value) -> Value:
        """Enter a layer under a name that is free."""
        name, count = node.name, 1
        while name in self._shapes:
            count += 1
            name = f"{node.name}_{count}"
        node = replace(node, name=name)
        shape = node.output_shape(self._shapes[node.input])
        self._nodes[name], self._shapes[name] = node, shape
        operands = [n for n in (node.input, node.residual) if n is not None]
        self._depths[name] = 1 + max(self._depths[n] for n in operands)
        return Value(layer=name, shape=shape, axes=x.axes)

    def stand_in(self, site: Site, dims: Sequence[int | None], axes: Axes) -> Value | None:
        """Return a value in place of a refused operator's, so that the rest can be judged.

        Parameters
        ----------
        dims : sequence of int
            Shape of one sample as the model sees it; None where it is not fixed.
        axes : Axes
            How it is laid out if it is a map.

        Returns
        -------
        Value or None
            None if it is neither a map nor a vector of known size.
        """
        known = [n for n in dims if n is not None]
        if len(known) != len(dims) or len(dims) not in (1, 3):
            return None
        last = len(dims) == 3 and axes == "NHWC"
        channels, height, width = (known[2], *known[:2]) if last else (*known, 1, 1)[:3]
        node = FloatNode(name=site.layer, kind="conv", input=_IMAGE,
                         weights=torch.zeros(channels, self._shapes[_IMAGE][0], 1, 1))
        layer = self._new(node, Value(layer=_IMAGE, shape=self._shapes[_IMAGE])).layer
        shape = self._shapes[layer] = (channels, height, width)
        return Value(layer=layer, shape=shape,
                     axes="flat NCHW" if len(dims) == 1 else "NHWC" if last else "NCHW")

    def _open(self, x: Value, what: str) -> FloatNode | None:
        """Return the convolution or linear layer that makes ``x`` if it may still be changed."""
        node = self._nodes.get(x.layer)
        if (node is None or node.weights is None or node.relu or node.residual is not None
                or x.shared or x.padded or x.thinned):
            return None
        return None if what == "weights" and node.exact else node

    def _fused(self, x: Value, node: FloatNode) -> Value:
        self._nodes[node.name] = node
        return replace(x, shared=False)

    def _identity(self, name: str, x: Value, residual: str | None = None,
                  relu: bool = False) -> Value:
        """Enter a 1×1 convolution that does what happened to ``x``, and no more."""
        if x.padded:
            raise Refusal("padding must be followed by a convolution or a pool")
        channels = self._shapes[x.layer][0]
        weights = torch.zeros(x.shape[0], channels, 1, 1)
        weights[x.channels_before:x.channels_before + channels, :, 0, 0] = torch.eye(channels)
        node = FloatNode(name=name, kind="conv", input=x.layer, residual=residual, relu=relu,
                         weights=weights, stride=_one("subsampling", x.step), exact=True)
        return self._new(node, x)

    def _plain(self, x: Value) -> Value:
        """Return ``x`` as the output of a layer."""
        if x.padded:
            raise Refusal("padding must be followed by a convolution or a pool")
        return self._identity(x.moved_by, x) if x.thinned else x

    def _map(self, x: Value) -> Value:
        """Return ``x`` as a layer's output, which may be padded."""
        if x.axes != "NCHW":
            raise Refusal(f"its input must be a map with the channels first, not {x.axes}")
        if not x.thinned:
            return x
        # Padding came last: what comes before it becomes a layer.
        top, left, bottom, right = x.padding
        channels, height, width = x.shape
        inner = replace(x, padding=(0, 0, 0, 0),
                        shape=(channels, height - top - bottom, width - left - right))
        return replace(self._plain(inner), padding=x.padding, fill=x.fill, shape=x.shape)

    def convolution(
        self, site: Site, x: Value, weights: Array, bias: Array | None, *,
        stride: Sequence[int], padding: Padding, dilation: Sequence[int], groups: int,
    ) -> Value:
        """Convolve a map with weights (M, C, kh, kw)."""
        if weights.ndim != 4:
            raise Refusal("only convolutions in two dimensions are supported, not weights of "
                          f"shape {weights.shape}")
        if groups != 1:
            raise Refusal(f"groups must be 1, not {groups}")
        if any(d != 1 for d in dilation):
            raise Refusal(f"dilation must be 1, not {tuple(dilation)}")
        if x.padded and x.fill:
            raise Refusal(f"padding before a convolution must be zeros, not {x.fill}")
        if min(padding) < 0:
            raise Refusal(f"padding must not be negative, not {padding}")
        x = self._map(x)
        top, left, bottom, right = (a + b for a, b in zip(x.padding, padding, strict=True))
        return self._new(FloatNode(
            name=site.layer, kind="conv", input=x.layer, weights=_tensor(weights),
            bias=None if bias is None else _tensor(bias.reshape(-1)),
            kernel=(weights.shape[2], weights.shape[3]), stride=_stride(stride),
            padding=(top, left, bottom, right)), x)

    def linear(self, site: Site, x: Value, weights: Array, bias: Array | None) -> Value:
        """Apply weights (M, K) to a vector of K numbers."""
        flat = x.axes in ("flat NCHW", "flat NHWC")
        if not flat or weights.ndim != 2:
            raise Refusal("its input must be a vector: flatten the map first")
        x = self._plain(x)
        channels, height, width = x.shape
        if weights.shape[1] != channels * height * width:
            raise Refusal(f"weights must have {channels * height * width} inputs, "
                          f"not {weights.shape[1]}")
        if x.axes == "flat NCHW":
            kernels = weights.reshape(-1, channels, height, width)
        else:
            kernels = weights.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
        vector = (height, width) == (1, 1)
        return self._new(FloatNode(
            name=site.layer, kind="linear" if vector else "conv", input=x.layer,
            weights=_tensor(kernels), kernel=(height, width),
            bias=None if bias is None else _tensor(np.broadcast_to(bias.reshape(-1), len(kernels))),
        ), replace(x, axes="flat NCHW"))

    def normalisation(
        self, x: Value, gamma: Array | None, beta: Array | None, mean: Array, variance: Array,
        eps: float,
    ) -> Value:
        """Normalise the output of a convolution or linear layer."""
        node = self._open(x, "weights")
        if node is None or node.norm is not None or x.axes == "NHWC":
            raise Refusal("it must directly follow a convolution or linear layer whose output "
                          "nothing else takes")
        norm = Normalisation(
            gamma=_tensor(np.ones_like(mean) if gamma is None else gamma),
            beta=_tensor(np.zeros_like(mean) if beta is None else beta),
            mean=_tensor(mean), variance=_tensor(variance), eps=eps)
        return self._fused(x, replace(node, norm=norm))

    def _per_channel(self, x: Value, constant: Array) -> Array:
        """Return a constant that is added or multiplied as (channels,)."""
        channel = len(x.dims) if x.axes == "NHWC" else 1
        full = constant.reshape((1,) * (len(x.dims) + 1 - constant.ndim) + constant.shape)
        others = [n for axis, n in enumerate(full.shape) if axis != channel]
        flat = full.reshape(-1)
        if any(n != 1 for n in others) or flat.size not in (1, x.shape[0]):
            raise Refusal(f"a constant must have one number per channel, "
                          f"not shape {constant.shape} beside {(1, *x.dims)}")
        return np.broadcast_to(flat, x.shape[0])

    def add_constant(self, x: Value, constant: Array) -> Value:
        """Add a number per channel to the output of a convolution or linear layer."""
        values = _tensor(self._per_channel(x, constant))
        node = self._open(x, "weights")
        if node is None:
            raise Refusal("a constant can only be added to the output of a convolution or linear "
                          "layer; prepare images before the network")
        if node.norm is not None:
            node = replace(node, norm=replace(node.norm, beta=node.norm.beta + values))
        else:
            node = replace(node, bias=values if node.bias is None else node.bias + values)
        return self._fused(x, node)

    def scale(self, x: Value, constant: Array) -> Value:
        """Multiply the output of a convolution or linear layer by a number per channel."""
        values = self._per_channel(x, constant)
        node = self._open(x, "weights")
        if node is None:
            raise Refusal("only the output of a convolution or linear layer can be multiplied by "
                          "a constant; prepare images before the network")
        if node.norm is None:
            zero = np.zeros_like(values)
            return self.normalisation(x, values, zero, zero, np.ones_like(values), 0.0)
        norm = node.norm
        return self._fused(x, replace(node, norm=replace(
            norm, gamma=norm.gamma * _tensor(values), beta=norm.beta * _tensor(values))))

    def relu(self, site: Site, x: Value) -> Value:
        """Clamp to zero from below."""
        node = self._nodes.get(x.layer)
        if self._not_negative(x.layer):
            return x
        clean = not (x.shared or x.padded or x.thinned)
        if node is not None and node.weights is not None and clean:
            return self._fused(x, replace(node, relu=True))
        if x.layer == _IMAGE and not x.thinned:
            raise Refusal("it must follow a layer, not the image")
        return self._identity(site.layer, x, relu=True)

    def _not_negative(self, layer: str) -> bool:
        node = self._nodes.get(layer)
        while node is not None and not node.relu and node.kind in ("max_pool", "average_pool"):
            node = self._nodes.get(node.input)
        return node is not None and node.relu

    def add(self, site: Site, a: Value, b: Value) -> Value:
        """Add two tensors: the deeper convolution takes the other as its residual operand."""
        if a.shape != b.shape or a.axes != b.axes:
            raise Refusal(f"both operands must have the same shape, not {(1, *a.dims)} and "
                          f"{(1, *b.dims)}")
        able = [(x, node) for x in (a, b) if (node := self._open(x, "residual")) is not None]
        if not able:
            return self._identity(site.layer, a, residual=self._plain(b).layer)
        x, node = max(able, key=lambda pair: self._depths[pair[0].layer])
        other = self._plain(b if x is a else a)
        self._depths[node.name] = max(self._depths[node.name], 1 + self._depths[other.layer])
        return self._fused(x, replace(node, residual=other.layer))

    def max_pool(
        self, site: Site, x: Value, *, kernel: Sequence[int], stride: Sequence[int],
        padding: Padding, dilation: Sequence[int], ceil: bool,
    ) -> Value:
        """Take maxima; ``ceil`` lets the last window reach beyond the map."""
        if tuple(kernel) == (1, 1) and not any(padding) and not ceil:
            return self._every(site, x, stride)
        if any(d != 1 for d in dilation):
            raise Refusal(f"dilation must be 1, not {tuple(dilation)}")
        if x.padded and x.fill != -math.inf and not (
                x.fill == 0 and self._not_negative(x.layer)):
            raise Refusal("padding before a max pool must be minus infinity, or zeros around a "
                          f"map without negative numbers, not {x.fill}")
        step, x = _stride(stride), self._map(x)
        _, height, width = x.shape
        top, left, bottom, right = padding
        if ceil:
            bottom = _last_window(height, kernel[0], step, top, bottom)
            right = _last_window(width, kernel[1], step, left, right)
        top, left, bottom, right = (
            a + b for a, b in zip(x.padding, (top, left, bottom, right), strict=True))
        node = FloatNode(name=site.layer, kind="max_pool", input=x.layer,
                         kernel=(kernel[0], kernel[1]), stride=step,
                         padding=(top, left, bottom, right))
        return self._new(node, x)

    def _every(self, site: Site, x: Value, stride: Sequence[int]) -> Value:
        """Keep every other row and column: a pool with a window of one."""
        if _stride(stride) == 1:
            return x
        if x.padded or x.axes != "NCHW":
            raise Refusal("a pool with a window of 1 must follow a map with the channels first, "
                          "without padding")
        channels, height, width = x.shape
        return replace(x, step=(2 * x.step[0], 2 * x.step[1]), moved_by=x.moved_by or site.layer,
                       shape=(channels, -(-height // 2), -(-width // 2)))

    def average_pool(
        self, site: Site, x: Value, *, kernel: Sequence[int], stride: Sequence[int],
        padding: Padding,
    ) -> Value:
        """Take the mean of the whole map."""
        if x.axes != "NCHW":
            raise Refusal(f"its input must be a map with the channels first, not {x.axes}")
        if tuple(kernel) == (1, 1) and x.shape[1:] != (1, 1) and not any(padding):
            return self._every(site, x, stride)
        if tuple(kernel) != x.shape[1:] or any(padding) or x.padded:
            raise Refusal(f"an average pool must cover the whole map of {x.shape[1]}×{x.shape[2]} "
                          f"without padding, not {kernel[0]}×{kernel[1]} with padding {padding}")
        return self.mean(site, x)

    def mean(self, site: Site, x: Value) -> Value:
        """Take the mean of the whole map, which becomes 1×1."""
        x = self._plain(x)
        if x.shape[1:] == (1, 1):
            return x
        node = FloatNode(name=site.layer, kind="average_pool", input=x.layer)
        return self._new(node, x)

    def finish(self, output: Value) -> FloatGraph:
        """Return the layers that the output needs, a shortcut directly before its addition."""
        output = self._plain(output)
        if output.layer == _IMAGE:
            raise Refusal("the model has no layers")
        order: list[FloatNode] = []
        placed = {_IMAGE}
        stack = [output.layer]
        while stack:
            node = self._nodes[stack[-1]] if stack[-1] not in placed else None
            waiting = [] if node is None else [
                name for name in (node.residual, node.input)
                if name is not None and name not in placed]
            if waiting:
                stack += waiting
                continue
            name = stack.pop()
            if node is not None and name not in placed:
                order.append(node)
                placed.add(name)
        return FloatGraph(self._name, tuple(order), self._shapes[_IMAGE], tuple(self.notes))
