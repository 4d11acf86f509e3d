"""A training that is stopped and taken up again ends as if it had not been stopped."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from smartdeal.golden.convert import convert
from smartdeal.golden.datasets import Samples
from smartdeal.golden.network_files import write_network
from smartdeal.golden.networks import build_network
from smartdeal.golden.options import FormOptions
from smartdeal.golden.train_options import TrainingError, TrainOptions
from smartdeal.golden.train_state import load_state, save_state
from smartdeal.golden.training import Trainer

ABOUT = {"network": "resnet8", "form": "smartdeal"}


def trainer(form: str, **options: object) -> Trainer:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    samples = Samples(torch.randn(64, 1, 8, 8, generator=generator),
                      torch.randint(0, 10, (64,), generator=generator))
    # Few filters make little work; ResNet-8 has the fewest.
    model = convert(build_network("resnet8"), form, FormOptions(restarts=0))
    base = TrainOptions(epochs=3, batch=32, rate=0.02)
    return Trainer(model, samples, samples.first(16),
                   replace(base, **options))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("form", "options"), [
    ("float", {}), ("smartdeal", {"average_from": 0.0}), ("smartdeal-train", {"switch_bar": 2}),
    ("deepshift-ps", {"optimiser": "radam"}), ("shift2", {"optimiser": "adamw"}),
])
def test_resumed_training_is_the_same(tmp_path: Path, form: str, options: dict[str, object],
                                      ) -> None:
    path = tmp_path / "state.safetensors"
    whole = trainer(form, **options)
    while not whole.finished:
        whole.run_epoch()
    whole.finish()
    first = trainer(form, **options)
    first.run_epoch()
    save_state(path, first, ABOUT)
    second = trainer(form, **options)
    load_state(path, second, ABOUT)
    assert second.epoch == 1
    while not second.finished:
        second.run_epoch()
    second.finish()
    wanted, got = whole.model.state_dict(), second.model.state_dict()
    assert wanted.keys() == got.keys()
    for name, value in wanted.items():
        assert torch.equal(value, got[name]), name


def test_another_training_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_state(path, trainer("float"), ABOUT)
    for options, about, what in (
        ({"rate": 0.5}, ABOUT, "rate is 0.02, not 0.5"),
        ({}, {**ABOUT, "form": "shift2"}, "form is 'smartdeal', not 'shift2'"),
    ):
        message = f"cannot resume from {path}: its {what}"
        with pytest.raises(TrainingError, match=f"^{re.escape(message)}$"):
            load_state(path, trainer("float", **options), about)


def test_other_files_are_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    message = f"cannot resume from {path}: "
    with pytest.raises(TrainingError, match=f"^{re.escape(message)}"):
        load_state(path, trainer("float"), ABOUT)
    path.write_bytes(b"nothing at all")
    with pytest.raises(TrainingError, match=f"^{re.escape(message + str(path))} is not a file"):
        load_state(path, trainer("float"), ABOUT)
    write_network(path, build_network("resnet8"), {})
    with pytest.raises(TrainingError, match=f"^{re.escape(message)}it holds a network, not a "):
        load_state(path, trainer("float"), ABOUT)
