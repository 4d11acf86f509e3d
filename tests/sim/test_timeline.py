"""Timelines: what they say is what latency model and program say; pictures of them."""

import re
from pathlib import Path

import pytest

from smartdeal.compiler import NetworkProgram, compile_network
from smartdeal.golden.checkpoints import load_trained
from smartdeal.golden.fashion import calibration_images
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import build_network
from smartdeal.golden.quantise import quantise_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.network_latency import predict_network
from smartdeal.sim.picture import DrawingError
from smartdeal.sim.timeline import Timeline, network_timeline
from smartdeal.sim.timeline_picture import draw_timeline

TIMING = MemoryTiming(latency_cycles=30, bytes_per_cycle=4)


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    model = build_network("resnet8")
    load_trained(model)
    return quantise_network(model, calibration_images()[:4], "deepshift")


@pytest.fixture(scope="module", params=["on chip", "two segments", "system memory"])
def program(request: pytest.FixtureRequest, network: IntegerNetwork) -> NetworkProgram:
    config = AcceleratorConfig(rows=12, cols=16)
    match request.param:
        case "two segments":
            config = config.replace(weight_steps=5000)
        case "system memory":
            config = config.replace(memory=True, activation_words=1400)
    return compile_network(network, config)


@pytest.fixture
def timeline(program: NetworkProgram) -> Timeline:
    return network_timeline(program, TIMING)


def test_cycles_are_the_model_s(program: NetworkProgram, timeline: Timeline) -> None:
    predicted = predict_network(program, TIMING)
    assert timeline.cycles == predicted.cycles.total
    for name, cycles in predicted.layers.items():
        running = [one for one in timeline.instructions if one.layer == name]
        assert sum(one.cycles.total for one in running) == cycles.total
    starts = [one.start for one in timeline.instructions]
    assert starts == sorted(starts)
    loaded = sum(one.bytes for one in timeline.transfers if one.kind is not None)
    stored = sum(one.bytes for one in timeline.transfers if one.kind is None)
    assert (loaded, stored) == (predicted.bytes_loaded, predicted.bytes_stored)
    assert (loaded > 0) == (stored > 0) == bool(program.memory_bytes)
    assert all(0 <= one.start < one.stop <= timeline.cycles for one in timeline.transfers)


def test_what_is_held_at_the_same_time_lies_apart(
    program: NetworkProgram, timeline: Timeline,
) -> None:
    """Two pieces share a word only where an instruction ends one and begins the other."""
    count = sum(map(len, program.instructions))
    names = {layer.name for layer in program.layers} | {IntegerNetwork.IMAGE}
    for number, held in enumerate(timeline.held):
        what = held.what
        assert 0 <= what.base < what.base + what.words <= program.used_words
        assert 0 <= what.first <= what.last <= count
        assert what.holds.removeprefix("window on ").removesuffix(", phases") in names
        assert 0 <= held.start <= held.stop <= timeline.cycles
        for other in timeline.held[:number]:
            apart = (other.what.base + other.what.words <= what.base
                     or what.base + what.words <= other.what.base)
            assert apart or other.what.last <= what.first, (what, other.what)
    output, = program.outputs.values()
    assert [one.what.base for one in timeline.held if one.what.last == count] == [output.base]
    assert program == NetworkProgram.from_bytes(program.to_bytes())


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_picture_is_the_same_every_time(
    program: NetworkProgram, timeline: Timeline, suffix: str, tmp_path: Path,
) -> None:
    pictures = [tmp_path / f"{number}.{suffix}" for number in range(2)]
    for picture in pictures:
        draw_timeline(program, timeline, picture, "title")
    first, second = (picture.read_bytes() for picture in pictures)
    assert first == second
    if suffix == "svg":
        lanes = {"steps", "stores"}
        words = set(re.findall(r">([^<>\n]+)</text>", first.decode()))
        assert {"array", "layer1.0.conv2", "title"} <= words
        assert lanes <= words if program.memory_bytes else not lanes & words


def test_refused_pictures(program: NetworkProgram, timeline: Timeline, tmp_path: Path) -> None:
    with pytest.raises(DrawingError, match=r"^picture must be a file \.svg, \.png, \.pdf, not "):
        draw_timeline(program, timeline, tmp_path / "x.gif", "title")
    assert list(tmp_path.iterdir()) == []
