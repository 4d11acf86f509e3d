"""A compiled layer: its parts, and what the host loads and reads for each."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler import container
from smartdeal.compiler.errors import ProgramFormatError
from smartdeal.compiler.image import Section, check_header, pack_activations, write_image
from smartdeal.compiler.layout import InputLayout
from smartdeal.golden.files import write_whole
from smartdeal.golden.packed import pack_signs, planes, unpack_signs
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind

__all__ = ["Part", "Program"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One run of the accelerator: some output rows of some output channels.

    The activation buffer holds the input window from word 0, then the residual, then the output.
    Residual and output have one region of ``channel_words`` words per channel, in stream
    positions: output (y, x) of the strip is byte skip + y · pitch + x.

    Parameters
    ----------
    image : bytes
        Program image.
    config : AcceleratorConfig
    layout : InputLayout
        Of the input window.
    first_row, rows : int
        Output rows.
    first_channel, channels : int
        Output channels.
    width : int
        Output columns.
    skip : int
        Stream position of output (0, 0).
    input_words, channel_words : int
        Words of the input window, and of one output channel.
    residual : bool
    residual_fill : int
        Byte between the rows of a residual.
    output_shape : (M, Ho, Wo)
        Of the whole layer.
    input_bits : int
        Channels of a binary input, eight to a byte; 0 if it is not binary.
    packed : bool
        Whether the output is binary, eight channels to a byte.
    stored_steps : int
        Steps in the weight buffer.
    executed_steps : int
        Steps that run: the stored ones once per tile.
    """

    image: bytes
    config: AcceleratorConfig
    layout: InputLayout
    first_row: int
    rows: int
    first_channel: int
    channels: int
    width: int
    skip: int
    input_words: int
    channel_words: int
    residual: bool
    residual_fill: int
    output_shape: tuple[int, int, int]
    stored_steps: int
    executed_steps: int
    input_bits: int = 0
    packed: bool = False

    @property
    def residual_word(self) -> int:
        """First word of the residual, if there is one."""
        return self.input_words

    @property
    def output_word(self) -> int:
        """First word of the output region."""
        return self.input_words + (self.residual_words if self.residual else 0)

    @property
    def residual_words(self) -> int:
        """Words of the residual, if there is one."""
        return self.channels * self.channel_words

    @property
    def output_words(self) -> int:
        """Words of the output region."""
        return (planes(self.channels) if self.packed else self.channels) * self.channel_words

    def data_image(self, x: NDArray[np.int8], residual: NDArray[np.int8] | None) -> bytes:
        """Return the data image: one section with the input window and the residual.

        Parameters
        ----------
        x : int8 array, (C, H, W)
            The layer's whole input.
        residual : int8 array, (M, Ho, Wo), or None
            The layer's whole residual operand.

        Raises
        ------
        ValueError
            If a shape is wrong, or the residual is missing or not wanted.
        """
        shape = (self.input_bits or self.layout.channels, self.layout.height, self.layout.width)
        if x.shape != shape or x.dtype != np.int8:
            raise ValueError(f"Input must be int8 of shape {shape}, not {x.dtype} of {x.shape}")
        if (residual is not None) != self.residual:
            raise ValueError(f"Residual must be {'given' if self.residual else 'None'} for this "
                             "program")
        if residual is not None and residual.shape != self.output_shape:
            raise ValueError(f"Residual must have shape {self.output_shape}, not "
                             f"{residual.shape}")
        if self.input_bits:
            x = pack_signs(x, 1 if self.layout.fill else -1)
        words = self.input_words + (self.residual_words if residual is not None else 0)
        data = np.full(words * self.config.cols, self.layout.fill, np.int8)
        window = self.layout.pack(x, self.first_row)
        data[:len(window)] = window
        if residual is not None:
            region = self._rows(data[self.residual_word * self.config.cols:], self.channels)
            data[self.residual_word * self.config.cols:] = self.residual_fill
            region[:] = residual[self.first_channel:self.first_channel + self.channels,
                                 self.first_row:self.first_row + self.rows]
        units = pack_activations(data, self.config)
        return write_image(self.config, [Section(SectionKind.ACTIVATIONS, 0, units)],
                           program=False)

    def output(self, region: bytes) -> NDArray[np.int8]:
        """Return the part's output, (channels, rows, width), from the bytes of its region."""
        expected = self.output_words * self.config.cols
        if len(region) != expected:
            raise ValueError(f"Output region must have {expected} bytes, not {len(region)}")
        found = np.frombuffer(region, np.int8)
        if self.packed:
            left = min(self.channels, self.output_shape[0] - self.first_channel)
            return unpack_signs(self._rows(found, planes(self.channels)), left)
        return self._rows(found, self.channels).copy()

    def _rows(self, region: NDArray[np.int8], channels: int) -> NDArray[np.int8]:
        """View the pixels, (channels, rows, width), of a residual or output region."""
        size = self.config.cols * self.channel_words
        return np.lib.stride_tricks.as_strided(
            region[self.skip:], (channels, self.rows, self.width),
            (size, self.layout.pitch, 1), writeable=region.flags.writeable)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A compiled layer.

    Parameters
    ----------
    name : str
        The layer's name.
    config : AcceleratorConfig
        What it was compiled for.
    output_shape : (M, Ho, Wo)
    parts : tuple of Part
        In the order of channels, then rows.
    """

    name: str
    config: AcceleratorConfig
    output_shape: tuple[int, int, int]
    parts: tuple[Part, ...]

    @property
    def steps(self) -> int:
        """Steps that run, over all parts: cycles in which the array is busy."""
        return sum(part.executed_steps for part in self.parts)

    @property
    def image_bytes(self) -> int:
        """Bytes of all program images."""
        return sum(len(part.image) for part in self.parts)

    def assemble(self, regions: Sequence[bytes]) -> NDArray[np.int8]:
        """Put the output together, (M, Ho, Wo), from the bytes of every part's output region.

        Raises
        ------
        ValueError
            If there is not one region per part, of its size.
        """
        if len(regions) != len(self.parts):
            raise ValueError(f"Regions must be {len(self.parts)}, one per part, not "
                             f"{len(regions)}")
        output = np.zeros(self.output_shape, np.int8)
        for part, region in zip(self.parts, regions, strict=True):
            output[part.first_channel:part.first_channel + part.channels,
                   part.first_row:part.first_row + part.rows] = part.output(region)
        return output

    def to_bytes(self) -> bytes:
        """Return the program file: a JSON manifest and the images, checksummed."""
        manifest = {
            "name": self.name,
            "config": self.config.as_dict(),
            "output_shape": list(self.output_shape),
            "parts": [_part_fields(part) for part in self.parts],
        }
        return container.pack(manifest, [part.image for part in self.parts])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a program file.

        Raises
        ------
        ProgramFormatError
            If the file is not a program, is damaged, or of another version.
        """
        manifest, images = container.unpack(data)
        if "kind" in manifest:
            raise ProgramFormatError(f"holds a whole {manifest['kind']}, not a single layer")
        with container.reading("manifest"):
            config = AcceleratorConfig(**manifest["config"])
            m, height, width = map(int, manifest["output_shape"])
            name = str(manifest["name"])
            entries = list(manifest["parts"])
            if len(entries) != len(images):
                raise ValueError(f"{len(entries)} parts have {len(images)} images")
        parts: list[Part] = []
        for number, (values, image) in enumerate(zip(entries, images, strict=True)):
            with container.reading(f"part {number}"):
                check_header(image, config)
                kernel_h, kernel_w = map(int, values["layout"]["kernel"])
                layout = InputLayout(**{**values["layout"], "kernel": (kernel_h, kernel_w)})
                values = {**values, "layout": layout, "output_shape": (m, height, width)}
                parts.append(Part(**values, image=image, config=config))
        return cls(name=name, config=config, output_shape=(m, height, width), parts=tuple(parts))

    def save(self, path: Path) -> None:
        """Write the program file; a reader never sees half of it."""
        write_whole(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a program file from disk.

        Raises
        ------
        ProgramFormatError
            If it cannot be read, or is not a program; the message names the file.
        """
        with container.naming(path):
            return cls.from_bytes(container.read(path))


def _part_fields(part: Part) -> dict[str, Any]:
    """Return what the manifest says about a part: all but image and configuration."""
    values = {field.name: getattr(part, field.name) for field in fields(part)}
    for shared in ("image", "config", "output_shape"):
        del values[shared]
    return {**values, "layout": asdict(part.layout)}
