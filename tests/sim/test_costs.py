"""The sizes that tables print are those of the bytes in the program image; energy adds up."""

from dataclasses import replace

import pytest

from smartdeal.compiler import compile_network
from smartdeal.compiler.image import block_bytes, read_image
from smartdeal.golden.convert import convert
from smartdeal.golden.networks import ResNet
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.golden.recipes import forms_of
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind
from smartdeal.sim.costs import network_costs
from smartdeal.sim.energy.model import cost_of_program
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.loading import load_cycles
from smartdeal.sim.workload import default_images, load_model

FORMS = {"*": "smartdeal", "conv1": "int8", "fc": "shift2", "layer1.0.conv2": "deepshift"}


@pytest.mark.parametrize(("entropy", "weight_steps"), [(False, 20480), (True, 20480), (True, 500)])
def test_bytes_of_the_tables_are_those_of_the_image(entropy: bool, weight_steps: int) -> None:
    """In one image, and in several with layers cut by channels."""
    config = AcceleratorConfig(entropy=entropy, weight_steps=weight_steps)
    model, _ = load_model("resnet8", None, 0)
    check_bytes(model, FORMS, config)


def test_bytes_of_a_network_that_takes_signs() -> None:
    """Layers that only take signs are in the image, but have no line: nobody trained them."""
    model, _ = load_model("resnet8", None, 0)
    signs = convert(model, forms_of("resnet8", "bnn", {}))
    assert isinstance(signs, ResNet)
    check_bytes(signs, "int8", AcceleratorConfig(binary=True))


def check_bytes(model: ResNet, forms: str | dict[str, str], config: AcceleratorConfig) -> None:
    images, options = default_images(model, 0), FormOptions(group=4)
    network = quantise_network(model, images, forms, options, config.sum_bits)
    program = compile_network(network, config)
    costs = network_costs(model, images, forms, config, options)

    block = block_bytes(config)
    tables = rest = saved = 0
    for image in program.segments:
        sections = read_image(image, config).sections
        rest += 2 * block  # header and trailer
        for section in sections:
            stored = len(section.coded or section.data)
            rest += block
            if section.kind == SectionKind.PROGRAM:
                rest += stored
            else:
                tables += stored
                saved += len(section.data) - stored
    with_weights = {layer.name for layer in costs.layers}
    pools = sum(info.table_bytes for info in program.layers if info.name not in with_weights)
    assert sum(layer.program_bytes or 0 for layer in costs.layers) + pools == tables
    assert costs.program_bytes == tables + rest == sum(map(len, program.segments))
    assert sum(info.saved_bytes for info in program.layers) == saved
    assert (saved > 0.3 * tables) == config.entropy
    assert (len(program.segments) > 1) == (config.weight_steps == 500)


def test_energy_adds_up_and_loading_is_in_it() -> None:
    config = AcceleratorConfig()
    coded = replace(config, entropy=True)
    model, _ = load_model("resnet8", None, 0)
    images = default_images(model, 0)
    costs = network_costs(model, images, "deepshift", config)
    network = quantise_network(model, images, "deepshift", FormOptions(group=4), config.sum_bits)
    plain, decoded = (cost_of_program(compile_network(network, one)) for one in (config, coded))
    technology = Technology.load(costs.technology)
    assert costs.energy_pj is not None
    assert costs.energy_pj == pytest.approx(sum(plain.energy(technology).values()))
    assert sum(layer.energy_pj or 0 for layer in costs.layers) < costs.energy_pj  # pools
    # Fewer bytes come in, in more cycles: what the loader's model says, but for headers' cycles.
    assert decoded.traffic.weights < 0.5 * plain.traffic.weights
    program = compile_network(network, coded)
    cycles = sum(load_cycles(image, coded) for image in program.segments)
    data = sum(view.words for view in program.inputs) * config.cols // (config.host_bits // 8)
    sections = sum(len(read_image(image, coded).sections) + 2 for image in program.segments)
    assert sum(layer.load_cycles for layer in decoded.layers) - data == pytest.approx(
        cycles - sections, abs=len(program.layers))
    assert decoded.compute_cycles == plain.compute_cycles
