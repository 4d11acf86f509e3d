"""Strips: a layer in pieces along its stream, and the windows of its operands that they need.

The output of a layer is one stream of tiles. A *strip* is a range of its tiles, so the steps of
all strips are the same, and an operand's *window* is a range of words of every plane: nothing is
ever shifted by bytes. A layer whose basis looks back along the stream begins a strip one tile
earlier, as the filter's state begins at 0; that tile is wrong and nobody reads it.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.occupancy import Span
from smartdeal.compiler.schedule import Stage
from smartdeal.compiler.views import View
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["Copies", "Strips", "Window", "copies_of", "cut", "residual_window", "source_window"]


@dataclass(frozen=True, eq=False)
class Strips:
    """Ranges of tiles, one per strip.

    Parameters
    ----------
    first, valid, stop : int64 array, (strips,)
        The first tile that runs, the first that is right, the end.
    """

    first: NDArray[np.int64]
    valid: NDArray[np.int64]
    stop: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)


def cut(tiles: int, count: int, lag: int) -> Strips:
    """Cut a stream in strips of about equal length.

    Parameters
    ----------
    lag : int
        Stream positions that the basis looks back.
    """
    bounds = np.arange(count + 1) * tiles // count
    first = bounds[:-1] - (bounds[:-1] > 0) * (lag > 0)
    return Strips(first, bounds[:-1], bounds[1:])


@dataclass(frozen=True, eq=False, kw_only=True)
class Window:
    """Words of every plane of a view, for one strip after the other.

    Parameters
    ----------
    view : View
        Of the whole tensor; its base does not matter.
    origin : int64 array, (strips,)
        Word of the stream that stands in the first word of a plane.
    low, high : int64 array, (strips,)
        Words of the stream that must be there; words outside of the stream are padding.
    plane_words : int
        Words from one plane to the next.
    tail : int
        Words behind the last plane that are read, but only in unused bytes of vectors.
    bases : tuple of int
        Addresses in the activation buffer; strips alternate between two.
    """

    view: View
    origin: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    plane_words: int
    tail: int = 0
    bases: tuple[int, ...] = field(default=())

    @cached_property
    def planes(self) -> int:
        """Planes of the view."""
        return self.view.shape[0] * len(self.view.phases)

    @property
    def words(self) -> int:
        """Words of one copy of the window."""
        return self.planes * self.plane_words + self.tail

    def span(self, number: int) -> Span:
        """Return the words of a copy of the window."""
        base = self.bases[number]
        return Span(base, base + self.words, f"window on {self.view.tensor}")

    def placed(self, bases: tuple[int, ...]) -> "Window":
        """Return the window with addresses."""
        return replace(self, bases=bases)

    def plane(self, channel: int, phase: tuple[int, int]) -> int:
        """Return the first word of a plane behind the window's base."""
        phases = self.view.phases
        return (channel * len(phases) + phases.index(phase)) * self.plane_words


def _deltas(stage: Stage, view: View) -> NDArray[np.int64]:
    """Return the byte of a plane's stream that each tap reads at stream position 0, (kh, kw)."""
    offsets = [view.skip + a * view.pitch + b for _, a, b in stage.offsets()]
    return np.array(offsets, np.int64).reshape(stage.kernel)


