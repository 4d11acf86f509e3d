"""From a network in floating point to integer layers.

Activations get one scale and zero point per tensor from the range that they take on calibration
images; normalisations fold into weights and bias; ReLU becomes the lower clamp, and the residual
addition part of the convolution before it. Nothing is retrained, but the bias makes up for the mean
error that rounded weights cause on the calibration images (Nagel et al. 2019, section 4.2).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smartdeal.golden.calibrate import Calibration, calibrate
from smartdeal.golden.decompose import FormError, FormOptions, decompose
from smartdeal.golden.formats import ACT_MAX, ACT_MIN
from smartdeal.golden.forms import TermWeights, Weights
from smartdeal.golden.graph import (
    FloatGraph,
    FloatNode,
    Network,
    find_layer,
    float_graph,
    reached_padding,
)
from smartdeal.golden.layers import (
    IntegerLayer,
    IntegerNetwork,
    IntegerNode,
    Requantisation,
    TensorScale,
)
from smartdeal.golden.networks import NetworkError, ResNet
from smartdeal.golden.options import DEFAULT_FORM, QuantiseOptions
from smartdeal.golden.requantise import (
    constant_unit,
    dead_filters,
    requantisation,
    with_gain,
    without_filters,
)
from smartdeal.golden.signs import binary_weights, threshold

__all__ = [
    "DEFAULT_FORM", "Form", "LayerCase", "Progress", "approximated", "combine", "folded",
    "quantise_forms", "quantise_layer", "quantise_network", "spared",
]

#: Called with a layer's name when work on it begins.
Progress = Callable[[str], None]

#: A weight form for all layers, or one by layer name.
Form = str | Mapping[str, str]


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


@dataclass(frozen=True, eq=False, kw_only=True)
class _Choices:
    """What the user chose, for one network."""

    form: Form
    options: FormOptions
    quantise: QuantiseOptions
    sum_bits: int

    def of(self, node: FloatNode) -> tuple[str, FormOptions]:
        """Return a layer's form and its options."""
        if isinstance(self.form, str):
            form = self.form
        else:
            form = self.form.get(node.name, self.form.get(DEFAULT_FORM, ""))
            if not form:
                raise FormError(f"{node.name}: no weight form is given for it; name one, or one "
                                f"for all others as {DEFAULT_FORM!r}")
        default = 0.0 if spared(node.kind, node.input) else self.options.zero_fraction
        fraction = self.quantise.zero_fractions.get(node.name, default)
        return form, replace(self.options, zero_fraction=fraction)

    def check(self, graph: FloatGraph) -> None:
        """Raise for a layer that the network does not have."""
        forms = {} if isinstance(self.form, str) else self.form
        for given in (self.quantise.zero_fractions, forms):
            for name in given:
                if name != DEFAULT_FORM and find_layer(graph, name) != name:
                    raise NetworkError(f"{graph.name}: layer {name!r} must be given as "
                                       f"{find_layer(graph, name)!r}")


def spared(kind: str, source: str) -> bool:
    """Return whether a layer of that kind, with that input tensor, keeps all its vectors.

    As published the last layer is not pruned; nor is the first, whose few inputs all count.
    """
    return kind == "linear" or source == IntegerNetwork.IMAGE


def gains(node: FloatNode) -> NDArray[np.float64]:
    """Return what a layer's normalisation multiplies each filter by, (M,); it may be negative."""
    norm = node.norm
    if norm is None:
        assert node.weights is not None  # only pools have none
        return np.ones(len(node.weights))
    return norm.gamma.double().numpy() / np.sqrt(norm.variance.double().numpy() + norm.eps)


