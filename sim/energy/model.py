"""Latency, traffic and events of a network, layer by layer: what reports and comparisons show.

The numbers come from programs alone. A network that the compiler keeps on chip is one
:class:`~smartdeal.compiler.NetworkProgram`; of a larger one every layer is a program of its own,
and :mod:`smartdeal.sim.energy.residency` says which tensors pass through external memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from smartdeal.compiler import NetworkProgram, Program
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.timing import END_CYCLES
from smartdeal.sim.energy.events import Events
from smartdeal.sim.energy.price import price
from smartdeal.sim.energy.residency import Operands, Traffic, resident_traffic
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.energy.walk import count_image, output_words
from smartdeal.sim.latency import Cycles, predict, predict_instructions
from smartdeal.sim.loading import decoding_cycles

__all__ = ["CompiledLayer", "LayerCost", "NetworkCost", "Region", "cost_of_layers",
           "cost_of_program"]


@dataclass(frozen=True, eq=False, kw_only=True)
class CompiledLayer:
    """A layer as a program of its own.

    Parameters
    ----------
    program : Program
    kind, form : str
        Form of the weights; empty where there are none.
    input, residual : str
        Names of the operands; ``residual`` may be None.
    input_shape : (channels, height, width)
    macs, weights, nonzero_terms : int
        Multiply-accumulates and weights of the dense layer; coefficients that are not zero.
    """

    program: Program
    kind: str
    form: str
    input: str
    residual: str | None
    input_shape: tuple[int, int, int]
    macs: int
    weights: int
    nonzero_terms: int


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What a layer costs.

    Parameters
    ----------
    name, kind, form : str
    input_shape, output_shape : (channels, height, width)
    macs, weights, nonzero_terms : int
    parts : int
        Programs that it is cut in; 1 within a network program.
    cycles : Cycles
        As the hardware's counters show them.
    events : Events
        Of loading and running.
    traffic : Traffic
    load_cycles, store_cycles : int
        Beats of the host's streams; they do not overlap with computing.
    stored_bytes : int
        Bytes of weights and tables, each once.
    activation_bytes : int
        Bytes of the activation buffer that it uses; 0 if unknown.
    """

    name: str
    kind: str
    form: str
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    macs: int
    weights: int
    nonzero_terms: int
    parts: int
    cycles: Cycles
    events: Events
    traffic: Traffic
    load_cycles: int
    store_cycles: int
    stored_bytes: int = 0
    activation_bytes: int = 0

    @property
    def total_cycles(self) -> int:
        """Computing, loading and storing, one after the other."""
        return self.cycles.total + self.load_cycles + self.store_cycles

    def where(self) -> dict[str, int]:
        """Return all cycles by what the accelerator does in them."""
        return {
            "step": self.cycles.busy, "wait for read-out": self.cycles.stall_drain,
            "residual": self.cycles.stall_residual, "move": self.cycles.move,
            "fill and drain": self.cycles.overhead, "load": self.load_cycles,
            "store": self.store_cycles,
        }

    def energy(self, config: AcceleratorConfig, technology: Technology) -> dict[str, float]:
        """Return the energy in pJ by component."""
        return price(self.events, self.total_cycles, self.traffic.total, config, technology)


@dataclass(frozen=True)
class Region:
    """Words of the activation buffer that a layer writes: ``first`` up to ``end``."""

    layer: str
    first: int
    end: int


