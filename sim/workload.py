"""The layers of a built-in network with real operands, ready to be run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from smartdeal.compiler.models import load_model
from smartdeal.golden.checkpoints import noise_images
from smartdeal.golden.decompose import form_used
from smartdeal.golden.fashion import CHECKPOINTS, CLASSES, calibration_images, sample_images
from smartdeal.golden.form_layers import form_layers
from smartdeal.golden.graph import Network
from smartdeal.golden.integer import run_network
from smartdeal.golden.layers import IntegerNetwork, IntegerNode
from smartdeal.golden.networks import ResNet
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_layer, quantise_network, spared
from smartdeal.golden.vectors import has_vectors
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.simulate import LayerWork

__all__ = ["Workload", "default_images", "load_model", "prepare"]

_NOISE_IMAGES = 4
_FASHION = "Fashion-MNIST image"


@dataclass(frozen=True, eq=False)
class Workload:
    """Layers to run.

    Parameters
    ----------
    layers : tuple of LayerWork
    source : str
        Where weights and activations come from.
    forms : tuple of str or None
        The weight form of each layer; None where it has no weights.
    whole : tuple of str
        Names of the layers of which a zero fraction zeroes nothing.
    answer : str
        What the integer network says about the image, if it is a real one and all layers run.
    trained : frozenset of str
        Names of the layers that the checkpoint holds in a form.
    """

    layers: tuple[LayerWork, ...]
    source: str
    forms: tuple[str | None, ...]
    whole: tuple[str, ...]
    answer: str = ""
    trained: frozenset[str] = frozenset()


def default_images(model: Network, seed: int) -> Tensor:
    """Return calibration images for a network: real ones for those of the package, or noise."""
    if isinstance(model, ResNet) and model.calibration is not None:
        return model.calibration
    if isinstance(model, ResNet) and model.name in CHECKPOINTS:
        return calibration_images()
    shape = model.spec.input_shape if isinstance(model, ResNet) else model.input_shape
    return noise_images(shape, _NOISE_IMAGES, seed)


def _answer(labels: Sequence[int], logits: NDArray[np.int8]) -> str:
    """Return what the network says about the first image, if its label is known."""
    if not labels:
        return ""
    return (f"test image: {CLASSES[labels[0]]}; the network says: "
            f"{CLASSES[int(logits.argmax())]}")


def _image_source(model: ResNet) -> str:
    if model.calibration is not None:
        return "image of the checkpoint"
    return _FASHION if model.name in CHECKPOINTS else "seeded image"


def _forms(model: ResNet, nodes: Sequence[IntegerNode], form: str) -> tuple[str | None, ...]:
    """Return each layer's form: the one that a checkpoint holds it in, or else ``form``."""
    trained = {name: layer.form for name, layer in form_layers(model).items()}
    return tuple(
        None if node.layer.weights is None
        else trained.get(node.layer.name) or form_used(form, node.layer.weights.shape)
        for node in nodes)


def _whole(nodes: Sequence[IntegerNode]) -> tuple[str, ...]:
    return tuple(node.layer.name for node in nodes
                 if node.layer.weights is None or spared(node.layer.kind, node.input)
                 or not has_vectors(node.layer.weights.shape))


def prepare(
    network: str, config: AcceleratorConfig, *, layers: Sequence[str] = (),
    form: str = "smartdeal", zero_fraction: float = 0.0, weights: Path | None = None,
    seed: int = 0, progress: Callable[[str], None] | None = None,
) -> Workload:
    """Bring a network, or some of its layers, into integers.

    Parameters
    ----------
    network : str
        A key of :data:`smartdeal.golden.networks.NETWORKS`.
    config : AcceleratorConfig
        Sets exponents, width of the sums, and how many filters share zero vectors.
    layers : sequence of str
        Torch names; all layers of the network if empty.
    form : str
        A key of :data:`smartdeal.golden.decompose.FORMS`.
    zero_fraction : float
        Fraction of each layer's vectors that are zeroed.
    weights : Path or None
        A checkpoint. Without it, ``resnet8`` is the trained one of the package, and others get
        seeded weights.
    seed : int
        Of seeded weights and images.
    progress : callable, optional
        Called with each layer's name.

    Raises
    ------
    NetworkError, FormError
        If network, layer, checkpoint or form cannot be used.
    """
    model, source = load_model(network, weights, seed)
    options = FormOptions(exponents=config.exponents, zero_fraction=zero_fraction,
                          group=max(1, config.filters_per_group))
    calibration = default_images(model, seed)
    source += f", {_image_source(model)}"
    if layers:
        cases = []
        for name in layers:
            if progress is not None:
                progress(name)
            cases.append(quantise_layer(model, name, calibration, form, options, config.sum_bits))
        nodes = [case.node for case in cases]
        return Workload(
            tuple(LayerWork(case.node.layer, case.x, case.residual) for case in cases), source,
            _forms(model, nodes, form), _whole(nodes), trained=frozenset(form_layers(model)))
    integer = quantise_network(model, calibration, form, options, config.sum_bits, progress)
    images, labels = sample_images() if _FASHION in source else (calibration, [])
    image = integer.scales[IntegerNetwork.IMAGE].quantise(images[0].numpy())
    tensors = run_network(integer, image)
    answer = _answer(labels, tensors[integer.nodes[-1].layer.name])
    return Workload(tuple(
        LayerWork(node.layer, tensors[node.input],
                  tensors[node.residual] if node.residual is not None else None)
        for node in integer.nodes), source,
        _forms(model, integer.nodes, form), _whole(integer.nodes), answer,
        frozenset(form_layers(model)))
