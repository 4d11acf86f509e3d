"""Train a network of the package: ``python -m smartdeal.golden.training NETWORK --data DIR``.

DIR holds Fashion-MNIST's four IDX files, compressed or not as published
(``train-images-idx3-ubyte.gz`` and so on). ResNet-8 of the package was trained for 10 epochs, a few
minutes on one core, and ResNet-20 with ``--epochs 4``, a quarter of an hour. The seed is fixed;
results are equal bit for bit on one machine with one version of torch.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from smartdeal.golden.accuracy import float_accuracy
from smartdeal.golden.fashion import CHECKPOINTS, IMAGES, normalise, read_split
from smartdeal.golden.networks import ResNet, build_network

__all__ = ["train"]

_BATCH = 128
_PEAK_RATE = 0.2
_WEIGHT_DECAY = 5e-4
_SHIFT = 2  # pixels that an image is moved by, at most, in training
_SAMPLES, _CALIBRATION = 16, 64


def _augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move a batch by up to two pixels and mirror half of it."""
    background = float(images.min())
    padded = nn.functional.pad(images, (_SHIFT,) * 4, value=background)
    dy, dx = torch.randint(0, 2 * _SHIFT + 1, (2,), generator=generator).tolist()
    height, width = images.shape[2:]
    moved = padded[:, :, dy:dy + height, dx:dx + width]
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored[:, None, None, None], moved.flip(3), moved)


def train(
    model: ResNet, images: Tensor, labels: Tensor, epochs: int, seed: int,
) -> None:
    """Train in place with SGD, one warm-up and a cosine decay of the learning rate.

    Parameters
    ----------
    images : float32 tensor, (B, C, H, W)
    labels : int64 tensor, (B,)
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=_PEAK_RATE, momentum=0.9, nesterov=True,
                                weight_decay=_WEIGHT_DECAY)
    batches = len(images) // _BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, _PEAK_RATE, total_steps=epochs * batches, pct_start=0.2)
    model.train()
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        total = 0.0
        for index in order[:batches * _BATCH].split(_BATCH):
            optimiser.zero_grad()
            logits = model(_augment(images[index], generator))
            loss = nn.functional.cross_entropy(logits, labels[index])
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1} of {epochs}: loss {total / batches:.3f}", flush=True)
    model.eval()


def _main() -> None:
    parser = argparse.ArgumentParser(description="Train a network on Fashion-MNIST.")
    parser.add_argument("network", choices=CHECKPOINTS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the four IDX files")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent,
                        help="folder to write to (default: the package)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    images, labels = read_split(options.data, "train")
    test, test_labels = read_split(options.data, "t10k")
    model = build_network(options.network)
    train(model, normalise(images), torch.from_numpy(labels).long(), options.epochs, options.seed)
    correct = float_accuracy(model, normalise(test), torch.from_numpy(test_labels).long())
    print(f"test accuracy {correct:.4f}")
    np.savez_compressed(options.output / CHECKPOINTS[options.network], **{
        name: value.numpy() for name, value in model.state_dict().items()})
    np.savez_compressed(
        options.output / IMAGES, test=test[:_SAMPLES], labels=test_labels[:_SAMPLES],
        calibration=images[:_CALIBRATION])


if __name__ == "__main__":
    _main()
