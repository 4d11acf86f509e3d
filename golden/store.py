"""Integer networks as files: a JSON description and arrays in one .npz, deterministic.

``smartdeal compile`` writes one beside the program, so that the same network can be evaluated on
many images without an array being simulated.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.files import write_whole
from smartdeal.golden.forms import BasisWeights, TermWeights, Weights
from smartdeal.golden.layers import (
    IntegerLayer,
    IntegerNetwork,
    IntegerNode,
    Requantisation,
    TensorScale,
)

__all__ = ["StoreError", "load_network", "network_bytes", "save_network"]

_VERSION = 1
#: What zip files say of a time: the earliest, so that equal networks are equal files.
_EPOCH = (1980, 1, 1, 0, 0, 0)
#: Zlib's fastest: coefficients are mostly noise.
_COMPRESSION = 1

Arrays = dict[str, NDArray[np.generic]]


class StoreError(ValueError):
    """A file of an integer network that cannot be used; the message names it."""


def _coefficients(weights: Weights) -> NDArray[np.int8]:
    """Return sign · (exponent + 1), which is one byte per coefficient."""
    return weights.sign * (weights.exponent + np.int8(1))


def _packed(weights: Weights) -> tuple[dict[str, Any], Arrays]:
    arrays: Arrays = {"coefficients": _coefficients(weights), "scale": weights.scale}
    if isinstance(weights, TermWeights):
        return {"form": "terms"}, arrays
    arrays |= {"basis": weights.basis, "align": weights.align}
    return {"form": weights.axis, "slice_starts": weights.slice_starts,
            "channels": weights.channels}, arrays


def _unpacked(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Weights:
    codes = arrays["coefficients"].astype(np.int8)
    sign = np.sign(codes)
    exponent = np.maximum(np.abs(codes) - 1, 0).astype(np.int8)
    if about["form"] == "terms":
        return TermWeights(sign, exponent, arrays["scale"])
    return BasisWeights(
        axis=about["form"], sign=sign, exponent=exponent, basis=arrays["basis"],
        align=arrays["align"], slice_starts=tuple(about["slice_starts"]),
        channels=about["channels"], scale=arrays["scale"])


#: Fields of a layer that JSON holds as they are.
_PLAIN = [field.name for field in fields(IntegerLayer)
          if field.name not in ("weights", "requantisation")]


def network_bytes(network: IntegerNetwork) -> bytes:
    """Return a network as the bytes of its file."""
    arrays: Arrays = {}
    nodes: list[dict[str, Any]] = []
    for index, node in enumerate(network.nodes):
        layer = node.layer
        entry = {name: getattr(layer, name) for name in _PLAIN}
        if layer.weights is not None:
            entry["weights"], parts = _packed(layer.weights)
            arrays |= {f"{index}.weights.{name}": part for name, part in parts.items()}
        if layer.requantisation is not None:
            arrays |= {f"{index}.requantisation.{field.name}":
                       getattr(layer.requantisation, field.name)
                       for field in fields(Requantisation)}
        nodes.append({"layer": entry, "input": node.input, "residual": node.residual})
    about = {"version": _VERSION, "name": network.name, "nodes": nodes,
             "scales": {name: asdict(scale) for name, scale in network.scales.items()}}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION) as archive:
        archive.writestr(zipfile.ZipInfo("network.json", _EPOCH), json.dumps(about))
        for name, array in arrays.items():
            part = io.BytesIO()
            np.save(part, array, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, part.getvalue(), compresslevel=_COMPRESSION)
    return buffer.getvalue()


def save_network(network: IntegerNetwork, path: Path) -> str:
    """Write a network; a reader never sees half of it.

    Returns
    -------
    str
        SHA-256 of the file.
    """
    content = network_bytes(network)
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def _layer(
    entry: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]],
) -> IntegerLayer:
    plain: dict[str, Any] = {
        name: tuple(value) if isinstance(value := entry[name], list) else value
        for name in _PLAIN}
    parts: dict[str, dict[str, NDArray[Any]]] = {"weights": {}, "requantisation": {}}
    for name, array in arrays.items():
        group, _, key = name.partition(".")
        parts[group][key] = array
    return IntegerLayer(
        weights=_unpacked(entry["weights"], parts["weights"]) if "weights" in entry else None,
        requantisation=(Requantisation(**parts["requantisation"])
                        if parts["requantisation"] else None), **plain)


def _network(content: bytes) -> IntegerNetwork:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        about = json.loads(archive.read("network.json"))
        if about["version"] != _VERSION:
            raise StoreError(f"its version must be {_VERSION}, not {about['version']}")
        arrays: dict[str, dict[str, NDArray[Any]]] = {}
        for name in archive.namelist():
            if name.endswith(".npy"):
                index, _, rest = name.removesuffix(".npy").partition(".")
                arrays.setdefault(index, {})[rest] = np.load(
                    io.BytesIO(archive.read(name)), allow_pickle=False)
    nodes = tuple(
        IntegerNode(_layer(node["layer"], arrays.get(str(index), {})), node["input"],
                    node["residual"])
        for index, node in enumerate(about["nodes"]))
    return IntegerNetwork(about["name"], nodes, {
        name: TensorScale(**scale) for name, scale in about["scales"].items()})


def load_network(path: Path, sha256: str | None = None) -> IntegerNetwork:
    """Read a network.

    Parameters
    ----------
    sha256 : str, optional
        What the file must have.

    Raises
    ------
    StoreError
        If it cannot be read, is damaged, or is another file than it must be.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; smartdeal compile writes it "
                         "beside the program") from None
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise StoreError(f"{path} is not the network that was written with the program; compile "
                         "it again")
    try:
        return _network(content)
    except StoreError as error:
        raise StoreError(f"{path}: {error}; compile it again") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError,
            zipfile.BadZipFile) as error:
        raise StoreError(f"{path} is not a whole file of an integer network; compile it again: "
                         f"{type(error).__name__} {error}") from None
