"""From a network in floating point to integer layers.

Activations get one scale and zero point per tensor from the extremes that they take on calibration
images; normalisations fold into weights and bias; ReLU becomes the lower clamp, and the residual
addition part of the convolution before it. Nothing is retrained, but the bias makes up for the mean
error that rounded weights cause on the calibration images (Nagel et al. 2019, section 4.2).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from smartdeal.golden.decompose import FormOptions, decompose
from smartdeal.golden.formats import ACT_MAX, ACT_MIN
from smartdeal.golden.forms import Weights
from smartdeal.golden.graph import FloatNode, find_layer, float_graph, run_float
from smartdeal.golden.layers import (
    IntegerLayer,
    IntegerNetwork,
    IntegerNode,
    Requantisation,
    TensorScale,
)
from smartdeal.golden.networks import NetworkError, ResNet
from smartdeal.golden.requantise import (
    constant_unit,
    dead_filters,
    requantisation,
    without_filters,
)

__all__ = ["LayerCase", "Progress", "folded", "quantise_layer", "quantise_network"]

#: Called with a layer's name when work on it begins.
Progress = Callable[[str], None]

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class LayerCase:
    """One layer of a network with real operands: those of the first calibration image.

    Parameters
    ----------
    node : IntegerNode
    x : int8 array, ``node.layer.input_shape``
    residual : int8 array, ``node.layer.output_shape``, or None
    scales : dict of TensorScale
        Of the operands and the output, by tensor name.
    """

    node: IntegerNode
    x: NDArray[np.int8]
    residual: NDArray[np.int8] | None
    scales: dict[str, TensorScale]


@dataclass(frozen=True, eq=False)
class _Calibration:
    """What calibration images tell, by tensor name.

    ``means`` are the channels' means, (C,); ``first`` the tensors of the first image that were
    asked for.
    """

    scales: dict[str, TensorScale]
    shapes: dict[str, Shape]
    means: dict[str, NDArray[np.float64]]
    first: dict[str, NDArray[np.float32]]


def folded(node: FloatNode) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (M, C, kh, kw) and bias (M,) of a layer, its normalisation folded in.

    Raises
    ------
    NetworkError
        If a value is not finite.
    """
    module = node.module
    assert isinstance(module, nn.Conv2d | nn.Linear)
    weights = module.weight.detach().double().numpy()
    weights = weights.reshape(*weights.shape, *(1,) * (4 - weights.ndim))
    bias = np.zeros(len(weights))
    if module.bias is not None:
        bias = module.bias.detach().double().numpy()
    norm = node.norm
    if norm is not None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gain = 1 / np.sqrt(norm.running_var.double().numpy() + norm.eps)
        shift = np.zeros_like(gain)
        if norm.affine:
            gain = gain * norm.weight.detach().double().numpy()
            shift = norm.bias.detach().double().numpy()
        weights = weights * gain[:, None, None, None]
        bias = (bias - norm.running_mean.double().numpy()) * gain + shift
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise NetworkError(f"{node.name}: weights and normalisation must be finite, "
                           f"but folding them gives values that are not")
    return weights, bias


def _tensor_scale(name: str, tensor: Tensor) -> TensorScale:
    """Return the scale that spans a tensor's values and zero."""
    low, high = float(tensor.min()), float(tensor.max())
    if not np.isfinite(high - low):
        raise NetworkError(f"{name}: activations must be finite, not from {low} to {high}")
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (ACT_MAX - ACT_MIN) or 1.0
    return TensorScale(scale, int(np.clip(round(ACT_MIN - low / scale), ACT_MIN, ACT_MAX)))


def _layer_weights(
    node: FloatNode, form: str, options: FormOptions, sum_bits: int, calibration: _Calibration,
) -> tuple[Weights, NDArray[np.float64], NDArray[np.float64]]:
    """Return decomposed weights, the real unit of each filter's sum, and the real bias."""
    weights, bias = folded(node)
    if node.kind == "linear" or node.input == IntegerNetwork.IMAGE:
        # As published the last layer is not pruned; nor is the first, whose few inputs all count.
        options = replace(options, zero_fraction=0.0)
    formed = decompose(form, weights, options, layer=node.name)
    unit = calibration.scales[node.input].scale * formed.scale
    dead = dead_filters(unit, bias, sum_bits)
    if dead.any():
        formed = without_filters(formed, dead)
    integer = formed.integer()
    lost = weights - integer * formed.scale[:, None, None, None]
    bias = bias + lost.sum(axis=(2, 3)) @ calibration.means[node.input]
    # A filter of zeros may count in any unit: one that is fine enough for its bias.
    fine = constant_unit(calibration.scales[node.name].scale)
    return formed, np.where(integer.any(axis=(1, 2, 3)), unit, fine), bias


def _geometry(
    node: FloatNode, shape: Shape, output: Shape,
) -> tuple[tuple[int, int], int, tuple[int, int, int, int]]:
    """Return kernel, stride and the padding that the kernel reaches (top, left, bottom, right)."""
    module = node.module
    if isinstance(module, nn.Conv2d):
        assert not isinstance(module.padding, str)
        kernel, stride = (module.kernel_size[0], module.kernel_size[1]), module.stride[0]
        top, left = module.padding
    elif isinstance(module, nn.MaxPool2d):
        size, stride, top = module.kernel_size, module.stride, module.padding
        assert isinstance(size, int)
        assert isinstance(stride, int)
        assert isinstance(top, int)
        kernel, left = (size, size), top
    else:
        return (shape[1:] if node.kind == "average_pool" else (1, 1)), 1, (0, 0, 0, 0)
    bottom, right = (
        max(0, (outputs - 1) * stride + taps - before - inputs)
        for outputs, taps, before, inputs in zip(
            output[1:], kernel, (top, left), shape[1:], strict=True))
    return kernel, stride, (top, left, bottom, right)


