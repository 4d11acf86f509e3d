"""What the built-in networks are, apart from their modules: this imports no torch."""

from dataclasses import dataclass

__all__ = ["NETWORKS", "NetworkSpec"]


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """What tells one residual network from another.

    Parameters
    ----------
    bottleneck : bool
        1×1–3×3–1×1 blocks with four times the width instead of two 3×3 convolutions.
    depths, widths : tuple of int
        Blocks and channels of each stage; every stage but the first halves the map.
    large_stem : bool
        7×7 convolution of stride 2 and max pooling instead of one 3×3 convolution.
    input_shape : (channels, height, width)
    classes : int
    """

    bottleneck: bool = False
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    large_stem: bool
    input_shape: tuple[int, int, int]
    classes: int


_TINY = (16, 32, 64)
_LARGE = (64, 128, 256, 512)
_IMAGENET = (3, 224, 224)

#: The built-in networks by name.
NETWORKS: dict[str, NetworkSpec] = {
    "resnet8": NetworkSpec(depths=(1, 1, 1), widths=_TINY, large_stem=False,
                           input_shape=(1, 28, 28), classes=10),
    "resnet20": NetworkSpec(depths=(3, 3, 3), widths=_TINY, large_stem=False,
                            input_shape=(3, 32, 32), classes=10),
    "resnet20_fashion": NetworkSpec(depths=(3, 3, 3), widths=_TINY, large_stem=False,
                                    input_shape=(1, 28, 28), classes=10),
    "resnet18": NetworkSpec(depths=(2, 2, 2, 2), widths=_LARGE, large_stem=True,
                            input_shape=_IMAGENET, classes=1000),
    "resnet34": NetworkSpec(depths=(3, 4, 6, 3), widths=_LARGE, large_stem=True,
                            input_shape=_IMAGENET, classes=1000),
    "resnet50": NetworkSpec(depths=(3, 4, 6, 3), widths=_LARGE, large_stem=True, bottleneck=True,
                            input_shape=_IMAGENET, classes=1000),
}
