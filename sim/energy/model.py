"""Latency, traffic and events of a network, layer by layer: what reports and comparisons show.

The numbers come from programs alone: a :class:`~smartdeal.compiler.NetworkProgram` that stays on
chip or uses system memory, or a program per layer, where
:mod:`smartdeal.sim.energy.residency` says which tensors pass through external memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from smartdeal.compiler import NetworkProgram
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import Opcode
from smartdeal.hw.timing import END_CYCLES
from smartdeal.sim.energy.counted import CountedProgram, count_external
from smartdeal.sim.energy.events import Events
from smartdeal.sim.energy.memory_map import (
    Region,
    chip_memories,
    part_regions,
    touched,
    united,
)
from smartdeal.sim.energy.network_cost import CompiledLayer, LayerCost, NetworkCost
from smartdeal.sim.energy.residency import Operands, Traffic, resident_traffic
from smartdeal.sim.energy.walk import count_image, decoded, instruction_events, read_memories
from smartdeal.sim.latency import Cycles, instruction_cycles, predict
from smartdeal.sim.loading import decoding_cycles
from smartdeal.sim.memory_timing import MemoryTiming

__all__ = ["CompiledLayer", "LayerCost", "NetworkCost", "Region", "cost_of_layers",
           "cost_of_program"]


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
    images = [part.image for layer in layers for part in layer.program.parts]
    regions = [region for layer in layers for region in part_regions(layer.program)]
    return NetworkCost(
        name=name, source=source, config=config, layers=tuple(costs), on_chip=False,
        regions=tuple(regions), memories=chip_memories(
            images, (), max(region.end for region in regions), config))


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


def cost_of_program(program: NetworkProgram, timing: MemoryTiming | None = None) -> NetworkCost:
    """Count a network program: on chip, or with system memory.

    A program that stays on chip takes image and tables from the host, and gives it the last tensor.
    One with system memory loads and stores by itself; only its first image comes from the host,
    and only a last tensor that stays in the activation buffer goes there.

    Parameters
    ----------
    timing : MemoryTiming, optional
        Of the system memory, for programs that use it; the usual one unless said otherwise.

    Raises
    ------
    ValueError
        As :func:`smartdeal.sim.latency_memory.predict_memory`.
    """
    counted = (count_external(program, timing or MemoryTiming()) if program.memory_bytes
               else _count_on_chip(program))
    config = program.config
    tables = sum(info.table_bytes for info in program.layers)
    rest = sum(map(len, program.segments)) - tables  # instructions and headers
    costs: list[LayerCost] = []
    for index, info in enumerate(program.layers):
        layer = counted.layers[info.name]
        first, last = index == 0, index == len(program.layers) - 1
        traffic, host = layer.traffic, Traffic()
        if program.memory_bytes:
            host = Traffic(weights=len(program.segments[0]) if first else 0)
        else:
            host = Traffic(
                weights=info.table_bytes + (rest if first else 0),
                reads=sum(view.words for view in program.inputs) * config.cols if first else 0)
        if last and info.name not in program.spilled:
            host = replace(host, writes=program.words(info.name)[1] * config.cols)
        cost = LayerCost(
            name=info.name, kind=info.kind, form=_form(program.about, info.name, info.weights),
            input_shape=info.input_shape, output_shape=info.output_shape, macs=info.macs,
            weights=info.weights, nonzero_terms=info.nonzero_terms, parts=layer.parts,
            cycles=layer.cycles, events=layer.events + (counted.load if first else Events()),
            traffic=Traffic(), load_cycles=0, store_cycles=0, stored_bytes=info.table_bytes,
            waits_for_stores=layer.waits_for_stores)
        costs.append(replace(_with_traffic(cost, host, config), traffic=traffic + host))
    costs[0] = replace(costs[0], load_cycles=costs[0].load_cycles + sum(
        decoding_cycles(image, config) for image in program.segments))
    return NetworkCost(
        name=program.name, source=str(program.about.get("source", "program file")), config=config,
        layers=tuple(costs), on_chip=not program.memory_bytes,
        timing=(timing or MemoryTiming()) if program.memory_bytes else None,
        regions=tuple(united(counted.regions)), system=counted.system,
        memories=chip_memories(program.segments, counted.executed, program.used_words, config))


def _count_on_chip(program: NetworkProgram) -> CountedProgram:
    """Count a program whose host loads and stores; END is counted with the first layer."""
    config = program.config
    counted = CountedProgram()
    segments = len(program.segments)
    first = program.layers[0].name
    counted.add(first, Events(instruction_words=segments), Cycles(END_CYCLES * segments, 0, 0, 0))
    image = [Region("image", view.base, view.stop, "loaded") for view in program.inputs]
    counted.regions += image
    for segment, names in zip(program.segments, program.instructions, strict=True):
        words, steps, load = read_memories(segment, config)
        counted.load += load
        for layer, (opcode, fields) in zip(names, decoded(words), strict=True):
            counted.add(layer, instruction_events(opcode, fields, steps, config),
                        instruction_cycles(opcode, fields, steps.announced, config),
                        parts=int(opcode == Opcode.LAYER),
                        region=touched(layer, opcode, fields, config))
    return counted


def _form(about: Mapping[str, object], layer: str, weights: int) -> str:
    form = about.get("form", "")
    if not weights:
        return ""
    if isinstance(form, Mapping):
        return str(form.get(layer, form.get("*", "")))
    return str(form)
