"""Filters that die in training: implicit filter-level sparsity (Mehta, Kim, Theobalt, CVPR 2019).

With batch normalisation, ReLU, an adaptive optimiser and L2 in the gradient (Adam, not AdamW or
SGD), the normalisation of many filters fades to nothing: the regulariser is strong against the
gradient of a filter that few images need. Training itself is ordinary: ``smartdeal train
--optimiser adam --weight-decay 0.02``. Here they are counted, and buried so that they can leave the
network (:func:`smartdeal.golden.sparsity.remove_dead_filters`).
"""

import torch
from torch import Tensor, nn

from smartdeal.golden.networks import ResNet

__all__ = ["DEAD", "bury", "dead_filters"]

#: Largest \|gamma\| of a dead filter, as in the published code.
DEAD = 1e-3


def _norms(model: ResNet) -> dict[str, nn.BatchNorm2d]:
    """Return normalisations by the names of their convolutions."""
    pairs = {"conv1": "bn1"}
    for prefix, block in model.blocks:
        pairs |= {f"{prefix}.{conv}": f"{prefix}.{norm}" for conv, norm in block.chain}
        if block.downsample is not None:
            pairs[f"{prefix}.downsample.0"] = f"{prefix}.downsample.1"
    found = {conv: model.get_submodule(norm) for conv, norm in pairs.items()}
    return {conv: norm for conv, norm in found.items() if isinstance(norm, nn.BatchNorm2d)}


def _dead(norm: nn.BatchNorm2d, threshold: float) -> Tensor:
    return norm.weight.detach().abs() <= threshold


def dead_filters(model: ResNet, threshold: float = DEAD) -> dict[str, tuple[int, int]]:
    """Return how many filters each convolution has, and how many of them are dead."""
    return {name: (norm.num_features, int(_dead(norm, threshold).sum()))
            for name, norm in _norms(model).items()}


@torch.no_grad()
def bury(model: ResNet, threshold: float = DEAD) -> None:
    """Let dead filters emit zero: gamma and beta become 0.

    A dead filter emits a small constant, its beta, which a zero-padded convolution does not see
    outside the image; so it could not leave the network exactly. Set the running statistics anew
    afterwards (:func:`smartdeal.golden.training.settle`): they take up the lost constants.
    """
    for norm in _norms(model).values():
        dead = _dead(norm, threshold)
        norm.weight[dead] = 0
        norm.bias[dead] = 0
