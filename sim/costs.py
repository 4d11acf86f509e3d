"""What a network in weight forms costs: storage by part and format, and cycles on an array."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from smartdeal.compiler import CompileError, NetworkProgram, compile_network
from smartdeal.golden.form_layers import form_layers
from smartdeal.golden.graph import float_graph
from smartdeal.golden.ham import FORMATS, encode_matrix, ham_bound, sham_bound
from smartdeal.golden.networks import ResNet
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import Form, quantise_network
from smartdeal.golden.storage import PARTS, encode_weights
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.timing import END_CYCLES
from smartdeal.sim.energy.model import cost_of_program
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.summary import LayerSummary, summarise

__all__ = ["LayerCost", "NetworkCosts", "network_costs"]

_FLOAT_BITS = 32
#: Technology of the energy in tables of costs; ``smartdeal report --tech`` has others.
ENERGY_TECHNOLOGY = "28nm"


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What the weights of a layer cost.

    Parameters
    ----------
    name, form : str
    weights : int
        Weights of the dense layer.
    zero_weights, zero_vectors : float
        Shares; vectors that a group of filters does not need count.
    terms_per_weight : float
    bits : mapping of str to int
        Stored bits by part (:mod:`smartdeal.golden.storage`).
    formats : mapping of str to int
        Bytes of the integer weights as one matrix, (M, C · kh · kw), by storage format
        (:mod:`smartdeal.golden.ham`).
    ham_bound, sham_bound : float
        Published bounds of the occupancy in these formats.
    program_bytes : int or None
        Tables of the layer in the program image; None if the network does not fit.
    cycles : int or None
        By the latency model, with the layout changes that belong to the layer.
    energy_pj : float or None
        Of an image, by :mod:`smartdeal.sim.energy`, loading the layer's weights included; None if
        the network does not fit.
    """

    name: str
    form: str
    weights: int
    zero_weights: float
    zero_vectors: float
    terms_per_weight: float
    bits: Mapping[str, int]
    formats: Mapping[str, int]
    ham_bound: float
    sham_bound: float
    program_bytes: int | None
    cycles: int | None
    energy_pj: float | None = None

    @property
    def stored_bits(self) -> int:
        """All parts together."""
        return sum(self.bits.values())


@dataclass(frozen=True, kw_only=True)
class NetworkCosts:
    """What a network costs.

    Parameters
    ----------
    layers : tuple of LayerCost
        Those with weights.
    cycles : int or None
        Of one image, pools included; None if the network does not fit the accelerator.
    program_bytes : int or None
        The whole program image.
    refusal : str
        Why it does not fit; empty if it does.
    energy_pj : float or None
        Of an image, pools included; None as for a layer.
    technology : str
        Table of constants that the energy is counted with.
    """

    layers: tuple[LayerCost, ...]
    cycles: int | None
    program_bytes: int | None
    refusal: str
    energy_pj: float | None = None
    technology: str = ENERGY_TECHNOLOGY

    def bits(self) -> dict[str, int]:
        """Return the stored bits of all layers by part."""
        return {part: sum(layer.bits[part] for layer in self.layers) for part in PARTS}

    @property
    def weights(self) -> int:
        """Weights of all dense layers."""
        return sum(layer.weights for layer in self.layers)

    @property
    def stored_bits(self) -> int:
        """All parts of all layers."""
        return sum(layer.stored_bits for layer in self.layers)

    @property
    def ratio(self) -> float:
        """How many times less that is than float32 weights."""
        return self.weights * _FLOAT_BITS / self.stored_bits

    @property
    def zero_vectors(self) -> float:
        """Share of vectors, weighted by the weights that they hold."""
        return sum(layer.zero_vectors * layer.weights for layer in self.layers) / self.weights


def network_costs(
    model: ResNet, images: Tensor, form: Form, config: AcceleratorConfig,
    options: FormOptions | None = None,
) -> NetworkCosts:
    """Measure a network's storage, and its cycles by the latency model.

    Parameters
    ----------
    images : float32 tensor, (B, C, H, W)
        For calibration; their size is the network's.
    form : str or mapping of str to str
        Of the layers that were not trained in a form.
    """
    options = options or FormOptions(exponents=config.exponents,
                                     group=max(1, config.filters_per_group))
    network = quantise_network(model, images, form, options, config.sum_bits)
    rows: dict[str, LayerSummary] = {}
    total = program_bytes = None
    refusal, energy = "", dict[str, float]()
    try:
        program = compile_network(network, config)
    except CompileError as error:
        refusal = str(error)
    else:
        rows = {row.name: row for row in summarise(program, network, model, form)}
        total = (sum(row.cycles.total for row in rows.values())
                 + END_CYCLES * len(program.segments))
        program_bytes = sum(map(len, program.segments))
        energy = _energy(program)
    trained = form_layers(model)
    layers = []
    fixed = {node.name for node in float_graph(model).nodes if node.exact}
    for node in network.nodes:
        weights, name = node.layer.weights, node.layer.name
        if weights is None or name in fixed:  # nothing that was trained
            continue
        stored = encode_weights(weights, options.group)
        integer = weights.integer()
        matrix = integer.reshape(len(integer), -1).astype(np.float32)
        values, row = len(np.unique(matrix)), rows.get(name)
        density = np.count_nonzero(matrix) / matrix.size
        layers.append(LayerCost(
            name=name, weights=matrix.size, zero_weights=1 - density,
            form=trained[name].form if name in trained else _form(form, name),
            zero_vectors=row.zero_vectors if row is not None else 0.0,
            terms_per_weight=weights.nonzero_terms() / matrix.size, bits=stored.bits,
            formats={kind: len(encode_matrix(matrix, kind).data) for kind in FORMATS},
            ham_bound=ham_bound(*matrix.shape, values),
            sham_bound=sham_bound(*matrix.shape, values, density),
            program_bytes=row.bytes_after if row is not None else None,
            cycles=row.cycles.total if row is not None else None,
            energy_pj=energy.get(name)))
    return NetworkCosts(layers=tuple(layers), cycles=total, program_bytes=program_bytes,
                        refusal=refusal, energy_pj=sum(energy.values()) if energy else None)


def _energy(program: NetworkProgram) -> dict[str, float]:
    """Return the energy of an image in pJ, by layer."""
    technology = Technology.load(ENERGY_TECHNOLOGY)
    return {layer.name: sum(layer.energy(program.config, technology).values())
            for layer in cost_of_program(program).layers}


def _form(form: Form, name: str) -> str:
    return form if isinstance(form, str) else form.get(name, form.get("*", ""))
