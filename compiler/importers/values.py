"""Tensors of a model while it is read, and the operators that only move their numbers.

Padding, subsampling and channels of zeros are not layers of their own: they are noted in the value
and become part of the layer that takes it (:mod:`smartdeal.compiler.importers.builder`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.importers.errors import Refusal
from smartdeal.golden.graph import Padding, Shape

__all__ = ["Array", "Axes", "Site", "Value", "concatenate", "pad", "reshape", "subsample",
           "transpose"]

Array = NDArray[np.generic]

#: How the model lays out a value: a map with the channels before or after it, a vector that was
#: such a map, or a vector with an axis of length 1 behind it.
Axes = Literal["NCHW", "NHWC", "flat NCHW", "flat NHWC", "NC1"]

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
_NO_PADDING: Padding = (0, 0, 0, 0)


@dataclass(frozen=True)
class Site:
    """The operator that is being read.

    Parameters
    ----------
    operator : str
        Its type, as the user knows it.
    node : str
        Its name in the model.
    layer : str
        What a layer that begins here is called.
    """

    operator: str
    node: str
    layer: str

    def problem(self, reason: object) -> str:
        """Return a refusal as a line for the user."""
        return f"{self.operator} {self.node!r}: {reason}"


@dataclass(frozen=True, kw_only=True)
class Value:
    """A layer's output, and what has happened to it since.

    Parameters
    ----------
    layer : str
        Name of the layer, or of the image.
    shape : (channels, height, width)
        With what has happened.
    axes : Axes
    shared : bool
        More than one operator takes it: a layer must not be changed for one of them.
    step : (vertical, horizontal)
        Every how many rows and columns are kept.
    padding : (top, left, bottom, right)
        Rows and columns of ``fill`` around the map.
    fill : float
    channels_before, channels_after : int
        Channels of zeros.
    moved_by : str
        Layer name of the first operator that left one of these traces; empty if none did.
    """

    layer: str
    shape: Shape
    axes: Axes = "NCHW"
    shared: bool = False
    step: tuple[int, int] = (1, 1)
    padding: Padding = _NO_PADDING
    fill: float = 0.0
    channels_before: int = 0
    channels_after: int = 0
    moved_by: str = ""

    @property
    def dims(self) -> tuple[int, ...]:
        """Shape of one sample as the model sees it."""
        channels, height, width = self.shape
        if self.axes == "NCHW":
            return channels, height, width
        if self.axes == "NHWC":
            return height, width, channels
        if self.axes == "NC1":
            return channels, 1
        return (channels * height * width,)

    @property
    def padded(self) -> bool:
        """Whether there is padding that a layer must take over."""
        return self.padding != _NO_PADDING

    @property
    def thinned(self) -> bool:
        """Whether rows, columns or channels differ from the layer's."""
        return self.step != (1, 1) or bool(self.channels_before or self.channels_after)

    def axis(self, name: Literal["C", "H", "W"]) -> int:
        """Return the position of an axis, the batch being 0."""
        if self.axes not in ("NCHW", "NHWC"):
            raise Refusal("its input must be a map, not a vector")
        return self.axes.index(name)


def transpose(x: Value, order: Sequence[int]) -> Value:
    """Change between channels first and channels last."""
    order = tuple(axis % max(len(order), 1) for axis in order)
    if order == tuple(range(len(x.dims) + 1)):
        return x
    if x.axes == "NCHW" and order == _TO_LAST:
        return replace(x, axes="NHWC")
    if x.axes == "NHWC" and order == _TO_FIRST:
        return replace(x, axes="NCHW")
    raise Refusal(f"the order of axes must be {_TO_LAST} or {_TO_FIRST}, between channels first "
                  f"and channels last, not {order}")


