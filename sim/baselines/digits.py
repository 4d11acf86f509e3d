"""How long bit-serial lanes take together: the most digits over lanes that wait for each other."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["booth_digits", "essential_bits", "mean_and_most"]

_SAMPLES, _SEED = 1 << 16, 1


def essential_bits(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Return the ones of non-negative values: what Pragmatic takes a cycle each for."""
    return sum(((values >> bit & 1) for bit in range(bits)), np.zeros_like(values))


def booth_digits(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Return the radix-4 Booth digits that are not zero, of signed values of so many bits."""
    count = np.zeros_like(values)
    extended = values << 1
    for place in range(0, bits, 2):
        window = extended >> place & 7
        count += (window != 0) & (window != 7)
    return count


@lru_cache
def mean_and_most(kind: str, lanes: int, zeros: float, bits: int = 8) -> tuple[float, float]:
    """Return the mean digits of an activation, and of the maximum over synchronised lanes.

    Activations are a Gaussian behind a ReLU with so many zeros, quantised so that its largest of
    65,536 samples is the largest value; seeded, so that the numbers are the same each time.

    Parameters
    ----------
    kind : "bits" or "booth"
        Ones of an unsigned value, or Booth digits of a signed one.
    lanes : int
        Lanes that wait for each other.
    zeros : float
        Fraction of the activations that are zero.
    bits : int
        Of an activation; with "booth" one of them is the sign.
    """
    rng = np.random.default_rng(_SEED)
    shape = (_SAMPLES // lanes, lanes)
    real = rng.normal(size=shape)
    real -= np.quantile(real, zeros)
    top = (1 << bits - (kind == "booth")) - 1
    values = np.rint(np.maximum(real, 0) / real.max() * top).astype(np.int64)
    digits = booth_digits(values, bits) if kind == "booth" else essential_bits(values, bits)
    # A group without any digit still takes its cycle.
    return float(digits.mean()), float(np.maximum(digits.max(axis=1), 1).mean())
