"""Networks that cannot be compiled: each message names the layer and what to do."""

from dataclasses import replace

import pytest

from smartdeal.compiler import CompileError, compile_network
from smartdeal.golden.layers import IntegerNetwork, IntegerNode
from smartdeal.hw.config import AcceleratorConfig

CONFIG = AcceleratorConfig()


def test_too_small(network: IntegerNetwork) -> None:
    with pytest.raises(CompileError, match=(
            r"^layer 'layer\d.0.\w+': with it the tensors on chip take \d+ bytes, (\d+) words of "
            r"the activation buffer, the accelerator has activation_words = 1000; set "
            r"activation_words = \1, or memory = true$")):
        compile_network(network, CONFIG.replace(activation_words=1000))


def test_needs_move(network: IntegerNetwork) -> None:
    with pytest.raises(CompileError, match=r"^layer 'conv1': it needs the feature move, which the "
                                           r"configuration leaves out; set move = true$"):
        compile_network(network, CONFIG.replace(move=False))


def changed(network: IntegerNetwork, index: int, node: IntegerNode) -> IntegerNetwork:
    nodes = [*network.nodes[:index], node, *network.nodes[index + 1:]]
    return IntegerNetwork(network.name, tuple(nodes), network.scales)


def test_contradictions(network: IntegerNetwork) -> None:
    nodes = network.nodes
    cases = [
        (changed(network, 1, replace(nodes[1], input="conv9")),
         r"^layer 'layer1.0.conv1': operand 'conv9' must come from a layer before$"),
        (changed(network, 1, replace(nodes[1], input="image")),
         r"^layer 'layer1.0.conv1': operand 'image' must have shape \(16, 28, 28\), not "
         r"\(1, 28, 28\)$"),
        (changed(network, 2, replace(nodes[2], residual=None)),
         r"^layer 'layer1.0.conv2': a residual operand must be named exactly if the layer adds "
         r"one, not None$"),
        (changed(network, 1, IntegerNode(replace(nodes[1].layer, name="conv1"), "conv1")),
         r"^layer 'conv1': two tensors of the network have this name$"),
        (IntegerNetwork("none", (), {}), r"^layer 'none': a network must have layers, not none$"),
    ]
    for wrong, message in cases:
        with pytest.raises(CompileError, match=message):
            compile_network(wrong, CONFIG)
    with pytest.raises(CompileError, match=r"^layer 'layer1.0.conv1': one group of 4 output "
                                           r"channels takes \d+ words of the STEPS memory, the "
                                           r"accelerator has weight_steps = 40; set weight_steps"):
        compile_network(network, CONFIG.replace(weight_steps=40))
