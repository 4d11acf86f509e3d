"""The cost of networks, and which tensors pass through external memory."""

import numpy as np
import pytest

from smartdeal.compiler import compile_network
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import Opcode
from smartdeal.sim.energy.model import NetworkCost, cost_of_layers, cost_of_program
from smartdeal.sim.energy.residency import Operands, Traffic, resident_traffic
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.energy.walk import count_image
from smartdeal.sim.energy.work import compile_integer
from smartdeal.sim.latency import predict
from smartdeal.sim.latency_memory import predict_memory
from smartdeal.sim.memory_programs import good_memory_programs
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.network_latency import predict_network
from smartdeal.sim.networks import draw_network


def chain(*sizes: int, whole: bool = True) -> list[Operands]:
    names = ["image", *(f"l{i}" for i in range(len(sizes) - 1))]
    return [Operands(output=names[i + 1], input=names[i], input_bytes=sizes[i],
                     output_bytes=sizes[i + 1], whole=whole, window_bytes=sizes[i] + 1)
            for i in range(len(sizes) - 1)]


def test_everything_stays() -> None:
    traffic = resident_traffic(chain(10, 20, 30, 5), 60)
    assert traffic == [Traffic(reads=10), Traffic(), Traffic(writes=5)]


def test_nothing_stays() -> None:
    traffic = resident_traffic(chain(10, 20, 30, 5, whole=False), 60)
    assert traffic == [Traffic(reads=11, writes=20), Traffic(reads=21, writes=30),
                       Traffic(reads=31, writes=5)]


def test_a_residual_waits_if_there_is_room() -> None:
    layers = chain(10, 10, 10)
    layers.append(Operands(output="sum", input="l1", residual="l0", input_bytes=10,
                           residual_bytes=10, output_bytes=10, whole=True))
    assert resident_traffic(layers, 30) == [Traffic(reads=10), Traffic(), Traffic(writes=10)]
    # While l2 runs on 10 + 20 bytes, l0 has no room: it is written, and read for the sum.
    layers = [*chain(10, 10, 10), *[Operands(
        output="l2", input="l1", input_bytes=10, output_bytes=20, whole=True), Operands(
        output="sum", input="l2", residual="l0", input_bytes=20, residual_bytes=10,
        output_bytes=10, whole=True)]]
    assert resident_traffic(layers, 40) == [Traffic(reads=10), Traffic(), Traffic(),
                                            Traffic(writes=10)]
    assert resident_traffic(layers, 39) == [Traffic(reads=10), Traffic(), Traffic(writes=10),
                                            Traffic(reads=10, writes=10)]


def test_a_cut_layer_takes_all_from_memory() -> None:
    first, second, third = chain(10, 20, 30, 5)
    cut = Operands(**{**second.__dict__, "whole": False})
    assert resident_traffic([first, cut, third], 100) == [
        Traffic(reads=10), Traffic(reads=21, writes=50), Traffic(reads=30, writes=5)]


@pytest.fixture(scope="module")
def drawn() -> IntegerNetwork:
    config = AcceleratorConfig(rows=6, cols=4, activation_words=4096, weight_steps=4096)
    return draw_network(np.random.default_rng(3), config, blocks=3)


def _both(network: IntegerNetwork, config: AcceleratorConfig) -> tuple[NetworkCost, NetworkCost]:
    return (cost_of_layers("drawn", "", compile_integer(network, config, "shift2"), config),
            cost_of_program(compile_network(network, config)))


