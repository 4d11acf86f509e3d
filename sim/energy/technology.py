"""Technology tables: what one event costs, with unit, source and certainty of every constant.

A table is a TOML file. Three come with the package; a user's own is read the same way and held to
the same rules.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from math import isfinite, log
from pathlib import Path
from typing import Any, Self

__all__ = ["ALIASES", "CERTAINTIES", "CONSTANTS", "TECHNOLOGIES", "Constant", "Technology",
           "TechnologyError"]

#: Tables of the package, by name.
TECHNOLOGIES = ("28nm", "45nm", "zc706")
#: Other names of tables, and the names that results call them by.
ALIASES = {"fpga": "zc706"}

#: How far a value can be trusted, and what that means.
CERTAINTIES = {
    "printed": "read in the source",
    "recalled": "quoted from memory, not checked against the source",
    "derived": "computed from other constants of the table, as the source line says",
    "estimated": "our own estimate",
}

#: Every constant that a table must have: the unit that it is kept in, and what it is.
CONSTANTS: dict[str, tuple[str, str]] = {
    "dram": ("pJ/byte", "a byte from or to external memory"),
    "sram_small": ("pJ/byte", "a byte from or to a small SRAM macro"),
    "sram_large": ("pJ/byte", "a byte from or to a large SRAM macro"),
    "multiply": ("pJ", "an 8 × 8 bit multiplication"),
    "add": ("pJ", "an 8 bit addition"),
    "shift": ("pJ", "an 8 bit barrel shift"),
    "xnor": ("pJ", "XNOR of 8 bits, and the count of those that are 1"),
    "register": ("pJ/bit", "a bit of a register that is clocked and written"),
    "clock": ("MHz", "clock frequency, for time and power only"),
}
_MACROS = ("sram_small", "sram_large")
#: Factors to the unit that a constant is kept in.
_UNITS: dict[str, dict[str, float]] = {
    "pJ/byte": {"pJ/byte": 1.0, "fJ/byte": 1e-3, "nJ/byte": 1e3, "pJ/bit": 8.0, "fJ/bit": 8e-3},
    "pJ/bit": {"pJ/bit": 1.0, "fJ/bit": 1e-3, "pJ/byte": 0.125},
    "pJ": {"pJ": 1.0, "fJ": 1e-3, "nJ": 1e3},
    "MHz": {"MHz": 1.0, "GHz": 1e3, "kHz": 1e-3},
}
_KEYS = ("value", "unit", "source", "certainty", "bytes")


class TechnologyError(ValueError):
    """A technology table that cannot be used; the message names file, constant and remedy."""


@dataclass(frozen=True, kw_only=True)
class Constant:
    """One constant of a table.

    Parameters
    ----------
    value : float
        In the unit of :data:`CONSTANTS`.
    source : str
    certainty : str
        A key of :data:`CERTAINTIES`.
    bytes : int
        Capacity of the macro; 0 for what is no memory.
    """

    value: float
    source: str
    certainty: str
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Technology:
    """A table of unit energies.

    Parameters
    ----------
    name : str
        Of a table of the package, or the file's path.
    title : str
        One line on what it describes.
    constants : mapping of Constant
        By the names of :data:`CONSTANTS`.
    """

    name: str
    title: str
    constants: Mapping[str, Constant]

    def __getitem__(self, name: str) -> float:
        """Return a constant's value, in the unit of :data:`CONSTANTS`."""
        return self.constants[name].value

    def sram(self, capacity_bytes: float) -> float:
        """Return the energy of a byte of a macro, in pJ, by its capacity.

        Between the table's two macros it follows a power law; outside it stays at the nearer one:
        larger memories are banked, smaller ones gain little.
        """
        small, large = (self.constants[name] for name in _MACROS)
        if capacity_bytes <= small.bytes:
            return small.value
        if capacity_bytes >= large.bytes:
            return large.value
        if small.value == 0 or large.value == 0:
            raise TechnologyError(f"{self.name}: sram energies must be above 0 to interpolate")
        share = log(capacity_bytes / small.bytes) / log(large.bytes / small.bytes)
        return small.value * (large.value / small.value) ** share

    def scaled(self, name: str, factor: float) -> Self:
        """Return the table with one constant multiplied."""
        constant = self.constants[name]
        changed = replace(constant, value=constant.value * factor)
        return replace(self, constants={**self.constants, name: changed})

    @classmethod
    def load(cls, name: str) -> Self:
        """Read a table of the package by its name, or a file.

        Raises
        ------
        TechnologyError
            If there is no such table, or it breaks a rule; the message is one line.
        """
        name = ALIASES.get(name, name)
        if name in TECHNOLOGIES:
            text = (files("smartdeal.sim.energy") / f"{name}.toml").read_text()
            return cls.parse(text, name)
        path = Path(name)
        if not path.suffix and not path.exists():
            known = ", ".join((*TECHNOLOGIES, *ALIASES))
            raise TechnologyError(f"technology must be one of {known} or a TOML file, not {name!r}")
        try:
            text = path.read_text()
        except OSError as error:
            raise TechnologyError(f"cannot read technology table {name}: {error.strerror}"
                                  ) from None
        except UnicodeDecodeError as error:
            raise TechnologyError(f"{name} is not a TOML file: {error}") from None
        return cls.parse(text, name)

    @classmethod
    def parse(cls, text: str, name: str) -> Self:
        """Read a table from its text; ``name`` is what messages and results call it."""
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise TechnologyError(f"{name} is not a TOML file: {error}") from None
        title = table.pop("title", None)
        if not isinstance(title, str) or not title:
            raise TechnologyError(f"{name}: title must be a line of text, not {title!r}")
        for key in table:
            if key not in CONSTANTS:
                raise TechnologyError(f"{name}: unknown constant {key!r}; known: "
                                      f"{', '.join(CONSTANTS)}")
        missing = [key for key in CONSTANTS if key not in table]
        if missing:
            raise TechnologyError(f"{name}: constant {missing[0]!r} is missing "
                                  f"({CONSTANTS[missing[0]][1]}, {CONSTANTS[missing[0]][0]})")
        constants = {key: _constant(f"{name}: {key}", key, table[key]) for key in CONSTANTS}
        if constants["sram_small"].bytes >= constants["sram_large"].bytes:
            raise TechnologyError(f"{name}: sram_large must have more bytes than sram_small")
        return cls(name=name, title=title, constants=constants)


