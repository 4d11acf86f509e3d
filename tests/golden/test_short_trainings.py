"""Networks trained from scratch on real data, in every form: seconds each, and a stated floor."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from smartdeal.golden.accuracy import integer_accuracy
from smartdeal.golden.binary_layers import BinaryConv2d, BinaryLinear
from smartdeal.golden.checkpoints import load_weights
from smartdeal.golden.convert import convert, shift_norms
from smartdeal.golden.datasets import DataSet, Samples, load_data
from smartdeal.golden.fading import bury, dead_filters
from smartdeal.golden.form_layers import form_layers
from smartdeal.golden.forms import BasisWeights
from smartdeal.golden.graph import float_graph
from smartdeal.golden.network_files import write_network
from smartdeal.golden.networks import ResNet, build_network
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.golden.recipes import forms_of, recipe
from smartdeal.golden.shift_norm import ShiftBatchNorm1d, ShiftBatchNorm2d
from smartdeal.golden.train_options import TrainOptions
from smartdeal.golden.training import Trainer, accuracy, settle
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.dead_filters import measure_fading

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data("digits")


def trained(model: torch.nn.Module, data: DataSet, **options: object) -> Trainer:
    base = dict(epochs=6, batch=32, rate=0.1, seed=1)
    trainer = Trainer(model, data.train, None, TrainOptions(**{**base, **options}))
    while not trainer.finished:
        trainer.run_epoch()
    trainer.finish()
    return trainer


@pytest.fixture(scope="module")
def float_network(digits: DataSet) -> ResNet:
    torch.manual_seed(1)
    model = build_network("resnet8")
    trained(model, digits)
    assert accuracy(model, digits.test) > 0.975
    return model


@pytest.mark.parametrize(("form", "floor"), [
    ("smartdeal", 0.96), ("smartdeal-train", 0.96), ("deepshift-q", 0.96), ("deepshift-ps", 0.95),
    ("shift2", 0.96), ("int8", 0.96), ("binary", 0.94), ("bnn", 0.94),
    ("cws", 0.94),
])
def test_forms_are_trained_from_scratch(
    form: str, floor: float, digits: DataSet, tmp_path: Path,
) -> None:
    """The integer network of the trained weights, written and read, beats the floor."""
    torch.manual_seed(1)
    usual = recipe(form)
    forms = forms_of("resnet8", form, {})
    model = convert(build_network("resnet8"), forms, FormOptions(restarts=1))
    assert isinstance(model, ResNet)
    trained(model, digits, epochs=5, optimiser=usual.optimiser, rate=min(usual.rate, 0.1),
            weight_decay=usual.weight_decay)
    right = accuracy(model, digits.test)
    assert right > floor
    path = tmp_path / "net.safetensors"
    write_network(path, model, {})
    again = build_network("resnet8")
    load_weights(again, path)
    network = quantise_network(again, digits.train.images[:64], "deepshift")
    got = integer_accuracy(network, digits.test.images, digits.test.labels)
    assert got > floor - 0.01
    assert abs(got - right) < 0.02
    for name, layer in form_layers(model).items():
        np.testing.assert_array_equal(
            layer.export().integer(), form_layers(again)[name].export().integer())


@pytest.mark.parametrize("form", ["smartdeal", "smartdeal-train"])
def test_retraining_makes_up_for_zeroed_vectors(
    form: str, digits: DataSet, float_network: ResNet,
) -> None:
    model = convert(float_network, form, FormOptions(zero_fraction=0.6, restarts=1))
    for layer in form_layers(model).values():
        layer.refit()
    before = accuracy(model, digits.test)
    trained(model, digits, epochs=4, rate=0.02)
    assert accuracy(model, digits.test) > max(0.96, before + 0.2)
    body = form_layers(model)["layer3.0.conv2"].export()
    assert isinstance(body, BasisWeights)
    assert body.zero_vectors() >= 0.59
    # The zero vectors are the same in the filters that the array holds at once.
    zero = ~body.sign.any(axis=2)
    assert (zero.reshape(16, 4, -1).sum(axis=1) % 4 == 0).all()


def test_the_bucket_switch_trains(digits: DataSet, float_network: ResNet) -> None:
    model = convert(float_network, "smartdeal-train", FormOptions(zero_fraction=0.5, restarts=1))
    first = form_layers(model)["layer3.0.conv2"].export()
    trained(model, digits, epochs=4, rate=0.02, switch_bar=10)
    assert accuracy(model, digits.test) > 0.95
    second = form_layers(model)["layer3.0.conv2"].export()
    np.testing.assert_array_equal(first.sign != 0, second.sign != 0)
    assert (first.exponent != second.exponent).any()


def test_a_binarised_network_is_trained(digits: DataSet) -> None:
    """As published: convolution, pool, shift-based normalisation; the next layer takes signs.

    The first layer takes the image as it is. All weights are binary, and all other inputs.
    """
    torch.manual_seed(1)
    model = nn.Sequential(
        BinaryConv2d(1, 32, 3, padding=1), ShiftBatchNorm2d(32),
        BinaryConv2d(32, 64, 3, padding=1, binary_input=True), nn.MaxPool2d(2),
        ShiftBatchNorm2d(64), BinaryConv2d(64, 64, 3, padding=1, binary_input=True),
        nn.MaxPool2d(2), ShiftBatchNorm2d(64), nn.Flatten(),
        BinaryLinear(256, 10, binary_input=True), ShiftBatchNorm1d(10))
    trained(model, digits, optimiser="adam", rate=0.01, weight_decay=0.0, epochs=8)
    assert accuracy(model, digits.test) > 0.9


def test_shift_norms_reach_the_integer_network(digits: DataSet) -> None:
    torch.manual_seed(1)
    model = shift_norms(build_network("resnet8"))
    assert isinstance(model, ResNet)
    trained(model, digits, rate=0.05)
    right = accuracy(model, digits.test)
    assert right > 0.95
    network = quantise_network(model, digits.train.images[:64], "int8")
    assert abs(integer_accuracy(network, digits.test.images, digits.test.labels) - right) < 0.02
    norm = float_graph(model).nodes[0].norm
    assert norm is not None
    gain = (norm.gamma / (norm.variance + norm.eps).sqrt()).abs().numpy()
    np.testing.assert_array_equal(np.exp2(np.round(np.log2(gain))), gain)


def test_filters_die_with_an_adaptive_optimiser_and_l2(digits: DataSet) -> None:
    """The same weight decay kills many filters with Adam and hardly any with SGD."""
    dead: dict[str, int] = {}
    models: dict[str, ResNet] = {}
    for optimiser, rate in (("adam", 0.02), ("sgd", 0.1)):
        torch.manual_seed(0)
        model = models[optimiser] = build_network("resnet8")
        trained(model, digits, epochs=12, rate=rate, optimiser=optimiser, weight_decay=0.02)
        dead[optimiser] = dead_filters(model)["layer3.0.conv1"][1]
        assert accuracy(model, digits.test) > 0.97
    assert dead["adam"] >= 16
    assert dead["sgd"] <= dead["adam"] // 4
    bury(models["adam"])
    settle(models["adam"], digits.train.images)
    assert accuracy(models["adam"], digits.test) > 0.97
    fading, usual = (measure_fading(
        float_graph(models[name], (8, 8)), digits.train.images[:64], "int8", AcceleratorConfig())
        for name in ("adam", "sgd"))
    removal = fading.removals["layer3.0.conv1"]
    assert removal.removed == removal.dead == dead["adam"]
    # The filters are gone; so were already the steps of the layer that took them, since L2 makes
    # weights of a channel of zeros vanish, and zero weights have no step.
    assert fading.cycles_after["layer3.0.conv1"] < 0.9 * fading.cycles_before["layer3.0.conv1"]
    assert fading.cycles_after["layer3.0.conv2"] < 0.6 * usual.cycles_after["layer3.0.conv2"]
    right = [integer_accuracy(n, digits.test.images, digits.test.labels)
             for n in (fading.before, fading.after)]
    assert right[0] == right[1]


def test_the_samples_are_those_of_the_package(digits: DataSet) -> None:
    assert len(digits.train) == 1437
    assert len(digits.test) == 360
    assert isinstance(digits.test, Samples)
    assert digits.train.images.shape[1:] == (1, 8, 8)
