"""A compiled network: its segments, and where the host finds image and tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler import container
from smartdeal.compiler.errors import ProgramFormatError
from smartdeal.compiler.image import Section, pack_activations, write_image
from smartdeal.compiler.views import Scalar, View
from smartdeal.golden.files import write_whole
from smartdeal.golden.layers import IntegerNetwork, TensorScale
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind, section_format

__all__ = ["KIND", "LayerInfo", "NetworkProgram", "SpilledBlock", "gather_blocks"]

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
class SpilledBlock:
    """Where one EXTERNAL layer writes some tiles of some channels of a tensor.

    Parameters
    ----------
    offset : int
        Byte of the region.
    first, valid, stop : int
        Tiles of the tensor's stream: the first one that is written, the first that is right, the
        end.
    channel, channels : int
        The first channel, and how many.
    group : int
        Channels of a group; the last one may have fewer.
    """

    offset: int
    first: int
    valid: int
    stop: int
    channel: int
    channels: int
    group: int


@dataclass(frozen=True, kw_only=True)
class NetworkProgram:
    """A compiled network.

    To run it: load :meth:`input_image`, then load and start the segments one after the other, then
    read the words of an output. With the feature ``memory``: put :meth:`region` in system memory,
    load and start the one segment, then :meth:`read` an output.

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
    memory : bytes
        The constants at the beginning of the region of system memory: instructions, tables.
    memory_bytes : int
        Bytes of the whole region; 0 for a program without system memory.
    image_offsets : tuple of int
        Bytes of the region at which the views of the image lie, by ``inputs``.
    spilled : dict of tuple of SpilledBlock
        By name, the outputs that lie in the region.
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
    memory: bytes = field(default=b"", repr=False)
    memory_bytes: int = 0
    image_offsets: tuple[int, ...] = ()
    spilled: Mapping[str, tuple[SpilledBlock, ...]] = field(default_factory=dict)
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
        self._check_image(x)
        if self.memory_bytes:
            raise ValueError("Image of a program with system memory must be put in its region, not "
                             "in a data image")
        regions = [(view.base, view.pack(x)) for view in self.inputs]
        if clear:
            whole = np.zeros(self.used_words * self.config.cols, np.int8)
            for base, data in regions:
                whole[base * self.config.cols:][:len(data)] = data
            regions = [(0, whole)]
        return write_image(self.config, [
            Section(SectionKind.ACTIVATIONS, base, pack_activations(data, self.config))
            for base, data in regions], program=False)

    def region(
        self, x: NDArray[np.int8], *, noise: np.random.Generator | None = None,
    ) -> bytearray:
        """Return what the region of system memory holds before the program starts.

        Parameters
        ----------
        x : int8 array, :attr:`input_shape`
        noise : Generator, optional
            Fills what the program writes before it reads, to prove that it does; zeros otherwise.

        Raises
        ------
        ValueError
            If the program has no region, or shape or type of the image is wrong.
        """
        self._check_image(x)
        if not self.memory_bytes:
            raise ValueError("Program must have a region of system memory, not only images; "
                             "compile with memory = true")
        region = bytearray(self.memory_bytes) if noise is None else bytearray(
            noise.bytes(self.memory_bytes))
        region[:len(self.memory)] = self.memory
        for view, offset in zip(self.inputs, self.image_offsets, strict=True):
            units = pack_activations(view.pack(x), self.config)
            region[offset:offset + len(units)] = units
        return region

    def read(
        self, name: str, activations: bytes, region: bytes | bytearray,
    ) -> NDArray[np.int8]:
        """Return a tensor, (channels, height, width), after a run.

        Parameters
        ----------
        activations : bytes
            The activation buffer from word 0 on, :attr:`used_words` words or more.
        region : bytes-like
            The region of system memory.
        """
        view, cols = self._output(name), self.config.cols
        if name not in self.spilled:
            return view.unpack(bytes(activations[view.base * cols:view.stop * cols]))
        stream = gather_blocks(view, self.spilled[name], np.frombuffer(region, np.int8),
                               self.config)
        return view.gather(stream)

    def _check_image(self, x: NDArray[np.int8]) -> None:
        if x.shape != self.input_shape or x.dtype != np.int8:
            raise ValueError(f"Image must be int8 of shape {self.input_shape}, not {x.dtype} of "
                             f"shape {x.shape}")

    def tensor(self, name: str, region: bytes) -> NDArray[np.int8]:
        """Return a tensor, (channels, height, width), from the bytes of its words."""
        return self._output(name).unpack(region)

    def words(self, name: str) -> tuple[int, int]:
        """Return first word and number of words of a tensor in the activation buffer."""
        view = self._output(name)
        if name in self.spilled:
            raise ValueError(f"Tensor must lie in the activation buffer, but {name!r} lies in "
                             "system memory; use read")
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
            "memory": {
                "bytes": self.memory_bytes, "image_offsets": list(self.image_offsets),
                "spilled": {name: [asdict(block) for block in blocks]
                            for name, blocks in self.spilled.items()}},
            "scales": {name: asdict(scale) for name, scale in self.scales.items()},
            "about": dict(self.about),
        }
        return container.pack(manifest, [*self.segments, self.memory])

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
            *images, constants = images
            memory = manifest["memory"]
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
                used_words=int(manifest["used_words"]), memory=constants,
                memory_bytes=int(memory["bytes"]),
                image_offsets=tuple(map(int, memory["image_offsets"])),
                spilled={name: tuple(SpilledBlock(**values) for values in blocks)
                         for name, blocks in memory["spilled"].items()},
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


def gather_blocks(
    view: View, blocks: Sequence[SpilledBlock], region: NDArray[Scalar],
    config: AcceleratorConfig,
) -> NDArray[Scalar]:
    """Return a spilled view as it would lie on chip, (words · cols,).

    Parameters
    ----------
    region : array, (bytes,)
        The region of system memory; elements of any type in place of bytes.
    """
    unit = section_format(SectionKind.ACTIVATIONS, config).unit_bytes(config.host_bits)
    words = np.zeros((view.words, config.cols), region.dtype)
    for block in blocks:
        tiles, drop = block.stop - block.first, block.valid - block.first
        for first in range(0, block.channels, block.group):
            size = min(block.group, block.channels - first)
            start = block.offset + first * tiles * unit
            units = region[start:start + tiles * size * unit].reshape(tiles, size, unit)
            place = view.gap + block.valid + np.arange(block.stop - block.valid)
            plane = (block.channel + first + np.arange(size)) * view.channel_words
            words[plane[:, None] + place] = units[drop:, :, :config.cols].transpose(1, 0, 2)
    return words.ravel()


def _view(values: Mapping[str, Any]) -> View:
    channels, height, width = map(int, values["shape"])
    phases = tuple((int(p), int(q)) for p, q in values["phases"])
    return View(**{**values, "shape": (channels, height, width), "phases": phases})


def _layer(values: Mapping[str, Any]) -> LayerInfo:
    shapes = {field.name: tuple(map(int, values[field.name])) for field in fields(LayerInfo)
              if field.name.endswith("_shape")}
    return LayerInfo(**{**values, **shapes})
