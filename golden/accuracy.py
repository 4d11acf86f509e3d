"""Accuracy of the packaged ResNet-8: ``python -m smartdeal.golden.accuracy --data DIR``.

Compares the float network with its integer networks in every weight form on Fashion-MNIST's test
images. Nothing is retrained. DIR is as for :mod:`smartdeal.golden.training`.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from smartdeal.golden.checkpoints import load_trained
from smartdeal.golden.decompose import FORMS, FormOptions
from smartdeal.golden.fashion import calibration_images, normalise, read_split
from smartdeal.golden.integer import run_network
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import build_network
from smartdeal.golden.quantise import quantise_network

__all__ = ["float_accuracy", "integer_accuracy"]

_BATCH = 500


@torch.no_grad()
def float_accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the fraction of images (B, C, H, W) whose largest logit is at the label, (B,)."""
    right = [int((model(x).argmax(1) == y).sum())
             for x, y in zip(images.split(_BATCH), labels.split(_BATCH), strict=True)]
    return sum(right) / len(images)


def integer_accuracy(network: IntegerNetwork, images: Tensor, labels: Tensor) -> float:
    """Return the same of an integer network; of equal logits the first counts."""
    output = network.nodes[-1].layer.name
    right = 0
    for image, label in zip(images.numpy(), labels.tolist(), strict=True):
        tensors = run_network(network, network.input_scale.quantise(image))
        right += int(tensors[output].argmax()) == label
    return right / len(images)


def _main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy of ResNet-8 on Fashion-MNIST.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the four IDX files")
    parser.add_argument("--images", type=int, default=1000, help="test images (default: 1000)")
    parser.add_argument("--zero-fraction", type=float, default=0.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = read_split(options.data, "t10k")
    inputs = normalise(images[:options.images])
    truth = torch.from_numpy(labels[:options.images]).long()
    model = build_network("resnet8")
    load_trained(model)
    print(f"{'float':10} {float_accuracy(model, inputs, truth):.4f}")
    for form in FORMS:
        network = quantise_network(model, calibration_images(), form,
                                   FormOptions(zero_fraction=options.zero_fraction))
        print(f"{form:10} {integer_accuracy(network, inputs, truth):.4f}", flush=True)


if __name__ == "__main__":
    _main()
