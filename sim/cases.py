"""Cases that unit tests and benches share: drawn configurations, layers and programs.

Everything comes from a seeded :class:`numpy.random.Generator`: equal seeds and arguments give equal
cases. Every ``draw_…`` takes parameters to hold fixed, so that a property test can draw
these itself and shrink them. :func:`draw_image` draws programs that no compiler would write, and
:func:`bad_images` lists what must be refused.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler import CompileError, Program, compile_layer
from smartdeal.compiler.image import Section, pack_activations, write_image
from smartdeal.golden.formats import ACT_MAX, ACT_MIN, BASIS_MAX, BASIS_SIZE, PACKED, REQUANTISE
from smartdeal.golden.forms import BasisWeights, TermWeights, Weights
from smartdeal.golden.layers import IntegerLayer, LayerKind, Requantisation
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind
from smartdeal.sim.bad_images import bad_images
from smartdeal.sim.crafted import draw_image

__all__ = ["FORMS", "Case", "Form", "bad_images", "draw_buffer", "draw_case", "draw_config",
           "draw_image", "draw_layer", "draw_operands", "tighten"]

#: What a drawn layer computes, and with which weights.
Form = Literal["terms", "kernel", "channel", "linear", "max_pool", "average_pool", "binary"]
FORMS: tuple[Form, ...] = ("terms", "kernel", "channel", "linear", "max_pool", "average_pool")

#: Tries until a drawn layer fits a configuration.
_TRIES = 200
#: Magnitude that outputs are scaled to, in units of an activation.
_TARGET = 60.0


@dataclass(frozen=True, eq=False)
class Case:
    """A compiled layer with operands.

    Parameters
    ----------
    layer : IntegerLayer
    program : Program
    x : int8 array, (C, H, W)
    residual : int8 array, (M, Ho, Wo), or None
    """

    layer: IntegerLayer
    program: Program
    x: NDArray[np.int8]
    residual: NDArray[np.int8] | None


def draw_config(rng: np.random.Generator, **fixed: Any) -> AcceleratorConfig:
    """Draw a small accelerator: odd sizes and buffers that force parts, slices and groups."""
    rows, cols = int(rng.integers(2, 21)), int(fixed.get("cols", rng.integers(2, 21)))
    lanes = [0, *(d for d in range(1, cols + 1) if cols % d == 0)]
    drawn: dict[str, Any] = {
        "rows": rows,
        "cols": cols,
        "exponents": int(rng.integers(1, 17)),
        "acc_bits": int(rng.integers(16, 33)),
        "sum_bits": int(rng.integers(36, 45)),
        "drain_lanes": int(rng.choice(lanes)),
        "max_slices": int(rng.integers(1, 33)),
        "activation_words": int(2 ** rng.uniform(6, 12)),
        "weight_steps": int(2 ** rng.uniform(6, 12)),
        "channel_entries": int(rng.integers(20, 64)),
        "basis_entries": int(rng.integers(32, 256)),
        "program_words": int(rng.integers(32, 128)),
        "host_bits": int(rng.choice([32, 64, 128, 256])),
    }
    return AcceleratorConfig(**{**drawn, **fixed})


def draw_layer(
    rng: np.random.Generator, config: AcceleratorConfig, *, form: Form | None = None,
    channels: int | None = None, filters: int | None = None, height: int | None = None,
    width: int | None = None, kernel: tuple[int, int] | None = None, stride: int | None = None,
    padding: tuple[int, int, int, int] | None = None, residual: bool | None = None,
    density: float | None = None, binary_output: bool | None = None,
) -> IntegerLayer:
    """Draw a layer whose form and exponents the configuration can run; it may not fit.

    Parameters
    ----------
    form : str, optional
        One of :data:`FORMS`: sums of powers of two, SmartDeal on the kernel or channel axis,
        a linear layer, or a pool; or "binary": weights and input ±1.
    binary_output : bool, optional
        Whether the output is ±1; by chance if the configuration and the form can.
    channels, filters, height, width, kernel, stride, padding, residual : optional
        As in :class:`IntegerLayer`. A kernel that does not suit the form is replaced.
    density : float, optional
        Fraction of coefficients that are not zero.
    """
    form = form or _draw_form(rng, config)
    channels = channels or int(rng.integers(1, 21))
    filters = channels if form.endswith("pool") else filters or int(rng.integers(1, 21))
    height, width = height or int(rng.integers(1, 18)), width or int(rng.integers(1, 18))
    kernel = _draw_kernel(rng, form, kernel)
    stride = stride or int(rng.integers(1, 3))
    padding = padding or _draw_padding(rng, kernel)
    if form in ("linear", "average_pool"):
        stride, padding = 1, (0, 0, 0, 0)
    if form == "linear":
        height = width = 1
    top, left, bottom, right = padding
    height = max(height, kernel[0] - top - bottom)
    width = max(width, kernel[1] - left - right)
    output = (filters, (height + top + bottom - kernel[0]) // stride + 1,
              (width + left + right - kernel[1]) // stride + 1)
    output = (filters, 1, 1) if form == "average_pool" else output
    density = density if density is not None else float(rng.choice([0.05, 0.3, 0.8, 1.0]))
    weights = _draw_weights(rng, config, form, (filters, channels, *kernel), density)
    if residual is None:
        residual = bool(rng.integers(2))
    residual = residual and config.residual and not form.endswith("pool")
    zero_point, output_zero_point = _zero_point(rng), _zero_point(rng)
    relu = rng.random() < 0.3
    binary_input = form == "binary"
    if binary_input:
        zero_point = int(rng.choice([-1, 1]))
    if binary_output is None:
        binary_output = (config.binary and form in ("terms", "linear", "binary")
                         and bool(rng.integers(2)))
    if binary_output:
        output_zero_point = int(rng.choice([-1, 1]))
        residual = residual and filters % PACKED == 0
    kind: dict[Form, LayerKind] = {"linear": "linear", "max_pool": "max_pool",
                                   "average_pool": "average_pool"}
    return IntegerLayer(
        name=f"drawn.{form}", kind=kind.get(form, "conv"), weights=weights, kernel=kernel,
        stride=stride, padding=padding, input_shape=(channels, height, width),
        output_shape=output,
        requantisation=None if form == "max_pool" else _draw_requantisation(
            rng, weights, (channels, height, width), 0 if form == "binary" else zero_point,
            spread=1.0 if form == "binary" else (ACT_MAX - ACT_MIN) / 4),
        input_zero_point=zero_point, output_zero_point=output_zero_point,
        residual_zero_point=_zero_point(rng), residual=residual,
        binary_input=binary_input, binary_output=binary_output,
        lo=output_zero_point if relu else ACT_MIN, hi=int(rng.choice([ACT_MAX, 100])))


def _zero_point(rng: np.random.Generator) -> int:
    drawn = (0, ACT_MIN, int(rng.integers(-50, 51)), int(rng.integers(ACT_MIN, 101)))
    return drawn[int(rng.integers(len(drawn)))]


def _draw_form(rng: np.random.Generator, config: AcceleratorConfig) -> Form:
    if config.binary and rng.random() < 0.5:
        return "binary"
    weights = {"terms": 5, "kernel": 4 if config.basis else 0, "channel": 2 if config.basis else 0,
               "linear": 1, "max_pool": 2 if config.max_pool else 0,
               "average_pool": 1 if config.reduce else 0}
    share = np.array([weights[form] for form in FORMS], float)
    return FORMS[int(rng.choice(len(FORMS), p=share / share.sum()))]


def _draw_kernel(
    rng: np.random.Generator, form: Form, kernel: tuple[int, int] | None,
) -> tuple[int, int]:
    if form == "kernel":
        return BASIS_SIZE, BASIS_SIZE
    if form in ("channel", "linear", "average_pool"):
        return 1, 1
    if kernel is not None:
        return kernel
    if rng.random() < 0.15:
        return int(rng.integers(1, 8)), int(rng.integers(1, 8))
    size = int(rng.choice([1, 3, 5, 7], p=[0.2, 0.5, 0.15, 0.15]))
    return size, size


def _draw_padding(
    rng: np.random.Generator, kernel: tuple[int, int],
) -> tuple[int, int, int, int]:
    kh, kw = kernel
    match rng.integers(4):
        case 0:
            return 0, 0, 0, 0
        case 1:  # as torch: both sides alike
            return kh // 2, kw // 2, kh // 2, kw // 2
        case 2:  # as TensorFlow with stride 2: bottom and right only
            return 0, 0, kh // 2, kw // 2
    top, bottom = (int(v) for v in rng.integers(0, kh, 2))
    left, right = (int(v) for v in rng.integers(0, kw + 1, 2))
    return top, left, bottom, right


def _draw_weights(
    rng: np.random.Generator, config: AcceleratorConfig, form: Form,
    shape: tuple[int, int, int, int], density: float,
) -> Weights | None:
    if form.endswith("pool"):
        return None
    m, c, kh, kw = shape
    if form == "binary":
        sign = rng.choice([-1, 1], (1, *shape)).astype(np.int8)
        return TermWeights(sign, np.zeros_like(sign), np.ones(m))
    if form in ("terms", "linear"):
        size = (int(rng.integers(1, 4)), m, c, kh, kw)
        sign, exponent = _draw_terms(rng, config, size, density)
        return TermWeights(sign, exponent, np.ones(m))
    axis = "kernel" if form == "kernel" else "channel"
    vectors = c * BASIS_SIZE if axis == "kernel" else -(-c // BASIS_SIZE)
    sign, exponent = _draw_terms(rng, config, (m, vectors, BASIS_SIZE), density)
    # Whole vectors are zero for neighbouring filters, as structural sparsity leaves them.
    sign[:, rng.random(vectors) > density] = 0
    inner = np.flatnonzero(rng.random(max(vectors - 1, 0)) < 1 / (1 + vectors)) + 1
    starts = (0, *(int(v) for v in inner), vectors)
    slices = len(starts) - 1
    basis = rng.integers(-BASIS_MAX, BASIS_MAX + 1, (m, slices, BASIS_SIZE, BASIS_SIZE))
    align = rng.integers(0, 3, (m, slices))
    return BasisWeights(axis, sign, exponent, basis.astype(np.int8), align.astype(np.int8),
                        starts, c, np.ones(m))


def _draw_terms(
    rng: np.random.Generator, config: AcceleratorConfig, shape: tuple[int, ...], density: float,
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    sign = rng.choice([-1, 1], shape) * (rng.random(shape) < density)
    exponent = rng.integers(0, config.exponents, shape)
    return sign.astype(np.int8), exponent.astype(np.int8)


def _draw_requantisation(
    rng: np.random.Generator, weights: Weights | None, shape: tuple[int, int, int],
    zero_point: int, spread: float,
) -> Requantisation:
    """Draw parameters that bring typical sums to the range of an activation.

    Parameters
    ----------
    spread : float
        Usual magnitude of an input less its zero point.
    """
    if weights is None:
        total = np.full(shape[0], shape[1] * shape[2])
        deviation = np.sqrt(total)
    else:
        integer = weights.integer()
        total = integer.sum(axis=(1, 2, 3))
        deviation = np.sqrt((integer.astype(float) ** 2).sum(axis=(1, 2, 3)) + 1)
    m = len(total)
    usual = deviation * spread
    multiplier = rng.integers(1, REQUANTISE.max_multiplier + 1, m)
    shift = np.clip(np.rint(np.log2(usual * multiplier / _TARGET)), 1, REQUANTISE.max_shift)
    residual_multiplier = rng.integers(1, REQUANTISE.max_multiplier + 1, m)
    residual_shift = np.clip(shift - np.rint(np.log2(residual_multiplier)), 0,
                             REQUANTISE.max_residual_shift)
    bias = total * zero_point + np.rint(rng.normal(0, 0.5, m) * usual).astype(np.int64)
    return Requantisation(bias, multiplier, residual_multiplier,
                          shift.astype(np.int64), residual_shift.astype(np.int64))


def draw_operands(
    rng: np.random.Generator, layer: IntegerLayer,
) -> tuple[NDArray[np.int8], NDArray[np.int8] | None]:
    """Draw input and, where the layer has one, residual; every value of int8 may occur."""
    x = rng.integers(ACT_MIN, ACT_MAX + 1, layer.input_shape).astype(np.int8)
    if layer.binary_input:
        x = np.where(x >= 0, 1, -1).astype(np.int8)
    elif rng.random() < 0.1:
        x[:] = rng.choice([ACT_MIN, ACT_MAX])  # the ends that the overflow proof speaks of
    if not layer.residual:
        return x, None
    return x, rng.integers(ACT_MIN, ACT_MAX + 1, layer.output_shape).astype(np.int8)


def draw_case(
    rng: np.random.Generator, config: AcceleratorConfig, *, max_steps: int | None = None,
    **fixed: Any,
) -> Case:
    """Draw layers until one fits the configuration.

    Parameters
    ----------
    max_steps : int, optional
        Most steps that may run, so that a simulation stays short.
    fixed
        As :func:`draw_layer` takes them.

    Raises
    ------
    RuntimeError
        If no layer fits; the message has the last refusal.
    """
    problem = ""
    for _ in range(_TRIES):
        layer = draw_layer(rng, config, **fixed)
        try:
            program = compile_layer(layer, config)
        except CompileError as error:
            problem = str(error)
            continue
        if max_steps is None or program.steps <= max_steps:
            return Case(layer, program, *draw_operands(rng, layer))
        problem = f"the last one took {program.steps} steps, at most {max_steps} were wanted"
    raise RuntimeError(f"no layer of {_TRIES} fits {config}: {problem}")


def draw_buffer(rng: np.random.Generator, config: AcceleratorConfig) -> bytes:
    """Draw a data image that fills the activation buffer, so that nothing in it is zero by luck."""
    data = rng.integers(ACT_MIN, ACT_MAX + 1, config.activation_bytes).astype(np.int8)
    section = Section(SectionKind.ACTIVATIONS, 0, pack_activations(data, config))
    return write_image(config, [section], program=False)


def tighten(
    rng: np.random.Generator, layer: IntegerLayer, config: AcceleratorConfig,
) -> AcceleratorConfig:
    """Make buffers and accumulators of a configuration smaller while the layer still fits it."""
    for name, least in (("activation_words", 16), ("weight_steps", 16), ("basis_entries", 16),
                        ("channel_entries", 16), ("acc_bits", 16)):
        value = getattr(config, name)
        smaller = config.replace(**{name: int(least * (value / least) ** rng.random())})
        try:
            compile_layer(layer, smaller)
        except CompileError:
            continue
        config = smaller
    return config
