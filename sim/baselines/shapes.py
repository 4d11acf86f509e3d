"""Networks as shapes: what every model of an accelerator is given, and the zeros they may use."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["NETWORKS", "ShapeError", "ShapeNetwork", "Sparsity", "WeightShape", "network"]

Kind = Literal["conv", "linear", "max_pool", "average_pool"]


class ShapeError(ValueError):
    """A network that there is no table of; the message names those that there are."""


@dataclass(frozen=True, kw_only=True)
class WeightShape:
    """A layer's shape.

    Parameters
    ----------
    name, kind : str
    input, residual : str
        Names of the operand tensors; ``residual`` may be None.
    input_shape : (channels, height, width)
    filters : int
    kernel, stride, padding : int
        Square, and the same on every side.
    first : bool
        It takes the image: nothing of it is pruned.
    """

    name: str
    kind: Kind
    input: str
    residual: str | None = None
    input_shape: tuple[int, int, int]
    filters: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    first: bool = False

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the output."""
        if self.kind == "average_pool":
            return self.filters, 1, 1
        height, width = ((size + 2 * self.padding - self.kernel) // self.stride + 1
                         for size in self.input_shape[1:])
        return self.filters, height, width

    @property
    def weights(self) -> int:
        """Weights of the dense layer; 0 for a pool."""
        if self.kind.endswith("pool"):
            return 0
        return self.filters * self.input_shape[0] * self.kernel**2

    @property
    def pixels(self) -> int:
        """Output positions of a filter."""
        return self.output_shape[1] * self.output_shape[2]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense layer; 0 for a pool."""
        return self.weights * self.pixels

    @property
    def input_bytes(self) -> int:
        """Bytes of the input."""
        channels, height, width = self.input_shape
        return channels * height * width

    @property
    def output_bytes(self) -> int:
        """Bytes of the output."""
        return self.filters * self.pixels


@dataclass(frozen=True, kw_only=True)
class Sparsity:
    """Zeros that a network has.

    Parameters
    ----------
    weights : float
        Fraction of the weights (of whole vectors, for the designs that skip vectors).
    activations : float
        Fraction of the activations.
    source : str
        Where the numbers come from.
    """

    weights: float
    activations: float
    source: str


@dataclass(frozen=True, kw_only=True)
class ShapeNetwork:
    """A network of shapes with its zeros."""

    name: str
    title: str
    layers: tuple[WeightShape, ...]
    sparsity: Sparsity

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense network."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weights(self) -> int:
        """Weights of the dense network."""
        return sum(layer.weights for layer in self.layers)


class _Builder:
    """Appends layers, each behind the one before unless said otherwise."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.layers: list[WeightShape] = []
        self.shapes = {"image": shape}
        self.last = "image"

    def add(self, name: str, kind: Kind, filters: int = 0, kernel: int = 1, stride: int = 1,
            source: str = "", residual: str | None = None) -> str:
        """Append a layer and return its name."""
        source = source or self.last
        channels, height, width = self.shapes[source]
        if kind == "linear":
            channels, height, width = channels * height * width, 1, 1
        padding = kernel // 2 if kind == "conv" or kernel == 3 else 0
        layer = WeightShape(
            name=name, kind=kind, input=source, residual=residual, filters=filters or channels,
            input_shape=(channels, height, width), kernel=kernel, stride=stride,
            padding=padding, first=source == "image")
        self.layers.append(layer)
        self.shapes[name] = layer.output_shape
        self.last = name
        return name


def _vgg(plan: str, linear: tuple[int, ...], size: int) -> tuple[WeightShape, ...]:
    net = _Builder((3, size, size))
    number = 0
    for entry in plan.split():
        if entry == "M":
            net.add(f"pool{number}", "max_pool", kernel=2, stride=2)
        else:
            number += 1
            net.add(f"conv{number}", "conv", int(entry), 3)
    for index, width in enumerate(linear):
        net.add(f"fc{index + 1}", "linear", width)
    return tuple(net.layers)


