"""The same layer in the XNOR mode and with one-term weights, to compare their cycles."""

from dataclasses import replace

import numpy as np

from smartdeal.golden.layers import IntegerLayer
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.cases import draw_layer

__all__ = ["binary_pair"]


def binary_pair(
    channels: int, filters: int, size: int, config: AcceleratorConfig,
) -> tuple[IntegerLayer, IntegerLayer]:
    """Return a layer of ±1 in, ±1 weights and ±1 out, and the same with 8-bit activations.

    The second has the same weights, each of them one term, and 8-bit input and output.

    Parameters
    ----------
    channels, filters, size : int
        A 3×3 layer of stride 1, padded, on ``size`` × ``size`` positions; seeded by ``channels``.
    """
    layer = draw_layer(np.random.default_rng(channels), config, form="binary", channels=channels,
                       filters=filters, height=size, width=size, kernel=(3, 3), stride=1,
                       padding=(1, 1, 1, 1), residual=False, binary_output=True)
    return layer, replace(layer, binary_input=False, binary_output=False, input_zero_point=0,
                          output_zero_point=0)
