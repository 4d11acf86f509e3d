"""What a network does in the activation buffer: views of its tensors, and operations on them.

A layer reads one view of its input and writes the *base view* of its output, whose fill is the
output's zero point; the residual operand is read in the base view too. A layer of stride 2, or one
whose padding has another value (max pooling: -128), reads a view of its own, copied from the base
view on chip and shared by all such layers. Of the image the host writes every view that is read.

**Pitch.** A layer's output has the pitch of the stream that it reads, and a residual operand is
read by stream position. So these views have one pitch: the smallest that suits all their readers.
With b the column that a tap reads for output column 0 and W the columns of the phase,

- pitch ≥ W - b where b < 0: left of a row stand no pixels of the row above;
- pitch ≥ b + output columns: right of a row stand no pixels of the row below.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from smartdeal.compiler.binary import check_binary_tensors
from smartdeal.compiler.errors import CompileError
from smartdeal.compiler.instructions import stream_fields
from smartdeal.compiler.layer import lower_layer
from smartdeal.compiler.steps import Lowering
from smartdeal.compiler.views import View, ViewKey, tap_offsets
from smartdeal.golden.formats import ACT_MIN
from smartdeal.golden.layers import IntegerLayer, IntegerNetwork, IntegerNode, Requantisation
from smartdeal.golden.packed import pad_byte
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import INSTRUCTION, LayerFlag

__all__ = ["Copy", "Fill", "Operation", "Run", "Schedule", "Stage", "schedule",
           "wider_gaps"]

_MAX_FIELD = (1 << next(f.bits for f in INSTRUCTION.fields if f.name == "tiles")) - 1
_FIRST_PHASE = (0, 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """A layer, lowered, and the views that it works on.

    Parameters
    ----------
    layer : IntegerLayer
    lowering : Lowering
    parameters : Requantisation
        As the channel table holds it.
    source, target : ViewKey
    residual : ViewKey or None
    kernel : (kh, kw)
    stride, top, left : int
    size : (rows, columns)
        Stream positions that are output, or that REDUCE adds up.
    """

    layer: IntegerLayer
    lowering: Lowering
    parameters: Requantisation
    source: ViewKey
    target: ViewKey
    residual: ViewKey | None
    kernel: tuple[int, int]
    stride: int
    top: int
    left: int
    size: tuple[int, int]

    @property
    def reduce(self) -> bool:
        """Whether the output is one byte per channel."""
        return LayerFlag.REDUCE in self.lowering.flags

    def tiles(self, pitch: int, config: AcceleratorConfig) -> int:
        """Return the tiles of its stream, or refuse a map that is too large for an instruction."""
        tiles = stream_fields(self.size, pitch, self.lowering.lag, config)["tiles"]
        for what, value in (("tiles", tiles), ("stream positions per row", pitch)):
            if value > _MAX_FIELD:
                raise CompileError(self.layer.name, f"its map takes {value} {what}, an instruction "
                                                    f"holds {_MAX_FIELD}; make the map smaller")
        return tiles

    def offsets(self) -> list[tuple[tuple[int, int], int, int]]:
        """Return phase, row and column that each tap reads for output (0, 0)."""
        rows = zip(*tap_offsets(self.kernel[0], self.stride, self.top), strict=True)
        columns = list(zip(*tap_offsets(self.kernel[1], self.stride, self.left), strict=True))
        return [((int(p), int(q)), int(a), int(b)) for p, a in rows for q, b in columns]


@dataclass(frozen=True)
class Fill:
    """Fill the gaps of a view, or all of it."""

    target: ViewKey
    whole: bool


@dataclass(frozen=True)
class Copy:
    """Make a view from the tensor's base view, phase by phase."""

    source: ViewKey
    target: ViewKey


@dataclass(frozen=True)
class Run:
    """Run a layer."""

    stage: Stage


Operation = Fill | Copy | Run


@dataclass(frozen=True, eq=False)
class Schedule:
    """A network before its views have addresses.

    Parameters
    ----------
    stages : tuple of Stage
        By layer.
    views : dict of View
        By key; every base is 0.
    operations : tuple of (layer's name, Operation)
        In the order of execution.
    """

    stages: tuple[Stage, ...]
    views: dict[ViewKey, View]
    operations: tuple[tuple[str, Operation], ...]


def schedule(network: IntegerNetwork, config: AcceleratorConfig) -> Schedule:
    """Choose views and operations for a network.

    Raises
    ------
    CompileError
        If a layer does not fit the accelerator, or the network contradicts itself.
    """
    stages = _stages(network, config)
    pitches = _pitches(stages)
    shapes = _shapes(network)
    views: dict[ViewKey, View] = {}
    for key in pitches:
        views[key] = _view(key, shapes[key[0]], stages, pitches, config)
    return Schedule(tuple(stages), views, tuple(_operations(stages, views)))


