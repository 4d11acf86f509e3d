"""Numbers for readers: three digits and a unit."""

__all__ = ["count", "cycles", "data_size", "energy", "percent", "seconds"]

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def _digits(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def count(value: float) -> str:
    """Return a number with a prefix, as ``1.82 G``."""
    for factor, prefix in _PREFIXES:
        if value >= factor:
            return f"{_digits(value / factor)} {prefix}"
    return f"{value:,.0f}"


def cycles(value: float) -> str:
    """Return a number of cycles in full."""
    return f"{value:,.0f}"


def data_size(value: float) -> str:
    """Return bytes with a decimal prefix, as ``2.10 MB``."""
    for factor, prefix in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= factor:
            return f"{_digits(value / factor)} {prefix}"
    return f"{value:,.0f} B"


def energy(picojoules: float) -> str:
    """Return an energy, given in pJ, with a prefix, as ``4.58 mJ``."""
    for factor, unit in ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ")):
        if picojoules >= factor:
            return f"{_digits(picojoules / factor)} {unit}"
    return f"{_digits(picojoules)} pJ"


def seconds(value: float) -> str:
    """Return a time with a prefix, as ``2.10 ms``."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= factor:
            return f"{_digits(value / factor)} {unit}"
    return f"{_digits(value / 1e-9)} ns"


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.1f} %"
