"""A training whose numbers run away stops before a checkpoint holds them."""

import re

import pytest
import torch

from smartdeal.golden.convert import convert
from smartdeal.golden.datasets import Samples
from smartdeal.golden.networks import build_network
from smartdeal.golden.options import FormOptions
from smartdeal.golden.train_options import TrainingError, TrainOptions
from smartdeal.golden.training import Trainer


def trainer(form: str) -> Trainer:
    torch.manual_seed(0)
    samples = Samples(torch.randn(64, 1, 8, 8), torch.randint(0, 10, (64,)))
    model = convert(build_network("resnet8"), form, FormOptions(restarts=0))
    return Trainer(model, samples, None, TrainOptions(epochs=3, batch=32, rate=0.02))


def run(training: Trainer) -> None:
    while not training.finished:
        training.run_epoch()


@pytest.mark.parametrize(("form", "parameter"), [
    ("float", "layer3.0.conv2.weight"), ("shift2", "layer3.0.conv2.weight"),
    ("smartdeal", "layer3.0.conv2.weight"), ("smartdeal-train", "layer3.0.conv2.ce"),
    ("deepshift-ps", "layer3.0.conv2.sign"), ("binary", "layer3.0.conv2.weight"),
])
@pytest.mark.parametrize(("batch", "epoch", "left"), [
    (1, 1, "no checkpoint was written"), (4, 2, "the checkpoint of epoch 1 stays")])
def test_gradients_that_are_no_numbers(
    form: str, parameter: str, batch: int, epoch: int, left: str,
) -> None:
    """Two batches an epoch; the loss before the bad step is finite, also in an epoch's last."""
    training = trainer(form)
    seen = 0

    def spoilt(gradient: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        seen += 1
        return gradient * torch.nan if seen == batch else gradient

    training.model.get_parameter(parameter).register_hook(spoilt)
    message = (f"{parameter} became infinite or not a number in epoch {epoch} of 3; {left}. "
               "Lower the rate (0.02)")
    with pytest.raises(TrainingError, match=f"^{re.escape(message)}$"):
        run(training)
    assert training.epoch == epoch - 1
    assert seen == batch


def test_statistics_that_are_no_numbers() -> None:
    training = trainer("float")
    variance = training.model.get_buffer("bn1.running_var")

    def spoil(share: float, loss: float) -> None:
        variance.fill_(torch.inf)

    with pytest.raises(TrainingError, match=r"^bn1\.running_var became infinite or not a number"):
        training.run_epoch(spoil)