def _resnet(
    depths: tuple[int, ...], widths: tuple[int, ...], *, bottleneck: bool, size: int,
    classes: int,
) -> tuple[WeightShape, ...]:
    net = _Builder((3, size, size))
    if size > 64:
        net.add("conv1", "conv", widths[0], 7, 2)
        net.add("maxpool", "max_pool", kernel=3, stride=2)
    else:
        net.add("conv1", "conv", widths[0], 3)
    expansion = 4 if bottleneck else 1
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        for block in range(depth):
            name, source = f"layer{stage + 1}.{block}", net.last
            stride = 2 if stage and not block else 1
            shortcut = source
            if bottleneck:
                net.add(f"{name}.conv1", "conv", width, source=source)
            inner = net.add(f"{name}.conv{2 if bottleneck else 1}", "conv", width, 3, stride)
            if stride > 1 or net.shapes[source][0] != width * expansion:
                shortcut = net.add(f"{name}.downsample", "conv", width * expansion, 1, stride,
                                   source)
            net.add(f"{name}.conv{3 if bottleneck else 2}", "conv", width * expansion,
                    1 if bottleneck else 3, source=inner, residual=shortcut)
    net.add("avgpool", "average_pool")
    net.add("fc", "linear", classes)
    return tuple(net.layers)


_PAPER = "SmartExchange (ISCA 2020), table of results, recalled"
#: Of a Gaussian behind a ReLU, with the batch normalisation's usual offset.
_RELU = 0.51

#: Builder of the layers, title, zero weights and where that number comes from.
NETWORKS: dict[str, tuple[str, Callable[[], tuple[WeightShape, ...]], float, str]] = {
    "vgg11": ("VGG11, ImageNet", lambda: _vgg(
        "64 M 128 M 256 256 M 512 512 M 512 512 M", (4096, 4096, 1000), 224), 0.86, _PAPER),
    "vgg19": ("VGG19, CIFAR-10", lambda: _vgg(
        "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M", (10,), 32),
        0.928, _PAPER),
    "resnet50": ("ResNet-50, ImageNet", lambda: _resnet(
        (3, 4, 6, 3), (64, 128, 256, 512), bottleneck=True, size=224, classes=1000), 0.45, _PAPER),
    "resnet164": ("ResNet-164, CIFAR-10", lambda: _resnet(
        (18, 18, 18), (16, 32, 64), bottleneck=True, size=32, classes=10), 0.376, _PAPER),
    "resnet18": ("ResNet-18, ImageNet", lambda: _resnet(
        (2, 2, 2, 2), (64, 128, 256, 512), bottleneck=False, size=224, classes=1000), 0.45,
        "as ResNet-50: the paper has none"),
    "resnet20": ("ResNet-20, CIFAR-10", lambda: _resnet(
        (3, 3, 3), (16, 32, 64), bottleneck=False, size=32, classes=10), 0.376,
        "as ResNet-164: the paper has none"),
}


def network(name: str, zero_fraction: float | None = None) -> ShapeNetwork:
    """Return a network of :data:`NETWORKS`.

    Parameters
    ----------
    zero_fraction : float, optional
        Zero weights instead of the table's; 0…1 (1 excluded).

    Raises
    ------
    ShapeError
        If there is no such network, or the fraction is out of range.
    """
    if name not in NETWORKS:
        raise ShapeError(f"network must be one of {', '.join(NETWORKS)}, not {name!r}")
    title, layers, zeros, source = NETWORKS[name]
    if zero_fraction is not None:
        if not 0 <= zero_fraction < 1:
            raise ShapeError(f"zero fraction must be at least 0 and less than 1, not "
                             f"{zero_fraction!r}")
        zeros, source = zero_fraction, "given"
    return ShapeNetwork(name=name, title=title, layers=layers(), sparsity=Sparsity(
        weights=zeros, activations=_RELU, source=source))
