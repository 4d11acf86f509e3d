"""The proof for what a LAYER reads: every byte that goes into its output."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.external.proof_memories import Memories, Refusal, fill_token
from smartdeal.compiler.schedule import Stage
from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.golden.forms import BasisWeights
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["Claim", "Reads"]

#: Bytes that are compared at a time.
_CHUNK = 1 << 22


@dataclass(frozen=True, eq=False)
class Claim:
    """What a LAYER is said to compute.

    Parameters
    ----------
    stage : Stage
    groups : (first, end)
        Groups of output channels.
    tile : int
        Tile of the stream with which it begins.
    """

    stage: Stage
    groups: tuple[int, int]
    tile: int


class Reads:
    """The stream of one LAYER, and what it reads.

    Parameters
    ----------
    claim : Claim
    fields : dict of int
    numbers : mapping of str to int
        The token of each tensor's first pixel.
    shapes : mapping of str to (channels, height, width)
    memories : Memories
    """

    def __init__(
        self, claim: Claim, fields: dict[str, int], numbers: Mapping[str, int],
        shapes: Mapping[str, tuple[int, int, int]], memories: Memories,
    ) -> None:
        self.claim, self.stage, self.fields = claim, claim.stage, fields
        self.numbers, self.shapes, self.memories = numbers, shapes, memories
        self.config: AcceleratorConfig = memories.config
        self.name, self.lag = self.stage.layer.name, self.stage.lowering.lag
        group = self.stage.lowering.group
        last = min(claim.groups[1] * group, self.stage.layer.output_shape[0])
        self.channels = np.arange(claim.groups[0] * group, last)

    @cached_property
    def length(self) -> int:
        """Stream positions."""
        return self.fields["tiles"] * self.config.cols

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """Whether a stream position is output, (positions,)."""
        fields, i = self.fields, np.arange(self.length)
        return ((i >= fields["skip"]) & (i < fields["end"])
                & ((fields["start_column"] + i) % fields["pitch"] < fields["width"]))

    @cached_property
    def right(self) -> NDArray[np.int64]:
        """Stream positions that are output, and whose basis looks back at what there is."""
        positions = np.flatnonzero(self.inside)
        return positions[positions >= self.lag]

    @cached_property
    def pixels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of :attr:`right`."""
        place = self.claim.tile * self.config.cols + self.right - self.lag
        row, column = np.divmod(place, self.fields["pitch"])
        rows, columns = self.stage.size
        if np.any((row < 0) | (row >= rows) | (column >= columns)):
            raise Refusal(self.name, "it stores pixels that the output does not have")
        return row, column

    def _reads(
        self, taps: NDArray[np.int64], flats: NDArray[np.int64],
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int, int, int]]:
        """Yield channels and addresses by kernel row, kernel column, and lag."""
        stage, weights = self.stage, self.stage.layer.weights
        kernel = stage.kernel
        channel, rest = np.divmod(taps, kernel[0] * kernel[1])
        row, column = np.divmod(rest, kernel[1])
        along = isinstance(weights, BasisWeights) and weights.axis == "kernel"
        for r in range(kernel[0]):
            for q in range(kernel[1]):
                chosen = (row == r) & (column == q)
                if not np.any(chosen):
                    continue
                for lag in range(self.lag + 1 if along else 1):
                    # The sums of column phase q are column q + stride · (reach - lag).
                    s = q + stage.stride * (self.lag - lag) if along else q
                    if s < (BASIS_SIZE if along else kernel[1]):
                        yield channel[chosen], flats[chosen], r, s, lag

    def check_source(
        self, taps: NDArray[np.int64], flats: NDArray[np.int64], furthest: int,
    ) -> NDArray[np.bool_]:
        """Check every byte that goes into an output; return the words that are read.

        Parameters
        ----------
        taps, flats, furthest
            From :meth:`smartdeal.compiler.external.proof_tables.Tables.steps`.
        """
        stage, cols = self.stage, self.config.cols
        flat = self.memories.activations.reshape(-1)
        tensor, _, fill = stage.source
        _, height, width = self.shapes[tensor]
        row, column = self.pixels
        base = self.fields["input_base"] * cols
        words = np.zeros(len(self.memories.activations) + 1, np.int64)
        # Whole vectors are read, those of steps without coefficients too.
        if furthest + base + self.length > len(flat):
            raise Refusal(self.name, "it reads outside of the activation buffer")
        if len(self.right) == 0:
            return words[:-1] > 0
        for channels, places, r, s, lag in self._reads(taps, flats):
            y, x = row * stage.stride + r - stage.top, column * stage.stride + s - stage.left
            there = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            pixel = self.numbers[tensor] + y * width + x
            first, last = (base + places + int(self.right[end]) - lag for end in (0, -1))
            np.add.at(words, first // cols, 1)
            np.subtract.at(words, last // cols + 1, 1)
            size = max(1, _CHUNK // len(self.right))
            for start in range(0, len(channels), size):
                part = slice(start, start + size)
                found = flat[base + places[part, None] + self.right - lag]
                expected = np.where(there, channels[part, None] * height * width + pixel,
                                    fill_token(fill))
                if np.any(found != expected):
                    tap, position = np.argwhere(found != expected)[0]
                    place = int(base + places[start + tap] + self.right[position]) - lag
                    raise Refusal(
                        self.name, f"byte {place} of the activation buffer is not pixel "
                        f"({channels[start + tap]}, {y[position]}, {x[position]}) of {tensor} or "
                        "its padding")
        return np.cumsum(words[:-1]) > 0

    def check_residual(self) -> None:
        """Check the residual operand of every output."""
        stage, fields, cols = self.stage, self.fields, self.config.cols
        if stage.residual is None or len(self.right) == 0:
            return
        tensor = stage.residual[0]
        _, height, width = self.shapes[tensor]
        row, column = self.pixels
        base = ((fields["residual_base"] + np.arange(len(self.channels))
                 * fields["residual_stride"]) * cols + fields["residual_lane"])
        place = base[:, None] + self.right
        flat = self.memories.activations.reshape(-1)
        if base.max() + self.length > len(flat):
            raise Refusal(self.name, "its residual operand is not in the activation buffer")
        expected = (self.numbers[tensor] + self.channels[:, None] * height * width + row * width
                    + column)
        if np.any(flat[place] != expected):
            raise Refusal(self.name, f"its residual operand is not {tensor}")
