"""What a network program says about its layers, and about tensors in system memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.views import Scalar, View
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind, section_format

__all__ = ["LayerInfo", "SpilledBlock", "gather_blocks"]


@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """What a network program knows about one of its layers.

    Parameters
    ----------
    name, kind : str
    input_shape, output_shape : (channels, height, width)
    macs : int
        Multiply-accumulates of the dense layer.
    weights : int
        Weights of the dense layer.
    nonzero_terms : int
        Power-of-two coefficients that are not zero.
    vectors, zero_vectors : int
        Activation vectors that the groups of output channels could need, and those that no filter
        of the group has a coefficient for.
    stored_steps, executed_steps : int
        Steps in the weight buffer; those that run, once per tile.
    table_bytes : int
        Bytes of steps, requantisation and basis in the images.
    saved_bytes : int
        How many more they would be if no steps were entropy coded; 0 if none are.
    """

    name: str
    kind: str
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    macs: int
    weights: int
    nonzero_terms: int
    vectors: int
    zero_vectors: int
    stored_steps: int
    executed_steps: int
    table_bytes: int
    saved_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class SpilledBlock:
    """Where one EXTERNAL layer writes some tiles of some channels of a tensor.

    Parameters
    ----------
    offset : int
        Byte of the region.
    first, valid, stop : int
        Tiles of the tensor's stream: the first one that is written, the first that is right, the
        end.
    channel, channels : int
        The first channel, and how many.
    group : int
        Channels of a group; the last one may have fewer.
    """

    offset: int
    first: int
    valid: int
    stop: int
    channel: int
    channels: int
    group: int


def gather_blocks(
    view: View, blocks: Sequence[SpilledBlock], region: NDArray[Scalar],
    config: AcceleratorConfig,
) -> NDArray[Scalar]:
    """Return a spilled view as it would lie on chip, (words · cols,).

    Parameters
    ----------
    region : array, (bytes,)
        The region of system memory; elements of any type in place of bytes.
    """
    unit = section_format(SectionKind.ACTIVATIONS, config).unit_bytes(config.host_bits)
    words = np.zeros((view.words, config.cols), region.dtype)
    for block in blocks:
        tiles, drop = block.stop - block.first, block.valid - block.first
        for first in range(0, block.channels, block.group):
            size = min(block.group, block.channels - first)
            start = block.offset + first * tiles * unit
            units = region[start:start + tiles * size * unit].reshape(tiles, size, unit)
            place = view.gap + block.valid + np.arange(block.stop - block.valid)
            plane = (block.channel + first + np.arange(size)) * view.channel_words
            words[plane[:, None] + place] = units[drop:, :, :config.cols].transpose(1, 0, 2)
    return words.ravel()
