"""The vectors of a layer's weights: what the published form zeroes and decomposes.

A vector is three weights of one filter: a kernel row (c, r) of a 3×3 convolution, or three
neighbouring input channels of a 1×1 convolution or linear layer (SmartExchange, section III).
"""

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.formats import BASIS_SIZE

__all__ = ["from_vectors", "has_vectors", "to_vectors", "zero_vectors"]


def has_vectors(shape: tuple[int, ...]) -> bool:
    """Return whether weights of shape (M, C, kh, kw) are made of vectors: 3×3 or 1×1 kernels."""
    return shape[2:] in ((1, 1), (BASIS_SIZE, BASIS_SIZE))


def to_vectors(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 3×3 or 1×1 weights (M, C, kh, kw) as vectors (M, V, 3), padded with zero channels."""
    filters, channels = weights.shape[:2]
    if weights.shape[2] == BASIS_SIZE:
        return weights.reshape(filters, channels * BASIS_SIZE, BASIS_SIZE)
    padded = np.zeros((filters, -(-channels // BASIS_SIZE) * BASIS_SIZE))
    padded[:, :channels] = weights[:, :, 0, 0]
    return padded.reshape(filters, -1, BASIS_SIZE)


def from_vectors(
    vectors: NDArray[np.float64], shape: tuple[int, ...],
) -> NDArray[np.float64]:
    """Return vectors (M, V, 3) as weights of ``shape`` (M, C, kh, kw): undo to_vectors."""
    flat = vectors.reshape(shape[0], -1)
    return flat[:, :shape[1] * shape[2] * shape[3]].reshape(shape)


def zero_vectors(
    weights: NDArray[np.float64], fraction: float, group: int,
) -> NDArray[np.float64]:
    """Zero the weakest vectors for ``group`` neighbouring filters at once.

    A position's score is the sum of |w| along the vector over the filters of the group; the lowest
    ⌊fraction · V⌋ are zeroed, of equals the first.

    Parameters
    ----------
    weights : float64 array, (M, C, kh, kw), 3×3 or 1×1
    fraction : float
        0…1 (1 excluded).
    group : int
        Filters per group; the last group may have fewer.

    Returns
    -------
    float64 array, (M, C, kh, kw)
        A copy.
    """
    vectors = to_vectors(weights.copy())
    filters, count, _ = vectors.shape
    norms = np.abs(vectors).sum(axis=2)
    scores = np.add.reduceat(norms, np.arange(0, filters, group), axis=0)
    weakest = np.argsort(scores, axis=1, kind="stable")[:, :int(fraction * count)]
    for index, positions in enumerate(weakest):
        vectors[index * group:(index + 1) * group, positions] = 0
    return from_vectors(vectors, weights.shape)
