"""The program file, and what a part says when it gets the wrong operands."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smartdeal.compiler import Program, ProgramFormatError
from smartdeal.sim.cases import Case, draw_case, draw_config


def drawn(residual: bool = True) -> Case:
    rng = np.random.default_rng(5)
    config = draw_config(rng, activation_words=128, residual=True)
    return draw_case(rng, config, form="terms", channels=3, filters=9, height=8, width=7,
                     kernel=(3, 3), residual=residual)


def with_manifest(data: bytes, change: Any) -> bytes:
    """Return a program file with another manifest, checksum right."""
    size = struct.unpack_from("<I", data, 8)[0]
    manifest = json.loads(data[16:16 + size])
    change(manifest)
    text = json.dumps(manifest).encode()
    body = text + data[16 + size:]
    return data[:8] + struct.pack("<II", len(text), zlib.crc32(body)) + body


def test_round_trip(tmp_path: Path) -> None:
    program = drawn().program
    again = Program.from_bytes(program.to_bytes())
    assert again == program
    assert again.to_bytes() == program.to_bytes()
    path = tmp_path / "layer.sdp"
    program.save(path)
    program.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["layer.sdp"]
    assert Program.load(path) == program


def test_statistics() -> None:
    program = drawn().program
    assert program.steps == sum(part.executed_steps for part in program.parts) > 0
    assert program.image_bytes == sum(len(part.image) for part in program.parts)


FORMAT_ERRORS: list[tuple[Any, str]] = [
    (lambda d: b"GIF8" + d[4:], r"not a program file: it must start with b'SDPF', not b'GIF8'"),
    (lambda d: b"", r"not a program file: it must start with b'SDPF', not b''"),
    (lambda d: d[:10], r"cut short: the header has 16 bytes, the file 10; compile it again"),
    (lambda d: d[:4] + b"\4" + d[5:],
     r"program file version must be 3, not 4; compile it again"),
    (lambda d: d[:-1], r"damaged or cut short: checksum must be 0x[0-9a-f]{8}, not "
                       r"0x[0-9a-f]{8}; compile it again"),
    (lambda d: d[:99] + bytes([d[99] ^ 1]) + d[100:],
     r"damaged or cut short: checksum must be 0x[0-9a-f]{8}, not 0x[0-9a-f]{8}; "
     r"compile it again"),
    (lambda d: with_manifest(d, lambda m: m.pop("config")),
     r"manifest lacks 'config'; compile it again"),
    (lambda d: with_manifest(d, lambda m: m["config"].update(rows=1)),
     r"manifest is wrong: rows \(PE rows\) must be an integer from 2 to 128, not 1; "
     r"compile it again"),
    (lambda d: with_manifest(d, lambda m: m["config"].update(weight_steps=1000)),
     r"part 0 is for another accelerator than the file's configuration, or from another version of "
     r"smartdeal: configuration fingerprint must be 0x[0-9a-f]+, not 0x[0-9a-f]+; "
     r"compile it again"),
    (lambda d: with_manifest(d, lambda m: m["parts"].pop()),
     r"manifest is wrong: \d+ parts have \d+ images; compile it again"),
    (lambda d: with_manifest(d, lambda m: m.update(images=[1])),
     r"manifest is wrong: images have \[1\] bytes in \d+; compile it again"),
    (lambda d: with_manifest(d, lambda m: m["parts"][0].pop("skip")),
     r"part 0 is wrong: .* missing 1 required keyword-only argument: 'skip'; "
     r"compile it again"),
    (lambda d: with_manifest(d, lambda m: m["parts"][0].pop("layout")),
     r"part 0 lacks 'layout'; compile it again"),
]


@pytest.mark.parametrize(("change", "message"), FORMAT_ERRORS)
def test_format_errors(change: Any, message: str) -> None:
    with pytest.raises(ProgramFormatError, match=f"^{message}$"):
        Program.from_bytes(change(drawn().program.to_bytes()))


def test_load_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "missing.sdp"
    with pytest.raises(ProgramFormatError,
                       match=rf"^{path}: cannot be read: No such file or directory$"):
        Program.load(path)
    path.write_bytes(b"text")
    with pytest.raises(ProgramFormatError, match=rf"^{path}: not a program file: "):
        Program.load(path)


def test_operands_wrong() -> None:
    case = drawn()
    part = case.program.parts[0]
    shape = case.layer.input_shape
    wrong: Any = np.zeros(shape, np.int64)
    with pytest.raises(ValueError, match=r"^Input must be int8 of shape \(.*\), not int64 of "):
        part.data_image(wrong, case.residual)
    with pytest.raises(ValueError, match=r"^Residual must be given for this program$"):
        part.data_image(case.x, None)
    with pytest.raises(ValueError, match=r"^Residual must have shape \(.*\), not \(1, 1, 1\)$"):
        part.data_image(case.x, np.zeros((1, 1, 1), np.int8))
    plain = drawn(residual=False)
    with pytest.raises(ValueError, match=r"^Residual must be None for this program$"):
        plain.program.parts[0].data_image(plain.x, np.zeros((1, 1, 1), np.int8))
    with pytest.raises(ValueError, match=r"^Output region must have \d+ bytes, not 3$"):
        part.output(b"abc")
    with pytest.raises(ValueError, match=r"^Regions must be \d+, one per part, not 0$"):
        case.program.assemble([])


def test_data_image_is_one_section() -> None:
    case = drawn()
    for part in case.program.parts:
        config = part.config
        units = part.output_word
        unit = -(-config.cols * 8 // config.host_bits) * config.host_bits // 8
        blocks = 3 * max(16, config.host_bits // 8)
        assert len(part.data_image(case.x, case.residual)) == blocks + units * unit
