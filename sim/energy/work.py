"""Compiles the layers of a network, each as a program of its own, for the cost model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from smartdeal.compiler import compile_layer
from smartdeal.golden.decompose import form_used
from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.golden.graph import Network, float_graph
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import ResNet
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import Form, quantise_network, spared
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.energy.model import CompiledLayer
from smartdeal.sim.workload import default_images, load_model

__all__ = ["MIXED", "compile_integer", "compile_network_layers", "mixed_forms"]

#: The name of :func:`mixed_forms` where a form is asked for.
MIXED = "mixed"

#: Called with a stage's name and how much of it is done, 0…1.
Progress = Callable[[str, float], None]


def compile_network_layers(
    network: str, config: AcceleratorConfig, *, form: str = "smartdeal",
    zero_fraction: float = 0.0, weights: Path | None = None, seed: int = 0,
    progress: Progress | None = None,
) -> tuple[list[CompiledLayer], str]:
    """Bring a built-in network into a weight form and compile its layers one by one.

    Parameters
    ----------
    network, form, zero_fraction, weights, seed
        As for :func:`smartdeal.sim.workload.prepare`.

    Returns
    -------
    list of CompiledLayer
    str
        Where the weights come from.

    Raises
    ------
    NetworkError, FormError, CompileError
        If network, checkpoint, form or accelerator do not fit each other.
    """
    tell = progress or (lambda stage, done: None)
    model, source = load_model(network, weights, seed)
    forms = mixed_forms(model) if form == MIXED else form
    group = config.rows if form == MIXED else max(1, config.filters_per_group)
    options = FormOptions(exponents=config.exponents, zero_fraction=zero_fraction, group=group,
                          restarts=0)
    names: list[str] = []

    def decomposed(name: str) -> None:
        names.append(name)
        tell("quantise", 1 - 0.95 ** len(names))  # the number of layers is not known yet

    integer = quantise_network(model, default_images(model, seed), forms, options,
                               config.sum_bits, decomposed)
    tell("quantise", 1.0)
    if zero_fraction:
        source += f", {zero_fraction:.0%} of the vectors zeroed"
    return compile_integer(integer, config, forms, progress=tell), source


def mixed_forms(model: Network) -> dict[str, str]:
    """Return the form that suits each layer of the array best.

    SmartDeal where a kernel is 3×3; one power of two where it is 1×1, whose published form takes
    three passes; two powers of two in the first and the linear layer, which lose most by rounding.
    """
    graph = float_graph(model) if isinstance(model, ResNet) else model
    forms: dict[str, str] = {}
    for node in graph.nodes:
        if node.weights is None:
            continue
        if spared(node.kind, node.input):
            forms[node.name] = "shift2"
        else:
            square = tuple(node.weights.shape[2:]) == (BASIS_SIZE, BASIS_SIZE)
            forms[node.name] = "smartdeal" if square else "deepshift"
    return forms


def compile_integer(
    integer: IntegerNetwork, config: AcceleratorConfig, form: Form, *,
    progress: Progress | None = None,
) -> list[CompiledLayer]:
    """Compile the layers of an integer network one by one.

    Raises
    ------
    CompileError
        If a layer does not fit the accelerator.
    """
    compiled: list[CompiledLayer] = []
    for number, node in enumerate(integer.nodes):
        if progress is not None:
            progress("compile", number / len(integer.nodes))
        layer = node.layer
        chosen = form if isinstance(form, str) else form.get(layer.name, "")
        compiled.append(CompiledLayer(
            program=replace(compile_layer(layer, config), name=layer.name), kind=layer.kind,
            form=form_used(chosen, layer.weights.shape) if layer.weights is not None else "",
            input=node.input, residual=node.residual, input_shape=layer.input_shape,
            macs=layer.macs,
            weights=int(np.prod(layer.weights.shape)) if layer.weights is not None else 0,
            nonzero_terms=layer.nonzero_terms))
    if progress is not None:
        progress("compile", 1.0)
    return compiled