def source_window(stage: Stage, view: View, strips: Strips, config: AcceleratorConfig) -> Window:
    """Return the window of the view that a layer's steps read."""
    cols, delta = config.cols, _deltas(stage, view)
    lowest = int(delta.min()) // cols
    reach = int((-(-delta // cols)).max())  # of a vector that begins inside a word, two are read
    last = (stage.size[0] - 1) * view.pitch + stage.size[1] + stage.lowering.lag
    low = lowest + strips.first
    high = (int(delta.max()) + np.minimum(last, strips.stop * cols) - 1) // cols + 1
    words = int((strips.stop - strips.first).max()) + reach - lowest
    return Window(view=view, origin=low, low=low, high=high, plane_words=words)


def window_taps(stage: Stage, window: Window, config: AcceleratorConfig) -> NDArray[np.int64]:
    """Return the byte behind the window's base that each tap reads in the strip's first tile.

    Returns
    -------
    int64 array, (channels, kh, kw)
    """
    cols, view = config.cols, window.view
    # The distance from the window's first word to the strip's first tile is the same everywhere.
    taps = _deltas(stage, view) - int(window.origin[0]) * cols
    plane = [window.plane(0, phase) for phase, _, _ in stage.offsets()]
    taps = taps + np.array(plane).reshape(stage.kernel) * cols
    channel = np.arange(view.shape[0]) * len(view.phases) * window.plane_words * cols
    return channel[:, None, None] + taps


def residual_window(
    stage: Stage, view: View, strips: Strips, config: AcceleratorConfig,
) -> Window:
    """Return the window of a layer's residual operand."""
    cols = config.cols
    byte = view.skip - stage.lowering.lag
    origin = byte // cols + strips.first
    words = int((strips.stop - strips.first).max()) + (byte % cols > 0)
    return Window(view=view, origin=origin, low=np.maximum(origin, 0),
                  high=np.minimum(origin + words, view.stream), plane_words=words)


@dataclass(frozen=True, eq=False, kw_only=True)
class Copies:
    """A window that MOVE makes from a window of the tensor's base view.

    Parameters
    ----------
    base : Window
        Of the base view.
    made : Window
        Of the view that the layer reads.
    rows : int64 array, (strips, phases, 2)
        Rows of every phase that are copied: first and end.
    """

    base: Window
    made: Window
    rows: NDArray[np.int64]


def copies_of(source: View, made: Window, config: AcceleratorConfig) -> Copies:
    """Return how a window is made; whole rows are copied, so it grows."""
    view, cols = made.view, config.cols
    pitch = view.pitch
    sizes = [view.size(phase) for phase in view.phases]
    rows = np.zeros((len(made.low), len(view.phases), 2), np.int64)
    for number, (height, columns) in enumerate(sizes):
        if columns < 1:
            continue
        low = np.maximum(0, (made.low * cols - view.skip - columns) // pitch + 1)
        high = np.minimum(height, -(-(made.high * cols - view.skip) // pitch))
        rows[:, number, 0], rows[:, number, 1] = low, np.maximum(low, high)
    used = rows[..., 1] > rows[..., 0]
    columns = np.array([size[1] for size in sizes])
    first = np.where(used, (view.skip + rows[..., 0] * pitch) // cols, made.low[:, None])
    end = np.where(used, -(-(view.skip + (rows[..., 1] - 1) * pitch + columns) // cols),
                   made.high[:, None])
    # Every strip has the same distance from the window's first word to its first tile.
    lead = int((made.low[:, None] - first).max(initial=0))
    lead = max(lead, 0)
    origin = made.low - lead
    words = max(made.plane_words + lead, int((end - origin[:, None]).max()))
    grown = replace(made, origin=origin, plane_words=words)
    return Copies(base=_base_window(source, view, rows, used, cols), made=grown, rows=rows)


def _base_window(
    source: View, view: View, rows: NDArray[np.int64], used: NDArray[np.bool_], cols: int,
) -> Window:
    """Return the window of the base view with all pixels that are copied."""
    step = view.stride
    low = np.full(used.shape, np.iinfo(np.int64).max)
    high = np.zeros(used.shape, np.int64)
    over = 0
    for number, (p, q) in enumerate(view.phases):
        columns = view.size((p, q))[1]
        if columns < 1:
            continue
        begin = source.skip + (step * rows[:, number, 0] + p) * source.pitch + q
        final = source.skip + (step * (rows[:, number, 1] - 1) + p) * source.pitch + q
        low[:, number] = begin // cols
        high[:, number] = -(-(final + step * (columns - 1) + 1) // cols)
        # Whole vectors are read, and with DECIMATE two for each.
        over = max(over, -(-columns // cols) * step)
    any_used = used.any(axis=1)
    lowest = np.where(any_used, np.where(used, low, np.iinfo(np.int64).max).min(axis=1), 0)
    highest = np.where(any_used, np.where(used, high, 0).max(axis=1), 0)
    return Window(view=source, origin=lowest, low=lowest, high=highest,
                  plane_words=max(1, int((highest - lowest).max())), tail=over + 1)
