"""Imported networks as programs: the interpreter computes what the integer network does."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from smartdeal.compiler.importers.exported import import_module
from smartdeal.compiler.layer import compile_layer
from smartdeal.golden.integer import run_network
from smartdeal.golden.interpreter import Interpreter
from smartdeal.golden.quantise import quantise_network
from smartdeal.hw.config import AcceleratorConfig

CONFIG = AcceleratorConfig(rows=12, cols=8)


class Odd(nn.Module):
    """What built-in networks do not have, on an odd-sized map.

    TensorFlow's padding, a shortcut without weights, an addition of two activations, and a linear
    layer on a map.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(2, 4, 3, 2)
        self.conv1 = nn.Conv2d(4, 10, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(10)
        self.conv2 = nn.Conv2d(10, 10, 3, padding=1)
        self.fc = nn.Linear(90, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(functional.pad(x, (0, 1, 0, 1))).relu()
        y = self.bn1(self.conv1(x)).relu()
        wide = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 3, 3))
        x = (self.conv2(y) + wide).relu()
        return self.fc(torch.flatten(x + y, 1))


@pytest.mark.parametrize("form", ["int8", "smartdeal", "deepshift"])
def test_interpreter_computes_imported_layers(form: str) -> None:
    graph = import_module(Odd().eval(), (2, 11, 11))
    images = torch.randn(4, 2, 11, 11, generator=torch.Generator().manual_seed(2))
    network = quantise_network(graph, images, form)
    tensors = run_network(network, network.input_scale.quantise(images[0].numpy()))
    names = [node.layer.name for node in network.nodes]
    assert names == ["stem", "conv1", "slice_1", "conv2", "add_1", "fc"]
    interpreter = Interpreter(CONFIG)
    for node in network.nodes:
        program = compile_layer(node.layer, CONFIG)
        residual = tensors[node.residual] if node.residual is not None else None
        regions: list[bytes] = []
        for part in program.parts:
            interpreter.load(part.image)
            interpreter.load(part.data_image(tensors[node.input], residual))
            interpreter.run()
            regions.append(interpreter.read(part.output_word, part.output_words))
        np.testing.assert_array_equal(
            program.assemble(regions), tensors[node.layer.name], err_msg=node.layer.name)
