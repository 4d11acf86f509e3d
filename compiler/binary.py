"""What layers with binary input or output, and networks of them, must be like."""

import numpy as np

from smartdeal.compiler.errors import CompileError
from smartdeal.golden.formats import PACKED
from smartdeal.golden.forms import TermWeights
from smartdeal.golden.layers import IntegerLayer, IntegerNetwork
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["check_binary", "check_binary_tensors"]


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


def check_binary_tensors(network: IntegerNetwork, config: AcceleratorConfig) -> None:
    """Refuse a network whose layers take a tensor for what it is not: ±1, or 8 bits.

    Raises
    ------
    CompileError
    """
    binary: dict[str, IntegerLayer] = {}
    for node in network.nodes:
        layer, source = node.layer, binary.get(node.input)
        if config.memory and (layer.binary_input or layer.binary_output):
            raise CompileError(layer.name, "binary input or output runs in programs on chip only; "
                                           "set memory = false")
        if layer.binary_input != (source is not None):
            raise CompileError(
                layer.name, f"its input is {_name(layer.binary_input)}, but operand "
                f"{node.input!r} is {_name(source is not None)}")
        if node.residual in binary:
            raise CompileError(layer.name, f"a residual operand must have 8 bits, but "
                                           f"{node.residual!r} is binary")
        if (source is not None and layer.input_zero_point != source.output_zero_point
                and layer.input_shape[0] % PACKED):
            raise CompileError(
                layer.name, f"the padding of its binary input must be that of {node.input!r}, "
                f"{source.output_zero_point}, not {layer.input_zero_point}, since "
                f"{layer.input_shape[0]} channels are no multiple of {PACKED}")
        if layer.binary_output:
            binary[layer.name] = layer


def _name(binary: bool) -> str:
    return "binary" if binary else "8 bits wide"