def _constant(where: str, key: str, given: Any) -> Constant:
    if not isinstance(given, dict):
        raise TechnologyError(f"{where} must be a table with value, unit, source and certainty, "
                              f"not {given!r}")
    for name in given:
        if name not in _KEYS or (name == "bytes" and key not in _MACROS):
            raise TechnologyError(f"{where} has an unknown key {name!r}")
    units = _UNITS[CONSTANTS[key][0]]
    value, unit = given.get("value"), given.get("unit")
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise TechnologyError(f"{where} value must be a number, not {value!r}")
    if value < 0 or (key == "clock" and value == 0):
        raise TechnologyError(f"{where} must not be {'0' if value == 0 else 'negative'}, "
                              f"not {value!r}")
    if unit is None:
        raise TechnologyError(f"{where} has no unit; give one of {', '.join(units)}")
    if unit not in units:
        raise TechnologyError(f"{where} unit must be one of {', '.join(units)}, not {unit!r}")
    for name in ("source", "certainty"):
        if not isinstance(given.get(name), str) or not given[name]:
            raise TechnologyError(f"{where} must say its {name}, not {given.get(name)!r}")
    if given["certainty"] not in CERTAINTIES:
        raise TechnologyError(f"{where} certainty must be one of {', '.join(CERTAINTIES)}, "
                              f"not {given['certainty']!r}")
    capacity = given.get("bytes", 0)
    if key in _MACROS and (not isinstance(capacity, int) or capacity <= 0):
        raise TechnologyError(f"{where} must say the macro's bytes, not {capacity!r}")
    return Constant(value=value * units[unit], source=given["source"],
                    certainty=given["certainty"], bytes=capacity)
