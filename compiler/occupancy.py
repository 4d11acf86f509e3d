"""Which words of the activation buffer hold what, from which instruction to which."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Occupancy", "Span", "occupancies"]


class Span(NamedTuple):
    """Words of the activation buffer that an instruction uses.

    Parameters
    ----------
    start, stop : int
        First word and end.
    holds : str
        What lies there, for people.
    """

    start: int
    stop: int
    holds: str


@dataclass(frozen=True, kw_only=True)
class Occupancy:
    """A piece of the activation buffer while something lies in it.

    Parameters
    ----------
    holds : str
        A tensor, a copy of it, or a window on it.
    base, words : int
    first, last : int
        The first and the last instruction that need it, counted over all segments without their
        ENDs; the number of all instructions where the host reads it afterwards.
    """

    holds: str
    base: int
    words: int
    first: int
    last: int


def occupancies(
    used: Iterable[Iterable[Span]], host: Mapping[Span, int],
) -> tuple[Occupancy, ...]:
    """Return the occupancies in the order of their beginnings.

    Parameters
    ----------
    used : iterable of iterables of Span
        By instruction.
    host : mapping of Span to int
        What the host writes or reads, and before which instruction.
    """
    first: dict[Span, int] = {}
    last: dict[Span, int] = {}
    touched = [(number, span) for number, spans in enumerate(used) for span in spans]
    for number, span in [*touched, *((number, span) for span, number in host.items())]:
        first[span] = min(first.get(span, number), number)
        last[span] = max(last.get(span, number), number)
    return tuple(Occupancy(holds=span.holds, base=span.start, words=span.stop - span.start,
                           first=first[span], last=last[span])
                 for span in sorted(first, key=lambda span: (first[span], span)))
