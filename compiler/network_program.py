"""A compiled network: its segments, and where the host finds image and tensors."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler import container
from smartdeal.compiler.errors import ProgramFormatError
from smartdeal.compiler.image import Section, pack_activations, write_image
from smartdeal.compiler.views import View
from smartdeal.golden.files import write_whole
from smartdeal.golden.layers import IntegerNetwork, TensorScale
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind

__all__ = ["KIND", "LayerInfo", "NetworkProgram"]

#: What the manifest of such a file says.
KIND = "network"


@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """What a network program knows about one of its layers.

    Parameters
    ----------
    name, kind : str
    input_shape, output_shape : (channels, height, width)
    macs : int
        Multiply-accumulates of the dense layer.
    weights : int
        Weights of the dense layer.
    nonzero_terms : int
        Power-of-two coefficients that are not zero.
    vectors, zero_vectors : int
        Activation vectors that the groups of output channels could need, and those that no filter
        of the group has a coefficient for.
    stored_steps, executed_steps : int
        Steps in the weight buffer; those that run, once per tile.
    table_bytes : int
        Bytes of steps, requantisation and basis in the images.
    """

    name: str
    kind: str
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    macs: int
    weights: int
    nonzero_terms: int
    vectors: int
    zero_vectors: int
    stored_steps: int
    executed_steps: int
    table_bytes: int


@dataclass(frozen=True, kw_only=True)
class NetworkProgram:
    """A compiled network.

    To run it: load :meth:`input_image`, then load and start the segments one after the other, then
    read the words of an output.

    Parameters
    ----------
    name : str
    config : AcceleratorConfig
    segments : tuple of bytes
        Program images.
    instructions : tuple of tuple of str
        By segment, the layer that each instruction belongs to.
    inputs : tuple of View
        Where the image lies, in each form that a layer reads.
    outputs : dict of View
        By tensor name, what is readable at the end: the last layer's output, or with ``keep_all``
        every layer's.
    layers : tuple of LayerInfo
    used_words : int
        Words of the activation buffer that the program uses.
    scales : dict of TensorScale
        Of image and outputs.
    about : dict
        JSON values that whoever compiled it wants to find again.
    """

    name: str
    config: AcceleratorConfig
    segments: tuple[bytes, ...]
    instructions: tuple[tuple[str, ...], ...]
    inputs: tuple[View, ...]
    outputs: Mapping[str, View]
    layers: tuple[LayerInfo, ...]
    used_words: int
    scales: Mapping[str, TensorScale] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the image."""
        return self.layers[0].input_shape

    @property
    def output(self) -> str:
        """Name of the network's output tensor."""
        return self.layers[-1].name

    @property
    def instruction_count(self) -> int:
        """Instructions of all segments, each END included."""
        return sum(len(names) + 1 for names in self.instructions)

    @cached_property
    def steps(self) -> int:
        """Steps that run: cycles in which the array is busy."""
        return sum(layer.executed_steps for layer in self.layers)

    def input_image(self, x: NDArray[np.int8], *, clear: bool = False) -> bytes:
        """Return the data image with a network's input.

        Parameters
        ----------
        x : int8 array, :attr:`input_shape`
        clear : bool
            Whether to write all other words that the program uses too, with zeros; results do not
            depend on it, the bytes between tensors do.

        Raises
        ------
        ValueError
            If shape or type is wrong.
        """
        if x.shape != self.input_shape or x.dtype != np.int8:
            raise ValueError(f"Image must be int8 of shape {self.input_shape}, not {x.dtype} of "
                             f"shape {x.shape}")
        regions = [(view.base, view.pack(x)) for view in self.inputs]
        if clear:
            whole = np.zeros(self.used_words * self.config.cols, np.int8)
            for base, data in regions:
                whole[base * self.config.cols:][:len(data)] = data
            regions = [(0, whole)]
        return write_image(self.config, [
            Section(SectionKind.ACTIVATIONS, base, pack_activations(data, self.config))
            for base, data in regions], program=False)

    def tensor(self, name: str, region: bytes) -> NDArray[np.int8]:
        """Return a tensor, (channels, height, width), from the bytes of its region."""
        return self._output(name).unpack(region)

    def words(self, name: str) -> tuple[int, int]:
        """Return first word and number of words of a tensor's region."""
        view = self._output(name)
        return view.base, view.words

    def _output(self, name: str) -> View:
        if name not in self.outputs:
            raise ValueError(f"Tensor must be one of {', '.join(self.outputs)}, not {name!r}; "
                             "compile with keep_all to read every tensor")
        return self.outputs[name]

    def to_bytes(self) -> bytes:
        """Return the program file: a JSON manifest and the images, checksummed."""
        manifest = {
            "kind": KIND, "name": self.name, "config": self.config.as_dict(),
            "instructions": [list(names) for names in self.instructions],
            "inputs": [asdict(view) for view in self.inputs],
            "outputs": [asdict(view) for view in self.outputs.values()],
            "layers": [asdict(layer) for layer in self.layers],
            "used_words": self.used_words,
            "scales": {name: asdict(scale) for name, scale in self.scales.items()},
            "about": dict(self.about),
        }
        return container.pack(manifest, self.segments)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a program file.

        Raises
        ------
        ProgramFormatError
            If the file is not a network program, is damaged, or of another version.
        """
        manifest, images = container.unpack(data)
        if manifest.get("kind") != KIND:
            raise ProgramFormatError("holds a single layer; make a network with smartdeal compile")
        with container.reading("manifest"):
            names = tuple(tuple(map(str, names)) for names in manifest["instructions"])
            if len(names) != len(images):
                raise ValueError(f"{len(names)} segments have {len(images)} images")
            outputs = [_view(values) for values in manifest["outputs"]]
            layers = tuple(_layer(values) for values in manifest["layers"])
            if not layers or layers[-1].name not in {view.tensor for view in outputs}:
                raise ValueError("there is no output")
            return cls(
                name=str(manifest["name"]), config=AcceleratorConfig(**manifest["config"]),
                segments=tuple(images), instructions=names,
                inputs=tuple(_view(values) for values in manifest["inputs"]),
                outputs={view.tensor: view for view in outputs}, layers=layers,
                used_words=int(manifest["used_words"]),
                scales={name: TensorScale(**values)
                        for name, values in manifest["scales"].items()},
                about=dict(manifest["about"]))

    def save(self, path: Path) -> None:
        """Write the program file; a reader never sees half of it."""
        write_whole(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a program file from disk.

        Raises
        ------
        ProgramFormatError
            If it cannot be read, or is not a network program; the message names the file.
        """
        with container.naming(path):
            return cls.from_bytes(container.read(path))

    def quantise(self, image: NDArray[np.floating]) -> NDArray[np.int8]:
        """Return the activations of a real image, (C, H, W)."""
        return self.scales[IntegerNetwork.IMAGE].quantise(image)


def _view(values: Mapping[str, Any]) -> View:
    channels, height, width = map(int, values["shape"])
    phases = tuple((int(p), int(q)) for p, q in values["phases"])
    return View(**{**values, "shape": (channels, height, width), "phases": phases})


def _layer(values: Mapping[str, Any]) -> LayerInfo:
    shapes = {field.name: tuple(map(int, values[field.name])) for field in fields(LayerInfo)
              if field.name.endswith("_shape")}
    return LayerInfo(**{**values, **shapes})