def _integer_layer(
    node: FloatNode, form: str, options: FormOptions, sum_bits: int, calibration: _Calibration,
) -> IntegerLayer:
    scales, shapes = calibration.scales, calibration.shapes
    source, target = scales[node.input], scales[node.name]
    added = scales[node.residual] if node.residual is not None else None
    weights: Weights | None = None
    parameters: Requantisation | None = None
    if node.kind == "average_pool":
        channels, height, width = shapes[node.input]
        unit = np.full(channels, source.scale / (height * width))
        parameters = requantisation(unit, np.zeros(channels), target.scale, None)
    elif node.kind != "max_pool":
        weights, unit, bias = _layer_weights(node, form, options, sum_bits, calibration)
        parameters = requantisation(unit, bias, target.scale, added.scale if added else None)
    kernel, stride, padding = _geometry(node, shapes[node.input], shapes[node.name])
    return IntegerLayer(
        name=node.name, kind=node.kind, weights=weights, kernel=kernel, stride=stride,
        padding=padding, input_shape=shapes[node.input],
        output_shape=shapes[node.name], requantisation=parameters,
        input_zero_point=source.zero_point, output_zero_point=target.zero_point,
        residual_zero_point=added.zero_point if added else 0, residual=added is not None,
        lo=target.zero_point if node.relu else ACT_MIN,
    )


def _check_images(model: ResNet, images: Tensor) -> None:
    if images.ndim != 4 or not len(images) or images.shape[1] != model.spec.input_shape[0]:
        raise NetworkError(f"images must have shape (B, {model.spec.input_shape[0]}, H, W), "
                           f"not {tuple(images.shape)}")


def _calibrate(
    nodes: list[FloatNode], images: Tensor, last: str, keep: tuple[str | None, ...] = (),
) -> _Calibration:
    """Run the images up to layer ``last``, and keep the first image's tensors named ``keep``."""
    inherited = {node.name: node.input for node in nodes if node.kind == "max_pool"}
    result = _Calibration({}, {}, {}, {})
    for name, tensor in run_float(nodes, images):
        result.scales[name] = (result.scales[inherited[name]] if name in inherited
                               else _tensor_scale(name, tensor))
        _, channels, height, width = tensor.shape
        result.shapes[name] = (channels, height, width)
        result.means[name] = tensor.double().mean((0, 2, 3)).numpy()
        if name in keep:
            result.first[name] = tensor[0].numpy()
        if name == last:
            break
    return result


def quantise_network(
    model: ResNet, images: Tensor, form: str, options: FormOptions | None = None,
    sum_bits: int = 40, progress: Progress | None = None,
) -> IntegerNetwork:
    """Bring a whole network into integers.

    Parameters
    ----------
    model : ResNet
        In evaluation mode.
    images : float32 tensor, (B, C, H, W)
        For calibration; their size is the network's input size.
    form : str
        Weight form, a key of :data:`smartdeal.golden.decompose.FORMS`.
    sum_bits : int
        Bits of a sum, into which every bias must fit: the accelerator's. A filter whose weights
        vanish beside its bias becomes a constant.
    progress : callable, optional
        Called with each layer's name before its weights are decomposed.

    Raises
    ------
    NetworkError, FormError
        If the network, its values or the form are not supported; the message names the layer.
    """
    _check_images(model, images)
    nodes = float_graph(model)
    calibration = _calibrate(nodes, images, nodes[-1].name)
    integer: list[IntegerNode] = []
    for node in nodes:
        if progress is not None:
            progress(node.name)
        layer = _integer_layer(node, form, options or FormOptions(), sum_bits, calibration)
        integer.append(IntegerNode(layer, node.input, node.residual))
    return IntegerNetwork(model.name, tuple(integer), calibration.scales)


def quantise_layer(
    model: ResNet, layer: str, images: Tensor, form: str, options: FormOptions | None = None,
    sum_bits: int = 40,
) -> LayerCase:
    """Bring one layer into integers, with the activations that the first image gives it.

    Only this layer's weights are decomposed, and only the layers before it are evaluated.

    Parameters
    ----------
    layer : str
        As :func:`smartdeal.golden.graph.find_layer` takes it.

    Raises
    ------
    NetworkError, FormError
        As :func:`quantise_network`, or if there is no such layer.
    """
    _check_images(model, images)
    nodes = float_graph(model)
    name = find_layer(model, layer)
    node = next(node for node in nodes if node.name == name)
    calibration = _calibrate(nodes, images, name, (node.input, node.residual))
    scales = calibration.scales
    integer = _integer_layer(node, form, options or FormOptions(), sum_bits, calibration)
    operands = {tensor: scales[tensor].quantise(values)
                for tensor, values in calibration.first.items()}
    return LayerCase(
        IntegerNode(integer, node.input, node.residual), operands[node.input],
        operands[node.residual] if node.residual is not None else None,
        {tensor: scales[tensor] for tensor in (*operands, name)})
