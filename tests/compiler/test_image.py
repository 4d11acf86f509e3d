"""Images: what is written is read, and what is wrong is named with its place."""

import numpy as np
import pytest

from smartdeal.compiler.errors import ImageError
from smartdeal.compiler.image import (
    Section,
    block_bytes,
    pack_activations,
    read_image,
    scan_image,
    write_image,
)
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ErrorCode, SectionKind, section_format
from smartdeal.sim.cases import bad_images, draw_config, draw_image

#: What only running a program shows.
RUNNING = {ErrorCode.OPCODE, ErrorCode.FIELD, ErrorCode.FEATURE, ErrorCode.PROGRAM_RANGE,
           ErrorCode.STEP_RANGE, ErrorCode.ACTIVATION_RANGE, ErrorCode.TABLE_RANGE}


@pytest.mark.parametrize("host_bits", [32, 64, 128, 256])
def test_round_trip(host_bits: int) -> None:
    config = AcceleratorConfig(rows=5, cols=7, host_bits=host_bits)
    data = np.arange(-14, 14, dtype=np.int8)
    words = section_format(SectionKind.PROGRAM, config).pack(host_bits, word=np.array([1, 2]))
    sections = [Section(SectionKind.PROGRAM, 3, words),
                Section(SectionKind.ACTIVATIONS, 9, pack_activations(data, config))]
    image = write_image(config, sections, program=True)
    assert len(image) % (host_bits // 8) == 0
    found = read_image(image, config).sections
    assert [(s.kind, s.address, s.data) for s in found] == [
        (s.kind, s.address, s.data) for s in sections]
    assert found[0].offset == block_bytes(config)


def test_pack_activations_is_the_format() -> None:
    config = AcceleratorConfig(cols=11, host_bits=32)
    data = np.random.default_rng(0).integers(-128, 128, (6, 11)).astype(np.int8)
    layout = section_format(SectionKind.ACTIVATIONS, config)
    assert pack_activations(data.ravel(), config) == layout.pack(32, bytes=data)


@pytest.mark.parametrize("seed", range(4))
def test_bad_images(seed: int) -> None:
    config = draw_config(np.random.default_rng(seed))
    for name, image, code in bad_images(config):
        problem = scan_image(image, config).problem
        assert (problem.code if problem else None) == (None if code in RUNNING else code), name


def test_messages() -> None:
    config = AcceleratorConfig(host_bits=32, program_words=32)  # no room for another instruction
    image = draw_image(np.random.default_rng(0), config, layers=1)
    checksum = int.from_bytes(image[-12:-8], "little")
    cases = [
        (image[:7], 7, "the header has 16 bytes, the image ends here"),
        (b"\1" + image[1:], 0, "magic must be 0x49504453, not 0x49504401"),
        (image[:4] + b"\2" + image[5:], 4, "version must be 0x1, not 0x2"),
        (image[:16] + b"\6" + image[17:], 16, "unknown section kind 0x6"),
        (image[:6] + b"\0" + image[7:], 16, "section PROGRAM must not stand in a data image"),
        (image[:20] + b"\377" + image[21:], 16,
         "section PROGRAM must end at word 32 or before, not at 272"),
        (image[:40], 40, "section PROGRAM needs 60 more bytes"),
        (image[:-16], len(image) - 16, "the image ends before its trailer"),
        (image[:-12] + b"\0" * 12, len(image) - 12,
         f"checksum must be {checksum:#010x}, not 0x00000000"),
        (image + b"more", len(image), "4 bytes stand behind the trailer"),
    ]
    for wrong, offset, text in cases:
        with pytest.raises(ImageError) as caught:
            read_image(wrong, config)
        assert str(caught.value) == f"image offset {offset}: {text}"
        assert caught.value.offset == offset


def test_write_wrong() -> None:
    with pytest.raises(ValueError, match=r"^Section PROGRAM must hold whole units of 8 bytes, "
                                         r"not 9 bytes$"):
        write_image(AcceleratorConfig(), [Section(SectionKind.PROGRAM, 0, bytes(9))],
                    program=True)
