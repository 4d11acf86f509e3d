"""Load imbalance: the largest of several binomial counts."""

from math import log, sqrt

__all__ = ["largest_binomial"]


def largest_binomial(trials: float, probability: float, counts: int) -> float:
    """Return about the expected largest of so many independent binomial counts.

    The usual bound for Gaussian variables, mean + σ √(2 ln counts), but never more than ``trials``.
    """
    mean = trials * probability
    spread = sqrt(max(0.0, mean * (1 - probability)) * 2 * log(max(1, counts)))
    return min(trials, mean + spread)