@dataclass(frozen=True, kw_only=True)
class NetworkCost:
    """What a network costs on an accelerator.

    Parameters
    ----------
    name, source : str
        ``source`` says where weights come from, and what was done to them.
    config : AcceleratorConfig
    layers : tuple of LayerCost
    on_chip : bool
        All tensors stay in the activation buffer: one network program.
    regions : tuple of Region
        Where each layer of a network program writes.
    """

    name: str
    source: str
    config: AcceleratorConfig
    layers: tuple[LayerCost, ...]
    on_chip: bool
    regions: tuple[Region, ...] = ()

    @cached_property
    def events(self) -> Events:
        """Events of all layers."""
        return sum((layer.events for layer in self.layers), Events())

    @cached_property
    def cycles(self) -> int:
        """Cycles of an image, loading and storing included."""
        return sum(layer.total_cycles for layer in self.layers)

    @cached_property
    def compute_cycles(self) -> int:
        """Cycles of an image without loading and storing."""
        return sum(layer.cycles.total for layer in self.layers)

    @cached_property
    def traffic(self) -> Traffic:
        """Bytes from and to external memory."""
        return Traffic(**{name: sum(getattr(layer.traffic, name) for layer in self.layers)
                          for name in ("weights", "reads", "writes")})

    def energy(self, technology: Technology) -> dict[str, float]:
        """Return the energy of an image in pJ, by component."""
        return price(self.events, self.cycles, self.traffic.total, self.config, technology)

    def sensitivity(self, technology: Technology, factor: float = 2.0) -> dict[
            str, tuple[float, float]]:
        """Return the total energy, in pJ, with each constant divided and multiplied by a factor."""
        return {name: tuple(sum(self.energy(technology.scaled(name, by)).values())  # type: ignore[misc]
                            for by in (1 / factor, factor))
                for name in technology.constants if name != "clock"}