def wider_gaps(plan: Schedule, config: AcceleratorConfig) -> dict[ViewKey, View]:
    """Return the views with gaps so wide that a sum and its residual operand lie alike."""
    views, stages = dict(plan.views), list(plan.stages)
    pitches = {key: view.pitch for key, view in views.items()}
    pairs = [(stage.target, stage.residual) for stage in stages if stage.residual is not None]
    wider = True
    while wider:
        wider = False
        for pair in pairs:
            gap = max(views[key].gap for key in pair)
            for key in pair:
                if views[key].gap < gap:
                    views[key] = _view(key, views[key].shape, stages, pitches, config, gap)
                    wider = True
    return views


def _shapes(network: IntegerNetwork) -> dict[str, tuple[int, int, int]]:
    """Return every tensor's shape, or refuse a network whose layers do not fit together."""
    if not network.nodes:
        raise CompileError(network.name, "a network must have layers, not none")
    shapes = {IntegerNetwork.IMAGE: network.nodes[0].layer.input_shape}
    for node in network.nodes:
        layer = node.layer
        operands = [(node.input, layer.input_shape)]
        if (node.residual is not None) != layer.residual:
            raise CompileError(layer.name, "a residual operand must be named exactly if the layer "
                                           f"adds one, not {node.residual!r}")
        if node.residual is not None:
            operands.append((node.residual, layer.output_shape))
        for tensor, shape in operands:
            if tensor not in shapes:
                raise CompileError(layer.name, f"operand {tensor!r} must come from a layer before")
            if shapes[tensor] != shape:
                raise CompileError(layer.name, f"operand {tensor!r} must have shape {shape}, not "
                                               f"{shapes[tensor]}")
        if layer.name in shapes:
            raise CompileError(layer.name, "two tensors of the network have this name")
        shapes[layer.name] = layer.output_shape
    return shapes


def _stages(network: IntegerNetwork, config: AcceleratorConfig) -> list[Stage]:
    _shapes(network)
    check_binary_tensors(network, config)
    first = network.nodes[0].layer
    zero = (network.scales[IntegerNetwork.IMAGE].zero_point
            if IntegerNetwork.IMAGE in network.scales else first.input_zero_point)
    base: dict[str, ViewKey] = {IntegerNetwork.IMAGE: (IntegerNetwork.IMAGE, 1, zero)}
    stages: list[Stage] = []
    for node in network.nodes:
        layer = node.layer
        fill = layer.output_zero_point
        base[layer.name] = (layer.name, 1, pad_byte(fill) if layer.binary_output else fill)
        stages.append(_stage(node, base, config))
    return stages


def _stage(node: IntegerNode, base: dict[str, ViewKey], config: AcceleratorConfig) -> Stage:
    layer = node.layer
    lowering, parameters = lower_layer(layer, config)
    if layer.kind == "max_pool":
        # The padding of the output is its zero point, which the result must not contain.
        parameters = Requantisation(parameters.bias - layer.output_zero_point,
                                    parameters.multiplier, parameters.residual_multiplier,
                                    parameters.shift, parameters.residual_shift)
    kernel, stride, (top, left, *_), size = (
        layer.kernel, layer.stride, layer.padding, layer.output_shape[1:])
    if layer.kind == "average_pool":  # every input position is one to add up
        kernel, stride, top, left, size = (1, 1), 1, 0, 0, layer.input_shape[1:]
    source = base[node.input]
    if any(layer.padding) and layer.kind != "average_pool":
        fill = ACT_MIN if layer.kind == "max_pool" else layer.input_zero_point
        source = (node.input, stride, pad_byte(fill) if layer.binary_input else fill)
    elif stride > 1:
        source = (node.input, stride, source[2])
    return Stage(layer=layer, lowering=lowering, parameters=parameters, source=source,
                 target=base[layer.name], kernel=kernel, stride=stride, top=top, left=left,
                 residual=base[node.residual] if node.residual is not None else None,
                 size=(size[0], size[1]))


