"""Operators of torch as calls of the builder, one function each."""

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

__all__ = ["CONSTANTS", "HANDLERS", "IGNORED", "PROBABILITIES", "Call"]

#: Operators without a result that matters.
IGNORED = ("sym_size", "_assert_scalar", "_assert_async", "_assert_tensor_metadata",
           "sym_constrain_range_for_size")
PROBABILITIES = ("softmax", "_softmax", "log_softmax", "_log_softmax")


@dataclass(frozen=True)
class Call:
    """A call of an operator.

    Parameters
    ----------
    builder : GraphBuilder
    batch : int
        Size of the batch with which the model was exported.
    site : Site
    arguments : mapping of str
        By the operator's parameter names; those with their default value may be missing.
    """

    builder: GraphBuilder
    batch: int
    site: Site
    arguments: Mapping[str, Any]

    def value(self, *names: str) -> Value:
        """Return the first argument of these names, which must depend on the image."""
        x = next(self.arguments[name] for name in names if name in self.arguments)
        if not isinstance(x, Value):
            raise Refusal("its first operand must come from the image, not be a constant")
        return x

    def constant(self, name: str) -> Array:
        """Return an argument that must be a constant."""
        x = self.optional(name)
        if x is None:
            raise Refusal(f"{name} must be constant")
        return x

    def optional(self, name: str) -> Array | None:
        """Return an argument that must be a constant or missing."""
        x = self.arguments.get(name)
        if isinstance(x, Value):
            raise Refusal(f"{name} must be constant")
        return None if x is None else np.asarray(x)

    def pair(self, name: str, default: Sequence[int]) -> tuple[int, int]:
        """Return a number for each direction; one may stand for both."""
        given = self.arguments.get(name)
        values = list(default) if given is None or given == [] else given
        values = [values] if isinstance(values, int) else list(values)
        if len(values) not in (1, 2):
            raise Refusal(f"{name} must have two numbers, not {values}")
        return values[0], values[-1]


def _symmetric(pair: tuple[int, int]) -> Padding:
    return pair[0], pair[1], pair[0], pair[1]


