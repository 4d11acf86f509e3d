"""Archives of ``torch.export`` (.pt2), read as data: JSON and raw tensors.

Torch's own loader unpickles parts of an archive and evaluates expressions in it, which would run
code of whoever made the file. The layout is that of torch's ``export/pt2_archive``, the JSON's that
of ``_export/serde/schema``.
"""

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from smartdeal.compiler.importers.values import Array
from smartdeal.golden.networks import NetworkError

__all__ = ["Node", "Program", "Reference", "read_archive"]

_SCHEMA = 8
#: Torch's numbers for data types, as numpy knows them.
_TYPES = {1: "u1", 2: "i1", 3: "i2", 4: "i4", 5: "i8", 6: "f2", 7: "f4", 8: "f8", 12: "?"}
_BFLOAT16 = 13


@dataclass(frozen=True)
class Reference:
    """A tensor, or a number that is known only at run time, by name."""

    name: str
    tensor: bool = True


@dataclass(frozen=True)
class Node:
    """A call of an operator.

    Parameters
    ----------
    name : str
    target : str
        As ``aten.conv2d.default``.
    arguments : dict
        By parameter name: numbers, strings, None, :class:`Reference`, or lists of them.
    outputs : tuple of str
        Names of tensors.
    layer : str
        Torch name of the layer that made the call, or where the call stands in a module of the
        user's, that module's name and the call's.
    """

    name: str
    target: str
    arguments: dict[str, Any]
    outputs: tuple[str, ...]
    layer: str


@dataclass(frozen=True)
class Program:
    """An exported program.

    Parameters
    ----------
    nodes : list of Node
        In order of execution.
    inputs, outputs : list of str
        Names of the tensors that the user gives and gets.
    parameters : dict of str
        Name of a tensor to torch's name of the parameter or buffer.
    weights : dict of arrays
        By torch's name.
    sizes : dict of tuple
        Shape of each tensor; an element is None where it is not fixed.
    """

    nodes: list[Node]
    inputs: list[str]
    outputs: list[str]
    parameters: dict[str, str]
    weights: dict[str, Array]
    sizes: dict[str, tuple[int | None, ...]]


def _argument(value: Mapping[str, Any]) -> Any:
    """Return a serialised argument as a plain value."""
    (kind, content), = value.items()
    if kind == "as_none":
        return None
    if kind == "as_tensor":
        return Reference(content["name"])
    if kind == "as_tensors":
        return [Reference(tensor["name"]) for tensor in content]
    if kind == "as_optional_tensors":
        return [_argument(tensor) for tensor in content]
    if kind in ("as_sym_int", "as_sym_bool", "as_sym_float"):
        if "as_name" in content:
            return Reference(content["as_name"], tensor=False)
        return _argument(content)
    if kind in ("as_sym_ints", "as_sym_bools", "as_sym_floats"):
        return [_argument({"as_sym_int": item}) for item in content]
    return content


def _size(meta: Mapping[str, Any]) -> tuple[int | None, ...]:
    return tuple(size.get("as_int") for size in meta["sizes"])


def _layer(metadata: Mapping[str, str], name: str) -> str:
    """Return the torch name of the layer that a call belongs to."""
    # The deepest module comes last, as "key,name,type".
    _, module, kind = (metadata.get("nn_module_stack", "").split(";")[-1] + ",,,").split(",")[:3]
    if module and kind.startswith("torch.nn."):
        return module
    return f"{module}.{name}" if module else name


def _nodes(graph: Mapping[str, Any]) -> list[Node]:
    nodes: list[Node] = []
    for index, node in enumerate(graph["nodes"]):
        outputs: list[str] = []
        for output in node["outputs"]:
            value = _argument(output)
            outputs += [part.name for part in (value if isinstance(value, list) else [value])
                        if isinstance(part, Reference)]
        name = node.get("name") or next(iter(outputs), f"node_{index}")
        nodes.append(Node(
            name=name, target=node["target"].removeprefix("torch.ops."),
            arguments={item["name"]: _argument(item["arg"]) for item in node["inputs"]},
            outputs=tuple(outputs), layer=_layer(node["metadata"], name)))
    return nodes


