"""A user's model, whatever it is: a built-in network, an ONNX file, an archive of torch.export."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from smartdeal.compiler.importers.files import SUFFIXES, import_model
from smartdeal.golden.checkpoints import load_trained, load_weights, seeded_weights
from smartdeal.golden.fashion import CHECKPOINTS, CLASSES, FASHION
from smartdeal.golden.graph import FloatGraph, FloatNode, Network, float_graph
from smartdeal.golden.networks import NetworkError, ResNet, build_network
from smartdeal.golden.pictures import PREPROCESSING, Preprocessing
from smartdeal.golden.specs import NETWORKS

__all__ = ["Model", "fingerprint", "load_model", "open_model", "read_labels", "reopen_model"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Model:
    """A network in floating point, and where it came from.

    Parameters
    ----------
    name : str
    network : ResNet or FloatGraph
    graph : FloatGraph
        The same.
    source : str
        Where the weights come from, for the user.
    preprocessing : Preprocessing or None
        None where nobody knows how pixels become the input.
    classes : tuple of str
        What the outputs mean; empty if that is not known.
    origin : dict
        JSON values with which :func:`reopen_model` finds it again.
    """

    name: str
    network: Network
    graph: FloatGraph
    source: str
    preprocessing: Preprocessing | None
    classes: tuple[str, ...]
    origin: Mapping[str, Any]


def load_model(network: str, weights: Path | None, seed: int) -> tuple[ResNet, str]:
    """Return a built-in network with weights, and where these come from.

    Without a checkpoint the networks of :data:`smartdeal.golden.fashion.CHECKPOINTS` have the
    trained weights of the package, and others get seeded ones.

    Raises
    ------
    NetworkError
        If there is no such network, or the checkpoint cannot be used.
    """
    model = build_network(network)
    if weights is not None:
        load_weights(model, weights)
        return model, f"weights of {weights}"
    if network in CHECKPOINTS:
        load_trained(model)
        return model, "trained weights"
    seeded_weights(model, seed)
    return model, f"seeded weights ({seed})"


def open_model(given: str, weights: Path | None = None, seed: int = 0) -> Model:
    """Open what a user calls a model.

    Parameters
    ----------
    given : str
        The name of a built-in network, or an .onnx or .pt2 file.
    weights : Path, optional
        A checkpoint, for built-in networks only.
    seed : int
        Of the weights of a built-in network that has none.

    Raises
    ------
    UnsupportedModel
        If the accelerator cannot run the model; the message lists every reason.
    NetworkError
        If there is no such model, or a file cannot be used.
    """
    path = Path(given)
    if given not in NETWORKS and path.suffix not in SUFFIXES:
        raise NetworkError(f"MODEL must be a file {' or '.join(SUFFIXES)}, or one of "
                           f"{', '.join(NETWORKS)}, not {given!r}")
    if given in NETWORKS:
        network, source = load_model(given, weights, seed)
        # A checkpoint that brings its images was trained for their size.
        images = network.calibration
        graph = float_graph(network, None if images is None else (images.shape[2], images.shape[3]))
        origin = {"network": given, "seed": seed,
                  "weights": str(weights.resolve()) if weights is not None else None}
        classes, preprocessing = CLASSES if given in CHECKPOINTS else (), PREPROCESSING[given]
        if (kind := network.data) is not None:  # other images than the network's usual ones
            classes = kind.classes or (classes if kind.name == FASHION else ())
            preprocessing = Preprocessing((kind.mean,), (kind.deviation,))
    elif weights is not None:
        raise NetworkError(f"{path} has weights of its own; --weights is for built-in networks")
    else:
        network = graph = import_model(path)
        source = f"model of {path}"
        origin = {"network": str(path.resolve()), "seed": 0, "weights": None}
        classes, preprocessing = (), None
    return Model(name=graph.name, network=network, graph=graph, source=source,
                 preprocessing=preprocessing, classes=classes,
                 origin={**origin, "sha256": fingerprint(graph)})


def reopen_model(origin: Mapping[str, Any]) -> Model:
    """Open the model again that a program was compiled from.

    Raises
    ------
    NetworkError
        If it cannot be opened, or is another one by now.
    """
    weights = origin["weights"]
    model = open_model(origin["network"], None if weights is None else Path(weights),
                       origin["seed"])
    found, wanted = model.origin["sha256"], origin.get("sha256")
    if found != wanted:
        raise NetworkError(
            f"{weights or origin['network']} is not what the program was compiled from: its layers "
            f"and weights have the SHA-256 {found[:12]}…, not {str(wanted)[:12]}…; compile it "
            "again")
    return model


def fingerprint(graph: FloatGraph) -> str:
    """Return the SHA-256 of a network: its layers with all numbers, but not their names."""
    places = {node.name: str(index) for index, node in enumerate(graph.nodes)}
    sha = hashlib.sha256(json.dumps(graph.input_shape).encode())
    for node in graph.nodes:
        sha.update(json.dumps([
            node.kind, places.get(node.input), places.get(node.residual or ""), node.relu,
            node.kernel, node.stride, node.padding, node.exact,
            node.norm.eps if node.norm is not None else None,
            *([node.binary_input, node.pad_value, node.signs] if node.binary_input or node.signs
              else []),
        ]).encode())
        for tensor in _tensors(node):
            values = tensor.detach().numpy().astype("<f4")
            sha.update(json.dumps(values.shape).encode())
            sha.update(np.ascontiguousarray(values).data)
    return sha.hexdigest()


def _tensors(node: FloatNode) -> list[Tensor]:
    norm = node.norm
    tensors = [node.weights, node.bias]
    if norm is not None:
        tensors += [norm.gamma, norm.beta, norm.mean, norm.variance]
    return [tensor for tensor in tensors if tensor is not None]


def read_labels(path: Path, outputs: int) -> tuple[str, ...]:
    """Read the names of a network's outputs: a line of text for each, or a list in JSON.

    Raises
    ------
    NetworkError
        If the file cannot be read, or holds another number of names.
    """
    try:
        text = path.read_text()
        content = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except OSError as error:
        raise NetworkError(f"cannot read labels {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise NetworkError(f"{path} must be UTF-8 text with a name in each line, or a list in "
                           f"JSON: {error}") from None
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise NetworkError(f"{path} must hold a list of names")
    names = [name.strip() for name in content]
    while names and not names[-1]:
        names.pop()
    if len(names) != outputs:
        raise NetworkError(f"{path} must name the {outputs} outputs of the network, but has "
                           f"{len(names)} names")
    return tuple(names)
