"""How each form is trained unless the user says otherwise.

DeepShift-PS takes RAdam, as published, and binary weights Adam without weight decay; the others
take SGD. Retraining starts from trained weights, with a smaller rate.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from smartdeal.golden.networks import build_network
from smartdeal.golden.options import DEFAULT_FORM
from smartdeal.golden.train_options import Optimiser

__all__ = ["Recipe", "forms_of", "recipe"]


@dataclass(frozen=True)
class Recipe:
    """Optimiser, learning rates from scratch and for retraining, and weight decay."""

    optimiser: Optimiser
    rate: float
    retraining_rate: float
    weight_decay: float


_USUAL = Recipe("sgd", 0.2, 0.1, 5e-4)
_RECIPES = {
    "shift2": Recipe("sgd", 0.2, 0.05, 5e-4),
    "deepshift-ps": Recipe("radam", 0.1, 0.03, 1e-4),
    "binary": Recipe("adam", 0.01, 0.01, 0.0),
    "bnn": Recipe("adam", 0.01, 0.01, 0.0),
}


def recipe(form: str) -> Recipe:
    """Return how a form is trained."""
    return _RECIPES.get(form, _USUAL)


def forms_of(network: str, form: str, others: Mapping[str, str]) -> str | dict[str, str]:
    """Return the forms of a built-in network's layers when one is asked for all but a few.

    Binary weights leave the first and the last layer, which have few weights and count most, in
    int8, as their successors do (Rastegari et al. 2016, section 4). With binary activations the
    shortcuts' convolutions stay too: they take the sums, not their signs (Liu et al. 2018).

    Parameters
    ----------
    network : str
        A key of :data:`smartdeal.golden.networks.NETWORKS`.
    others : mapping of str to str
        Forms of single layers; these count first.

    Raises
    ------
    NetworkError
        If there is no such network.
    """
    kept = {"conv1", "fc"} if form in ("binary", "bnn") else set[str]()
    if form == "bnn":
        kept |= {f"{name}.downsample.0" for name, block in build_network(network).blocks
                 if block.downsample is not None}
    ends = dict.fromkeys(sorted(kept), "int8")
    return {DEFAULT_FORM: form, **ends, **others} if ends or others else form
