"""How much a weight form changes what a network says: the loss that a budget is spent against.

The loss of a network is the mean over images of the Kullback-Leibler divergence of its classes'
probabilities from those of the network in floating point, in nats. It needs no labels. As in
ZeroQ (Cai et al., CVPR 2020) a layer's sensitivity is the loss of the network in which only that
layer's weights are rounded, and the losses of layers are taken to add up: the divergence is
quadratic in small changes of the logits, and those of different layers are hardly correlated.
"""

from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smartdeal.golden.batch import BatchNetwork
from smartdeal.golden.graph import FloatGraph, run_float
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.quantise import approximated

__all__ = ["Agreement", "agreement", "divergence", "layer_losses"]

#: Images at a time: every tensor of the float network is kept for them.
_CHUNK = 8

#: Called with the share of the work that is done.
Progress = Callable[[float], None]


def divergence(reference: Tensor, logits: Tensor) -> NDArray[np.float64]:
    """Return KL(softmax(reference) ‖ softmax(logits)) of each image, (B,), in nats.

    Parameters
    ----------
    reference, logits : tensors, (B, classes)
    """
    p, q = (torch.log_softmax(x.double(), 1) for x in (reference, logits))
    return (p.exp() * (p - q)).sum(1).clamp_min(0).numpy()


class Agreement:
    """What an integer network does in comparison with the float network.

    Parameters
    ----------
    loss : float
        Mean divergence, in nats.
    same : float
        Fraction of the images in the same class.
    """

    def __init__(self, loss: float, same: float) -> None:
        self.loss, self.same = loss, same


@torch.no_grad()
def agreement(graph: FloatGraph, network: IntegerNetwork, images: Tensor) -> Agreement:
    """Compare a whole integer network, activations rounded too, with the float network.

    Parameters
    ----------
    images : float32 tensor, (B, C, H, W)
    """
    batch = BatchNetwork(network)
    losses: list[NDArray[np.float64]] = []
    same = 0
    for part in images.split(_CHUNK):
        reference = graph(part)
        logits = torch.from_numpy(batch.logits(part.numpy()))
        losses.append(divergence(reference, logits))
        same += int((reference.argmax(1) == logits.argmax(1)).sum())
    return Agreement(float(np.concatenate(losses).mean()), same / len(images))


def _suffix(
    graph: FloatGraph, known: Mapping[str, Tensor], index: int, output: Tensor, copies: int,
) -> Tensor:
    """Return the logits if layer ``index`` gives ``output``, (copies · B, …).

    Only layers that depend on it are evaluated; other operands are repeated.
    """
    changed = {graph.nodes[index].name: output}

    def operand(name: str) -> Tensor:
        return changed[name] if name in changed else known[name].repeat(copies, 1, 1, 1)

    for node in graph.nodes[index + 1:]:
        if node.input in changed or node.residual in changed:
            residual = None if node.residual is None else operand(node.residual)
            changed[node.name] = node.forward(operand(node.input), residual)
    last = graph.nodes[-1].name
    return torch.flatten(changed.get(last, known[last].repeat(copies, 1, 1, 1)), 1)


@torch.no_grad()
def layer_losses(
    graph: FloatGraph, networks: Mapping[str, IntegerNetwork], images: Tensor,
    wanted: Mapping[str, Collection[str]], progress: Progress | None = None,
) -> dict[str, dict[str, float]]:
    """Return the loss of the float network with one layer's weights in another form.

    Parameters
    ----------
    graph : FloatGraph
    networks : mapping of str to IntegerNetwork
        By form.
    images : float32 tensor, (B, C, H, W)
    wanted : mapping of str to collection of str
        Forms by layer.

    Returns
    -------
    dict
        Loss in nats by layer, then by form.
    """
    sums = {layer: dict.fromkeys(forms, 0.0) for layer, forms in wanted.items()}
    parts = images.split(_CHUNK)
    rounded = {
        (index, form): approximated(node, networks[form].nodes[index], networks[form])
        for index, node in enumerate(graph.nodes) for form in wanted.get(node.name, ())}
    done, total = 0, len(parts) * len(wanted)
    for part in parts:
        known = dict(run_float(graph.nodes, part))
        reference = torch.flatten(known[graph.nodes[-1].name], 1)
        for index, node in enumerate(graph.nodes):
            forms = list(wanted.get(node.name, ()))
            if not forms:
                continue
            residual = known[node.residual] if node.residual is not None else None
            outputs = torch.cat([rounded[index, form].forward(known[node.input], residual)
                                 for form in forms])
            logits = _suffix(graph, known, index, outputs, len(forms))
            for form, changed in zip(forms, logits.chunk(len(forms)), strict=True):
                sums[node.name][form] += float(divergence(reference, changed).sum())
            done += 1
            if progress is not None:
                progress(done / total)
    return {layer: {form: total / len(images) for form, total in forms.items()}
            for layer, forms in sums.items()}
