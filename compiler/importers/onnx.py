"""ONNX files as float graphs: :func:`import_onnx`.

Needs the ``onnx`` library. Whatever has only constant operands is computed here, by its reference
implementation; the rest goes operator by operator to the builder.
"""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper
from onnx.checker import ValidationError
from onnx.reference import ReferenceEvaluator

from smartdeal.compiler.importers.builder import GraphBuilder
from smartdeal.compiler.importers.errors import Refusal, UnsupportedModel, unknown_operators
from smartdeal.compiler.importers.onnx_operators import HANDLERS, Operands
from smartdeal.compiler.importers.values import Array, Site, Value
from smartdeal.golden.graph import FloatGraph
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import NetworkError

__all__ = ["SUPPORTED", "import_onnx"]

#: Operators of ONNX that a model may have; constant operands may come from any operator.
SUPPORTED = tuple(sorted({*HANDLERS, "Constant", "Softmax", "LogSoftmax"}))

_PROBABILITIES = ("Softmax", "LogSoftmax")
_CHANNELS_FIRST = [0, 3, 1, 2]
#: Names of nodes that say nothing, and what follows a layer's name in the name of its weights.
_NUMBERED = re.compile(r"\w{0,5}_?\d+")
_WEIGHTS_SUFFIX = re.compile(r"[._]w(eights?)?(_\d+)?$")
_STANDARD_DOMAINS = ("", "ai.onnx")
#: Constants that the model computes must not be larger: no layer's weights are.
_LARGEST_CONSTANT = 1 << 28


def import_onnx(path: Path) -> FloatGraph:
    """Read an ONNX file.

    Parameters
    ----------
    path : Path
        Weights in files beside it are found.

    Returns
    -------
    FloatGraph
        Its layers are named after torch's modules where the exporter kept their names, otherwise
        after the nodes.

    Raises
    ------
    UnsupportedModel
        If the accelerator cannot run it; the message lists every reason.
    NetworkError
        If the file cannot be read, or the size of its input is not fixed.
    """
    model = _load(path)
    return _Reader(model, path.stem).read()


def _load(path: Path) -> ModelProto:
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        if not all(isinstance(name, str) for node in model.graph.node
                   for name in (node.name, node.op_type, *node.input, *node.output)):
            raise ValueError("a name is not text")  # protobuf hands such bytes over as they are
    except FileNotFoundError as error:
        raise NetworkError(f"cannot read model {path}: {error.strerror}") from None
    except OSError as error:
        raise NetworkError(f"cannot read model {path}: {error.strerror or error}") from None
    except (DecodeError, ValueError, RuntimeError, TypeError, ValidationError) as error:
        reason = str(error).strip().splitlines()
        raise NetworkError(f"{path} is not a whole and valid ONNX file; export or copy it again: "
                           f"{reason[0] if reason else type(error).__name__}") from None
    return model


def _size(value: ValueInfoProto) -> list[int | str]:
    """Return a tensor's shape; what is not fixed is a name."""
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
            for dim in value.type.tensor_type.shape.dim]


def _module_name(node: NodeProto, weights: str | None) -> str:
    """Return torch's name of the module that a node came from, or the node's own."""
    if weights is not None and weights.endswith(".weight"):
        return weights.removesuffix(".weight")
    name = node.name or next(iter(node.output), "") or node.op_type
    if weights is not None and _NUMBERED.fullmatch(name):
        return _WEIGHTS_SUFFIX.sub("", weights.rpartition("/")[2])
    # torch names a node by its scopes, each a full or a last part: /layer1/layer1.0/conv1/Conv.
    match = re.fullmatch(r"/(.+)/[A-Z]\w*", name)
    if match is None:
        return name.strip("/") or node.op_type
    whole = previous = ""
    for scope in match[1].split("/"):
        if previous and scope.startswith(f"{previous}."):
            whole = whole.removesuffix(previous) + scope
        else:
            whole = f"{whole}.{scope}" if whole else scope
        previous = scope
    return whole


