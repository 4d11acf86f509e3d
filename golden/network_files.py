"""Files of trained networks: named arrays, and a header that says which form a layer is in.

A layer's power-of-two coefficients are stored as they are, one byte each: 0 for none, else
±(exponent + 1); with the scale of each filter, and basis and alignment where there is a basis. All
else are the parameters of the network in floating point. The file is safetensors, or a compressed
.npz with the same arrays; nothing in either is executed.
"""

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as read_safetensors
from safetensors.numpy import save as write_safetensors
from torch import Tensor, nn

from smartdeal.golden.files import write_whole
from smartdeal.golden.form_layers import FixedConv2d, FixedLinear, form_layers
from smartdeal.golden.forms import BasisWeights, TermWeights, Weights
from smartdeal.golden.networks import ImageKind, NetworkError

__all__ = ["SUFFIXES", "image_kind", "pack_weights", "read_arrays", "take_calibration",
           "take_forms", "unpack_weights", "write_arrays", "write_network"]

SUFFIXES = (".safetensors", ".npz")
_VERSION = 1
#: Key of the header in safetensors' metadata, and name of the array that holds it in .npz.
_HEADER, _HEADER_ARRAY = "smartdeal", "__smartdeal__"
_CALIBRATION = "calibration"

Arrays = dict[str, NDArray[Any]]


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any],
                 ) -> None:
    """Write named arrays and a header that JSON can hold, the whole file or nothing.

    Raises
    ------
    NetworkError
        If the suffix is not one of :data:`SUFFIXES`.
    OSError
        If the file cannot be written; what was there before is still there.
    """
    text = json.dumps(header, sort_keys=True)
    if path.suffix == ".safetensors":
        write_whole(path, write_safetensors(
            {name: value.copy(order="C") for name, value in arrays.items()},
            {_HEADER: text}))
    elif path.suffix == ".npz":
        buffer = io.BytesIO()
        named: dict[str, Any] = dict(arrays)
        named[_HEADER_ARRAY] = np.frombuffer(text.encode(), np.uint8)
        np.savez_compressed(buffer, **named)
        write_whole(path, buffer.getvalue())
    else:
        raise NetworkError(f"a trained network must be written to a file {' or '.join(SUFFIXES)}, "
                           f"not {str(path)!r}")


def _safetensors_header(content: bytes) -> str:
    """Return our entry of a safetensors file's metadata; empty if there is none."""
    length, = struct.unpack_from("<Q", content)
    metadata = json.loads(content[8:8 + length]).get("__metadata__", {})
    return str(metadata.get(_HEADER, ""))


