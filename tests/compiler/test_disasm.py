"""Listings of images, right and wrong ones."""

import numpy as np
import pytest

from smartdeal.compiler import compile_layer
from smartdeal.compiler.disasm import disassemble
from smartdeal.compiler.image import write_image
from smartdeal.compiler.instructions import END_WORDS, move_words, program_section
from smartdeal.golden.forms import TermWeights
from smartdeal.golden.layers import IntegerLayer, Requantisation
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import MoveFlag
from smartdeal.sim.cases import bad_images, draw_config, draw_image

CONFIG = AcceleratorConfig(rows=2, cols=4, activation_words=64, weight_steps=64, host_bits=32)


def image() -> bytes:
    """Compile a linear layer of three filters and two channels."""
    weight = np.array([[1, -2], [0, 0], [32, 0]])
    sign = np.sign(weight).astype(np.int8).reshape(1, 3, 2, 1, 1)
    exponent = np.log2(np.maximum(np.abs(weight), 1)).astype(np.int8).reshape(sign.shape)
    one = np.ones(3, np.int64)
    layer = IntegerLayer(
        name="fc", kind="linear", weights=TermWeights(sign, exponent, np.ones(3)), kernel=(1, 1),
        stride=1, padding=(0, 0, 0, 0), input_shape=(2, 1, 1), output_shape=(3, 1, 1),
        requantisation=Requantisation(one * 5, one * 3, one, one * 2, one * 0))
    return compile_layer(layer, CONFIG).parts[0].image


LISTING = f"""\
program image of 252 bytes, version 1, configuration {CONFIG.fingerprint:#010x}

section PROGRAM at offset 16: 17 words from 0
     0  LAYER
          slices 1  tiles 1  channels 3
          pitch 1  width 1  start_column 0  column_step 0  skip 0  end 1
          input_base 0  steps_base 0  channel_base 0  basis_base 0
          output_base 2  output_stride 1
          residual_base 0  residual_lane 0  residual_stride 0
          zp_out 0  lo -128  hi 127  zp_res 0
          group 0: channels 0 to 1, steps 0 to 1, per slice 2
          group 1: channels 2 to 2, steps 2 to 3, per slice 2
    16  END

section STEPS at offset 100: 4 words from 0
     0> 0:0 | +0  .
     1  0:1 | -1  .
     2> 0:0 | +5  .
     3  0:0 |  .  .

section CHANNELS at offset 132: 3 words from 0
     0  bias 5  multiplier 3  residual_multiplier 1  shift 2  residual_shift 0
     1  bias 5  multiplier 3  residual_multiplier 1  shift 2  residual_shift 0
     2  bias 5  multiplier 3  residual_multiplier 1  shift 2  residual_shift 0
"""


def test_listing() -> None:
    text = disassemble(image(), CONFIG)
    assert text.splitlines()[1:] == LISTING.splitlines()[1:]
    assert text.splitlines()[0] == (
        f"program image of {len(image())} bytes, version 1, configuration "
        f"{CONFIG.fingerprint:#010x}")


def test_moves() -> None:
    words = [move_words({"channels": 2, "rows": 3, "columns": 5, "source_lane": 3,
                         "source_row_word": 1, "target_word": 7, "target_channel_lane": 2,
                         "flags": MoveFlag.DECIMATE}),
             move_words({"channels": 1, "rows": 1, "columns": 9, "value": -7, "target_row_word": 4,
                         "flags": MoveFlag.FILL, "reserved_1": 3}), END_WORDS]
    moving = write_image(CONFIG, [program_section(np.concatenate(words), CONFIG)], program=True)
    assert disassemble(moving, CONFIG).splitlines()[3:] == """\
     0  MOVE DECIMATE
          channels 2  rows 3  columns 5
          source 0:3  source_row 1:0  source_channel 0:0
          target 7:0  target_row 0:0  target_channel 0:2
    16  MOVE FILL
          channels 1  rows 1  columns 9  value -7
          target 0:0  target_row 4:0  target_channel 0:0
          reserved_1 0x3, must be 0
    32  END""".splitlines()


def test_cut_short() -> None:
    text = disassemble(image()[:124], CONFIG)
    assert "     1  0:1 | -1  .\n" in text
    assert "group 1: channels 2 to 2, steps from 2 are not all in this image\n" in text
    assert text.endswith("\nproblem at offset 124: section STEPS needs 8 more bytes "
                         "(INCOMPLETE)\n")


def test_not_an_image() -> None:
    assert disassemble(b"", CONFIG) == (
        "image of 0 bytes\n\nproblem at offset 0: the header has 16 bytes, the image ends here "
        "(INCOMPLETE)\n")
    assert "problem at offset 0: magic must be 0x49504453, not 0x" in disassemble(
        b"x" * 64, CONFIG)


@pytest.mark.parametrize("seed", range(5))
def test_any_bytes(seed: int) -> None:
    """Whatever is wrong, there is a listing."""
    rng = np.random.default_rng(seed)
    config = draw_config(rng, weight_steps=64, activation_words=32)
    for name, bad, _ in bad_images(config):
        assert disassemble(bad, config), name
    good = draw_image(rng, config)
    for _ in range(30):
        data = bytearray(good)
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        assert disassemble(bytes(data[:int(rng.integers(len(data)))]), config)
