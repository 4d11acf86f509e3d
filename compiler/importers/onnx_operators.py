"""Operators of ONNX as calls of the builder, one function each.

A function takes the operands, with None for one that is left out, and the attributes by name, both
as the operator's specification has them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smartdeal.compiler.importers.builder import GraphBuilder
from smartdeal.compiler.importers.errors import Refusal
from smartdeal.compiler.importers.values import (
    Array,
    Site,
    Value,
    concatenate,
    pad,
    reshape,
    subsample,
    transpose,
)
from smartdeal.golden.graph import Padding

__all__ = ["HANDLERS", "Operands"]

Inputs = Sequence[Value | Array | None]
Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Operands:
    """What every operator needs to know of its model.

    Parameters
    ----------
    builder : GraphBuilder
    batch : int
        Size of the batch with which the model was written.
    opset : int
        Version of the operators.
    """

    builder: GraphBuilder
    batch: int
    opset: int


def _value(x: Value | Array | None) -> Value:
    if not isinstance(x, Value):
        raise Refusal("its first operand must come from the image, not be a constant")
    return x


def _constant(what: str, x: Value | Array | None) -> Array:
    if x is None or isinstance(x, Value):
        raise Refusal(f"{what} must be constant")
    return x


def _optional(what: str, inputs: Inputs, index: int) -> Array | None:
    if len(inputs) <= index or inputs[index] is None:
        return None
    return _constant(what, inputs[index])


def _integers(
    what: str, inputs: Inputs, index: int, attributes: Attributes, name: str,
) -> list[int] | None:
    """Return numbers that older versions have as an attribute and newer ones as an operand."""
    given = _optional(what, inputs, index)
    if given is not None:
        return [int(n) for n in given.reshape(-1)]
    return [int(n) for n in attributes[name]] if name in attributes else None


def _window(x: Value, kernel: Sequence[int], attributes: Attributes) -> tuple[list[int], Padding]:
    """Return stride and padding of a convolution or pool."""
    stride = [int(n) for n in attributes.get("strides", (1, 1))]
    mode = attributes.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        dilation = attributes.get("dilations", (1, 1))
        before, after = [], []
        for size, taps, step, spread in zip(x.shape[1:], kernel, stride, dilation, strict=True):
            total = max(0, (-(-size // step) - 1) * step + (taps - 1) * spread + 1 - size)
            small, large = total // 2, total - total // 2
            before.append(small if mode == "SAME_UPPER" else large)
            after.append(large if mode == "SAME_UPPER" else small)
        return stride, (before[0], before[1], after[0], after[1])
    if mode not in ("NOTSET", "VALID"):
        raise Refusal(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not {mode}")
    given = attributes.get("pads", (0, 0, 0, 0)) if mode == "NOTSET" else (0, 0, 0, 0)
    if len(given) != 4 or len(stride) != 2:
        raise Refusal("only windows in two dimensions are supported")
    top, left, bottom, right = (int(n) for n in given)
    return stride, (top, left, bottom, right)


def _conv(operands: Operands, site: Site, inputs: Inputs, attributes: Attributes) -> Value:
    x, weights = _value(inputs[0]), _constant("weights", inputs[1])
    kernel = weights.shape[2:]
    if len(kernel) != 2:
        raise Refusal(f"only convolutions in two dimensions are supported, not weights of shape "
                      f"{weights.shape}")
    stride, padding = _window(x, kernel, attributes)
    return operands.builder.convolution(
        site, x, weights, _optional("bias", inputs, 2), stride=stride, padding=padding,
        dilation=attributes.get("dilations", (1, 1)), groups=attributes.get("group", 1))


def _batch_norm(operands: Operands, _: Site, inputs: Inputs, attributes: Attributes) -> Value:
    if attributes.get("training_mode", 0):
        raise Refusal("the model must be exported for inference, not for training")
    gamma, beta, mean, variance = (_constant("parameters", x) for x in inputs[1:5])
    return operands.builder.normalisation(_value(inputs[0]), gamma, beta, mean, variance,
                                          attributes.get("epsilon", 1e-5))


def _relu(operands: Operands, site: Site, inputs: Inputs, _: Attributes) -> Value:
    return operands.builder.relu(site, _value(inputs[0]))


def _clip(operands: Operands, site: Site, inputs: Inputs, attributes: Attributes) -> Value:
    bounds = []
    for index, name, default in ((1, "min", -math.inf), (2, "max", math.inf)):
        given = _optional("a bound", inputs, index)
        bounds.append(float(attributes.get(name, default)) if given is None
                      else float(given.reshape(-1)[0]))
    # Exporters write "no upper bound" as the largest number.
    if bounds[0] != 0 or bounds[1] < np.finfo(np.float32).max:
        raise Refusal(f"the bounds must be 0 and infinity, not {bounds[0]} and {bounds[1]}")
    return operands.builder.relu(site, _value(inputs[0]))


def _add(operands: Operands, site: Site, inputs: Inputs, _: Attributes) -> Value:
    if len(inputs) != 2:
        raise Refusal(f"two operands can be added, not {len(inputs)}")
    a, b = inputs
    if isinstance(a, Value) and isinstance(b, Value):
        return operands.builder.add(site, a, b)
    x, constant = (a, b) if isinstance(a, Value) else (b, a)
    return operands.builder.add_constant(_value(x), _constant("an operand", constant))


def _sub(operands: Operands, _: Site, inputs: Inputs, __: Attributes) -> Value:
    return operands.builder.add_constant(_value(inputs[0]), np.negative(
        _constant("the second operand", inputs[1]).astype(np.float64)))


def _mul(operands: Operands, _: Site, inputs: Inputs, __: Attributes) -> Value:
    x, factor = inputs if isinstance(inputs[0], Value) else (inputs[1], inputs[0])
    return operands.builder.scale(_value(x), _constant("one factor", factor))


def _div(operands: Operands, _: Site, inputs: Inputs, __: Attributes) -> Value:
    divisor = _constant("the divisor", inputs[1]).astype(np.float64)
    if not divisor.all():
        raise Refusal("the divisor must not be 0")
    return operands.builder.scale(_value(inputs[0]), 1 / divisor)


def _max_pool(operands: Operands, site: Site, inputs: Inputs, attributes: Attributes) -> Value:
    x, kernel = _value(inputs[0]), attributes["kernel_shape"]
    stride, padding = _window(x, kernel, attributes)
    return operands.builder.max_pool(
        site, x, kernel=kernel, stride=stride, padding=padding,
        dilation=attributes.get("dilations", (1, 1)), ceil=bool(attributes.get("ceil_mode", 0)))


def _average_pool(operands: Operands, site: Site, inputs: Inputs, attributes: Attributes) -> Value:
    x, kernel = _value(inputs[0]), attributes["kernel_shape"]
    stride, padding = _window(x, kernel, attributes)
    return operands.builder.average_pool(site, x, kernel=kernel, stride=stride, padding=padding)


def _global_pool(operands: Operands, site: Site, inputs: Inputs, _: Attributes) -> Value:
    x = _value(inputs[0])
    return operands.builder.average_pool(site, x, kernel=x.shape[1:], stride=(1, 1),
                                         padding=(0, 0, 0, 0))


def _reduce_mean(operands: Operands, site: Site, inputs: Inputs, attributes: Attributes) -> Value:
    x = _value(inputs[0])
    axes = _integers("axes", inputs, 1, attributes, "axes") or []
    wanted = sorted((x.axis("H"), x.axis("W")))
    if sorted(axis % (len(x.dims) + 1) for axis in axes) != wanted:
        raise Refusal(f"axes must be those of rows and columns, {wanted}, not {axes}")
    mean = operands.builder.mean(site, x)
    if attributes.get("keepdims", 1):
        return mean
    return reshape(mean, (operands.batch, x.shape[0]), operands.batch)


def _flatten(operands: Operands, _: Site, inputs: Inputs, attributes: Attributes) -> Value:
    axis = attributes.get("axis", 1)
    if axis not in (1, 1 - (len(_value(inputs[0]).dims) + 1)):
        raise Refusal(f"axis must be 1, not {axis}")
    return reshape(_value(inputs[0]), (operands.batch, -1), operands.batch)


def _reshape(operands: Operands, _: Site, inputs: Inputs, attributes: Attributes) -> Value:
    x = _value(inputs[0])
    target = _integers("the shape", inputs, 1, attributes, "shape") or []
    old = (operands.batch, *x.dims)
    if not attributes.get("allowzero", 0):
        target = [old[i] if n == 0 and i < len(old) else n for i, n in enumerate(target)]
    return reshape(x, target, operands.batch)


def _squeeze(operands: Operands, _: Site, inputs: Inputs, attributes: Attributes) -> Value:
    x = _value(inputs[0])
    dims = (operands.batch, *x.dims)
    axes = _integers("axes", inputs, 1, attributes, "axes")
    dropped = [i for i, n in enumerate(dims) if i and n == 1] if axes is None else [
        axis % len(dims) for axis in axes]
    if any(dims[axis] != 1 for axis in dropped):
        raise Refusal(f"axes must have length 1, not {[dims[axis] for axis in dropped]}")
    return reshape(x, [n for i, n in enumerate(dims) if i not in dropped], operands.batch)


def _unsqueeze(operands: Operands, _: Site, inputs: Inputs, attributes: Attributes) -> Value:
    x = _value(inputs[0])
    axes = _integers("axes", inputs, 1, attributes, "axes") or []
    target = [operands.batch, *x.dims]
    for axis in sorted(axis % (len(target) + len(axes)) for axis in axes):
        target.insert(axis, 1)
    return reshape(x, target, operands.batch)


def _gemm(operands: Operands, site: Site, inputs: Inputs, attributes: Attributes) -> Value:
    weights = _constant("weights", inputs[1])
    if attributes.get("transA", 0):
        raise Refusal("transA must be 0, not 1")
    if not attributes.get("transB", 0):
        weights = weights.T
    bias = _optional("bias", inputs, 2)
    if bias is not None:
        bias = bias * attributes.get("beta", 1.0)
    return operands.builder.linear(site, _value(inputs[0]), weights * attributes.get("alpha", 1.0),
                                   bias)


def _mat_mul(operands: Operands, site: Site, inputs: Inputs, _: Attributes) -> Value:
    weights = _constant("the second operand", inputs[1])
    if weights.ndim != 2:
        raise Refusal(f"weights must be a matrix, not of shape {weights.shape}")
    return operands.builder.linear(site, _value(inputs[0]), weights.T, None)


def _pad(_: Operands, site: Site, inputs: Inputs, attributes: Attributes) -> Value:
    x = _value(inputs[0])
    mode = attributes.get("mode", "constant")
    if mode != "constant":
        raise Refusal(f"mode must be constant, not {mode}")
    pads = _integers("the padding", inputs, 1, attributes, "pads") or []
    fill = _optional("the value", inputs, 2)
    axes, rank = _optional("axes", inputs, 3), len(x.dims) + 1
    value = float(attributes.get("value", 0.0)) if fill is None or not fill.size else float(
        fill.reshape(-1)[0])
    chosen = range(rank) if axes is None else [int(a) % rank for a in axes]
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(chosen):
        before[axis], after[axis] = pads[i], pads[len(chosen) + i]
    return pad(x, before, after, value, site.layer)


def _slice(_: Operands, site: Site, inputs: Inputs, attributes: Attributes) -> Value:
    x = _value(inputs[0])
    starts = _integers("starts", inputs, 1, attributes, "starts") or []
    ends = _integers("ends", inputs, 2, attributes, "ends") or []
    axes = _integers("axes", inputs, 3, attributes, "axes")
    steps = _integers("steps", inputs, 4, {}, "steps") or [1] * len(starts)
    for axis, start, end, step in zip(
            range(len(starts)) if axes is None else axes, starts, ends, steps, strict=True):
        x = subsample(x, axis, start, end, step, site.layer)
    return x


def _concat(_: Operands, site: Site, inputs: Inputs, attributes: Attributes) -> Value:
    return concatenate([x for x in inputs if x is not None], attributes["axis"], site.layer)


def _transpose(_: Operands, __: Site, inputs: Inputs, attributes: Attributes) -> Value:
    x = _value(inputs[0])
    return transpose(x, attributes.get("perm", range(len(x.dims), -1, -1)))


def _same(_: Operands, __: Site, inputs: Inputs, ___: Attributes) -> Value:
    return _value(inputs[0])


def _dropout(operands: Operands, site: Site, inputs: Inputs, attributes: Attributes) -> Value:
    training = _optional("training_mode", inputs, 2)
    if training is not None and training.any():
        raise Refusal("the model must be exported for inference, not for training")
    return _same(operands, site, inputs, attributes)


#: Operators by type.
HANDLERS: dict[str, Callable[[Operands, Site, Inputs, Attributes], Value]] = {
    "Add": _add, "AveragePool": _average_pool, "BatchNormalization": _batch_norm, "Clip": _clip,
    "Concat": _concat, "Conv": _conv, "Div": _div, "Dropout": _dropout, "Flatten": _flatten,
    "Gemm": _gemm, "GlobalAveragePool": _global_pool, "Identity": _same, "MatMul": _mat_mul,
    "MaxPool": _max_pool, "Mul": _mul, "Pad": _pad, "ReduceMean": _reduce_mean, "Relu": _relu,
    "Reshape": _reshape, "Slice": _slice, "Squeeze": _squeeze, "Sub": _sub, "Sum": _add,
    "Transpose": _transpose, "Unsqueeze": _unsqueeze,
}
