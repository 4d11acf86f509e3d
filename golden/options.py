"""What a user may choose about weight forms and quantisation, and the error for wrong choices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

__all__ = ["DEFAULT_FORM", "RESNET18_ZERO_FRACTIONS", "FormError", "FormOptions",
           "QuantiseOptions", "Ranges"]

#: Key of the form of all layers that a mapping by layer name does not name.
DEFAULT_FORM = "*"

#: How an activation's range follows from its values.
Ranges = Literal["min_max", "percentile", "mse"]

#: The encoded exponent of a coefficient is never wider than this many values (4 bits).
_MAX_EXPONENTS = 16


class FormError(ValueError):
    """Weights that cannot be brought into a form; the message names the layer or the option."""


@dataclass(frozen=True, kw_only=True)
class FormOptions:
    """Options of :func:`smartdeal.golden.decompose.decompose`.

    Parameters
    ----------
    exponents : int
        E: coefficients are ±2^e with e in 0…E-1.
    slice_rows : int
        Most vectors in one slice, that is, sharing one basis B. The published release cuts at 192.
    zero_fraction : float
        Fraction of a layer's vectors that are zeroed before decomposing, 0…1 (1 excluded).
    group : int
        Neighbouring filters that share their zero vectors: those that the array holds at once.
    iterations : int
        Most rounds of one alternating fit; a filter that no longer improves stops earlier.
    restarts : int
        Fits from a perturbed basis after the first; the best counts. More time, less error.
    percentile : float
        Weights whose magnitudes are up to this percentile are zeroed before values are shared
        (forms cws, pws, uq and ecsq), 0…100 (100 excluded).
    shared_values : int
        Values that a layer's weights share besides zero, in these forms: 2…254.

    Raises
    ------
    FormError
        If a value is out of range.
    """

    exponents: int = 8
    slice_rows: int = 192
    zero_fraction: float = 0.0
    group: int = 4
    iterations: int = 30
    restarts: int = 8
    percentile: float = 0.0
    shared_values: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.exponents <= _MAX_EXPONENTS:
            raise FormError(f"exponents must be from 1 to {_MAX_EXPONENTS}, "
                            f"not {self.exponents!r}")
        for name in ("slice_rows", "group", "iterations"):
            if getattr(self, name) < 1:
                raise FormError(f"{name} must be at least 1, not {getattr(self, name)!r}")
        if self.restarts < 0:
            raise FormError(f"restarts must be at least 0, not {self.restarts!r}")
        if not 0 <= self.zero_fraction < 1:
            raise FormError(f"zero_fraction must be at least 0 and less than 1, "
                            f"not {self.zero_fraction!r}")
        if not 0 <= self.percentile < 100:
            raise FormError(f"percentile must be at least 0 and less than 100, "
                            f"not {self.percentile!r}")
        if not 2 <= self.shared_values <= 254:
            raise FormError(f"shared_values must be from 2 to 254, not {self.shared_values!r}")


@dataclass(frozen=True, kw_only=True)
class QuantiseOptions:
    """Options of :func:`smartdeal.golden.quantise.quantise_network`.

    Parameters
    ----------
    ranges : "min_max", "percentile" or "mse"
        Range of an activation tensor: the extremes on the calibration images, the values that
        leave ``percentile`` out at either end, or the range with the least squared error.
    percentile : float
        More than 50, up to 100.
    bias_correction : bool
        Whether the bias makes up for the mean error of the rounded weights.
    zero_fractions : mapping of str to float
        Fraction of the zeroed vectors for single layers by name; the others have that of
        :class:`FormOptions`, or none if they are the first layer or linear.

    Raises
    ------
    FormError
        If a value is out of range.
    """

    ranges: Ranges = "min_max"
    percentile: float = 99.99
    bias_correction: bool = True
    zero_fractions: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.ranges not in get_args(Ranges):
            raise FormError(f"ranges must be one of {', '.join(get_args(Ranges))}, "
                            f"not {self.ranges!r}")
        if not 50 < self.percentile <= 100:
            raise FormError(f"percentile must be more than 50 and at most 100, "
                            f"not {self.percentile!r}")
        for layer, fraction in self.zero_fractions.items():
            if not 0 <= fraction < 1:
                raise FormError(f"zero_fractions: {layer} must have at least 0 and less than 1, "
                                f"not {fraction!r}")


#: Zeroed vectors of a ResNet-18: the list of SmartExchange's structural release. The release gives
#: no names; its 21 numbers are taken to stand in the order of the network's modules.
RESNET18_ZERO_FRACTIONS: dict[str, float] = {
    "conv1": 0.4,
    "layer1.0.conv1": 0.6, "layer1.0.conv2": 0.4, "layer1.1.conv1": 0.4, "layer1.1.conv2": 0.4,
    "layer2.0.conv1": 0.2, "layer2.0.conv2": 0.3, "layer2.0.downsample.0": 0.1,
    "layer2.1.conv1": 0.4, "layer2.1.conv2": 0.4,
    "layer3.0.conv1": 0.3, "layer3.0.conv2": 0.3, "layer3.0.downsample.0": 0.2,
    "layer3.1.conv1": 0.4, "layer3.1.conv2": 0.6,
    "layer4.0.conv1": 0.8, "layer4.0.conv2": 0.9, "layer4.0.downsample.0": 0.6,
    "layer4.1.conv1": 0.9, "layer4.1.conv2": 0.9,
    "fc": 0.1,
}
