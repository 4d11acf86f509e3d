"""Events: counted from the program as from the signals of the simulated hardware."""

from typing import Any

import numpy as np
import pytest

from smartdeal.compiler import CompileError, ImageError, NetworkProgram, compile_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.bad_images import bad_images
from smartdeal.sim.cases import FORMS, Form, draw_case, draw_config, draw_image
from smartdeal.sim.energy.events import EVENT_MEANINGS, Events
from smartdeal.sim.energy.observe import Observation, observe, observe_memory
from smartdeal.sim.energy.walk import count_image
from smartdeal.sim.energy.walk_memory import count_memory, traffic_of
from smartdeal.sim.latency import predict
from smartdeal.sim.latency_memory import predict_memory
from smartdeal.sim.memory_programs import good_memory_programs
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.networks import draw_network

#: With every feature; without any; one lane, many slices; reading out in one cycle.
CONFIGS = [
    AcceleratorConfig(rows=7, cols=6, activation_words=256, weight_steps=700, drain_lanes=3,
                      basis_entries=128),
    AcceleratorConfig(rows=5, cols=4, activation_words=256, weight_steps=500, max_slices=1,
                      basis=False, max_pool=False, residual=False, reduce=False, move=False),
    AcceleratorConfig(rows=12, cols=5, exponents=5, acc_bits=18, activation_words=300,
                      weight_steps=400, drain_lanes=1, max_slices=8, host_bits=32),
]


def forms(config: AcceleratorConfig) -> list[Form]:
    needs = {"kernel": config.basis, "channel": config.basis, "max_pool": config.max_pool,
             "average_pool": config.reduce}
    return [form for form in FORMS if needs.get(form, True)]


def check(runs: list[list[bytes]], config: AcceleratorConfig) -> Events:
    """Hold the counts of both sides against each other, and return them."""
    expected = Events()
    for run in runs:
        for image in run:
            counted = count_image(image, config)
            expected += counted.load + counted.run
    seen = observe(runs, config)
    assert seen.counted() == expected
    assert seen.bank_writes == (expected.stored_bytes + expected.moved_bytes
                                + expected.activation_loads * config.cols)
    return expected


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=["all", "none", "narrow"])
def test_layers_as_simulated(config: AcceleratorConfig, draw_seed: int) -> None:
    rng = np.random.default_rng(draw_seed)
    runs: list[list[bytes]] = []
    for form in forms(config):
        for residual in (False, True) if config.residual and form in ("terms", "kernel") else (
                False,):
            case = draw_case(rng, config, max_steps=800, form=form, residual=residual)
            runs += [[part.image, part.data_image(case.x, case.residual)]
                     for part in case.program.parts]
    total = check(runs, config)
    assert total.shift_adds > 0
    assert (total.residual_reads > 0) == config.residual
    assert (total.basis_multiplies > 0) == config.basis
    assert (total.maximums > 0) == config.max_pool


def _drawn_network(rng: np.random.Generator, config: AcceleratorConfig) -> NetworkProgram:
    while True:
        try:
            return compile_network(draw_network(rng, config, blocks=2), config)
        except (CompileError, RuntimeError):  # it does not fit
            continue


#: With the XNOR mode: rows that no group of eight uses.
BINARY = AcceleratorConfig(rows=9, cols=6, activation_words=300, weight_steps=700, drain_lanes=2,
                           basis_entries=128, binary=True)


@pytest.mark.slow
def test_binary_layers_as_simulated(draw_seed: int) -> None:
    """Binary input, output, both, and a layer with neither on the same array."""
    rng = np.random.default_rng(draw_seed)
    runs: list[list[bytes]] = []
    for form, output, residual in (("binary", True, False), ("binary", True, True),
                                   ("binary", False, True), ("terms", True, False),
                                   ("terms", False, False)):
        case = draw_case(rng, BINARY, max_steps=800, form=form, binary_output=output,
                         residual=residual, filters=16)
        runs += [[part.image, part.data_image(case.x, case.residual)]
                 for part in case.program.parts]
    total = check(runs, BINARY)
    assert total.xnor_counts > 0
    assert total.packed_signs > 0
    assert total.shift_adds > 0


@pytest.mark.slow
def test_binary_network_as_simulated(draw_seed: int) -> None:
    config = BINARY.replace(activation_words=1024, weight_steps=2048)
    rng = np.random.default_rng(draw_seed)
    while True:
        program = _drawn_network(rng, config)
        counted = [count_image(image, config).run for image in program.segments]
        if all(sum(getattr(events, name) for events in counted)
               for name in ("xnor_counts", "packed_signs")):
            break
    check([[image] for image in program.segments], config)


def test_binary_steps_count_in_every_pe() -> None:
    rng = np.random.default_rng(1)
    case = draw_case(rng, BINARY, max_steps=800, form="binary", binary_output=True, filters=11)
    events = sum((count_image(part.image, BINARY).run for part in case.program.parts), Events())
    assert events.xnor_counts == events.steps * BINARY.rows * BINARY.cols
    assert events.shift_adds == 0
    assert events.packed_signs == 8 * events.stored_bytes


@pytest.mark.slow
def test_network_as_simulated(draw_seed: int) -> None:
    """MOVE instructions, many layers in an image, crafted fields."""
    config = CONFIGS[0].replace(activation_words=1024, weight_steps=2048)
    rng = np.random.default_rng(draw_seed)
    runs: list[list[bytes]] = [[draw_image(rng, config)] for _ in range(3)]
    program = _drawn_network(rng, config)
    runs += [[image] for image in program.segments]
    assert check(runs, config).moved_bytes > 0


