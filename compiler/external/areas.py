"""Areas: the pieces of system memory that a program works on, before they have an address."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind, section_format

__all__ = ["Area", "Block", "place_areas", "unit_bytes"]


def unit_bytes(kind: SectionKind, config: AcceleratorConfig) -> int:
    """Return the bytes of a unit in system memory."""
    return section_format(kind, config).unit_bytes(config.host_bits)


@dataclass(eq=False)
class Area:
    """Consecutive bytes of the region.

    Parameters
    ----------
    name : str
        What it holds.
    size : int
        Bytes, whole beats.
    data : bytes or None
        Its content, if it is a constant.
    offset : int
        First byte in the region; -1 as long as it is not placed.
    """

    name: str
    size: int
    data: bytes | None = None
    offset: int = field(default=-1)

    @classmethod
    def constant(cls, name: str, data: bytes) -> "Area":
        """Return an area with a content."""
        return cls(name, len(data), data)


@dataclass(frozen=True, eq=False, kw_only=True)
class Block:
    """What one EXTERNAL layer writes: words in the order group, tile, channel in group.

    Parameters
    ----------
    area : Area
    action : int
        Number of the layer among the program's actions.
    first, valid, stop : int
        Tiles of the stream: the first one that was written, the first that is right, the end.
    channels : range
        Of the tensor.
    group : int
        Channels of a whole group.
    """

    area: Area
    action: int
    first: int
    valid: int
    stop: int
    channels: range
    group: int

    @property
    def tiles(self) -> int:
        """Tiles that were written."""
        return self.stop - self.first


def place_areas(areas: Iterable[Area], start: int) -> int:
    """Give areas their offsets, one after the other, and return the end of the last."""
    for area in areas:
        area.offset = start
        start += area.size
    return start
