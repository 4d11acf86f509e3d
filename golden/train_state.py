"""A training between two epochs, as a file: what it takes to go on as if nothing had happened."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from smartdeal.golden.network_files import read_arrays, write_arrays
from smartdeal.golden.networks import NetworkError
from smartdeal.golden.train_options import TrainingError
from smartdeal.golden.training import Trainer

__all__ = ["load_state", "save_state"]

_MODEL, _AVERAGE, _OPTIMISER, _SWITCH, _GENERATOR = (
    "model.", "average.", "optimiser.", "switch.", "generator")


def _optimiser_tensors(optimiser: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{index}.{name}": torch.as_tensor(value)
            for index, state in optimiser.state_dict()["state"].items()
            for name, value in state.items() if value is not None}


def _load_optimiser(
    optimiser: torch.optim.Optimizer, arrays: Mapping[str, NDArray[Any]], prefix: str,
) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, value in arrays.items():
        if key.startswith(prefix):
            index, _, name = key.removeprefix(prefix).partition(".")
            state.setdefault(int(index), {})[name] = torch.from_numpy(value.copy())
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): torch.from_numpy(value.copy())
            for name, value in arrays.items() if name.startswith(prefix)}


def save_state(path: Path, trainer: Trainer, about: Mapping[str, Any]) -> None:
    """Write where a training stands, the whole file or nothing.

    Parameters
    ----------
    path : Path
        ``.safetensors``.
    about : mapping
        What the training is of: network, data, form. :func:`load_state` compares it.

    Raises
    ------
    OSError
        If the file cannot be written; what was there before is still there.
    """
    tensors = {f"{_MODEL}{name}": value for name, value in trainer.model.state_dict().items()}
    tensors |= _optimiser_tensors(trainer.optimiser, _OPTIMISER)
    if trainer.switch is not None:
        tensors |= _optimiser_tensors(trainer.switch, _SWITCH)
    if trainer.average is not None:
        tensors |= {f"{_AVERAGE}{name}": value
                    for name, value in trainer.average.state_dict().items()}
    tensors[_GENERATOR] = trainer.generator.get_state()
    arrays = {name: value.numpy() for name, value in tensors.items()}
    write_arrays(path, arrays, {"version": 1, "epoch": trainer.epoch,
                                "training": {**asdict(trainer.options), **about}})


def load_state(path: Path, trainer: Trainer, about: Mapping[str, Any]) -> None:
    """Bring a trainer to where a file says that its training stood.

    Raises
    ------
    TrainingError
        If the file cannot be read, or is of another training; the message names what differs.
    """
    try:
        arrays, header = read_arrays(path)
    except (OSError, NetworkError) as error:
        raise TrainingError(f"cannot resume from {path}: {error}") from None
    if "training" not in header:
        raise TrainingError(f"cannot resume from {path}: it holds a network, not a training")
    said, wanted = header["training"], {**asdict(trainer.options), **about}
    for name, value in wanted.items():
        if said.get(name) != value:
            raise TrainingError(f"cannot resume from {path}: its {name} is {said.get(name)!r}, "
                                f"not {value!r}")
    trainer.model.load_state_dict(_part(arrays, _MODEL))
    if average := _part(arrays, _AVERAGE):
        trainer.average = AveragedModel(trainer.model)
        trainer.average.load_state_dict(average)
    _load_optimiser(trainer.optimiser, arrays, _OPTIMISER)
    if trainer.switch is not None:
        _load_optimiser(trainer.switch, arrays, _SWITCH)
    trainer.generator.set_state(_part(arrays, _GENERATOR)[""])
    trainer.epoch = header["epoch"]