def read_arrays(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Read named arrays, and the header if the file has one of ours (else it is empty).

    Raises
    ------
    NetworkError
        If the file is not what its suffix says, or of a later version.
    OSError
        If it cannot be read.
    """
    content = path.read_bytes()
    try:
        if path.suffix == ".safetensors":
            arrays: Arrays = read_safetensors(content)
            text = _safetensors_header(content)
        else:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            text = arrays.pop(_HEADER_ARRAY, np.zeros(0, np.uint8)).tobytes().decode()
        header = json.loads(text) if text else {}
    except (ValueError, TypeError, KeyError, EOFError, AttributeError, zipfile.BadZipFile,
            SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NetworkError(f"{path} is not a file of named arrays: {reason}") from None
    if header.get("version", _VERSION) != _VERSION:
        raise NetworkError(f"{path} has version {header['version']} of this format; this smartdeal "
                           f"reads version {_VERSION}")
    return arrays, header


def pack_weights(name: str, weights: Weights) -> tuple[Arrays, dict[str, Any]]:
    """Return the arrays of a layer's weights, and what the header says of it."""
    code = weights.sign.astype(np.int8) * (weights.exponent + 1).astype(np.int8)
    arrays: Arrays = {f"{name}.code": code, f"{name}.scale": weights.scale}
    if isinstance(weights, TermWeights):
        return arrays, {}
    arrays |= {f"{name}.basis": weights.basis, f"{name}.align": weights.align}
    return arrays, {"axis": weights.axis, "channels": weights.channels,
                    "slice_starts": list(weights.slice_starts)}


def unpack_weights(name: str, arrays: Arrays, said: Mapping[str, Any]) -> Weights:
    """Return a layer's weights, whose arrays are taken out of ``arrays``.

    Raises
    ------
    NetworkError
        If an array is missing or of a wrong type or shape.
    """
    def take(part: str, dtype: type, ndim: int) -> NDArray[Any]:
        value = arrays.pop(f"{name}.{part}", None)
        if value is None:
            raise NetworkError(f"array {name}.{part} is missing")
        if value.dtype != dtype or value.ndim != ndim:
            raise NetworkError(f"array {name}.{part} must be {np.dtype(dtype)} with {ndim} axes, "
                               f"not {value.dtype} with {value.ndim}")
        return value

    basis = "axis" in said
    code = take("code", np.int8, 3 if basis else 5)
    scale = take("scale", np.float64, 1)
    sign = np.sign(code)
    exponent = np.maximum(np.abs(code.astype(np.int16)) - 1, 0).astype(np.int8)
    if len(scale) != code.shape[0 if basis else 1] or not (scale > 0).all() \
            or not np.isfinite(scale).all():
        raise NetworkError(f"array {name}.scale must hold a positive number per filter")
    if not basis:
        return TermWeights(sign, exponent, scale)
    return BasisWeights(
        axis=said["axis"], sign=sign, exponent=exponent, basis=take("basis", np.int8, 4),
        align=take("align", np.int8, 2), slice_starts=tuple(said["slice_starts"]),
        channels=said["channels"], scale=scale)


def write_network(
    path: Path, model: nn.Module, about: Mapping[str, Any], calibration: Tensor | None = None,
) -> None:
    """Write a network whose drop-in layers are stored as what will be compiled.

    Parameters
    ----------
    about : mapping
        What JSON can hold: where the network comes from. ``mean`` and ``deviation`` say how
        pixels 0…1 are normalised, ``classes`` what the outputs mean.
    calibration : uint8 tensor, (B, C, H, W), optional
        Pixels to choose activation scales with, wherever the network goes.
    """
    arrays: Arrays = {}
    forms: dict[str, Any] = {}
    layers = form_layers(model)
    for name, layer in layers.items():
        packed, said = pack_weights(name, layer.export())
        arrays |= packed
        if layer.binary_input:
            said["pad_value"] = layer.pad_value
        forms[name] = {"form": layer.form, **said}
    own = {f"{name}.{part}" for name, layer in layers.items()
           for part in layer.state_dict() if part != "bias"}
    arrays |= {name: value.numpy() for name, value in model.state_dict().items() if name not in own}
    if calibration is not None:
        arrays[_CALIBRATION] = calibration.numpy()
    write_arrays(path, arrays, {"version": _VERSION, "forms": forms, "about": dict(about)})


def take_forms(model: nn.Module, arrays: Arrays, header: Mapping[str, Any]) -> None:
    """Give a network the drop-in layers that a file holds, and take these out of ``arrays``.

    Raises
    ------
    NetworkError
        If the network has no such layer, or weights of another shape.
    """
    modules = dict(model.named_modules())
    for name, said in header.get("forms", {}).items():
        layer = modules.get(name)
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            raise NetworkError(f"there is no layer {name}")
        weights = unpack_weights(name, arrays, said)
        kind = FixedConv2d if isinstance(layer, nn.Conv2d) else FixedLinear
        fixed = kind.from_float(layer)
        if fixed.weight_shape != weights.shape:
            raise NetworkError(f"{name} has shape {weights.shape}, not {fixed.weight_shape}")
        fixed.weights, fixed.form = weights, str(said["form"])
        if "pad_value" in said:
            fixed.binary_input, fixed.pad_value = True, _pad_value(name, said["pad_value"], weights)
        model.set_submodule(name, fixed.train(layer.training))


def _pad_value(name: str, value: Any, weights: Weights) -> int:
    """Return the padding of a layer with binary input, or raise for one that cannot be."""
    if value not in (-1, 1) or not isinstance(weights, TermWeights) or len(weights.sign) != 1 \
            or not weights.sign.all() or weights.exponent.any():
        raise NetworkError(f"{name} has a binary input, so its weights and its padding must be +1 "
                           "or -1")
    return int(value)


def image_kind(about: Mapping[str, Any]) -> ImageKind | None:
    """Return what a file says that its network was trained on; None if it does not."""
    if "mean" not in about:
        return None
    return ImageKind(name=str(about.get("data", "")), mean=float(about["mean"]),
                     deviation=float(about["deviation"]),
                     classes=tuple(map(str, about.get("classes", ()))))


def take_calibration(arrays: Arrays, about: Mapping[str, Any]) -> Tensor | None:
    """Return the calibration images of a file, normalised; they are taken out of ``arrays``."""
    pixels = arrays.pop(_CALIBRATION, None)
    if pixels is None:
        return None
    return (torch.from_numpy(pixels).float() / 255 - about["mean"]) / about["deviation"]