def test_layers_and_network_agree(drawn: IntegerNetwork) -> None:
    config = AcceleratorConfig(rows=6, cols=4, activation_words=4096, weight_steps=4096)
    single, whole = _both(drawn, config)
    assert [layer.name for layer in single.layers] == [layer.name for layer in whole.layers]
    for left, right in zip(single.layers, whole.layers, strict=True):
        assert (left.macs, left.weights, left.nonzero_terms) == (
            right.macs, right.weights, right.nonzero_terms)
    # Both take the image once and give the last tensor once.
    first, last = drawn.nodes[0].layer, drawn.nodes[-1].layer
    for cost in (single, whole):
        assert cost.traffic.reads >= np.prod(first.input_shape)
        assert cost.layers[-1].traffic.writes >= np.prod(last.output_shape)
        assert cost.cycles == sum(sum(layer.where().values()) for layer in cost.layers)


def test_network_program_is_all_counted(drawn: IntegerNetwork) -> None:
    config = AcceleratorConfig(rows=6, cols=4, activation_words=4096, weight_steps=4096)
    program = compile_network(drawn, config)
    cost = cost_of_program(program)
    images = program.segments
    assert cost.compute_cycles == sum(predict(image, config).total for image in images)
    counted = [count_image(image, config) for image in images]
    for name in ("shift_adds", "instruction_words", "weight_loads", "moved_bytes"):
        assert getattr(cost.events, name) == sum(
            getattr(c.run, name) + getattr(c.load, name) for c in counted)
    assert cost.traffic.weights == sum(map(len, images))


def test_memory_program_is_all_counted(drawn: IntegerNetwork) -> None:
    """Cycles and bytes are those of the latency model, which equal the hardware's counters."""
    config = AcceleratorConfig(rows=6, cols=10, activation_words=50, weight_steps=4096,
                               host_bits=32, memory=True)
    program = compile_network(drawn, config)
    timing = MemoryTiming(latency_cycles=30, bytes_per_cycle=2)
    cost = cost_of_program(program, timing)
    predicted = predict_network(program, timing)
    assert cost.compute_cycles == predicted.cycles.total
    assert cost.cycles == sum(sum(layer.where().values()) for layer in cost.layers)
    host = cost.traffic.total - predicted.bytes_loaded - predicted.bytes_stored
    last = 0 if program.output in program.spilled else program.words(program.output)[1]
    assert host == len(program.segments[0]) + last * config.cols
    for layer in cost.layers:
        assert 0 <= layer.waits_for_stores <= layer.cycles.stall_memory


def test_who_is_waited_for() -> None:
    """LOADs wait for loads, layers for stores, WAIT and END for either."""
    config = AcceleratorConfig(rows=5, cols=10, activation_words=300, weight_steps=160,
                               program_words=256, memory=True)
    timing = MemoryTiming(latency_cycles=99, bytes_per_cycle=1)
    waits: dict[Opcode, list[int]] = {}
    for case in good_memory_programs(config):
        for one in predict_memory(case.image, case.region, config, timing).instructions:
            assert 0 <= one.waits_for_stores <= one.cycles.stall_memory
            found = waits.setdefault(one.opcode, [0, 0])
            found[0] += one.cycles.stall_memory - one.waits_for_stores
            found[1] += one.waits_for_stores
    assert waits[Opcode.LOAD][0] > 0
    assert waits[Opcode.LOAD][1] == waits[Opcode.LAYER][0] == 0
    assert waits[Opcode.LAYER][1] > 0
    assert min(waits[Opcode.WAIT]) > 0
    assert min(waits[Opcode.END]) > 0


def test_energy_adds_up_and_is_linear_in_each_constant(drawn: IntegerNetwork) -> None:
    config = AcceleratorConfig(rows=6, cols=4, activation_words=512, weight_steps=512)
    cost, _ = _both(drawn, config)
    table = Technology.load("28nm")
    total = cost.energy(table)
    layers = [layer.energy(config, table) for layer in cost.layers]
    for name, value in total.items():
        assert value == pytest.approx(sum(layer[name] for layer in layers))
    for low, high in cost.sensitivity(table).values():
        assert low <= sum(total.values()) <= high
    low, high = cost.sensitivity(table)["dram"]
    assert high - low == pytest.approx(1.5 * total["DRAM"])
