"""Drawn cases repeat, fit, and say so when nothing fits."""

import numpy as np
import pytest

from smartdeal.compiler import compile_layer
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.cases import (
    FORMS,
    Form,
    draw_case,
    draw_config,
    draw_image,
    draw_layer,
    tighten,
)


@pytest.mark.parametrize("seed", range(5))
def test_repeats(seed: int) -> None:
    drawn: list[tuple[object, ...]] = []
    for _ in range(2):
        rng = np.random.default_rng(seed)
        config = draw_config(rng)
        case = draw_case(rng, config)
        drawn.append((config, case.program.to_bytes(), case.x.tobytes(), draw_image(rng, config)))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("form", FORMS)
def test_tightened_layers_still_fit(form: Form) -> None:
    rng = np.random.default_rng(0)
    config = AcceleratorConfig(acc_bits=32)
    layer = draw_layer(rng, config, form=form, channels=7, filters=9)
    small = config
    for _ in range(5):
        small = tighten(rng, layer, small)
    compile_layer(layer, small)
    assert small.activation_words < config.activation_words


def test_nothing_fits() -> None:
    config = AcceleratorConfig(activation_words=16)
    with pytest.raises(RuntimeError, match=r"^no layer of 200 fits .*: layer 'drawn\.terms': "
                                           r".*; set activation_words = \d+$"):
        draw_case(np.random.default_rng(0), config, form="terms", channels=20, height=17,
                  width=17, kernel=(7, 7))
    with pytest.raises(RuntimeError, match=r"at most 1 were wanted$"):
        draw_case(np.random.default_rng(0), AcceleratorConfig(), form="max_pool", max_steps=1)