def reshape(x: Value, target: Sequence[int], batch: int = 1) -> Value:
    """Flatten a map, or add and drop axes of length 1.

    Parameters
    ----------
    target : sequence of int
        New shape, the batch first; -1 once for what is left.
    batch : int
        Size of the batch with which the model was written.
    """
    size = batch * math.prod(x.dims)
    known = math.prod(n for n in target if n != -1)
    shape = tuple(size // known if n == -1 and known else n for n in target)
    if shape and math.prod(shape) == size and shape[0] == batch:
        sample, channels = shape[1:], x.shape[0]
        if sample == x.dims:
            return x
        if len(sample) == 1:
            order: Axes = "flat NHWC" if x.axes in ("NHWC", "flat NHWC") else "flat NCHW"
            return replace(x, axes=order)
        if x.shape[1:] == (1, 1):
            if sample == (channels, 1):
                return replace(x, axes="NC1")
            if sample == (channels, 1, 1):
                return replace(x, axes="NCHW")
            if sample == (1, 1, channels):
                return replace(x, axes="NHWC")
    raise Refusal(f"it must flatten a map or add and drop axes of length 1, not turn "
                  f"{(batch, *x.dims)} into {tuple(target)}")


def pad(x: Value, before: Sequence[int], after: Sequence[int], fill: float, layer: str) -> Value:
    """Note padding; ``before`` and ``after`` hold a number for each axis, the batch first."""
    if not any(before) and not any(after):
        return x
    channel, row, column = x.axis("C"), x.axis("H"), x.axis("W")
    if before[0] or after[0] or min(*before, *after) < 0:
        raise Refusal(f"padding must not be negative or on the batch, not {tuple(before)} and "
                      f"{tuple(after)}")
    if x.padded and fill != x.fill:
        raise Refusal(f"padding must have one value, not {x.fill} and {fill}")
    spatial = (before[row], before[column], after[row], after[column])
    if fill and (before[channel] or after[channel]):
        raise Refusal(f"added channels must be zeros, not {fill}")
    if x.padded and (before[channel] or after[channel]):
        raise Refusal("channels must be added before rows and columns")
    top, left, bottom, right = (a + b for a, b in zip(x.padding, spatial, strict=True))
    channels, height, width = x.shape
    return replace(
        x, padding=(top, left, bottom, right), fill=fill if any(spatial) else x.fill,
        channels_before=x.channels_before + before[channel],
        channels_after=x.channels_after + after[channel],
        shape=(channels + before[channel] + after[channel],
               height + spatial[0] + spatial[2], width + spatial[1] + spatial[3]),
        moved_by=x.moved_by or layer)


def subsample(x: Value, axis: int, start: int, stop: int, step: int, layer: str) -> Value:
    """Note a slice along one axis: all of it, or every other row or column from the first."""
    axis %= len(x.dims) + 1
    length = x.dims[axis - 1] if axis else stop
    start, stop, step = slice(start, stop, step).indices(length)
    if (start, stop, step) == (0, length, 1):
        return x
    rows, columns = x.axis("H"), x.axis("W")
    if (start, stop, step) != (0, length, 2) or axis not in (rows, columns) or x.padded:
        raise Refusal("a slice must keep every other row or column of a map from the first, "
                      f"not {start}:{stop}:{step} of axis {axis}")
    channels, height, width = x.shape
    if axis == rows:
        return replace(x, step=(x.step[0] * 2, x.step[1]), shape=(channels, -(-height // 2), width),
                       moved_by=x.moved_by or layer)
    return replace(x, step=(x.step[0], x.step[1] * 2), shape=(channels, height, -(-width // 2)),
                   moved_by=x.moved_by or layer)


def concatenate(parts: Sequence[Value | Array], axis: int, layer: str) -> Value:
    """Note channels of zeros around one value."""
    values = [part for part in parts if isinstance(part, Value)]
    if len(values) != 1:
        raise Refusal(f"it must add channels of zeros to one tensor, not join {len(values)}")
    x = values[0]
    axis %= len(x.dims) + 1
    if axis != x.axis("C") or any(
            np.any(part) or part.ndim != len(x.dims) + 1
            for part in parts if not isinstance(part, Value)):
        raise Refusal("it must add channels of zeros to one tensor")
    at = next(i for i, part in enumerate(parts) if isinstance(part, Value))
    before, after = [0] * (len(x.dims) + 1), [0] * (len(x.dims) + 1)
    for i, part in enumerate(parts):
        if not isinstance(part, Value):
            (before if i < at else after)[axis] += part.shape[axis]
    return pad(x, before, after, 0.0, layer)