class _Reader:
    """One model on its way into a builder."""

    def __init__(self, model: ModelProto, name: str) -> None:
        self._graph = model.graph
        self._opset = {entry.domain: entry.version for entry in model.opset_import}
        self._name = name
        self._problems: list[str] = []
        self._unknown: dict[str, list[str]] = {}
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self._sizes = {value.name: _size(value)
                       for value in (*inferred.value_info, *inferred.output)}
        self._constants: dict[str, Array] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in self._graph.initializer}
        self._values: dict[str, Value] = {}
        self._uses = Counter(name for node in self._graph.node for name in node.input)
        self._uses.update(output.name for output in self._graph.output)

    def read(self) -> FloatGraph:
        """Translate all operators, and raise all refusals as one."""
        builder, batch = self._begin()
        self._operands = Operands(builder, batch, self._opset.get("", 1))
        for node in self._graph.node:
            self._translate(node)
        problems = unknown_operators(self._unknown) + self._problems
        if problems:
            raise UnsupportedModel(self._name, problems, SUPPORTED if self._unknown else ())
        output = self._values.get(self._graph.output[0].name)
        if output is None:
            raise NetworkError(f"{self._name}: the output does not depend on the image")
        try:
            graph = builder.finish(output)
        except Refusal as refusal:
            raise UnsupportedModel(self._name, [f"the output: {refusal}"]) from None
        return graph

    def _begin(self) -> tuple[GraphBuilder, int]:
        """Return a builder for the model's input, and the batch of the model."""
        inputs = [value for value in self._graph.input if value.name not in self._constants]
        if len(inputs) != 1 or len(self._graph.output) != 1:
            raise UnsupportedModel(self._name, [
                f"a model must have one input and one output, not {len(inputs)} and "
                f"{len(self._graph.output)}"])
        name, size = inputs[0].name, _size(inputs[0])
        shown = "×".join(map(str, size))
        if len(size) != 4:
            raise UnsupportedModel(self._name, [
                f"input {name!r} must be images (batch, channels, height, width), "
                f"not of shape {shown or 'unknown'}"])
        batch, *sample = size
        fixed = [n for n in sample if isinstance(n, int) and n > 0]
        if len(fixed) != 3:
            raise NetworkError(f"{self._name}: the size of input {name!r} must be fixed but for "
                               f"the batch, not {shown}; export the model for one image size")
        takers = [node for node in self._graph.node if name in node.input]
        last = bool(takers) and all(
            node.op_type == "Transpose" and list(_attributes(node).get("perm", [])) ==
            _CHANNELS_FIRST for node in takers)
        shape = (fixed[2], fixed[0], fixed[1]) if last else (fixed[0], fixed[1], fixed[2])
        builder = GraphBuilder(self._name, shape)
        if last:
            builder.notes.append("The model takes images with the channels last; here they come "
                                 "first.")
        self._bind(name, Value(layer=IntegerNetwork.IMAGE, shape=shape,
                               axes="NHWC" if last else "NCHW"))
        return builder, batch if isinstance(batch, int) and batch > 0 else 1

    @staticmethod
    def _known(node: NodeProto) -> bool:
        return node.domain in _STANDARD_DOMAINS and node.op_type in SUPPORTED

    def _folds(self, node: NodeProto) -> bool:
        """Compute a node whose operands are all constant; return whether it was one."""
        if all(name in self._constants for name in node.output):
            return True
        wanted = [name for name in node.input if name]
        if node.domain not in _STANDARD_DOMAINS or any(
                name not in self._constants for name in wanted):
            return False
        if node.op_type == "ConstantOfShape":
            count = float(np.prod(self._constants[wanted[0]].astype(float)))
            if count > _LARGEST_CONSTANT:
                self._problems.append(f"ConstantOfShape {node.name!r}: a constant must have at "
                                      f"most {_LARGEST_CONSTANT} numbers, not {count:.3g}")
                return True
        try:
            results = _compute(node, self._constants, self._opset)
        except Exception:  # the reference implementation documents no closed list
            return False
        self._constants.update(zip(node.output, results, strict=True))
        return True

    def _translate(self, node: NodeProto) -> None:
        """Hand one operator to the builder, or note why that cannot be."""
        if node.op_type == "Shape" and node.input[0] in self._values:
            dims = self._operands.batch, *self._values[node.input[0]].dims
            first, last = (_attributes(node).get(key) for key in ("start", "end"))
            self._constants[node.output[0]] = np.array(dims[first:last], np.int64)
            return
        if self._folds(node):
            return
        inputs = [self._operand(name) for name in node.input]
        if not self._known(node):
            label = ".".join(filter(None, (node.domain, node.op_type)))
            self._unknown.setdefault(label, []).append(node.name or next(iter(node.output), ""))
        if any(x is None and name for x, name in zip(inputs, node.input, strict=True)):
            return  # what is behind a refused operator of unknown shape is not judged
        weights = next((name for name in node.input[1:2] if name in self._constants), None)
        site = Site(node.op_type, node.name or next(iter(node.output), ""),
                    _module_name(node, weights))
        if not self._known(node):
            self._stand_in(node, site)
        elif node.op_type in _PROBABILITIES:
            self._drop(node)
        else:
            self._handle(node, site, HANDLERS[node.op_type], inputs)

    def _drop(self, node: NodeProto) -> None:
        """Leave out a softmax at the end: it does not change the order of the classes."""
        if node.output[0] != self._graph.output[0].name:
            self._problems.append(f"{node.op_type} {node.name!r}: it is supported only at the end, "
                                  "where it is left out")
            return
        self._operands.builder.notes.append(
            f"{node.op_type} at the end is left out: the order of the classes is the same.")
        self._values[node.output[0]] = self._values[node.input[0]]

    def _handle(
        self, node: NodeProto, site: Site, handler: Callable[..., Value],
        inputs: list[Value | Array | None],
    ) -> None:
        try:
            result = handler(self._operands, site, inputs, _attributes(node))
        except (Refusal, NetworkError) as refusal:
            self._problems.append(site.problem(refusal))
            self._stand_in(node, site)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            self._problems.append(site.problem(f"its operands or attributes are not valid ONNX: "
                                               f"{type(error).__name__} {error}"))
        else:
            self._bind(node.output[0], result)

    def _stand_in(self, node: NodeProto, site: Site) -> None:
        """Go on behind a refused operator, where the file tells its output's shape."""
        dims = [n if isinstance(n, int) else None for n in self._sizes.get(node.output[0], [None])]
        first = self._operand(node.input[0]) if node.input else None
        value = self._operands.builder.stand_in(
            site, dims[1:], first.axes if isinstance(first, Value) else "NCHW")
        if value is not None:
            self._bind(node.output[0], value)

    def _operand(self, name: str) -> Value | Array | None:
        return self._values.get(name, self._constants.get(name))

    def _bind(self, name: str, value: Value) -> None:
        """Give a tensor its value; it is shared if several operators take it."""
        shared = value.shared or self._uses[name] > 1
        self._values[name] = Value(**{**value.__dict__, "shared": shared})


def _attributes(node: NodeProto) -> dict[str, Any]:
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode(errors="replace") if isinstance(value, bytes) else value
            for name, value in values.items()}


def _compute(
    node: NodeProto, constants: dict[str, Array], opset: dict[str, int],
) -> list[Array]:
    wanted = [name for name in node.input if name]
    evaluator = ReferenceEvaluator(node, opsets=opset)
    results = evaluator.run(None, {name: constants[name] for name in wanted})
    return [np.asarray(result) for result in results]
