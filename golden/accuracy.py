"""Accuracy on Fashion-MNIST: ``python -m smartdeal.golden.accuracy NETWORK --data DIR``.

Compares a float network of the package with its integer networks in every weight form on the test
images. Nothing is retrained. DIR is as for :mod:`smartdeal.golden.training`.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from smartdeal.golden.batch import run_batch
from smartdeal.golden.checkpoints import load_trained
from smartdeal.golden.decompose import FORMS, FormOptions
from smartdeal.golden.fashion import CHECKPOINTS, calibration_images, normalise, read_split
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import build_network
from smartdeal.golden.options import QuantiseOptions, Ranges
from smartdeal.golden.quantise import quantise_network

__all__ = ["float_accuracy", "integer_accuracy"]

_BATCH = 500
_RANGES: tuple[Ranges, ...] = ("min_max", "percentile", "mse")


@torch.no_grad()
def float_accuracy(model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> float:
    """Return the fraction of images (B, C, H, W) whose largest logit is at the label, (B,)."""
    right = [int((model(x).argmax(1) == y).sum())
             for x, y in zip(images.split(_BATCH), labels.split(_BATCH), strict=True)]
    return sum(right) / len(images)


def integer_accuracy(network: IntegerNetwork, images: Tensor, labels: Tensor) -> float:
    """Return the same of an integer network; of equal logits the first counts."""
    output = network.nodes[-1].layer.name
    right = 0
    for x, y in zip(images.split(_BATCH), labels.split(_BATCH), strict=True):
        logits = run_batch(network, network.input_scale.quantise(x.numpy()))[output]
        right += int((logits.reshape(len(logits), -1).argmax(1) == y.numpy()).sum())
    return right / len(images)


def _main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy of a network on Fashion-MNIST.")
    parser.add_argument("network", choices=CHECKPOINTS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the four IDX files")
    parser.add_argument("--images", type=int, default=10000, help="test images (default: 10000)")
    parser.add_argument("--zero-fraction", type=float, default=0.0)
    parser.add_argument("--ranges", choices=_RANGES, default=_RANGES[0])
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = read_split(options.data, "t10k")
    inputs = normalise(images[:options.images])
    truth = torch.from_numpy(labels[:options.images]).long()
    model = build_network(options.network)
    load_trained(model)
    print(f"{'float':10} {float_accuracy(model, inputs, truth):.4f}")
    for form in FORMS:
        network = quantise_network(
            model, calibration_images(), form, FormOptions(zero_fraction=options.zero_fraction),
            quantise=QuantiseOptions(ranges=options.ranges))
        start = time.perf_counter()
        accuracy = integer_accuracy(network, inputs, truth)
        rate = len(inputs) / (time.perf_counter() - start)
        print(f"{form:10} {accuracy:.4f}  {rate:6.0f} images/s", flush=True)


if __name__ == "__main__":
    _main()