def _pitches(stages: list[Stage]) -> dict[ViewKey, int]:
    """Return the pitch of every view (module docstring)."""
    group: dict[ViewKey, set[ViewKey]] = {}

    def join(keys: Iterable[ViewKey]) -> None:
        joined: set[ViewKey] = set().union(*(group.get(key, {key}) for key in keys))
        group.update((key, joined) for key in joined)

    least: dict[ViewKey, int] = {}
    for stage in stages:
        need = stage.size[1]
        _, _, width = stage.layer.input_shape
        for (_, q), _, b in stage.offsets():
            columns = -((q - width) // stage.stride)
            need = max(need, b + stage.size[1], columns - min(b, 0))
        least[stage.source] = max(least.get(stage.source, 1), need)
        least.setdefault(stage.target, stage.layer.output_shape[2])
        join([stage.source])
        join([stage.target] if stage.reduce else [stage.source, stage.target])
        if stage.residual is not None:
            join([stage.target, stage.residual])
            least.setdefault(stage.residual, stage.layer.output_shape[2])
    return {key: max(least[other] for other in joined) for key, joined in group.items()}


def _view(
    key: ViewKey, shape: tuple[int, int, int], stages: list[Stage], pitches: dict[ViewKey, int],
    config: AcceleratorConfig, least_gap: int = 0,
) -> View:
    """Return a view that has room for what all layers read around its pixels."""
    tensor, stride, fill = key
    pitch, cols = pitches[key], config.cols
    readers = [stage for stage in stages if stage.source == key]
    binary = (any(stage.layer.binary_input for stage in readers)
              or any(stage.layer.binary_output for stage in stages if stage.target == key))
    phases = sorted({phase for stage in readers for phase, _, _ in stage.offsets()}
                    | ({_FIRST_PHASE} if stride == 1 else set()))
    rows, columns = -(-shape[1] // stride), -(-shape[2] // stride)
    skip, stream = 0, -(-((rows - 1) * pitch + columns) // cols)
    for stage in stages:
        if stage.target == key and not stage.reduce:
            skip = stage.lowering.lag
            stream = stage.tiles(pitch, config)
        elif stage.target == key:
            stream = 1
    lead, behind = 0, 0
    for stage in readers:
        for _, a, b in stage.offsets():
            lead = max(lead, -(a * pitch + b))
            behind = max(behind, skip + (a + stage.size[0] - 1) * pitch + b + stage.size[1])
    for stage in stages:
        if stage.residual == key:  # the stream begins before its first output
            lead = max(lead, stage.lowering.lag)
    gap = max(least_gap, -(-(lead - skip) // cols), -(-(behind - stream * cols) // cols))
    view = View(tensor=tensor, shape=shape, stride=stride, phases=tuple(phases), fill=fill,
                cols=cols, pitch=pitch, skip=skip, gap=gap, stream=stream,
                words=0, binary=binary)
    view = replace(view, words=view.planes * view.channel_words + gap)
    return _with_tail(view, readers, [s for s in stages if s.residual == key], stages, config)


def _with_tail(
    view: View, readers: list[Stage], adders: list[Stage], stages: list[Stage],
    config: AcceleratorConfig,
) -> View:
    """Return the view with what vectors reach behind its last plane."""
    cols, words = config.cols, view.words
    for stage in readers:
        last = int(view.taps(stage.kernel, stage.top, stage.left).max())
        words = max(words, -(-last // cols) + stage.tiles(view.pitch, config))
    origin = view.origin(view.phases[0]) + (view.planes - 1) * view.channel_words * cols
    for stage in adders:
        first = origin - stage.lowering.lag
        words = max(words, -(-first // cols) + stage.tiles(view.pitch, config))
    copied = any(stage.source[0] == view.tensor and stage.source != view.key for stage in stages)
    if view.stride == 1 and copied:  # only a base view is copied from
        # Runs of whole vectors, up to two for each word of the target.
        _, height, width = view.shape
        last = origin + (height - 1) * view.pitch + 1
        words = max(words, -(-(last + width + 2 * cols) // cols))
    return replace(view, words=words)


def _operations(
    stages: list[Stage], views: dict[ViewKey, View],
) -> Iterable[tuple[str, Operation]]:
    """Yield the operations, each view directly before it is first read or written."""
    base: dict[str, ViewKey] = {}
    ready = {key for key in views if key[0] == IntegerNetwork.IMAGE}
    for stage in stages:
        name = stage.layer.name
        if stage.source not in ready and stage.source not in base.values():
            yield name, Fill(stage.source, whole=True)
            yield name, Copy(base[stage.source[0]], stage.source)
            ready.add(stage.source)
        padded = any(_reads_padding(reader, views[stage.target])
                     for reader in stages if reader.source == stage.target)
        if padded and (stage.reduce or views[stage.target].gap):
            yield name, Fill(stage.target, whole=stage.reduce)
        yield name, Run(stage)
        base[name] = stage.target


def _reads_padding(stage: Stage, view: View) -> bool:
    """Return whether a layer reads around the pixels of a view."""
    rows, columns = stage.size
    for phase, a, b in stage.offsets():
        height, width = view.size(phase)
        if min(a, b) < 0 or a + rows > height or b + columns > width:
            return True
    return False
