"""From a model and calibration images to a program and what it costs: ``smartdeal compile``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import prod
from typing import Any

import numpy as np
from torch import Tensor

from smartdeal.compiler import CompileError, NetworkProgram, compile_network
from smartdeal.compiler.errors import advice
from smartdeal.compiler.models import Model
from smartdeal.golden.decompose import FORMS, FormError, FormOptions, decompose, form_used
from smartdeal.golden.graph import FloatGraph, find_layer
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import NetworkError
from smartdeal.golden.options import QuantiseOptions
from smartdeal.golden.quantise import DEFAULT_FORM, combine, quantise_forms
from smartdeal.golden.sparsity import Removal, remove_dead_filters
from smartdeal.golden.store import network_bytes
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.budget import Budget, BudgetError, TradeOff, choose_forms
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.summary import LayerSummary, summarise

__all__ = ["CANDIDATES", "Compiled", "Recipe", "compile_model"]

#: Forms that a budget chooses from, roughly from the fastest to the most exact.
CANDIDATES = ("deepshift", "smartdeal", "shift2", "shift3", "int8")

#: Called with a stage's name and the share of it that is done.
Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Recipe:
    """What a user chooses.

    Parameters
    ----------
    config : AcceleratorConfig
    form : str
        Weight form of all layers that ``layer_forms`` does not name; not used with a budget.
    layer_forms : mapping of str to str
        By layer.
    zero_fraction : float
        Fraction of each layer's vectors that are zeroed.
    quantise : QuantiseOptions
    dead_threshold : float or None
        For :func:`smartdeal.golden.sparsity.remove_dead_filters`; None keeps all filters.
    keep_all : bool
        Whether every tensor stays readable.
    budget : Budget or None
        To choose the form of each layer by.
    candidates : sequence of str
        Forms to choose from.
    timing : MemoryTiming
        Of the system memory, for accelerators that use it.
    """

    config: AcceleratorConfig
    form: str = "smartdeal"
    layer_forms: Mapping[str, str] = field(default_factory=dict)
    zero_fraction: float = 0.0
    quantise: QuantiseOptions = field(default_factory=QuantiseOptions)
    dead_threshold: float | None = None
    keep_all: bool = False
    budget: Budget | None = None
    candidates: Sequence[str] = CANDIDATES
    timing: MemoryTiming = field(default_factory=MemoryTiming)

    @property
    def options(self) -> FormOptions:
        """Options of the weight forms."""
        return FormOptions(exponents=self.config.exponents, zero_fraction=self.zero_fraction,
                           group=max(1, self.config.filters_per_group))


@dataclass(frozen=True, eq=False, kw_only=True)
class Compiled:
    """What came out.

    Parameters
    ----------
    program : NetworkProgram
    network : IntegerNetwork
        What the program computes.
    stored : bytes
        The same as a file, for :mod:`smartdeal.golden.store`; the program knows its SHA-256 as
        ``about["integer_sha256"]``.
    layers : list of LayerSummary
    removed : mapping of str to Removal
        Layers with dead filters.
    trade_off : TradeOff or None
        With a budget.
    """

    program: NetworkProgram
    network: IntegerNetwork
    stored: bytes
    layers: list[LayerSummary]
    removed: Mapping[str, Removal]
    trade_off: TradeOff | None


def compile_model(
    model: Model, images: Tensor, recipe: Recipe, about: Mapping[str, Any],
    progress: Progress | None = None,
) -> Compiled:
    """Quantise and compile a model.

    Parameters
    ----------
    model : Model
    images : float32 tensor, (B, C, H, W)
        For calibration.
    about : mapping
        JSON values to be kept with the program, beside the forms.

    Raises
    ------
    NetworkError, FormError, CompileError, BudgetError
        If something does not fit; one line that says what to change.
    """
    tell = progress or (lambda stage, done: None)
    graph, removed = model.graph, {}
    if recipe.dead_threshold is not None:
        graph, removed = remove_dead_filters(graph, recipe.dead_threshold)
    _check_room(graph, recipe.config)
    trade_off = None
    forms: dict[str, str] = {DEFAULT_FORM: recipe.form, **recipe.layer_forms}
    if recipe.budget is None:
        network, = _quantise(graph, images, [forms], recipe, tell)
    else:
        network, trade_off = _choose(graph, images, recipe, recipe.budget, tell)
        forms = dict(trade_off.chosen.forms)
    tell("compile", 0.0)
    stored = network_bytes(network)
    program = compile_network(network, recipe.config, keep_all=recipe.keep_all, about={
        **about, "form": forms if recipe.budget or recipe.layer_forms else recipe.form,
        "integer_sha256": sha256(stored).hexdigest()})
    tell("compile", 1.0)
    return Compiled(program=program, network=network, stored=stored, removed=removed,
                    trade_off=trade_off,
                    layers=summarise(program, network, graph, forms, model.graph,
                                     recipe.timing))


def _check_room(graph: FloatGraph, config: AcceleratorConfig) -> None:
    """Refuse tensors that cannot stay on chip before minutes are spent on weights."""
    if config.memory:
        return
    sizes = {name: prod(shape) for name, shape in graph.shapes.items()}
    for node in graph.nodes:
        held = {node.name, node.input, *([node.residual] if node.residual else [])}
        needed = sum(sizes[name] for name in held)
        if needed > config.activation_bytes:
            words = -(-needed // config.cols)
            raise CompileError(
                node.name, f"its input and output alone take {needed} bytes on chip, the "
                f"accelerator has activation_words = {config.activation_words} of {config.cols} "
                f"bytes; {advice(config, 'activation_words', words)} or more, or memory = true")


def _quantise(
    graph: FloatGraph, images: Tensor, forms: Sequence[str | Mapping[str, str]], recipe: Recipe,
    tell: Progress,
) -> list[IntegerNetwork]:
    total, names = len(forms) * len(graph.nodes), 0

    def begun(_: str) -> None:
        nonlocal names
        tell("quantise", names / total)
        names += 1

    networks = quantise_forms(graph, images, forms, recipe.options, recipe.config.sum_bits, begun,
                              quantise=recipe.quantise)
    tell("quantise", 1.0)
    return networks


def _usable(graph: FloatGraph, recipe: Recipe) -> tuple[list[str], dict[str, str]]:
    """Return the candidates that suit the accelerator's numbers, and why others do not."""
    usable: list[str] = []
    dropped: dict[str, str] = {}
    options = replace(recipe.options, zero_fraction=0.0)
    shapes = {tuple(node.weights.shape) for node in graph.nodes if node.weights is not None}
    for form in dict.fromkeys(recipe.candidates):
        try:
            # A layer may get another form than that which is asked for.
            for used in sorted({form_used(form, shape) for shape in shapes}):
                decompose(used, np.ones((1, 1, 3, 3)), options)
        except FormError as error:
            if form not in FORMS:
                raise
            dropped[form] = str(error)
        else:
            usable.append(form)
    return usable, dropped


