"""This accelerator on a network of shapes: drawn weights, the real compiler, the real programs.

Counts depend on shapes and on which coefficients are zero, not on the others' values. So the
weights are drawn in the form that suits each layer, with the zeros that every design gets.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler import compile_layer
from smartdeal.golden.formats import BASIS_MAX, BASIS_SIZE
from smartdeal.golden.forms import BasisWeights, TermWeights, Weights
from smartdeal.golden.layers import IntegerLayer, Requantisation
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import basis_format, channel_format, step_format
from smartdeal.sim.baselines.design import BUDGET, Budget
from smartdeal.sim.baselines.shapes import ShapeNetwork, WeightShape
from smartdeal.sim.energy.model import CompiledLayer, NetworkCost, cost_of_layers

__all__ = ["PES_PER_MULTIPLIER", "budget_config", "cost"]

#: PEs that take the transistors of an 8-bit multiply-accumulate (bench/gates.py: 2,864 to 5,630).
PES_PER_MULTIPLIER = 5630 / 2864
#: The weight buffer's steps at the usual budget, and the array that suits maps of 7 … 56 pixels.
_STEPS, _ROWS, _COLS = 4096, 57, 35
#: Weights drawn at once.
_MOST_WEIGHTS = 8_000_000
_SLICE_ROWS = 192

#: Called with a layer's name and how much is done, 0…1.
Progress = Callable[[str, float], None]


def budget_config(budget: Budget = BUDGET) -> AcceleratorConfig:
    """Return the accelerator that a budget allows.

    The array has at most as many PEs as take the transistors of the budget's multipliers; what the
    steps and tables leave of the SRAM is the activation buffer.

    Raises
    ------
    ValueError
        If the budget's memory does not even hold the tables.
    """
    most = int(budget.multipliers * PES_PER_MULTIPLIER)
    rows, cols = _ROWS, _COLS
    if rows * cols > most:
        rows = max(3, int((most * rows / cols)**0.5) // BASIS_SIZE * BASIS_SIZE)
        cols = max(2, most // rows)
    config = AcceleratorConfig(rows=rows, cols=cols, weight_steps=_STEPS, host_bits=32)
    tables = (step_format(config).bits * config.weight_steps
              + channel_format(config).bits * config.channel_entries
              + basis_format(config).bits * config.basis_entries + 32 * config.program_words) // 8
    words = (budget.sram_bytes - tables) // cols
    if words < 16:
        raise ValueError(f"a budget of {budget.sram_bytes} bytes holds no activations beside "
                         f"{tables} bytes of steps and tables")
    return config.replace(activation_words=words)


def cost(
    network: ShapeNetwork, config: AcceleratorConfig, *, seed: int = 0,
    progress: Progress | None = None,
) -> NetworkCost:
    """Compile and count a network.

    3×3 layers take the SmartDeal form, others one power of two per weight, the first layer two.
    Vectors of three weights are zero for all filters that the array holds at once.

    Raises
    ------
    CompileError
        If a layer does not fit the accelerator.
    """
    rng = np.random.default_rng(seed)
    compiled: list[CompiledLayer] = []
    for number, shape in enumerate(network.layers):
        if progress is not None:
            progress(shape.name, number / len(network.layers))
        zeros = 0.0 if shape.first else network.sparsity.weights
        for part in _blocks(shape, config):
            compiled.append(_compile(part, zeros, rng, config))
    source = f"drawn weights ({seed}), {network.sparsity.weights:.1%} of the vectors zero"
    return cost_of_layers(network.title, source, compiled, config)


def _blocks(shape: WeightShape, config: AcceleratorConfig) -> Sequence[WeightShape]:
    """Cut a layer of very many weights by whole groups of filters, which changes no count."""
    if shape.weights <= _MOST_WEIGHTS:
        return [shape]
    per_filter = shape.weights // shape.filters
    size = max(1, _MOST_WEIGHTS // per_filter // config.rows) * config.rows
    starts = range(0, shape.filters, size)
    # The last block bears the layer's name: it is what the next layer waits for.
    return [replace(shape, filters=min(size, shape.filters - start),
                    name=shape.name if start == starts[-1] else f"{shape.name} from {start}")
            for start in starts]


def _compile(
    shape: WeightShape, zeros: float, rng: np.random.Generator, config: AcceleratorConfig,
) -> CompiledLayer:
    weights, form = _weights(shape, zeros, rng, config)
    filters = shape.filters
    pool = shape.kind == "max_pool"
    kernel = shape.input_shape[1:] if shape.kind == "average_pool" else (
        shape.kernel, shape.kernel)
    constant = np.ones(filters, np.int64)
    layer = IntegerLayer(
        name=shape.name, kind=shape.kind, weights=weights, kernel=(kernel[0], kernel[1]),
        stride=shape.stride, padding=_padding(shape), input_shape=shape.input_shape,
        output_shape=shape.output_shape, residual=shape.residual is not None,
        requantisation=None if pool else Requantisation(
            0 * constant, 20_000 * constant, 20_000 * constant, 30 * constant, 0 * constant))
    return CompiledLayer(
        program=compile_layer(layer, config), kind=shape.kind, form=form, input=shape.input,
        residual=shape.residual, input_shape=shape.input_shape, macs=layer.macs,
        weights=shape.weights, nonzero_terms=layer.nonzero_terms)


def _padding(shape: WeightShape) -> tuple[int, int, int, int]:
    """Return the padding that the kernel reaches."""
    _, height, width = shape.input_shape
    _, rows, columns = shape.output_shape
    if shape.kind == "average_pool":
        return 0, 0, 0, 0
    reached = [max(0, (outputs - 1) * shape.stride + shape.kernel - shape.padding - inputs)
               for outputs, inputs in ((rows, height), (columns, width))]
    return shape.padding, shape.padding, reached[0], reached[1]


def _weights(
    shape: WeightShape, zeros: float, rng: np.random.Generator, config: AcceleratorConfig,
) -> tuple[Weights | None, str]:
    if not shape.weights:
        return None, ""
    channels, filters = shape.input_shape[0], shape.filters
    if shape.kernel == BASIS_SIZE and not shape.first and config.basis:
        vectors = channels * BASIS_SIZE
        sign, exponent = _draw((filters, vectors, BASIS_SIZE), rng, config)
        sign *= _kept(filters, vectors, config.filters_per_group, zeros, rng)[:, :, None]
        slices = ceil(vectors / _SLICE_ROWS)
        starts = tuple(int(v) for v in np.linspace(0, vectors, slices + 1))
        basis = rng.integers(-BASIS_MAX // 4, BASIS_MAX // 4, (filters, slices, BASIS_SIZE,
                                                               BASIS_SIZE))
        return BasisWeights("kernel", sign, exponent, basis.astype(np.int8),
                            np.zeros((filters, slices), np.int8), starts, channels,
                            np.ones(filters)), "smartdeal"
    terms = 2 if shape.first else 1
    sign, exponent = _draw((terms, filters, channels, shape.kernel, shape.kernel), rng, config)
    vectors = ceil(channels * shape.kernel**2 / BASIS_SIZE)
    kept = np.repeat(_kept(filters, vectors, config.rows, zeros, rng), BASIS_SIZE, axis=1)
    sign *= kept[:, :channels * shape.kernel**2].reshape(sign.shape[1:])
    return (TermWeights(sign, exponent, np.ones(filters)),
            "shift2" if terms == 2 else "deepshift")


def _draw(
    size: tuple[int, ...], rng: np.random.Generator, config: AcceleratorConfig,
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Draw powers of two as Gaussian weights round to; what is far too small is zero."""
    real = rng.standard_normal(size, np.float32)
    with np.errstate(divide="ignore"):
        exponent = np.rint(np.log2(np.abs(real))) + config.exponents - 3
    sign = np.where(exponent < 0, 0, np.sign(real)).astype(np.int8)
    return sign, np.clip(exponent, 0, config.exponents - 1).astype(np.int8)


def _kept(
    filters: int, vectors: int, group: int, zeros: float, rng: np.random.Generator,
) -> NDArray[np.int8]:
    """Return which vectors are kept, (filters, vectors): the same for a group of filters."""
    count = int(zeros * vectors)
    kept = np.ones((ceil(filters / max(1, group)), vectors), np.int8)
    for row in kept:
        row[rng.permutation(vectors)[:count]] = 0
    return np.repeat(kept, max(1, group), axis=0)[:filters]
