"""Torch modules and ``torch.export`` archives as float graphs.

:func:`import_module` takes a module, :func:`import_exported` a .pt2 file. Both read the same data.
"""

import io
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smartdeal.compiler.importers.archive import Node, Program, Reference, read_archive
from smartdeal.compiler.importers.builder import GraphBuilder
from smartdeal.compiler.importers.drop_ins import plain_module, with_forms
from smartdeal.compiler.importers.errors import Refusal, UnsupportedModel, unknown_operators
from smartdeal.compiler.importers.exported_operators import (
    CONSTANTS,
    HANDLERS,
    IGNORED,
    PROBABILITIES,
    Call,
)
from smartdeal.compiler.importers.values import Array, Site, Value
from smartdeal.golden.form_layers import form_layers
from smartdeal.golden.graph import FloatGraph, Shape
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.networks import NetworkError

__all__ = ["SUPPORTED", "import_exported", "import_module"]

#: Operators of torch that a model may have, as a user knows them.
SUPPORTED = tuple(sorted(name for name in (*HANDLERS, *PROBABILITIES) if name[0] != "_"))

_KNOWN = {*HANDLERS, *PROBABILITIES, *CONSTANTS, *IGNORED}


def import_module(module: nn.Module, input_shape: Shape, name: str | None = None) -> FloatGraph:
    """Take over a torch module, by way of ``torch.export``.

    Parameters
    ----------
    module : nn.Module
        In evaluation mode; maps images (B, C, H, W) to (B, classes). Drop-in layers
        (:mod:`smartdeal.golden.convert`) keep their forms.
    input_shape : (channels, height, width)
    name : str, optional
        For messages (default: the class's name).

    Returns
    -------
    FloatGraph
        Its layers have torch's names.

    Raises
    ------
    UnsupportedModel
        If the accelerator cannot run it; the message lists every reason.
    NetworkError
        If torch cannot export it, or a drop-in layer's form does not go with what it is called
        with.
    """
    name = name or type(module).__name__
    if module.training:
        raise NetworkError(f"{name} must be in evaluation mode; call eval() first")
    plain, buffer = plain_module(module), io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about its own code
            exported = torch.export.export(plain, (torch.zeros(1, *input_shape),))
            torch.export.save(exported, buffer)
    except Exception as error:  # torch documents no closed list
        reason = str(error).strip().splitlines()
        raise NetworkError(f"{name} cannot be exported by torch for images of shape "
                           f"{tuple(input_shape)}: "
                           f"{reason[0] if reason else type(error).__name__}") from error
    buffer.seek(0)
    return with_forms(_Reader(read_archive(buffer, name), name).read(), form_layers(module))


def import_exported(path: Path) -> FloatGraph:
    """Read a file that ``torch.export.save`` wrote; nothing in it is executed.

    Raises
    ------
    UnsupportedModel
        If the accelerator cannot run it; the message lists every reason.
    NetworkError
        If the file cannot be read, or the size of its input is not fixed.
    """
    return _Reader(read_archive(path, str(path)), path.stem).read()


def _base(target: str) -> str:
    """Return an operator's name without library, overload and the mark of working in place."""
    library, _, rest = target.partition(".")
    return rest.partition(".")[0].removesuffix("_") if library == "aten" else target


def _without_aliases(nodes: list[Node]) -> list[Node]:
    """Let what follows an operator that works in place take its result."""
    current: dict[str, str] = {}

    def rename(argument: Any) -> Any:
        if isinstance(argument, list):
            return [rename(item) for item in argument]
        if isinstance(argument, Reference):
            return Reference(current.get(argument.name, argument.name), argument.tensor)
        return argument

    renamed: list[Node] = []
    for node in nodes:
        before = node.arguments.get("self", node.arguments.get("input"))
        node = replace(node, arguments={k: rename(v) for k, v in node.arguments.items()})
        if node.target.split(".")[1:2] and node.target.split(".")[1].endswith("_") and isinstance(
                before, Reference):
            for name in [n for n, now in current.items()
                         if now == current.get(before.name, before.name)]:
                current[name] = node.outputs[0]
            current[before.name] = node.outputs[0]
        renamed.append(node)
    return renamed


def _references(argument: Any) -> list[str]:
    if isinstance(argument, list):
        return [name for item in argument for name in _references(item)]
    return [argument.name] if isinstance(argument, Reference) and argument.tensor else []