def _array(archive: zipfile.ZipFile, path: str, meta: Mapping[str, Any], name: str) -> Array:
    """Read one tensor: raw bytes, perhaps strided."""
    content, kind = archive.read(path), meta["dtype"]
    if kind == _BFLOAT16:
        # The upper half of a float32.
        values = (np.frombuffer(content, "<u2").astype("<u4") << 16).view("<f4")
    elif kind in _TYPES:
        values = np.frombuffer(content, np.dtype(_TYPES[kind]).newbyteorder("<"))
    else:
        raise NetworkError(f"{name}: its data type is not supported; convert the model to float32")
    shape = tuple(size["as_int"] for size in meta["sizes"])
    strides = [step["as_int"] for step in meta["strides"]]
    start = meta["storage_offset"]["as_int"]
    if shape and min(shape) > 0:
        reach = start + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if start < 0 or min(strides) < 0 or reach >= values.size:
            raise ValueError(f"{name} has {values.size} numbers, fewer than its shape needs")
    view = np.lib.stride_tricks.as_strided(
        values[start:], shape, [step * values.itemsize for step in strides], writeable=False)
    return view.copy()


def _weights(archive: zipfile.ZipFile, root: str, folder: str, config: str) -> dict[str, Array]:
    path = f"{root}/data/{folder}/{config}"
    if path not in archive.namelist():
        return {}
    weights: dict[str, Array] = {}
    for name, entry in json.loads(archive.read(path))["config"].items():
        if entry.get("use_pickle") or not entry.get("tensor_meta"):
            raise NetworkError(f"{name} is stored as a pickle, which is not read: it could run "
                               f"code; save the model with plain tensors")
        weights[name] = _array(archive, f"{root}/data/{folder}/{entry['path_name']}",
                               entry["tensor_meta"], name)
    return weights


def _program(archive: zipfile.ZipFile) -> Program:
    models = [name for name in archive.namelist()
              if "/models/" in name and name.endswith(".json")]
    if len(models) != 1:
        raise NetworkError(f"it must hold one model in the layout pt2, not {len(models)}; save it "
                           f"with torch.export.save of a newer torch")
    root, _, file = models[0].partition("/models/")
    content = json.loads(archive.read(models[0]))
    version = content["schema_version"]["major"]
    if version != _SCHEMA:
        raise NetworkError(f"its schema must have version {_SCHEMA}, not {version}; save it with "
                           f"another version of torch")
    graph, signature = content["graph_module"]["graph"], content["graph_module"]["signature"]
    inputs, parameters = [], {}
    for spec in signature["input_specs"]:
        (kind, entry), = spec.items()
        if kind == "user_input":
            inputs.append(entry["arg"]["as_tensor"]["name"])
        elif kind in ("parameter", "buffer", "tensor_constant"):
            parameters[entry["arg"]["name"]] = entry[f"{kind}_name"]
    name = file.removesuffix(".json")
    weights = _weights(archive, root, "weights", f"{name}_weights_config.json")
    weights |= _weights(archive, root, "constants", f"{name}_constants_config.json")
    missing = [parameter for parameter in parameters.values() if parameter not in weights]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    return Program(
        nodes=_nodes(graph), inputs=inputs, parameters=parameters, weights=weights,
        outputs=[output["as_tensor"]["name"] for output in graph["outputs"]],
        sizes={tensor: _size(meta) for tensor, meta in graph["tensor_values"].items()})


def read_archive(file: Path | IO[bytes], label: str) -> Program:
    """Read an archive; nothing in it is executed.

    Parameters
    ----------
    label : str
        The file's name, for messages.

    Raises
    ------
    NetworkError
        If it cannot be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _program(archive)
    except NetworkError as error:
        raise NetworkError(f"{label}: {error}") from None
    except FileNotFoundError as error:
        raise NetworkError(f"cannot read model {label}: {error.strerror}") from None
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError,
            RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise NetworkError(f"{label} is not a whole archive of torch.export; save or copy it "
                           f"again: {type(error).__name__} {error}") from None
