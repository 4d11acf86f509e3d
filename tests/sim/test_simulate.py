"""Integer network = interpreter = hardware on drawn layers, and cycles = model."""

import shutil

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from smartdeal.golden.interpreter import Interpreter, ProgramError
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ErrorCode
from smartdeal.hw.registers import Status
from smartdeal.sim.bad_images import bad_images
from smartdeal.sim.cases import FORMS, Case, Form, draw_buffer, draw_case, draw_config, draw_image
from smartdeal.sim.device import accelerator_simulator
from smartdeal.sim.host import Host, Outcome
from smartdeal.sim.latency import predict
from smartdeal.sim.runner import SimulatorName, run_job
from smartdeal.sim.simulate import LayerWork, simulate_layers

#: Small enough that layers are cut into parts, groups and slices; every stream width.
CONFIGS = [
    AcceleratorConfig(rows=3, cols=2, activation_words=512, weight_steps=512, host_bits=32),
    AcceleratorConfig(rows=7, cols=9, activation_words=96, weight_steps=700, drain_lanes=3,
                      host_bits=256),
    AcceleratorConfig(rows=12, cols=5, exponents=5, acc_bits=20, activation_words=300,
                      weight_steps=300, max_slices=8, channel_entries=24, host_bits=128,
                      entropy=True),
    AcceleratorConfig(rows=2, cols=16, activation_words=64, weight_steps=1000, max_pool=False,
                      residual=False, reduce=False),
    AcceleratorConfig(rows=16, cols=8, exponents=16, acc_bits=32, sum_bits=44,
                      activation_words=700, basis_entries=64),
    AcceleratorConfig(rows=4, cols=3, activation_words=512, weight_steps=600, channel_entries=64,
                      basis_entries=64, program_words=64, host_bits=32, field_bits=11,
                      counter_bits=24, checksum_bits=8, memory_delays=True,
                      single_port_weights=True),
    AcceleratorConfig(rows=20, cols=6, drain_lanes=3, activation_words=300, weight_steps=300,
                      channel_entries=40, binary=True),
]
NAMES = [f"{config.rows}x{config.cols}" for config in CONFIGS]
CASES_PER_RUN, ARRAYS, MAX_STEPS = 4, 6, 4000


def work(case: Case) -> LayerWork:
    return LayerWork(case.layer, case.x, case.residual)


def check(cases: list[Case], config: AcceleratorConfig, *, idle: float, seed: int) -> None:
    """Simulate on an accelerator whose buffer is full of what no layer wrote."""
    before = draw_buffer(np.random.default_rng(seed), config)
    reports = simulate_layers([work(case) for case in cases], config, idle=idle, seed=seed,
                              before=before)
    for report in reports:
        assert report.failure == ""
        assert report.bytes_wrong == 0
        assert report.measured == report.predicted
        assert report.overhead == report.predicted.overhead


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_drawn_layers(config: AcceleratorConfig, draw_seed: int) -> None:
    rng = np.random.default_rng(draw_seed)
    for idle in (0.0, 0.3):
        cases = [draw_case(rng, config, max_steps=MAX_STEPS) for _ in range(CASES_PER_RUN)]
        check(cases, config, idle=idle, seed=draw_seed)