def _choose(
    graph: FloatGraph, images: Tensor, recipe: Recipe, budget: Budget, tell: Progress,
) -> tuple[IntegerNetwork, TradeOff]:
    """Return the network in the forms that the budget chooses."""
    candidates, dropped = _usable(graph, recipe)
    fixed = dict(recipe.layer_forms)
    for layer in fixed:
        if find_layer(graph, layer) != layer:
            raise NetworkError(f"{graph.name}: layer {layer!r} must be given as "
                               f"{find_layer(graph, layer)!r}")
    forms = list(dict.fromkeys([*candidates, *fixed.values()]))
    made = dict(zip(forms, _quantise(graph, images, forms, recipe, tell), strict=True))
    for form in tuple(made):
        try:
            compile_network(made[form], recipe.config)
        except CompileError as error:
            if form in fixed.values():
                raise
            dropped[form] = str(error)
            del made[form]
    if not made:
        raise BudgetError("no candidate form can run: " + "; ".join(
            f"{form}: {reason}" for form, reason in dropped.items()))
    trade_off = choose_forms(
        graph, made, recipe.config, images, budget,
        [form for form in candidates if form in made], fixed=fixed, dropped=dropped,
        timing=recipe.timing, progress=tell)
    return combine(made, trade_off.chosen.forms), trade_off
