"""The built-in residual networks, with torchvision's parameter names and shapes.

ResNet-18, -34 and -50 are those of torchvision (50 in its v1.5, stride in the 3×3 convolution), so
its checkpoints load unchanged. ResNet-20 is the CIFAR network of He et al. (2015), section 4.2,
with 1×1 projection shortcuts; ResNet-8 has one block per stage, as in MLPerf Tiny, for grey 28×28
images, and ``resnet20_fashion`` is ResNet-20 for such images.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from smartdeal.golden.form_layers import binarises
from smartdeal.golden.specs import NETWORKS, NetworkSpec

__all__ = ["NETWORKS", "BasicBlock", "Bottleneck", "ImageKind", "NetworkError", "NetworkSpec",
           "ResNet", "build_network"]


class NetworkError(ValueError):
    """A network, layer or checkpoint that cannot be used; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class ImageKind:
    """The images that a network was trained on.

    Parameters
    ----------
    name : str
        Of the data set.
    mean, deviation : float
        The input is (pixel / 255 - mean) / deviation.
    classes : tuple of str
        What the outputs mean; empty if that is not known.
    """

    name: str
    mean: float
    deviation: float
    classes: tuple[str, ...] = ()


def _projection(channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Return the shortcut's 1×1 convolution, where the shapes differ."""
    if stride == 1 and channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


def _rectified(block: "BasicBlock | Bottleneck", relu: bool) -> list[bool]:
    return [not binarises(block.get_submodule(conv)) for conv, _ in block.chain[1:]] + [relu]


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut.

    Parameters
    ----------
    channels, width : int
        Channels of input and output.
    stride : int
        Of the first convolution and the shortcut.
    """

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.downsample = _projection(channels, width, stride)

    @property
    def chain(self) -> list[tuple[str, str]]:
        """Names of convolutions and their normalisations, in order."""
        return [("conv1", "bn1"), ("conv2", "bn2")]

    def rectified(self, relu: bool) -> list[bool]:
        """Return by convolution whether ReLU follows; ``relu`` is the answer for the last."""
        return _rectified(self, relu)

    def forward(self, x: Tensor, relu: bool = True) -> Tensor:
        """Map (B, channels, H, W) to (B, width, H / stride, W / stride)."""
        return _run_block(self, x, relu)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolution and a shortcut; the output has 4 · width channels.

    Parameters are those of :class:`BasicBlock`; the stride is the 3×3 convolution's.
    """

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU()
        self.downsample = _projection(channels, width * self.expansion, stride)

    @property
    def chain(self) -> list[tuple[str, str]]:
        """Names of convolutions and their normalisations, in order."""
        return [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")]

    def rectified(self, relu: bool) -> list[bool]:
        """Return by convolution whether ReLU follows; ``relu`` is the answer for the last."""
        return _rectified(self, relu)

    def forward(self, x: Tensor, relu: bool = True) -> Tensor:
        """Map (B, channels, H, W) to (B, 4 · width, H / stride, W / stride)."""
        return _run_block(self, x, relu)


def _run_block(block: BasicBlock | Bottleneck, x: Tensor, relu: bool) -> Tensor:
    """Evaluate a block; ``relu`` says whether its output goes through a ReLU."""
    shortcut = x if block.downsample is None else block.downsample(x)
    for (conv, norm), rectified in zip(block.chain, block.rectified(relu), strict=True):
        x = block.get_submodule(norm)(block.get_submodule(conv)(x))
        if norm == block.chain[-1][1]:
            x = x + shortcut
        x = block.relu(x) if rectified else x
    return x


class ResNet(nn.Module):
    """A residual network.

    Where a convolution takes only the signs of a tensor, that tensor has no ReLU: its signs would
    all be +1. The sign is the activation function then.

    Parameters
    ----------
    name : str
        For messages.
    spec : NetworkSpec

    Attributes
    ----------
    calibration : float32 tensor, (B, C, H, W), or None
        Images to choose activation scales with, where a checkpoint brings them.
    data : ImageKind or None
        What it was trained on, where a checkpoint says so.
    """

    def __init__(self, name: str, spec: NetworkSpec) -> None:
        super().__init__()
        self.name = name
        self.spec = spec
        self.calibration: Tensor | None = None
        self.data: ImageKind | None = None
        channels = spec.widths[0]
        if spec.large_stem:
            self.conv1 = nn.Conv2d(spec.input_shape[0], channels, 7, 2, 3, bias=False)
        else:
            self.conv1 = nn.Conv2d(spec.input_shape[0], channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if spec.large_stem else None
        block = Bottleneck if spec.bottleneck else BasicBlock
        for index, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True)):
            stage = nn.Sequential()
            for i in range(depth):
                stage.append(block(channels, width, 2 if index and not i else 1))
                channels = width * block.expansion
            self.add_module(f"layer{index + 1}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, spec.classes)

    @property
    def blocks(self) -> list[tuple[str, BasicBlock | Bottleneck]]:
        """Residual blocks by name, as ``layer1.0``, in order."""
        return [(f"layer{index + 1}.{i}", cast(BasicBlock | Bottleneck, block))
                for index in range(len(self.spec.depths))
                for i, block in enumerate(self.get_submodule(f"layer{index + 1}").children())]

    @property
    def rectified(self) -> list[bool]:
        """Whether ReLU follows the first convolution, and each block."""
        return [not binarises(block.conv1) for _, block in self.blocks] + [True]

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, classes)."""
        first, *others = self.rectified
        x = self.bn1(self.conv1(x))
        x = self.relu(x) if first else x
        if self.maxpool is not None:
            x = self.maxpool(x)
        for (_, block), relu in zip(self.blocks, others, strict=True):
            x = block(x, relu)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def build_network(name: str) -> ResNet:
    """Return a built-in network with torch's initial weights, in evaluation mode.

    Raises
    ------
    NetworkError
        If there is no such network.
    """
    if name not in NETWORKS:
        raise NetworkError(f"network must be one of {', '.join(NETWORKS)}, not {name!r}")
    return ResNet(name, NETWORKS[name]).eval()
