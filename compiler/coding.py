"""Which steps of a program image are entropy coded: those that become shorter."""

from collections.abc import Sequence

from smartdeal.compiler.image import Section, block_bytes
from smartdeal.golden.coded_steps import encode_steps
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind, step_format

__all__ = ["code_steps", "step_sections"]


def code_steps(units: bytes, config: AcceleratorConfig) -> bytes:
    """Return the payload of a layer's steps; nothing where plain units are not longer.

    A program is loaded while the array stands still, so coding never stalls the array. A section
    of its own costs a layer up to two headers.
    """
    if not config.entropy:
        return b""
    payload = encode_steps(units, config) or b""
    return payload if len(payload) + 2 * block_bytes(config) < len(units) else b""


def step_sections(
    layers: Sequence[tuple[bytes, bytes]], config: AcceleratorConfig,
) -> list[Section]:
    """Return the sections of steps that stand one after the other from address 0.

    Parameters
    ----------
    layers : sequence of (bytes, bytes)
        Plain units and payload of each; without a payload the units stand in the image.
    """
    unit = step_format(config).unit_bytes(config.host_bits)
    sections: list[Section] = []
    address, plain = 0, b""
    for units, coded in layers:
        if coded:
            sections += _plain(plain, address - len(plain) // unit)
            sections.append(Section(SectionKind.STEPS, address, units, coded=coded))
            plain = b""
        else:
            plain += units
        address += len(units) // unit
    return sections + _plain(plain, address - len(plain) // unit)


def _plain(units: bytes, address: int) -> list[Section]:
    return [Section(SectionKind.STEPS, address, units)] if units else []
