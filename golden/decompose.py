"""Bring a layer's weights into one of the forms that the array executes."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.forms import Weights
from smartdeal.golden.options import FormError, FormOptions
from smartdeal.golden.smartexchange import smartexchange
from smartdeal.golden.terms import deepshift, int8, three_terms, two_terms
from smartdeal.golden.vectors import has_vectors, zero_vectors

__all__ = ["FORMS", "FormError", "FormOptions", "decompose", "form_used", "relative_error"]


def form_used(name: str, shape: tuple[int, ...]) -> str:
    """Return the form that weights of shape (M, C, kh, kw) get when ``name`` is asked for.

    The published form covers 3×3 and 1×1; other kernels become int8.
    """
    return "int8" if name == "smartdeal" and not has_vectors(shape) else name


def _smartdeal(weights: NDArray[np.float64], options: FormOptions) -> Weights:
    form = int8 if form_used("smartdeal", weights.shape) == "int8" else smartexchange
    return form(weights, options)


#: Every weight form by the name that a user gives.
FORMS: dict[str, Callable[[NDArray[np.float64], FormOptions], Weights]] = {
    "smartdeal": _smartdeal,
    "deepshift": deepshift,
    "shift2": two_terms,
    "shift3": three_terms,
    "int8": int8,
}


def decompose(
    name: str, weights: NDArray[np.floating], options: FormOptions | None = None, *,
    layer: str = "weights",
) -> Weights:
    """Bring weights into the form ``name``.

    Vectors are zeroed first where ``zero_fraction`` says so, in 3×3 and 1×1 kernels, whatever the
    form; zeros stay zeros.

    Parameters
    ----------
    name : str
        A key of :data:`FORMS`.
    weights : float array, (M, C, kh, kw)
        A linear layer's weights have kh = kw = 1.
    layer : str
        The layer's name, for error messages.

    Raises
    ------
    FormError
        If the form is unknown, the weights are not finite or not four-dimensional, or the form
        needs more exponents.
    """
    options = options or FormOptions()
    if name not in FORMS:
        raise FormError(f"weight form must be one of {', '.join(FORMS)}, not {name!r}")
    if weights.ndim != 4 or not weights.size:
        raise FormError(f"{layer}: weights must have shape (M, C, kh, kw), not {weights.shape}")
    weights = np.ascontiguousarray(weights, np.float64)
    if not np.isfinite(weights).all():
        wrong = weights[~np.isfinite(weights)]
        raise FormError(f"{layer}: weights must be finite, but {wrong.size} of {weights.size} "
                        f"are not (the first is {wrong[0]})")
    if options.zero_fraction and has_vectors(weights.shape):
        weights = zero_vectors(weights, options.zero_fraction, options.group)
    try:
        return FORMS[name](weights, options)
    except FormError as error:
        raise FormError(f"{layer}: {error}") from None


def relative_error(weights: NDArray[np.floating], form: Weights) -> float:
    """Return ‖W - W'‖ / ‖W‖ of weights (M, C, kh, kw) and their form; 0 for all-zero weights."""
    rebuilt = form.integer() * form.scale[:, None, None, None]
    norm = float(np.linalg.norm(weights))
    return float(np.linalg.norm(weights - rebuilt)) / norm if norm else 0.0
