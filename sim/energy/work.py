"""Compiles a network for the cost model: as one program, or each layer as one of its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from smartdeal.compiler import CompileError, NetworkProgram, compile_layer, compile_network
from smartdeal.golden.decompose import form_used
from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.golden.graph import Network, float_graph
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import ResNet
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import Form, quantise_network, spared
from smartdeal.hw.config import AcceleratorConfig, ConfigError
from smartdeal.sim.energy.model import CompiledLayer
from smartdeal.sim.workload import default_images, load_model

__all__ = ["MIXED", "compile_integer", "compile_network_layers", "compile_network_program",
           "layer_form", "mixed_forms"]

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
    integer, forms, source = _quantised(network, config, form, zero_fraction, weights, seed,
                                        progress)
    return compile_integer(integer, config, forms, progress=progress), source


def compile_network_program(
    network: str, config: AcceleratorConfig, *, may_use_memory: bool = False,
    form: str = "smartdeal", zero_fraction: float = 0.0, weights: Path | None = None,
    seed: int = 0, progress: Progress | None = None,
) -> NetworkProgram:
    """Bring a built-in network into a weight form and compile it as one program.

    Parameters
    ----------
    may_use_memory : bool
        Whether a network that does not fit on chip gets an accelerator with the feature
        ``memory``; the program's configuration tells.
    network, form, zero_fraction, weights, seed
        As for :func:`compile_network_layers`.

    Raises
    ------
    NetworkError, FormError, CompileError
        If network, checkpoint, form or accelerator do not fit each other.
    """
    integer, forms, source = _quantised(network, config, form, zero_fraction, weights, seed,
                                        progress)
    tell = progress or (lambda stage, done: None)
    tell("compile", 0.0)
    used = {node.layer.name: form_used(
        forms if isinstance(forms, str) else forms.get(node.layer.name, ""),
        node.layer.weights.shape) for node in integer.nodes if node.layer.weights is not None}
    about = {"source": source, "form": used}
    try:
        program = compile_network(integer, config, about=about)
    except CompileError:
        if config.memory or not may_use_memory:
            raise
        try:
            external = config.replace(memory=True)
        except ConfigError:  # this accelerator cannot have it
            external = None
        if external is None:
            raise
        program = compile_network(integer, external, about=about)
    tell("compile", 1.0)
    return program


def _quantised(
    network: str, config: AcceleratorConfig, form: str, zero_fraction: float,
    weights: Path | None, seed: int, progress: Progress | None,
) -> tuple[IntegerNetwork, Form, str]:
    """Return a built-in network in a weight form, the forms, and where the weights come from."""
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
    return integer, forms, source


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


def layer_form(network: str, layer: str, form: str) -> str:
    """Return the form of one layer of a built-in network; another one than ``mixed`` is its own."""
    if form != MIXED:
        return form
    return mixed_forms(load_model(network, None, 0)[0]).get(layer, "int8")


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
