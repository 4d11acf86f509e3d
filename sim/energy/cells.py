"""What a cell's switching costs: capacitance by class, with unit, source and certainty."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from math import isfinite
from typing import Any, ClassVar, Self

from smartdeal.boards.gates import CELL_CLASSES, CLOCKED, MemoryClass
from smartdeal.sim.energy.arithmetic import wide_sram_pj
from smartdeal.sim.energy.technology import CERTAINTIES, Constant, Technology, TechnologyError

__all__ = ["CellTable"]

_SUPPLY = "supply"
_CLASSES = (*CELL_CLASSES, CLOCKED)
_FEMTO_PER_PICO = 1e3


@dataclass(frozen=True, kw_only=True)
class CellTable:
    """Switched capacitances of one process.

    Parameters
    ----------
    title : str
    constants : dict of Constant
        ``supply`` in V; a capacitance in fF for each class of :mod:`smartdeal.boards.gates`.
    """

    #: The table of energies that is of the same process.
    TECHNOLOGY: ClassVar = "28nm"

    title: str
    constants: dict[str, Constant]

    def energy_pj(self, counted: str | MemoryClass, count: int, technology: Technology) -> float:
        """Return the energy of so many events of a class.

        An output that changes charges or discharges its capacitance, ½CV²; a clock pin does both
        in a cycle. Memories are no cells: bits read and written cost what the table of energies
        says of a macro of their size.
        """
        if isinstance(counted, MemoryClass):
            return count / counted.bits * wide_sram_pj(counted.bits, counted.words, technology)
        share = 1.0 if counted == CLOCKED else 0.5
        supply = self.constants[_SUPPLY].value
        return share * count * self.constants[counted].value * supply**2 / _FEMTO_PER_PICO

    @classmethod
    def load(cls) -> Self:
        """Read the table of the package."""
        name = f"{cls.TECHNOLOGY}_cells.toml"
        return cls.parse((files("smartdeal.sim.energy") / name).read_text(), name)

    @classmethod
    def parse(cls, text: str, name: str) -> Self:
        """Read a table from its text.

        Raises
        ------
        TechnologyError
            If a constant is missing, not known, or breaks a rule; the message is one line.
        """
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise TechnologyError(f"{name} is not a TOML file: {error}") from None
        title = table.pop("title", None)
        if not isinstance(title, str) or not title:
            raise TechnologyError(f"{name}: title must be a line of text, not {title!r}")
        wanted = (_SUPPLY, *_CLASSES)
        for key in table:
            if key not in wanted:
                raise TechnologyError(f"{name}: unknown constant {key!r}; known: "
                                      f"{', '.join(wanted)}")
        for key in wanted:
            if key not in table:
                raise TechnologyError(f"{name}: constant {key!r} is missing")
        return cls(title=title, constants={key: _constant(f"{name}: {key}", key, table[key])
                                           for key in wanted})


def _constant(where: str, key: str, given: Any) -> Constant:
    unit = "V" if key == _SUPPLY else "fF"
    if not isinstance(given, dict) or set(given) != {"value", "unit", "source", "certainty"}:
        raise TechnologyError(f"{where} must be a table with value, unit, source and certainty, "
                              f"not {given!r}")
    value = given["value"]
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise TechnologyError(f"{where} value must be a number, not {value!r}")
    if value < 0:
        raise TechnologyError(f"{where} must not be negative, not {value!r}")
    if given["unit"] != unit:
        raise TechnologyError(f"{where} unit must be {unit}, not {given['unit']!r}")
    if given["certainty"] not in CERTAINTIES:
        raise TechnologyError(f"{where} certainty must be one of {', '.join(CERTAINTIES)}, not "
                              f"{given['certainty']!r}")
    return Constant(value=float(value), source=str(given["source"]),
                    certainty=given["certainty"])