def folded(node: FloatNode) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (M, C, kh, kw) and bias (M,) of a layer, its normalisation folded in.

    Raises
    ------
    NetworkError
        If a value is not finite.
    """
    assert node.weights is not None  # only pools have none
    weights = node.weights.double().numpy()
    bias = node.bias.double().numpy() if node.bias is not None else np.zeros(len(weights))
    norm = node.norm
    if norm is not None:
        gain = gains(node)
        weights = weights * gain[:, None, None, None]
        bias = (bias - norm.mean.double().numpy()) * gain + norm.beta.double().numpy()
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise NetworkError(f"{node.name}: weights and normalisation must be finite, "
                           f"but folding them gives values that are not")
    return weights, bias


def _check_weights(nodes: Sequence[FloatNode]) -> None:
    """Raise :exc:`NetworkError` for weights that are not finite, before activations are blamed."""
    for node in nodes:
        if node.weights is not None:
            folded(node)


def _exact(weights: NDArray[np.float64]) -> TermWeights:
    """Return weights of 0 and ±1 as they are, of scale 1."""
    sign = weights.astype(np.int8)[None]
    return TermWeights(sign, np.zeros_like(sign), np.ones(len(weights)))


def _decisive(
    integer: NDArray[np.int64], unit: NDArray[np.float64], node: FloatNode,
    scales: Mapping[str, TensorScale],
) -> NDArray[np.float64]:
    """Return the biases, (M,), beyond which nothing brings an output back from its clamp.

    A larger one would only need more bits: that of a filter which ReLU has killed may be anything.
    """
    span = ACT_MAX - ACT_MIN
    limit = np.abs(integer).sum(axis=(1, 2, 3)) * unit * span + 2 * span * scales[node.name].scale
    return limit + (span * scales[node.residual].scale if node.residual is not None else 0.0)


def _layer_weights(
    node: FloatNode, choices: _Choices, calibration: Calibration,
) -> tuple[Weights, NDArray[np.float64], NDArray[np.float64]]:
    """Return decomposed weights, the real unit of each filter's sum, and the real bias."""
    weights, bias = folded(node)
    if node.exact:
        formed = _exact(weights)
    elif node.binary_input:
        formed = binary_weights(node.name, node.trained, node.form, gains(node))
    elif node.trained is not None:
        formed = with_gain(node.trained, gains(node))
    else:
        form, options = choices.of(node)
        formed = decompose(form, weights, options, layer=node.name)
    unit = calibration.scales[node.input].scale * formed.scale
    limit = _decisive(formed.integer(), unit, node, calibration.scales)
    bias = np.clip(bias, -limit, limit)
    dead = dead_filters(unit, bias, choices.sum_bits)
    # A filter that may count in any unit: one that is fine enough for its bias.
    fine = constant_unit(calibration.scales[node.name].scale)
    if node.binary_input:  # has no zero: what it adds in that unit is no output step
        alone = node.signs and node.residual is None
        return formed, unit if alone else np.where(dead, fine, unit), bias
    if dead.any():
        formed = without_filters(formed, dead)
    integer = formed.integer()
    if choices.quantise.bias_correction:
        lost = weights - integer * formed.scale[:, None, None, None]
        bias = bias + lost.sum(axis=(2, 3)) @ calibration.means[node.input]
        bias = np.clip(bias, -limit, limit)
    return formed, np.where(integer.any(axis=(1, 2, 3)), unit, fine), bias


def _integer_layer(
    node: FloatNode, choices: _Choices, calibration: Calibration,
) -> IntegerLayer:
    scales, shapes = calibration.scales, calibration.shapes
    source, target = scales[node.input], scales[node.name]
    added = scales[node.residual] if node.residual is not None else None
    shape, output = shapes[node.input], shapes[node.name]
    kernel, padding = node.kernel, (0, 0, 0, 0)
    weights: Weights | None = None
    parameters: Requantisation | None = None
    if node.kind == "average_pool":
        channels, height, width = shape
        kernel = (height, width)
        unit = np.full(channels, source.scale / (height * width))
        parameters = requantisation(unit, np.zeros(channels), target.scale, None)
    else:
        padding = reached_padding(node, shape, output)
    if node.weights is not None:
        weights, unit, bias = _layer_weights(node, choices, calibration)
        if node.signs and added is None:
            parameters = threshold(weights.integer(), unit, bias,
                                   1 if node.binary_input else ACT_MAX - ACT_MIN)
        else:
            parameters = requantisation(unit, bias, target.scale, added.scale if added else None)
    return IntegerLayer(
        name=node.name, kind=node.kind, weights=weights, kernel=kernel, stride=node.stride,
        padding=padding, input_shape=shape, output_shape=output, requantisation=parameters,
        input_zero_point=node.pad_value if node.binary_input else source.zero_point,
        output_zero_point=node.signs or target.zero_point,
        binary_input=node.binary_input, binary_output=bool(node.signs),
        residual_zero_point=added.zero_point if added else 0, residual=added is not None,
        lo=target.zero_point if node.relu and not node.signs else ACT_MIN,
    )


def _checked_graph(model: Network, images: Tensor) -> FloatGraph:
    """Return the network as a graph for images of this size, or raise for wrong images."""
    channels, height, width = (model.spec.input_shape if isinstance(model, ResNet)
                               else model.input_shape)
    if isinstance(model, ResNet):
        wanted = f"(B, {channels}, H, W)"
        fits = images.ndim == 4 and images.shape[1] == channels
    else:
        wanted = f"(B, {channels}, {height}, {width})"
        fits = images.shape[1:] == (channels, height, width)
    if not fits or not len(images):
        raise NetworkError(f"images must have shape {wanted}, not {tuple(images.shape)}")
    wrong = int((~torch.isfinite(images)).sum())
    if wrong:
        raise NetworkError(f"images must be finite, but {wrong} of {images.numel()} values are "
                           f"not; leave out or repair the images that hold them")
    if isinstance(model, ResNet):
        model = float_graph(model, (images.shape[2], images.shape[3]))
    return model


