"""Drawn networks: small residual graphs of every kind of layer, for tests and benches."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from smartdeal.golden.formats import PACKED
from smartdeal.golden.layers import IntegerLayer, IntegerNetwork, IntegerNode, TensorScale
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.cases import Form, draw_layer

__all__ = ["draw_network"]


@dataclass
class _Drawing:
    """A network while it is drawn."""

    rng: np.random.Generator
    config: AcceleratorConfig
    nodes: list[IntegerNode] = field(default_factory=list)
    shapes: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    zero_points: dict[str, int] = field(default_factory=dict)
    #: Tensors of ±1.
    binary: set[str] = field(default_factory=set)

    def add(
        self, source: str, form: Form, residual: str | None = None, **fixed: Any,
    ) -> str:
        """Append a layer that reads a tensor, and return the name of its output."""
        channels, height, width = self.shapes[source]
        layer = draw_layer(self.rng, self.config, form=form, channels=channels, height=height,
                           width=width, residual=residual is not None,
                           **{"binary_output": False, **fixed})
        name = f"{form}{len(self.nodes)}"
        layer = replace(
            self._with_zero_point(layer, self.zero_points[source]), name=name,
            residual_zero_point=self.zero_points[residual] if residual is not None else 0)
        if form == "max_pool":
            layer = replace(layer, output_zero_point=self.zero_points[source])
        self.nodes.append(IntegerNode(layer, source, residual))
        self.shapes[name] = layer.output_shape
        self.zero_points[name] = layer.output_zero_point
        if layer.binary_output:
            self.binary.add(name)
        return name

    def _with_zero_point(self, layer: IntegerLayer, zero_point: int) -> IntegerLayer:
        """Return the layer with another input zero point, its sums staying the same."""
        if layer.binary_input:  # the padding of whole bytes may be either
            own = layer.input_shape[0] % PACKED == 0 and self.rng.random() < 0.3
            return layer if own else replace(layer, input_zero_point=zero_point)
        change = zero_point - layer.input_zero_point
        parameters = layer.requantisation
        if layer.weights is not None and parameters is not None:
            total = layer.weights.integer().sum(axis=(1, 2, 3))
            parameters = replace(parameters, bias=parameters.bias + total * change)
        elif parameters is not None:
            positions = layer.input_shape[1] * layer.input_shape[2]
            parameters = replace(parameters, bias=parameters.bias + positions * change)
        return replace(layer, input_zero_point=zero_point, requantisation=parameters)

    def convolution(self, source: str, *, binary: bool | None = None, **fixed: Any) -> str:
        """Append a convolution of a form that the configuration has.

        Parameters
        ----------
        binary : bool, optional
            Whether the output is ±1; by chance if the configuration can.
        """
        _, height, width = self.shapes[source]
        if binary is None:
            binary = self.config.binary and self.rng.random() < 0.6
        forms: list[Form] = ["binary" if source in self.binary else "terms"]
        if self.config.basis and not binary and source not in self.binary:
            basis: dict[tuple[int, int], Form] = {(3, 3): "kernel", (1, 1): "channel"}
            if fixed["kernel"] in basis:
                forms.append(basis[fixed["kernel"]])
        drawn = forms[int(self.rng.integers(len(forms)))]
        kernel = fixed.pop("kernel")
        if "padding" not in fixed and min(height, width) < max(kernel):
            fixed["padding"] = _same(kernel)
        return self.add(source, drawn, kernel=kernel, binary_output=binary, **fixed)

    def block(self, source: str) -> str:
        """Append a residual block, with a shortcut if shapes differ."""
        rng = self.rng
        stride = int(rng.integers(1, 3))
        channels = self.shapes[source][0] if stride == 1 and rng.random() < 0.6 else int(
            rng.integers(1, 9))
        if self.config.binary and rng.random() < 0.5:  # whole bytes can be added to
            channels = PACKED
        inner = self.convolution(source, kernel=(3, 3), padding=(1, 1, 1, 1), stride=stride,
                                 filters=channels)
        shortcut = source
        if self.shapes[inner] != self.shapes[source] or source in self.binary:
            shortcut = self.convolution(source, kernel=(1, 1), padding=(0, 0, 0, 0),
                                        stride=stride, filters=channels, binary=False)
        kernel = (3, 3) if rng.random() < 0.7 else (1, 1)
        return self.convolution(inner, kernel=kernel, padding=_same(kernel), stride=1,
                                filters=channels, residual=shortcut,
                                binary=None if channels % PACKED == 0 else False)


def _same(kernel: tuple[int, int]) -> tuple[int, int, int, int]:
    top, left = kernel[0] // 2, kernel[1] // 2
    return top, left, top, left


def draw_network(
    rng: np.random.Generator, config: AcceleratorConfig, blocks: int = 4,
) -> IntegerNetwork:
    """Draw a network whose forms the configuration can run; it may not fit.

    Parameters
    ----------
    blocks : int
        Residual blocks, plain convolutions and pools before the end of the network.
    """
    image = IntegerNetwork.IMAGE
    shape = (int(rng.integers(1, 5)), int(rng.integers(3, 15)), int(rng.integers(3, 15)))
    zero = int(rng.choice([0, -128, 17]))
    drawing = _Drawing(rng, config, shapes={image: shape}, zero_points={image: zero})
    last = image
    for _ in range(blocks):
        if rng.random() < 0.2:  # a tensor with several readers, and perhaps one with none
            last = str(rng.choice(list(drawing.shapes)))
        choice = rng.random()
        if choice < 0.5 and config.residual:
            last = drawing.block(last)
        elif choice < 0.65 and config.max_pool and last not in drawing.binary:
            last = drawing.add(last, "max_pool", kernel=(3, 3), padding=(1, 1, 1, 1))
        else:
            size = int(rng.choice([1, 3, 5]))
            last = drawing.convolution(last, kernel=(size, size), filters=int(rng.integers(1, 9)))
    if config.reduce and rng.random() < 0.7:
        if last in drawing.binary:
            last = drawing.convolution(last, kernel=(3, 3), filters=int(rng.integers(1, 9)),
                                       binary=False)
        last = drawing.add(last, "average_pool")
        if rng.random() < 0.3:  # the padding of a map of one pixel
            last = drawing.convolution(last, kernel=(3, 3), padding=(1, 1, 1, 1), stride=1,
                                       filters=int(rng.integers(1, 9)), binary=False)
        drawing.add(last, "linear", filters=int(rng.integers(1, 13)))
    scales = {name: TensorScale(1.0, zero) for name, zero in drawing.zero_points.items()}
    return IntegerNetwork("drawn", tuple(drawing.nodes), scales)
