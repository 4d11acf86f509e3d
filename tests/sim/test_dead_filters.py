"""What leaves with dead filters, on the array: the network before and after, in RTL."""

import pytest
import torch

from smartdeal.compiler import compile_network
from smartdeal.golden.checkpoints import load_trained
from smartdeal.golden.fading import bury
from smartdeal.golden.fashion import calibration_images
from smartdeal.golden.graph import float_graph
from smartdeal.golden.networks import ResNet, build_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.dead_filters import measure_fading
from smartdeal.sim.simulate_network import simulate_network

CONFIG = AcceleratorConfig()
DEAD = {"layer2.0.bn1": 7, "layer3.0.bn1": 27}


def fading() -> ResNet:
    """Return the trained network with the first filters of two layers dead."""
    model = build_network("resnet8")
    load_trained(model)
    with torch.no_grad():
        for name, count in DEAD.items():
            model.get_parameter(f"{name}.weight")[:count] = 0
    bury(model)
    return model


@pytest.mark.slow
def test_cycles_before_and_after_in_rtl() -> None:
    images = torch.nn.functional.avg_pool2d(calibration_images(), 2)
    measured = measure_fading(float_graph(fading(), (14, 14)), images, "deepshift", CONFIG)
    assert {name: removal.removed for name, removal in measured.removals.items()} == {
        "layer2.0.conv1": 7, "layer3.0.conv1": 27}
    cycles: list[int] = []
    for network in (measured.before, measured.after):
        program = compile_network(network, CONFIG, keep_all=True)
        image = network.input_scale.quantise(images[0].numpy())
        report, = simulate_network(program, [image], network=network)
        assert report.failure == ""
        assert report.bit_exact
        assert report.cycle_exact
        counted = [segment.measured for segment in report.segments]
        cycles.append(sum(one.total for one in counted if one is not None))
    # 27 of 64 filters and as many input channels of the next layer, which takes a quarter of all.
    assert cycles[1] < 0.9 * cycles[0]