#: With system memory: every feature and a wide bus; no basis, narrow.
MEMORY_CONFIGS = [
    AcceleratorConfig(rows=6, cols=8, activation_words=250, weight_steps=200, basis_entries=200,
                      channel_entries=40, program_words=256, acc_bits=32, max_slices=64,
                      host_bits=32, memory=True),
    AcceleratorConfig(rows=5, cols=10, activation_words=300, weight_steps=160,
                      channel_entries=64, program_words=256, basis=False, residual=False,
                      host_bits=64, memory=True),
]


def check_memory(runs: list[tuple[bytes, bytes]], config: AcceleratorConfig) -> Events:
    """Hold the counts of both sides against each other, and return them."""
    expected = Events()
    for image, region in runs:
        predicted = predict_memory(image, region, config, MemoryTiming())
        counted = count_memory(image, region, predicted, config)
        expected += counted.load + counted.run
        moved = [traffic_of(one.opcode, one.fields, config) for one in predicted.instructions]
        assert sum(one.weights + one.reads for one in moved) == predicted.bytes_loaded
        assert sum(one.writes for one in moved) == predicted.bytes_stored
        beats = counted.run.fetched_beats, counted.run.spilled_beats
        assert beats == (predicted.bytes_loaded * 8 // config.host_bits,
                         predicted.bytes_stored * 8 // config.host_bits)
    seen = observe_memory(runs, config)
    assert seen.counted() == expected
    assert seen.bank_writes == (expected.stored_bytes + expected.moved_bytes
                                + expected.activation_loads * config.cols)
    return expected


@pytest.mark.slow
@pytest.mark.parametrize("config", MEMORY_CONFIGS, ids=["all", "some"])
def test_memory_programs_as_simulated(config: AcceleratorConfig) -> None:
    """Every kind of LOAD, WAIT, JUMP and EXTERNAL layer, written by hand."""
    total = check_memory([(case.image, case.region) for case in good_memory_programs(config)],
                         config)
    assert total.spilled_words > 0
    assert total.load_commands > 0
    assert total.program_loads > 0


@pytest.mark.slow
def test_memory_network_as_simulated(draw_seed: int) -> None:
    """Whole networks: strips, rings, pages of instructions, images behind one another."""
    config = MEMORY_CONFIGS[0]
    rng = np.random.default_rng(draw_seed)
    runs: list[tuple[bytes, bytes]] = []
    for _ in range(3):
        program = _drawn_network(rng, config)
        image = rng.integers(-128, 128, program.input_shape, np.int8)
        runs.append((program.segments[0], bytes(program.region(image, noise=rng))))
    total = check_memory(runs, config)
    assert total.activation_loads > 0


@pytest.mark.parametrize("seed", range(20))
def test_steps_are_those_of_the_latency_model(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = draw_config(rng)
    image = draw_image(rng, config, layers=3)
    cycles, events = predict(image, config), count_image(image, config).run
    assert events.steps == cycles.busy
    assert events.residual_reads == cycles.stall_residual
    assert events.shift_adds + events.maximums <= events.steps * config.rows * config.cols


@pytest.mark.parametrize("seed", range(20))
def test_layer_does_its_weights(seed: int) -> None:
    """Shifts and adds are the layer's coefficients times the positions of its stream."""
    rng = np.random.default_rng(seed)
    config = draw_config(rng, activation_words=8192, weight_steps=8192, channel_entries=64)
    case = draw_case(rng, config, max_steps=20_000, form="terms", stride=1)
    part, = case.program.parts
    events = count_image(part.image, config).run
    tiles = part.executed_steps // part.stored_steps
    assert events.shift_adds == case.layer.nonzero_terms * config.cols * tiles


def test_observation_counts_a_cycle() -> None:
    """Without a simulator: what one cycle of given signals counts."""
    config = AcceleratorConfig(rows=3, cols=2, drain_lanes=2)
    quiet: dict[str, Any] = dict.fromkeys((
        "array.maximum", "array.binary", "readout.pack_mode", "array.last", "array.read",
        "array.coefficients", "issue.taken",
        "issue.read__en", "issue.fetch", "issue.move_read", "issue.host_read", "mover.write_mask",
        "readout.write_mask", "activations.write_mask", "control.fetched", "control.busy",
        "control.program_write__en", "issue.step_write__en", "loader.write", "fetch.write",
        "fetch.i__valid", "fetch.i__ready", "reader.o__valid", "reader.o__ready",
        "control.load__valid", "control.load__ready", "readout.spill",
        "readout.channel_write__en", "readout.basis_write__en", "readout.entry__en",
        "readout.channel__en", "readout.sum_stage.valid",
        "readout.basis_stage.enable", "readout.basis_stage.emit",
        "readout.basis_stage.save__en"), 0)
    seen = Observation(config)
    seen.take({**quiet, "issue.taken": 1, "issue.read__en": 1, "readout.write_mask": 3,
               "activations.write_mask": 3, "array.coefficients": 0b00011_00000_00001})
    assert seen.counted() == Events(
        steps=1, vector_reads=1, weight_reads=1, shift_adds=4, accumulator_writes=4,
        stored_words=1, stored_bytes=2)
    assert seen.bank_writes == 2


def test_every_event_has_a_meaning() -> None:
    assert list(EVENT_MEANINGS) == list(Events().as_dict())


def test_refused() -> None:
    config = AcceleratorConfig()
    images = {name: image for name, image, _ in bad_images(config)}
    with pytest.raises(ImageError, match=r"^image offset 0: magic must be "):
        count_image(images["wrong magic"], config)
    with pytest.raises(ValueError, match=r"^Program must reach END, not stop at word 1024$"):
        count_image(images["no END"], config)
    with pytest.raises(ValueError, match=r"^Steps from 20478 must end 1 units of work, not 0$"):
        count_image(images["unit without end"], config)
