"""The words of a part's memories: steps, channel table and basis memory."""

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.errors import CompileError, advice
from smartdeal.compiler.steps import BasisTable, Block
from smartdeal.golden.formats import PACKED, REQUANTISE
from smartdeal.golden.layers import IntegerLayer, Requantisation
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import MIN_STEPS, basis_format, channel_format, step_format

__all__ = ["pack_basis", "pack_channels", "pack_steps", "requantisation", "unit_steps"]


def unit_steps(block: Block) -> int:
    """Return the steps that a block takes in the weight buffer, empty ones included."""
    return max(len(block), MIN_STEPS)


def pack_steps(
    groups: list[list[Block]], addresses: NDArray[np.int64], config: AcceleratorConfig,
) -> bytes:
    """Pack the steps of some groups, one unit of work after the other.

    Parameters
    ----------
    groups : list of list of Block
        By group and slice.
    addresses : int64 array, (taps,)
        Flat address of each tap at stream position 0.
    """
    blocks = [block for group in groups for block in group]
    starts = np.cumsum([0] + [unit_steps(block) for block in blocks])
    total = int(starts[-1])
    values = np.zeros((total, config.rows), np.int32)
    flat = np.zeros(total, np.int64)
    next_last = np.zeros(total, np.int64)
    for block, start in zip(blocks, starts, strict=False):
        values[start:start + len(block)] = block.coefficients
        flat[start:start + len(block)] = addresses[block.taps]
    next_last[starts[1:] - MIN_STEPS] = 1
    exponent = np.frexp(np.abs(values))[1] - 1
    if blocks[0].binary:
        coefficients = values
    else:
        coefficients = config.coefficient.encode(np.sign(values), np.maximum(exponent, 0))
    return step_format(config).pack(
        config.host_bits, coefficients=coefficients, lane=flat % config.cols,
        word=flat // config.cols, next_last=next_last)


def requantisation(layer: IntegerLayer, config: AcceleratorConfig) -> Requantisation:
    """Return the layer's requantisation with the input zero point moved into the bias.

    Raises
    ------
    CompileError
        If a parameter does not fit its field.
    """
    channels = layer.output_shape[0]
    if layer.kind == "max_pool":
        # acc is max(x) + 128 and the result is max(x), exactly.
        return _uniform(channels, bias=-128, multiplier=2, shift=1)
    given = layer.requantisation
    assert given is not None  # only max_pool has none
    _check(layer.name, given, channels, config)
    if layer.kind == "average_pool":
        weight_sum = np.full(channels, layer.input_shape[1] * layer.input_shape[2], np.int64)
    else:
        assert layer.weights is not None
        weight_sum = layer.weights.integer().sum(axis=(1, 2, 3))
    if layer.binary_input:  # padding has its value; channels past the last count +1 each
        extra = layer.input_planes * PACKED - layer.input_shape[0]
        bias = given.bias - extra * layer.kernel[0] * layer.kernel[1]
    else:
        bias = given.bias - layer.input_zero_point * weight_sum
    result = Requantisation(
        bias, given.multiplier,
        given.residual_multiplier, given.shift, given.residual_shift)
    _check(layer.name, result, channels, config)
    return _whole_bytes(result, layer, config) if layer.binary_output else result


def _whole_bytes(
    given: Requantisation, layer: IntegerLayer, config: AcceleratorConfig,
) -> Requantisation:
    """Return parameters with channels added whose output is that of the padding, in any case."""
    extra = layer.array_channels - layer.output_shape[0]
    minus = layer.output_zero_point < 0
    low = -(1 << config.sum_bits - 2)

    def padded(values: NDArray[np.int64], value: int = 0) -> NDArray[np.int64]:
        return np.concatenate([values, np.full(extra, value, np.int64)])

    return Requantisation(
        padded(given.bias, low if minus else 0), padded(given.multiplier, int(minus)),
        padded(given.residual_multiplier), padded(given.shift), padded(given.residual_shift))


def _uniform(channels: int, *, bias: int, multiplier: int, shift: int) -> Requantisation:
    zero = np.zeros(channels, np.int64)
    return Requantisation(zero + bias, zero + multiplier, zero, zero + shift, zero)


def _check(
    name: str, parameters: Requantisation, channels: int, config: AcceleratorConfig,
) -> None:
    half = 1 << (config.sum_bits - 1)
    ranges = {
        "bias": (-half, half - 1),
        "multiplier": (0, REQUANTISE.max_multiplier),
        "residual_multiplier": (0, REQUANTISE.max_multiplier),
        "shift": (0, REQUANTISE.max_shift),
        "residual_shift": (0, REQUANTISE.max_residual_shift),
    }
    for field, (low, high) in ranges.items():
        values = np.asarray(getattr(parameters, field), np.int64)
        if values.shape != (channels,):
            raise CompileError(name, f"requantisation {field} must have shape ({channels},), "
                                     f"not {values.shape}")
        wrong = values[(values < low) | (values > high)]
        if len(wrong):
            value = int(wrong[0])
            todo = (advice(config, "sum_bits", (value ^ value >> 63).bit_length() + 1)
                    if field == "bias" else "choose another scale")
            raise CompileError(name, f"requantisation {field} must be from {low} to {high}, "
                                     f"not {value}; {todo}")


def pack_channels(
    parameters: Requantisation, channels: slice, config: AcceleratorConfig,
) -> bytes:
    """Pack the channel table entries of some output channels."""
    return channel_format(config).pack(
        config.host_bits, bias=parameters.bias[channels],
        multiplier=parameters.multiplier[channels],
        residual_multiplier=parameters.residual_multiplier[channels],
        shift=parameters.shift[channels], residual_shift=parameters.residual_shift[channels])


def pack_basis(
    basis: BasisTable, channels: slice, group: int, config: AcceleratorConfig,
) -> bytes:
    """Pack the basis entries of some output channels, in the order group, slice, filter.

    Parameters
    ----------
    group : int
        Channels of a group; a last group that has fewer is filled up with zero entries.
    """
    taps, align = basis.taps[channels], basis.align[channels]
    count, slices = align.shape
    groups = -(-count // group)
    padded_taps = np.zeros((groups * group, slices, taps.shape[2] * taps.shape[3]), np.int64)
    padded_align = np.zeros((groups * group, slices), np.int64)
    padded_taps[:count] = taps.reshape(count, slices, -1)
    padded_align[:count] = align
    ordered_taps = padded_taps.reshape(groups, group, slices, -1).transpose(0, 2, 1, 3)
    ordered_align = padded_align.reshape(groups, group, slices).transpose(0, 2, 1)
    return basis_format(config).pack(
        config.host_bits, taps=ordered_taps.reshape(groups * slices * group, -1),
        align=ordered_align.ravel())
