"""A compiled network: its segments, and where the host finds image and tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler import container
from smartdeal.compiler.image import Section, pack_activations, write_image
from smartdeal.compiler.network_file import KIND, manifest, read_fields
from smartdeal.compiler.network_info import LayerInfo, SpilledBlock, gather_blocks
from smartdeal.compiler.occupancy import Occupancy
from smartdeal.compiler.views import View
from smartdeal.golden.files import write_whole
from smartdeal.golden.layers import IntegerNetwork, TensorScale
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind

__all__ = ["KIND", "LayerInfo", "NetworkProgram", "SpilledBlock"]

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
    occupancy : tuple of Occupancy
        What the activation buffer holds, from which instruction to which.
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
    occupancy: tuple[Occupancy, ...] = ()
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
        """Return the program file: a JSON manifest, the images and the constants, checksummed."""
        return container.pack(manifest(self), [*self.segments, self.memory])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a program file.

        Raises
        ------
        ProgramFormatError
            If the file is not a network program, is damaged, or of another version.
        """
        return cls(**read_fields(data))

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
