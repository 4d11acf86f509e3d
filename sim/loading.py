"""How many cycles an image takes to load, from the image alone, if the host never pauses."""

from smartdeal.compiler.image import Section, block_bytes, read_image
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import step_format

__all__ = ["decoding_cycles", "load_cycles", "section_cycles"]

_WORD_BYTES = 4
#: Of a coded section, beside its table and codewords: its first beats and words, the last look-up.
_CODED_CYCLES = 7


def load_cycles(image: bytes, config: AcceleratorConfig) -> int:
    """Return the cycles from the first beat until the image is found right.

    A beat takes a cycle, one more follows each header and section header, and two the trailer. A
    section of coded steps takes what :func:`section_cycles` says.

    Raises
    ------
    ImageError
        If the accelerator would refuse the image.
    """
    block = block_bytes(config) * 8 // config.host_bits + 1
    return 2 * block + 1 + sum(block + section_cycles(section, config)
                           for section in read_image(image, config).sections)


def section_cycles(section: Section, config: AcceleratorConfig) -> int:
    """Return the cycles of a section without its header.

    Coded steps take a cycle for each count, symbol and place of the table, one for each codeword,
    and some around them; the decoder takes beats long before it needs them, but never a beat a
    cycle.
    """
    if not section.coded:
        return len(section.data) * 8 // config.host_bits
    coefficients, places = sum(section.coded[:8]), sum(section.coded[8:16])
    steps = len(section.data) // step_format(config).unit_bytes(config.host_bits)
    return 16 + coefficients + places + steps * (config.rows + 1) + _CODED_CYCLES


def decoding_cycles(image: bytes, config: AcceleratorConfig) -> int:
    """Return the cycles by which decoding makes loading longer than a beat a cycle."""
    if not config.entropy:
        return 0
    return sum(section_cycles(section, config) - len(section.coded) * 8 // config.host_bits
               for section in read_image(image, config).sections if section.coded)