class _Reader:
    """One program on its way into a builder."""

    def __init__(self, program: Program, name: str) -> None:
        self._program = program
        self._nodes = _without_aliases(program.nodes)
        self._name = name
        self._problems: list[str] = []
        self._values: dict[str, Value | Array] = {
            tensor: program.weights[parameter]
            for tensor, parameter in program.parameters.items() if parameter in program.weights}
        self._uses = Counter(
            reference for node in self._nodes for argument in node.arguments.values()
            for reference in _references(argument))
        self._uses.update(program.outputs)

    def read(self) -> FloatGraph:
        """Translate all operators, and raise all refusals as one."""
        builder, batch = self._begin()
        for node in self._nodes:
            self._translate(node, builder, batch)
        unknown = self._unknown()
        if unknown or self._problems:
            raise UnsupportedModel(self._name, unknown + self._problems,
                                   SUPPORTED if unknown else ())
        output = self._values.get(self._program.outputs[0])
        if not isinstance(output, Value):
            raise NetworkError(f"{self._name}: the output does not depend on the image")
        try:
            graph = builder.finish(output)
        except Refusal as refusal:
            raise UnsupportedModel(self._name, [f"the output: {refusal}"]) from None
        return graph

    def _begin(self) -> tuple[GraphBuilder, int]:
        """Return a builder for the model's input, and the batch of the model."""
        inputs, outputs = self._program.inputs, self._program.outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise UnsupportedModel(self._name, [
                f"a model must have one input and one output, not {len(inputs)} and "
                f"{len(outputs)}"])
        size = self._program.sizes[inputs[0]]
        shown = "×".join("?" if n is None else str(n) for n in size)
        if len(size) != 4:
            raise UnsupportedModel(self._name, [
                f"input {inputs[0]!r} must be images (batch, channels, height, width), "
                f"not of shape {shown}"])
        batch, *sample = size
        fixed = [n for n in sample if n is not None]
        if len(fixed) != 3:
            raise NetworkError(f"{self._name}: the size of input {inputs[0]!r} must be fixed but "
                               f"for the batch, not {shown}; export the model for one image size")
        shape = fixed[0], fixed[1], fixed[2]
        self._bind(inputs[0], Value(layer=IntegerNetwork.IMAGE, shape=shape))
        return GraphBuilder(self._name, shape), batch or 1

    def _unknown(self) -> list[str]:
        """Return a problem for each type of operator that is not supported."""
        unknown: dict[str, list[str]] = {}
        for node in self._nodes:
            if _base(node.target) not in _KNOWN:
                unknown.setdefault(_base(node.target), []).append(node.layer)
        return unknown_operators(unknown)

    def _translate(self, node: Node, builder: GraphBuilder, batch: int) -> None:
        """Hand one operator to the builder, or note why that cannot be."""
        base = _base(node.target)
        names = [name for argument in node.arguments.values() for name in _references(argument)]
        if base in IGNORED or any(name not in self._values for name in names):
            return  # what is behind a refused operator of unknown shape is not judged
        site = Site(base, node.layer, self._layer(node))
        operands = [self._values[name] for name in names]
        handlers = HANDLERS if any(isinstance(x, Value) for x in operands) else CONSTANTS
        handler: Callable[[Call], Value | Array] | None = handlers.get(base, CONSTANTS.get(base))
        if base in PROBABILITIES:
            self._drop(site, node, builder)
            return
        try:
            if handler is not None:
                arguments = {name: self._resolve(argument, batch)
                             for name, argument in node.arguments.items()}
                self._bind(node.outputs[0], handler(Call(builder, batch, site, arguments)))
                return
            if base in _KNOWN:
                raise Refusal("it is not supported on constants")
        except (Refusal, NetworkError) as refusal:
            self._problems.append(site.problem(refusal))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            self._problems.append(site.problem(f"its arguments are not those of torch: "
                                               f"{type(error).__name__} {error}"))
        self._stand_in(node, site, builder)

    def _stand_in(self, node: Node, site: Site, builder: GraphBuilder) -> None:
        """Go on behind a refused operator, where the program tells its output's shape."""
        dims = self._program.sizes.get(next(iter(node.outputs), ""), (None,))
        value = builder.stand_in(site, dims[1:], "NCHW")
        if value is not None:
            self._bind(node.outputs[0], value)

    def _drop(self, site: Site, node: Node, builder: GraphBuilder) -> None:
        """Leave out a softmax at the end: it does not change the order of the classes."""
        if node.outputs[0] != self._program.outputs[0]:
            self._problems.append(site.problem("it is supported only at the end, where it is left "
                                               "out"))
            return
        builder.notes.append(
            f"{site.operator} at the end is left out: the order of the classes is the same.")
        source, = _references(node.arguments.get("self", node.arguments.get("input")))
        self._values[node.outputs[0]] = self._values[source]

    def _resolve(self, argument: Any, batch: int) -> Any:
        """Return an argument with tensors in place of their names."""
        if isinstance(argument, list):
            return [self._resolve(item, batch) for item in argument]
        if isinstance(argument, Reference):
            # All sizes but the batch are fixed.
            return self._values[argument.name] if argument.tensor else batch
        return argument

    def _layer(self, node: Node) -> str:
        """Return the name of a layer that begins with a call: its weights', if it has any."""
        for key in ("weight", "mat2", "other"):
            argument = node.arguments.get(key)
            if isinstance(argument, Reference):
                parameter = self._program.parameters.get(argument.name, "")
                if parameter.endswith(".weight"):
                    return parameter.removesuffix(".weight")
        return node.layer

    def _bind(self, name: str, value: Value | Array) -> None:
        """Give a tensor its value; it is shared if several operators take it."""
        if isinstance(value, Value) and self._uses[name] > 1:
            value = replace(value, shared=True)
        self._values[name] = value
