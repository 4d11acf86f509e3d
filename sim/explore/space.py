"""What is explored: sizes of the accelerator times the form of the weights."""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.hw.config import AcceleratorConfig, ConfigError
from smartdeal.sim.explore.errors import ExploreError

__all__ = ["DIMENSIONS", "TERMS", "Candidate", "Space", "draw"]

#: Powers of two that a weight is made of, at most.
TERMS = {"smartdeal": 1, "deepshift": 1, "shift2": 2, "shift3": 3, "int8": 5}

#: What is tried where the user does not say.
DIMENSIONS: dict[str, tuple[int | str, ...]] = {
    "rows": (3, 6, 9, 12, 15, 18, 24, 32, 48),
    "cols": (8, 16, 24, 32, 48, 64),
    "exponents": (4, 8),
    "acc_bits": (20, 24),
    "activation_kib": (32, 64, 128, 256),
    "weight_steps": (2048, 4096, 8192),
    "drain_lanes": (1, 2, 4, 8, 16),
    "form": tuple(TERMS),
}
#: A canonical digit of an 8-bit weight can be worth 2^7.
_INT8_EXPONENTS = 8
#: Depths of the smaller tables: what a whole ResNet-20 needs.
_TABLES: dict[str, Any] = {"channel_entries": 1024, "basis_entries": 1024, "program_words": 1024}


@dataclass(frozen=True, order=True, kw_only=True)
class Candidate:
    """One accelerator and one form.

    Parameters
    ----------
    rows, cols, exponents, acc_bits, weight_steps, drain_lanes : int
    activation_kib : int
        Size of the activation buffer.
    form : str
    """

    rows: int
    cols: int
    exponents: int
    acc_bits: int
    activation_kib: int
    weight_steps: int
    drain_lanes: int
    form: str

    def config(self, *, memory: bool) -> AcceleratorConfig:
        """Return the accelerator; :exc:`ConfigError` if there is none of this kind."""
        return AcceleratorConfig(
            rows=self.rows, cols=self.cols, exponents=self.exponents, acc_bits=self.acc_bits,
            weight_steps=self.weight_steps, drain_lanes=self.drain_lanes, memory=memory,
            activation_words=self.activation_kib * 1024 // self.cols, **_TABLES)

    def as_dict(self) -> dict[str, Any]:
        """Return every dimension by name."""
        return asdict(self)


@dataclass(frozen=True)
class Space:
    """The grid of candidates.

    Parameters
    ----------
    values : mapping of str to sequence
        By the names of :data:`DIMENSIONS`.
    memory : bool
        Accelerators that load from system memory by themselves.
    """

    values: Mapping[str, Sequence[int | str]]
    memory: bool = False

    @classmethod
    def parse(cls, texts: Sequence[str], *, memory: bool = False) -> "Space":
        """Read ``rows=6,12`` and the like; what is not given keeps its default.

        Raises
        ------
        ExploreError
            If a dimension or a value is not known.
        """
        values: dict[str, tuple[int | str, ...]] = dict(DIMENSIONS)
        for text in texts:
            name, _, listed = text.partition("=")
            if name not in DIMENSIONS:
                raise ExploreError(f"unknown dimension {name!r} in --set {text!r}; known: "
                                   f"{', '.join(DIMENSIONS)}")
            values[name] = tuple(sorted({_value(name, item) for item in listed.split(",")}))
        return cls(values, memory)

    def candidates(self) -> Iterator[Candidate]:
        """Yield every candidate that can be built, in a fixed order."""
        for values in itertools.product(*(self.values[name] for name in DIMENSIONS)):
            candidate = Candidate(**dict(zip(DIMENSIONS, values, strict=True)))  # type: ignore[arg-type]
            if candidate.form == "smartdeal" and candidate.rows < BASIS_SIZE:
                continue
            if candidate.form == "int8" and candidate.exponents < _INT8_EXPONENTS:
                continue
            try:
                candidate.config(memory=self.memory)
            except ConfigError:
                continue
            yield candidate

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**{name: list(values) for name, values in self.values.items()},
                "memory": self.memory}


def draw(candidates: Sequence[Candidate], count: int, seed: int) -> list[Candidate]:
    """Return so many candidates, evenly drawn, in order; all if there are no more."""
    if len(candidates) <= count:
        return list(candidates)
    return sorted(random.Random(seed).sample(candidates, count))


def _value(name: str, text: str) -> int | str:
    if name == "form":
        if text not in TERMS:
            raise ExploreError(f"form must be one of {', '.join(TERMS)}, not {text!r}")
        return text
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1 or (name == "exponents" and number < 2):
        raise ExploreError(f"{name} must be whole numbers from {2 if name == 'exponents' else 1} "
                           f"on, as {name}={','.join(map(str, DIMENSIONS[name][:3]))}, not "
                           f"{text!r}")
    return number
