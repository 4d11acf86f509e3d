"""The trained ResNet-8, for the tests of whole networks."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from smartdeal.golden.checkpoints import load_trained
from smartdeal.golden.fashion import calibration_images, sample_images
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import build_network
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.hw.config import AcceleratorConfig


@pytest.fixture(scope="session")
def resnet8() -> Callable[[str], IntegerNetwork]:
    """Return what makes its integers in a form, for the default array."""
    def made(form: str) -> IntegerNetwork:
        config = AcceleratorConfig()
        model = build_network("resnet8")
        load_trained(model)
        options = FormOptions(exponents=config.exponents, group=config.filters_per_group)
        return quantise_network(model, calibration_images(), form, options, config.sum_bits)
    return made


@pytest.fixture(scope="session")
def network(resnet8: Callable[[str], IntegerNetwork]) -> IntegerNetwork:
    """Return its integers in SmartDeal form."""
    return resnet8("smartdeal")


@pytest.fixture(scope="session")
def image(network: IntegerNetwork) -> NDArray[np.int8]:
    """Return the first test image as the network takes it."""
    return network.input_scale.quantise(sample_images()[0][0].numpy())