def quantise_network(
    model: Network, images: Tensor, form: Form, options: FormOptions | None = None,
    sum_bits: int = 40, progress: Progress | None = None, *,
    quantise: QuantiseOptions | None = None,
) -> IntegerNetwork:
    """Bring a whole network into integers.

    Parameters
    ----------
    model : ResNet or FloatGraph
        A ResNet must be in evaluation mode.
    images : float32 tensor, (B, C, H, W)
        For calibration; a ResNet takes their size for its input's.
    form : str or mapping of str to str
        Weight form, a key of :data:`smartdeal.golden.decompose.FORMS`; or one by layer name, with
        ``"*"`` for all others.
    sum_bits : int
        Bits of a sum, into which every bias must fit: the accelerator's. A filter whose weights
        vanish beside its bias becomes a constant.
    progress : callable, optional
        Called with each layer's name before its weights are decomposed.
    quantise : QuantiseOptions, optional
        Ranges of activations, bias correction, zeroed vectors by layer.

    Raises
    ------
    NetworkError, FormError
        If the network, its values or the form are not supported; the message names the layer.
    """
    network, = quantise_forms(model, images, [form], options, sum_bits, progress,
                              quantise=quantise)
    return network


def quantise_forms(
    model: Network, images: Tensor, forms: Sequence[Form], options: FormOptions | None = None,
    sum_bits: int = 40, progress: Progress | None = None, *,
    quantise: QuantiseOptions | None = None,
) -> list[IntegerNetwork]:
    """Bring a whole network into integers in several forms, which share one calibration.

    Since scales do not depend on the form, layers of these networks can be combined
    (:func:`combine`). Parameters and errors are those of :func:`quantise_network`, with a sequence
    of forms in place of one.
    """
    graph = _checked_graph(model, images)
    every = [_Choices(form=form, options=options or FormOptions(), sum_bits=sum_bits,
                      quantise=quantise or QuantiseOptions()) for form in forms]
    for choices in every:
        choices.check(graph)
    _check_weights(graph.nodes)
    calibration = calibrate(graph.nodes, images, graph.nodes[-1].name, every[0].quantise)
    networks: list[IntegerNetwork] = []
    for choices in every:
        nodes: list[IntegerNode] = []
        for node in graph.nodes:
            if progress is not None:
                progress(node.name)
            layer = _integer_layer(node, choices, calibration)
            nodes.append(IntegerNode(layer, node.input, node.residual))
        networks.append(IntegerNetwork(graph.name, tuple(nodes), calibration.scales))
    return networks


def combine(
    networks: Mapping[str, IntegerNetwork], forms: Mapping[str, str],
) -> IntegerNetwork:
    """Return a network with each layer from one of several that share their calibration.

    Parameters
    ----------
    networks : mapping of str to IntegerNetwork
        By form, as :func:`quantise_forms` made them.
    forms : mapping of str to str
        A form for each layer by name; a layer without weights may be missing.
    """
    first = next(iter(networks.values()))
    nodes = tuple(
        networks[forms[node.layer.name]].nodes[index] if node.layer.name in forms else node
        for index, node in enumerate(first.nodes))
    return IntegerNetwork(first.name, nodes, first.scales)


def approximated(node: FloatNode, integer: IntegerNode, network: IntegerNetwork) -> FloatNode:
    """Return a layer in floating point with the weights and the bias that the integer layer has.

    Activations are not rounded: what differs is what the weight form costs.
    """
    layer = integer.layer
    assert layer.weights is not None  # only pools have none
    assert layer.requantisation is not None
    whole = layer.weights.integer()
    unit = np.where(whole.any(axis=(1, 2, 3)),
                    network.scales[integer.input].scale * layer.weights.scale,
                    constant_unit(network.scales[layer.name].scale))
    weights = whole * layer.weights.scale[:, None, None, None]
    return replace(node, weights=torch.from_numpy(weights).float(), norm=None,
                   bias=torch.from_numpy(layer.requantisation.bias * unit).float())


def quantise_layer(
    model: Network, layer: str, images: Tensor, form: Form, options: FormOptions | None = None,
    sum_bits: int = 40, *, quantise: QuantiseOptions | None = None,
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
    graph = _checked_graph(model, images)
    choices = _Choices(form=form, options=options or FormOptions(), sum_bits=sum_bits,
                       quantise=quantise or QuantiseOptions())
    choices.check(graph)
    name = find_layer(graph, layer)
    index = next(i for i, node in enumerate(graph.nodes) if node.name == name)
    node = graph.nodes[index]
    _check_weights(graph.nodes[:index + 1])
    calibration = calibrate(graph.nodes, images, name, choices.quantise,
                            (node.input, node.residual))
    scales = calibration.scales
    integer = _integer_layer(node, choices, calibration)
    operands = {tensor: scales[tensor].quantise(values)
                for tensor, values in calibration.first.items()}
    return LayerCase(
        IntegerNode(integer, node.input, node.residual), operands[node.input],
        operands[node.residual] if node.residual is not None else None,
        {tensor: scales[tensor] for tensor in (*operands, name)})
