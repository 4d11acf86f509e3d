"""A user's module with drop-in layers becomes a program: its forms stay, signs too."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from smartdeal.compiler import compile_network, import_module, quantise_network
from smartdeal.golden.binary_layers import BinaryConv2d
from smartdeal.golden.convert import TRAINED_FORMS, convert, shift_norms
from smartdeal.golden.form_layers import form_layers
from smartdeal.golden.integer import run_network
from smartdeal.golden.interpreter import Interpreter
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import NetworkError
from smartdeal.golden.options import FormOptions
from smartdeal.hw.config import AcceleratorConfig

SHAPE = (2, 8, 9)
CONFIG = AcceleratorConfig(rows=9, cols=8, activation_words=4096, weight_steps=4096,
                           channel_entries=128, basis_entries=512)


class Small(nn.Module):
    """Nothing that a built-in network has: other names, a pool, a flattened map."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Conv2d(2, 8, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(8)
        self.body = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.body_norm = nn.BatchNorm2d(8)
        self.narrow = nn.Conv2d(8, 6, 1)
        self.head = nn.Linear(6 * 4 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.stem_norm(self.stem(x))
        x = functional.relu(self.body_norm(self.body(shortcut)) + shortcut)
        return self.head(torch.flatten(functional.max_pool2d(self.narrow(x), 2), 1))


def settled(module: nn.Module, images: Tensor) -> nn.Module:
    module.train()
    with torch.no_grad():
        module(images)
    return module.eval()


def images() -> Tensor:
    return torch.randn(16, *SHAPE, generator=torch.Generator().manual_seed(4))


def check_program(network: IntegerNetwork, config: AcceleratorConfig, image: Tensor) -> None:
    """Every tensor that the program computes is the integer network's."""
    program = compile_network(network, config, keep_all=True)
    interpreter = Interpreter(config)
    pixels = network.input_scale.quantise(image.numpy())
    interpreter.load(program.input_image(pixels))
    for segment in program.segments:
        interpreter.load(segment)
        interpreter.run()
    expected = run_network(network, pixels)
    for name in program.outputs:
        np.testing.assert_array_equal(
            program.tensor(name, interpreter.read(*program.words(name))), expected[name])


@pytest.mark.parametrize("form", sorted(TRAINED_FORMS))
def test_a_module_in_every_form(form: str) -> None:
    """The head takes a map, which SmartDeal's vectors of three channels cannot."""
    forms = {"*": form, "stem": "int8", "head": "shift2"}
    if form == "bnn":
        forms["narrow"] = "int8"  # behind a ReLU all signs are +1
    module = settled(convert(Small(), forms, FormOptions(restarts=0, shared_values=8)), images())
    graph = import_module(module, SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(graph(images()), module(images()), rtol=1e-4, atol=1e-4)
    layers = form_layers(module)
    nodes = {node.name: node for node in graph.nodes}
    assert {name: nodes[name].form for name in layers} == {
        name: layer.form for name, layer in layers.items()}
    assert ("stem.sign" in nodes) == (form == "bnn")
    network = quantise_network(graph, images(), "shift3")
    integers = {node.layer.name: node.layer.weights for node in network.nodes}
    for name, layer in layers.items():
        kept = integers[name]
        assert kept is not None
        trained = layer.export().integer()
        np.testing.assert_array_equal(kept.integer().reshape(trained.shape), trained)
    check_program(network, CONFIG.replace(binary=form == "bnn"), images()[0])


def test_shift_norms_come_along() -> None:
    module = settled(shift_norms(convert(Small(), "deepshift-ps")), images())
    graph = import_module(module, SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(graph(images()), module(images()), rtol=1e-4, atol=1e-4)
    norm = graph.nodes[0].norm
    assert norm is not None
    gain = (norm.gamma / norm.variance.sqrt()).abs().numpy()
    np.testing.assert_array_equal(np.exp2(np.round(np.log2(gain))), gain)


def test_one_layer_is_a_module() -> None:
    layer = convert(nn.Conv2d(2, 3, 3, padding=1), "deepshift-q")
    graph = import_module(nn.Sequential(layer).eval(), SHAPE)
    assert [(node.name, node.form) for node in graph.nodes] == [("0", "deepshift-q")]


class Padded(nn.Sequential):
    """Pads before its layer does."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(functional.pad(input, (1, 1, 1, 1)))


class Twice(nn.Sequential):
    """Calls its layer twice."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(super().forward(input))


@pytest.mark.parametrize(("module", "message"), [
    (convert(nn.Sequential(nn.Conv2d(2, 4, 1), nn.Flatten(), nn.Linear(288, 3)), "smartdeal"),
     "2: a layer of SmartDeal's weights must take a vector of one number per channel, not a "
     "flattened map of 8×9; choose another form for it"),
    (Padded(BinaryConv2d(2, 4, 3, binary_input=True)),
     "0: what comes before a layer with binary input must not pad it; give the layer itself the "
     "padding"),
    (Twice(convert(nn.Conv2d(2, 2, 1), "deepshift-q")),
     "0: a drop-in layer must be called once, but the graph has it as 0_2 too; make a layer for "
     "each call"),
])
def test_what_has_no_layer_is_refused(module: nn.Module, message: str) -> None:
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        import_module(module.eval(), SHAPE)