def _convolution(call: Call) -> Value:
    weights = call.constant("weight")
    if weights.ndim != 4:
        raise Refusal("only convolutions in two dimensions are supported, not weights of shape "
                      f"{weights.shape}")
    if call.arguments.get("transposed"):
        raise Refusal("transposed convolutions are not supported")
    dilation = call.pair("dilation", (1, 1))
    mode = call.arguments.get("padding")
    if mode == "same":
        totals = [(taps - 1) * spread for taps, spread in
                  zip(weights.shape[2:], dilation, strict=True)]
        top, left = (total // 2 for total in totals)
        padding: Padding = (top, left, totals[0] - top, totals[1] - left)
    else:
        padding = (0, 0, 0, 0) if mode == "valid" else _symmetric(call.pair("padding", (0, 0)))
    return call.builder.convolution(
        call.site, call.value("input"), weights, call.optional("bias"),
        stride=call.pair("stride", (1, 1)), padding=padding, dilation=dilation,
        groups=call.arguments.get("groups", 1))


def _batch_norm(call: Call) -> Value:
    if call.arguments.get("training"):
        raise Refusal("the model must be exported in evaluation mode; call eval() first")
    return call.builder.normalisation(
        call.value("input"), call.optional("weight"), call.optional("bias"),
        call.constant("running_mean"), call.constant("running_var"), call.arguments["eps"])


def _relu(call: Call) -> Value:
    return call.builder.relu(call.site, call.value("self"))


def _clamp(call: Call) -> Value:
    low, high = (call.arguments.get(key, call.arguments.get(other)) for key, other in (
        ("min", "min_val"), ("max", "max_val")))
    if low != 0 or (high is not None and high < np.finfo(np.float32).max):
        raise Refusal(f"the bounds must be 0 and infinity, not {low} and {high}")
    return call.builder.relu(call.site, call.value("self"))


def _operands(call: Call) -> tuple[Value, Value | Array]:
    a, b = call.arguments["self"], call.arguments["other"]
    if not isinstance(a, Value):
        a, b = b, a
    if not isinstance(a, Value):
        raise Refusal("its first operand must come from the image, not be a constant")
    return a, b if isinstance(b, Value) else np.asarray(b)


def _add(call: Call) -> Value:
    if call.arguments.get("alpha", 1) != 1:
        raise Refusal(f"alpha must be 1, not {call.arguments['alpha']}")
    a, b = _operands(call)
    if isinstance(b, Value):
        return call.builder.add(call.site, a, b)
    return call.builder.add_constant(a, b)


def _sub(call: Call) -> Value:
    return call.builder.add_constant(
        call.value("self"), np.negative(call.constant("other").astype(np.float64)))


def _mul(call: Call) -> Value:
    x, factor = _operands(call)
    if isinstance(factor, Value):
        raise Refusal("one factor must be constant")
    return call.builder.scale(x, factor)


def _div(call: Call) -> Value:
    divisor = call.constant("other").astype(np.float64)
    if not divisor.all():
        raise Refusal("the divisor must not be 0")
    return call.builder.scale(call.value("self"), 1 / divisor)


def _max_pool(call: Call) -> Value:
    kernel = call.pair("kernel_size", ())
    return call.builder.max_pool(
        call.site, call.value("self"), kernel=kernel, stride=call.pair("stride", kernel),
        padding=_symmetric(call.pair("padding", (0, 0))), dilation=call.pair("dilation", (1, 1)),
        ceil=bool(call.arguments.get("ceil_mode", False)))


def _average_pool(call: Call) -> Value:
    kernel = call.pair("kernel_size", ())
    return call.builder.average_pool(
        call.site, call.value("self"), kernel=kernel, stride=call.pair("stride", kernel),
        padding=_symmetric(call.pair("padding", (0, 0))))


def _adaptive_pool(call: Call) -> Value:
    size, x = call.pair("output_size", ()), call.value("self")
    if size != (1, 1):
        raise Refusal(f"an average pool must cover the whole map, not make a map of "
                      f"{size[0]}×{size[1]}")
    return call.builder.average_pool(call.site, x, kernel=x.shape[1:], stride=(1, 1),
                                     padding=(0, 0, 0, 0))


def _mean(call: Call) -> Value:
    x, axes = call.value("self"), call.arguments.get("dim") or []
    wanted = sorted((x.axis("H"), x.axis("W")))
    if sorted(axis % (len(x.dims) + 1) for axis in axes) != wanted:
        raise Refusal(f"axes must be those of rows and columns, {wanted}, not {axes}")
    mean = call.builder.mean(call.site, x)
    if call.arguments.get("keepdim", False):
        return mean
    return reshape(mean, (call.batch, x.shape[0]), call.batch)


def _flatten(call: Call) -> Value:
    x = call.value("self")
    rank = len(x.dims) + 1
    first = call.arguments.get("start_dim", 0) % rank
    last = call.arguments.get("end_dim", -1) % rank
    if first == 0:
        raise Refusal("the batch must not be flattened; start_dim must be 1, not 0")
    dims = (call.batch, *x.dims)
    return reshape(x, (*dims[:first], math.prod(dims[first:last + 1]), *dims[last + 1:]),
                   call.batch)


def _view(call: Call) -> Value:
    size = call.arguments.get("size", call.arguments.get("shape"))
    return reshape(call.value("self"), size or [], call.batch)


def _squeeze(call: Call) -> Value:
    x, given = call.value("self"), call.arguments.get("dim")
    dims = (call.batch, *x.dims)
    axes = range(1, len(dims)) if given is None else [given] if isinstance(given, int) else given
    dropped = [axis % len(dims) for axis in axes if dims[axis % len(dims)] == 1]
    return reshape(x, [n for i, n in enumerate(dims) if i not in dropped], call.batch)


def _linear(call: Call) -> Value:
    return call.builder.linear(call.site, call.value("input"), call.constant("weight"),
                               call.optional("bias"))


def _addmm(call: Call) -> Value:
    if call.arguments.get("alpha", 1) != 1 or call.arguments.get("beta", 1) != 1:
        raise Refusal("alpha and beta must be 1")
    return call.builder.linear(call.site, call.value("mat1"), call.constant("mat2").T,
                               call.constant("self"))


def _matmul(call: Call) -> Value:
    weights = call.constant("other" if "other" in call.arguments else "mat2")
    return call.builder.linear(call.site, call.value("self"), weights.T, None)


def _pad(call: Call) -> Value:
    x, pads = call.value("self"), call.arguments["pad"]
    mode = call.arguments.get("mode", "constant")
    if mode != "constant":
        raise Refusal(f"mode must be constant, not {mode}")
    rank = len(x.dims) + 1
    before, after = [0] * rank, [0] * rank
    for i in range(len(pads) // 2):  # the last axis comes first
        before[rank - 1 - i], after[rank - 1 - i] = pads[2 * i], pads[2 * i + 1]
    return pad(x, before, after, float(call.arguments.get("value") or 0), call.site.layer)


def _slice(call: Call) -> Value:
    start, end = call.arguments.get("start"), call.arguments.get("end")
    return subsample(call.value("self"), call.arguments.get("dim", 0), start or 0,
                     np.iinfo(np.int64).max if end is None else end,
                     call.arguments.get("step", 1), call.site.layer)


def _concatenate(call: Call) -> Value:
    return concatenate(call.arguments["tensors"], call.arguments.get("dim", 0), call.site.layer)


def _permute(call: Call) -> Value:
    return transpose(call.value("self"), call.arguments["dims"])


def _same(call: Call) -> Value:
    return call.value("self", "input")


def _dropout(call: Call) -> Value:
    if call.arguments.get("train"):
        raise Refusal("the model must be exported in evaluation mode; call eval() first")
    return _same(call)


#: Operators on what comes from the image, by name without overload.
HANDLERS: dict[str, Callable[[Call], Value]] = {
    "_native_batch_norm_legit_no_training": _batch_norm, "_unsafe_view": _view,
    "adaptive_avg_pool2d": _adaptive_pool, "add": _add, "addmm": _addmm, "alias": _same,
    "avg_pool2d": _average_pool, "batch_norm": _batch_norm, "cat": _concatenate, "clamp": _clamp,
    "clamp_min": _clamp, "clone": _same, "constant_pad_nd": _pad, "contiguous": _same,
    "conv2d": _convolution, "convolution": _convolution, "detach": _same, "div": _div,
    "dropout": _dropout, "feature_dropout": _dropout, "flatten": _flatten, "hardtanh": _clamp,
    "linear": _linear, "matmul": _matmul, "max_pool2d": _max_pool,
    "max_pool2d_with_indices": _max_pool, "mean": _mean, "mm": _matmul, "mul": _mul, "pad": _pad,
    "permute": _permute, "relu": _relu, "reshape": _view, "slice": _slice, "squeeze": _squeeze,
    "sub": _sub, "view": _view,
}


def _filled(call: Call) -> Array:
    like = call.arguments.get("self")
    size = call.arguments.get("size") if like is None else (
        (call.batch, *like.dims) if isinstance(like, Value) else like.shape)
    return np.full(size or (), call.arguments.get("fill_value", 0), np.float32)


def _permuted(call: Call) -> Array:
    return np.transpose(call.constant("self"), call.arguments.get("dims"))


def _scaled(call: Call) -> Array:
    return np.multiply(call.constant("self"), call.constant("other"))


#: Operators on constants, by name without overload.
CONSTANTS: dict[str, Callable[[Call], Array]] = {
    "clone": lambda call: call.constant("self"), "detach": lambda call: call.constant("self"),
    "full": _filled, "full_like": _filled, "mul": _scaled, "permute": _permuted, "t": _permuted,
    "zeros": _filled, "zeros_like": _filled,
}
