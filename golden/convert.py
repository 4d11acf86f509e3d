"""Replace the layers of any module by drop-in layers of a weight form."""

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from smartdeal.golden.binary_layers import (
    BinarisedConv2d,
    BinarisedLinear,
    BinaryConv2d,
    BinaryLinear,
)
from smartdeal.golden.form_layers import FormConv2d, FormLinear, original_weights
from smartdeal.golden.options import DEFAULT_FORM, FormError, FormOptions
from smartdeal.golden.shared_layers import SHARED_LAYERS
from smartdeal.golden.shift_layers import (
    DeepShiftConv2d,
    DeepShiftLinear,
    DeepShiftPSConv2d,
    DeepShiftPSLinear,
    Int8Conv2d,
    Int8Linear,
    ShiftTermsConv2d,
    ShiftTermsLinear,
)
from smartdeal.golden.shift_norm import ShiftBatchNorm2d
from smartdeal.golden.smartdeal_layers import (
    AlternatingConv2d,
    AlternatingLinear,
    SmartDealConv2d,
    SmartDealLinear,
)
from smartdeal.golden.vectors import has_vectors, zero_vectors

__all__ = ["TRAINED_FORMS", "convert", "shift_norms"]

#: Drop-in convolution and linear layer of each form that can be trained.
TRAINED_FORMS: dict[str, tuple[type[FormConv2d], type[FormLinear]]] = {
    "smartdeal": (AlternatingConv2d, AlternatingLinear),
    "smartdeal-train": (SmartDealConv2d, SmartDealLinear),
    "deepshift-q": (DeepShiftConv2d, DeepShiftLinear),
    "deepshift-ps": (DeepShiftPSConv2d, DeepShiftPSLinear),
    "shift2": (ShiftTermsConv2d, ShiftTermsLinear),
    "int8": (Int8Conv2d, Int8Linear),
    "binary": (BinaryConv2d, BinaryLinear),
    "bnn": (BinarisedConv2d, BinarisedLinear),
    **SHARED_LAYERS,
}
#: Forms whose weights cannot be zero: no vector can be zeroed.
_WITHOUT_ZERO = ("binary", "bnn")


def _chosen(form: str | Mapping[str, str], name: str) -> str:
    chosen = form if isinstance(form, str) else form.get(name, form.get(DEFAULT_FORM, ""))
    if chosen not in (*TRAINED_FORMS, "float"):
        raise FormError(f"{name}: weight form must be one of float, {', '.join(TRAINED_FORMS)}, "
                        f"not {chosen!r}")
    return chosen


def _converted(
    layer: nn.Conv2d | nn.Linear, form: str, options: FormOptions, layer_name: str,
) -> nn.Module:
    """Return the drop-in for one layer, its weakest vectors zeroed first."""
    weights = original_weights(layer)
    shape = tuple(weights.shape)
    if form.startswith("smartdeal") and not has_vectors(shape):
        form = "int8"  # as published: other kernels are left alone
    if options.zero_fraction and has_vectors(shape):
        if form in _WITHOUT_ZERO:
            raise FormError(f"{layer_name}: form {form} has no zero, so no vector can be zeroed; "
                            "choose zero fraction 0")
        zeroed = zero_vectors(weights.double().numpy(), options.zero_fraction, options.group)
        weights = torch.from_numpy(zeroed).float()
    kind = TRAINED_FORMS[form][0 if isinstance(layer, nn.Conv2d) else 1]
    try:
        made = kind.from_float(layer, options)
        made.adopt(weights)
        made.effective_weight()  # whatever is wrong shows here, not in training
    except FormError as error:
        raise FormError(f"{layer_name}: {error}") from None
    return made.train(layer.training)


def convert(
    model: nn.Module, form: str | Mapping[str, str], options: FormOptions | None = None, *,
    zero_fractions: Mapping[str, float] | None = None,
) -> nn.Module:
    """Return a copy of a module whose convolutions and linear layers are drop-in layers.

    Weights are adopted: the copy computes nearly the same. The first convolution and every linear
    layer keep all their vectors unless ``zero_fractions`` names them.

    Parameters
    ----------
    model : torch.nn.Module
        Any; layers that are drop-ins already are converted by the weights that they use.
    form : str or mapping of str to str
        ``float``, which leaves a layer as it is, or a key of :data:`TRAINED_FORMS`; or one by layer
        name, with ``"*"`` for all others. With ``smartdeal`` kernels other than 3×3 and 1×1 become
        int8.
    options : FormOptions
        ``group`` must be the filters that the array holds at once for zero vectors to save steps.
    zero_fractions : mapping of str to float, optional
        Zeroed vectors of single layers, instead of ``options.zero_fraction``.

    Raises
    ------
    FormError
        If a form or a layer's name is unknown, or a layer cannot take its form.
    """
    options = options or FormOptions()
    made = copy.deepcopy(model)
    layers = {name: layer for name, layer in made.named_modules()
              if isinstance(layer, nn.Conv2d | nn.Linear)}
    fractions = dict(zero_fractions or {})
    unknown = [name for given in (fractions, {} if isinstance(form, str) else form)
               for name in given if name not in layers and name != DEFAULT_FORM]
    if unknown:
        raise FormError(f"there is no layer {unknown[0]!r} to convert; there are "
                        f"{', '.join(layers) or 'none'}")
    first = next(iter(layers), "")
    for name, layer in layers.items():
        chosen = _chosen(form, name)
        spared = name == first or isinstance(layer, nn.Linear)
        fraction = fractions.get(name, 0.0 if spared else options.zero_fraction)
        if chosen != "float":
            own = replace(options, zero_fraction=fraction)
            if not name:
                return _converted(layer, chosen, own, type(layer).__name__)
            made.set_submodule(name, _converted(layer, chosen, own, name))
    return made


def shift_norms(model: nn.Module) -> nn.Module:
    """Return a copy whose batch normalisations work with shifts, their parameters kept."""
    made = copy.deepcopy(model)
    norms = {name: norm for name, norm in made.named_modules() if isinstance(norm, nn.BatchNorm2d)}
    for name, norm in norms.items():
        shifting = ShiftBatchNorm2d(norm.num_features, norm.eps)
        shifting.load_state_dict(norm.state_dict(), strict=False)
        made.set_submodule(name, shifting.train(norm.training))
    return made
