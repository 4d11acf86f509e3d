"""How to train, what an epoch brought, and the error of a training that cannot go on."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["EpochReport", "Optimiser", "TrainOptions", "TrainingError"]

Optimiser = Literal["sgd", "adam", "adamw", "radam"]


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says why, and what is left."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How to train.

    Parameters
    ----------
    epochs, batch, seed : int
    optimiser : "sgd", "adam", "adamw" or "radam"
        SGD has Nesterov momentum 0.9; Adam adds weight decay to the gradient (L2), AdamW does not.
    rate : float
        Largest learning rate. It rises over ``warm_up``, a share of all steps, and falls as a
        cosine to nearly 0.
    weight_decay : float
    average_from : float
        Share of the epochs after which weights are averaged (SWA); 1 means never.
    switch_bar : int
        Bucket switch of SmartDeal training: signs counted before an exponent moves. 0 trains
        Ce by the optimiser.
    mirror : bool
        Whether images may be mirrored.
    half : bool
        Compute activations in bfloat16: faster where the processor has it.

    Raises
    ------
    TrainingError
        If a value is out of range.
    """

    epochs: int = 10
    batch: int = 128
    seed: int = 1
    optimiser: Optimiser = "sgd"
    rate: float = 0.2
    warm_up: float = 0.2
    weight_decay: float = 5e-4
    average_from: float = 1.0
    switch_bar: int = 0
    mirror: bool = False
    half: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 1, not {getattr(self, name)!r}")
        if self.optimiser not in get_args(Optimiser):
            raise TrainingError(f"optimiser must be one of {', '.join(get_args(Optimiser))}, "
                                f"not {self.optimiser!r}")
        if not (self.rate > 0 and math.isfinite(self.rate)):
            raise TrainingError(f"rate must be positive, not {self.rate!r}")
        for name in ("warm_up", "average_from"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"{name} must be from 0 to 1, not {getattr(self, name)!r}")
        if not self.weight_decay >= 0 or self.switch_bar < 0:
            raise TrainingError("weight_decay and switch_bar must not be negative, not "
                                f"{self.weight_decay!r} and {self.switch_bar!r}")


@dataclass(frozen=True)
class EpochReport:
    """What an epoch brought.

    Parameters
    ----------
    epoch, epochs : int
        From 1.
    loss : float
        Mean of the batches.
    accuracy : float or None
        On the images held back, 0…1; None if none were.
    seconds : float
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float | None
    seconds: float
