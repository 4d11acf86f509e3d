"""What a user may choose about a weight form, and the error for what cannot be formed."""

from dataclasses import dataclass

__all__ = ["FormError", "FormOptions"]

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
