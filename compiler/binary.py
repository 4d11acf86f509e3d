"""What a layer with binary input or output must be like."""

import numpy as np

from smartdeal.compiler.errors import CompileError
from smartdeal.golden.formats import PACKED
from smartdeal.golden.forms import TermWeights
from smartdeal.golden.layers import IntegerLayer
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["check_binary"]


def check_binary(layer: IntegerLayer, config: AcceleratorConfig) -> None:
    """Refuse a layer with binary input or output that the array cannot compute.

    Raises
    ------
    CompileError
    """
    name, weights = layer.name, layer.weights
    if not config.binary:
        raise CompileError(name, "it needs the feature binary, which the configuration leaves "
                                 "out; set binary = true")
    if layer.kind not in ("conv", "linear"):
        raise CompileError(name, "binary input or output takes a layer of kind 'conv' or 'linear', "
                                 f"not {layer.kind!r}")
    if not isinstance(weights, TermWeights):
        raise CompileError(name, "binary input or output takes weights that are sums of powers of "
                                 "two, not a basis")
    if layer.binary_input and (
            len(weights.sign) != 1 or np.any(weights.sign == 0)
            or np.any(weights.exponent != 0)):
        raise CompileError(name, "binary input takes weights of +1 or -1 only")
    for what, binary, value in (("input", layer.binary_input, layer.input_zero_point),
                                ("output", layer.binary_output, layer.output_zero_point)):
        if binary and value not in (-1, 1):
            raise CompileError(name, f"the zero point of a binary {what} must be +1 or -1, its "
                                     f"padding, not {value}")
    channels = layer.output_shape[0]
    if layer.binary_output and layer.residual and channels % PACKED:
        raise CompileError(name, "binary output with a residual takes a multiple of "
                                 f"{PACKED} channels, not {channels}")
