"""The Pareto front: points that no other one beats in every objective."""

from collections.abc import Sequence

import numpy as np

__all__ = ["pareto"]


def pareto(values: Sequence[Sequence[float]]) -> list[int]:
    """Return the numbers of the points that no other point dominates; less is better.

    A point dominates another if it is nowhere worse and somewhere better. Of equal points the
    first is kept.

    Parameters
    ----------
    values : (points, objectives)
    """
    if not len(values):
        return []
    array = np.array(values, float)
    _, first = np.unique(array, axis=0, return_index=True)
    kept: list[int] = []
    # By rising values: what dominates a point comes before it.
    for number in sorted(first, key=lambda number: tuple(array[number])):
        others = array[kept]
        if not len(kept) or not (others <= array[number]).all(axis=1).any():
            kept.append(int(number))
    return sorted(kept)
