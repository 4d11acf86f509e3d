"""Reads a value change dump (IEEE 1364, section 18) clock edge by clock edge."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Variable", "WaveformFormatError", "edges", "final", "header"]


class WaveformFormatError(ValueError):
    """A file that is no value change dump, or lacks a signal; the message says which."""


@dataclass(frozen=True)
class Variable:
    """A signal of the dump.

    Parameters
    ----------
    path : str
        Scopes and name, joined by dots, without the topmost scope.
    key : str
        What stands for it in the dump; signals that are joined share one.
    bits : int
    """

    path: str
    key: str
    bits: int


def header(path: Path) -> list[Variable]:
    """Return every signal that a dump holds.

    Raises
    ------
    WaveformFormatError
        If the file does not end its definitions.
    """
    scopes: list[str] = []
    found: list[Variable] = []
    with path.open() as lines:
        for line in lines:
            words = line.split()
            match words[:1]:
                case ["$scope"]:
                    scopes.append(words[2])
                case ["$upscope"]:
                    scopes.pop()
                case ["$var"]:
                    found.append(Variable(".".join([*scopes[1:], words[4]]), words[3],
                                          int(words[2])))
                case ["$enddefinitions"]:
                    return found
    raise WaveformFormatError(f"{path} does not end its definitions: it is no value change dump")


def edges(
    path: Path, clock: str, keys: Iterable[str],
    changed: Callable[[str, int, int], None] | None = None,
) -> Iterator[Mapping[str, int]]:
    """Yield, at every rising edge of the clock, the values before it: what a register would see.

    Parameters
    ----------
    clock : str
        Key of the clock.
    keys : iterable of str
        Keys of the signals wanted; unknown bits count as 0.
    changed : callable, optional
        Called with key, old and new value of every change of a wanted signal.

    Yields
    ------
    mapping of key to value
        The same object each time.
    """
    values = dict.fromkeys(keys, 0)
    pending: list[tuple[str, int]] = []
    level = rising = 0
    with path.open() as lines:
        for line in lines:
            if line.startswith("$enddefinitions"):
                break
        for line in lines:
            first = line[0]
            if first == "#":
                if rising:
                    yield values
                    rising = 0
                for key, value in pending:
                    if changed is not None:
                        changed(key, values[key], value)
                    values[key] = value
                pending.clear()
            elif first == "b":
                digits, _, key = line[1:-1].partition(" ")
                if key in values:
                    pending.append((key, _number(digits)))
            elif first in "01xz":
                key, value = line[1:-1], int(first == "1")
                if key == clock:
                    rising, level = value and not level, value
                if key in values:
                    pending.append((key, value))


def final(path: Path, keys: Iterable[str]) -> dict[str, int]:
    """Return the last value of vectors; what never changes is 0.

    Raises
    ------
    WaveformFormatError
        If a bit of one is unknown.
    """
    last = dict.fromkeys(keys, "0")
    with path.open() as lines:
        for line in lines:
            if line.startswith("b"):
                digits, _, key = line[1:-1].partition(" ")
                if key in last:
                    last[key] = digits
    unknown = [key for key, digits in last.items() if set(digits) - set("01")]
    if unknown:
        name = next(one.path for one in header(path) if one.key == unknown[0])
        raise WaveformFormatError(f"{path}: {name} ends with unknown bits, {last[unknown[0]]!r}")
    return {key: int(digits, 2) for key, digits in last.items()}


def _number(digits: str) -> int:
    try:
        return int(digits, 2)
    except ValueError:  # unknown bits
        return int(digits.translate({ord("x"): "0", ord("z"): "0"}), 2)