@pytest.mark.slow
def test_drawn_arrays(draw_seed: int) -> None:
    """Each array costs a build, so that there are few, and none is shrunk."""
    @hypothesis.seed(draw_seed)
    @settings(max_examples=ARRAYS, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
    @given(rows=st.integers(2, 20), cols=st.integers(2, 20), seed=st.integers(0, 2**32 - 1),
           forms=st.lists(st.sampled_from(FORMS), min_size=5, max_size=8),
           idle=st.sampled_from([0.0, 0.2, 0.7]))
    def draw(rows: int, cols: int, seed: int, forms: list[Form], idle: float) -> None:
        rng = np.random.default_rng(seed)
        config = draw_config(rng, rows=rows, cols=cols)
        try:
            cases = [draw_case(rng, config, max_steps=MAX_STEPS, form=form) for form in forms
                     if config.basis or form not in ("kernel", "channel")]
        except RuntimeError:  # some form does not fit this array's buffers
            reject()
        hypothesis.assume(len(cases) >= 5)
        check(cases, config, idle=idle, seed=seed)

    draw()


@pytest.mark.slow
def test_large_array() -> None:
    """Near the largest, both sizes odd, with memories that are nearly empty."""
    config = AcceleratorConfig(rows=63, cols=61, exponents=3, acc_bits=16, activation_words=64,
                               weight_steps=256, channel_entries=64, basis_entries=64,
                               max_slices=4)
    rng = np.random.default_rng(63)
    cases = [draw_case(rng, config, max_steps=200, form=form) for form in ("kernel", "terms")]
    check(cases, config, idle=0.0, seed=61)


def run(config: AcceleratorConfig, host: Host, name: SimulatorName = "verilator",
        idle: float = 0.0) -> list[Outcome]:
    simulator = accelerator_simulator(config, name=name)
    return host.outcomes(run_job(simulator, host.job(idle=idle, seed=1)))


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_crafted_programs(config: AcceleratorConfig) -> None:
    """Programs that no compiler would write: the whole buffer is compared."""
    rng = np.random.default_rng(7)
    host, interpreter = Host(config), Interpreter(config)
    expected: list[tuple[bytes, object]] = []
    words = config.activation_words
    for _ in range(6):
        image = draw_image(rng, config)
        interpreter.load(image)
        interpreter.run()
        cycles = predict(image, config)
        expected.append((interpreter.read(0, words), cycles))
        host.load(image)
        host.start()
        host.finish(cycles.total + 1000, words=words)
    for outcome, (region, cycles) in zip(run(config, host), expected, strict=True):
        assert outcome.error is ErrorCode.NONE
        assert outcome.region == region
        assert outcome.cycles == cycles


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_bad_images(config: AcceleratorConfig) -> None:
    """Each stops with its code, and then a good program runs correctly."""
    case = draw_case(np.random.default_rng(5), config, max_steps=500)
    part = case.program.parts[0]
    good, data = part.image, part.data_image(case.x, case.residual)
    host, interpreter = Host(config), Interpreter(config)
    images = bad_images(config)
    for _, image, _ in images:
        host.load(image)
        if _loads(interpreter, image):
            host.start()
        host.finish(100_000)
        host.clear()
        host.load(good)
        host.load(data)
        host.start()
        host.finish(100_000, word=part.output_word, words=part.output_words)
    interpreter.clear()
    interpreter.load(good)
    interpreter.load(data)
    interpreter.run()
    region = interpreter.read(part.output_word, part.output_words)
    outcomes = iter(run(config, host))
    for name, _, code in images:
        assert (name, next(outcomes).error) == (name, code)
        after = next(outcomes)
        assert (name, after.error, after.status) == (name, ErrorCode.NONE,
                                                     Status.DONE | Status.PROGRAM)
        assert after.region == region, name


def _loads(interpreter: Interpreter, image: bytes) -> bool:
    interpreter.clear()
    try:
        interpreter.load(image)
    except ProgramError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_icarus_knows_unknown_values() -> None:
    """Nothing that was never written reaches an output, nor an unknown bit a port."""
    config = CONFIGS[1]
    rng = np.random.default_rng(3)
    cases = [work(draw_case(rng, config, max_steps=300)) for _ in range(3)]
    reports = simulate_layers(cases, config, simulator="icarus", idle=0.2)
    assert all(report.bit_exact and report.cycle_exact for report in reports)


def test_interpreter_alone() -> None:
    config = CONFIGS[0]
    case = draw_case(np.random.default_rng(1), config, max_steps=1000)
    report, = simulate_layers([work(case)], config, engine="interpreter")
    assert report.measured is None
    assert report.bit_exact
    assert report.cycle_exact is None
    assert report.predicted.busy == case.program.steps