def _beats(count: int, config: AcceleratorConfig) -> int:
    return -(-count * 8 // config.host_bits)


def _with_traffic(cost: LayerCost, traffic: Traffic, config: AcceleratorConfig) -> LayerCost:
    """Return a layer's cost with its traffic, and the buffer accesses and beats that it takes."""
    moved = Events(activation_loads=-(-traffic.reads // config.cols),
                   host_reads=-(-traffic.writes // config.cols))
    return replace(cost, traffic=traffic, events=cost.events + moved,
                   load_cycles=_beats(traffic.weights + traffic.reads, config),
                   store_cycles=_beats(traffic.writes, config))


def cost_of_layers(
    name: str, source: str, layers: Sequence[CompiledLayer], config: AcceleratorConfig,
) -> NetworkCost:
    """Count a network whose layers are programs of their own."""
    cuts = [_cut(layer, config) for layer in layers]
    costs: list[LayerCost] = []
    for layer, cut, traffic in zip(layers, cuts, resident_traffic(
            [cut.operands for cut in cuts], config.activation_bytes), strict=True):
        parts = layer.program.parts
        cycles, run = Cycles(0, 0, 0, 0), Events()
        for part, loads in zip(parts, cut.loads, strict=True):
            counted = count_image(part.image, config)
            run += counted.run + counted.load if loads else counted.run
            cycles += predict(part.image, config)
        traffic = replace(traffic, weights=sum(
            len(part.image) for part, loads in zip(parts, cut.loads, strict=True) if loads))
        costs.append(_with_traffic(LayerCost(
            name=layer.program.name, kind=layer.kind, form=layer.form,
            input_shape=layer.input_shape, output_shape=layer.program.output_shape,
            macs=layer.macs, weights=layer.weights, nonzero_terms=layer.nonzero_terms,
            parts=len(parts), cycles=cycles, events=run, traffic=Traffic(), load_cycles=0,
            store_cycles=0, stored_bytes=cut.stored, activation_bytes=max(
                part.output_word + part.output_words for part in parts) * config.cols),
            traffic, config))
    return NetworkCost(name=name, source=source, config=config, layers=tuple(costs),
                       on_chip=False)


@dataclass(frozen=True, eq=False)
class _Cut:
    """How a layer's parts are run: operands, which parts load their weights, and their bytes."""

    operands: Operands
    loads: tuple[bool, ...]
    stored: int


def _cut(layer: CompiledLayer, config: AcceleratorConfig) -> _Cut:
    """Choose the order of a layer's parts that moves less, and return what it moves.

    Parts are row strips times ranges of output channels. Strip after strip, each input window
    comes once and the weights once per strip; range after range it is the other way round. Sizes
    are those of the buffer: padding included, whole words.
    """
    parts = layer.program.parts
    first = parts[0]
    strips = [part for part in parts if part.first_channel == first.first_channel]
    ranges = [part for part in parts if part.first_row == first.first_row]
    window = sum(part.input_words for part in strips) * config.cols
    weights = sum(len(part.image) for part in ranges)
    output = sum(part.output_words for part in parts) * config.cols
    adds = layer.residual is not None
    whole = len(strips) == 1 and window + output * (1 + adds) <= config.activation_bytes
    by_strip = whole or (weights * (len(strips) - 1) <= window * (len(ranges) - 1))
    return _Cut(Operands(
        output=layer.program.name, input=layer.input, residual=layer.residual,
        input_bytes=window, output_bytes=output, residual_bytes=output if adds else 0,
        whole=whole, window_bytes=window if by_strip else window * len(ranges)),
        tuple((by_strip and not whole) or part.first_row == first.first_row for part in parts),
        weights)


def cost_of_program(program: NetworkProgram) -> NetworkCost:
    """Count a network that stays on chip: image and program come in, the last tensor goes out."""
    config = program.config
    events: dict[str, Events] = {}
    cycles: dict[str, Cycles] = {}
    load = Events()
    for image, names in zip(program.segments, program.instructions, strict=True):
        counted = count_image(image, config)
        load += counted.load
        for layer, event, spent in zip(names, counted.instructions,
                                       predict_instructions(image, config), strict=False):
            events[layer] = events.get(layer, Events()) + event
            cycles[layer] = cycles.get(layer, Cycles(0, 0, 0, 0)) + spent
    segments = len(program.segments)
    tables = sum(info.table_bytes for info in program.layers)
    rest = sum(map(len, program.segments)) - tables  # instructions and headers
    costs: list[LayerCost] = []
    for index, info in enumerate(program.layers):
        spent, event = cycles[info.name], events[info.name]
        weights = info.table_bytes
        if index == 0:  # what belongs to no layer is counted with the first
            spent += Cycles(END_CYCLES * segments, 0, 0, 0)
            event += load + Events(instruction_words=segments)
            weights += rest
        last = index == len(program.layers) - 1
        traffic = Traffic(
            weights=weights,
            reads=sum(view.words for view in program.inputs) * config.cols if index == 0 else 0,
            writes=program.words(info.name)[1] * config.cols if last else 0)
        costs.append(_with_traffic(LayerCost(
            name=info.name, kind=info.kind, form=_form(program.about, info.name, info.weights),
            input_shape=info.input_shape, output_shape=info.output_shape, macs=info.macs,
            weights=info.weights, nonzero_terms=info.nonzero_terms, parts=1, cycles=spent,
            events=event, traffic=Traffic(), load_cycles=0, store_cycles=0,
            stored_bytes=info.table_bytes), traffic, config))
    costs[0] = replace(costs[0], load_cycles=costs[0].load_cycles + sum(
        decoding_cycles(image, config) for image in program.segments))
    return NetworkCost(name=program.name, source=str(program.about.get("source", "program file")),
                       config=config, layers=tuple(costs), on_chip=True,
                       regions=tuple(_regions(program)))


def _regions(program: NetworkProgram) -> list[Region]:
    """Return where each LAYER writes; of a layer cut by channels, all of it."""
    found: dict[str, Region] = {}
    for image, names in zip(program.segments, program.instructions, strict=True):
        for layer, (first, end) in zip(names, output_words(image, program.config), strict=True):
            if end:
                old = found.get(layer, Region(layer, first, end))
                found[layer] = Region(layer, min(old.first, first), max(old.end, end))
    return list(found.values())


def _form(about: Mapping[str, object], layer: str, weights: int) -> str:
    form = about.get("form", "")
    if not weights:
        return ""
    if isinstance(form, Mapping):
        return str(form.get(layer, form.get("*", "")))
    return str(form)
