"""What a network costs, as numbers: layer by layer, and what the accelerator's memories hold."""

from dataclasses import dataclass
from functools import cached_property

from smartdeal.compiler import Program
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.energy.events import Events
from smartdeal.sim.energy.memory_map import ChipMemory, Region, SystemRange
from smartdeal.sim.energy.price import price
from smartdeal.sim.energy.residency import Traffic
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.latency import Cycles
from smartdeal.sim.memory_timing import MemoryTiming

__all__ = ["CompiledLayer", "LayerCost", "NetworkCost"]


@dataclass(frozen=True, eq=False, kw_only=True)
class CompiledLayer:
    """A layer as a program of its own.

    Parameters
    ----------
    program : Program
    kind, form : str
        Form of the weights; empty where there are none.
    input, residual : str
        Names of the operands; ``residual`` may be None.
    input_shape : (channels, height, width)
    macs, weights, nonzero_terms : int
        Multiply-accumulates and weights of the dense layer; coefficients that are not zero.
    """

    program: Program
    kind: str
    form: str
    input: str
    residual: str | None
    input_shape: tuple[int, int, int]
    macs: int
    weights: int
    nonzero_terms: int


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """What a layer costs.

    Parameters
    ----------
    name, kind, form : str
    input_shape, output_shape : (channels, height, width)
    macs, weights, nonzero_terms : int
    parts : int
        Programs that it is cut in; 1 within a network program.
    cycles : Cycles
        As the hardware's counters show them.
    events : Events
        Of loading and running.
    traffic : Traffic
    load_cycles, store_cycles : int
        Beats of the host's streams; they do not overlap with computing.
    waits_for_stores : int
        Of the cycles in which the program waits for system memory, those for its own stores.
    stored_bytes : int
        Bytes of weights and tables, each once.
    activation_bytes : int
        Bytes of the activation buffer that it uses; 0 if unknown.
    """

    name: str
    kind: str
    form: str
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    macs: int
    weights: int
    nonzero_terms: int
    parts: int
    cycles: Cycles
    events: Events
    traffic: Traffic
    load_cycles: int
    store_cycles: int
    stored_bytes: int = 0
    activation_bytes: int = 0
    waits_for_stores: int = 0

    @property
    def total_cycles(self) -> int:
        """Computing, loading and storing, one after the other."""
        return self.cycles.total + self.load_cycles + self.store_cycles

    def where(self) -> dict[str, int]:
        """Return all cycles by what the accelerator does in them."""
        return {
            "step": self.cycles.busy, "wait for read-out": self.cycles.stall_drain,
            "residual": self.cycles.stall_residual, "move": self.cycles.move,
            "fill and drain": self.cycles.overhead,
            "load": self.load_cycles + self.cycles.stall_memory - self.waits_for_stores,
            "store": self.store_cycles + self.waits_for_stores,
        }

    def energy(self, config: AcceleratorConfig, technology: Technology) -> dict[str, float]:
        """Return the energy in pJ by component."""
        return price(self.events, self.total_cycles, self.traffic.total, config, technology)


@dataclass(frozen=True, kw_only=True)
class NetworkCost:
    """What a network costs on an accelerator.

    Parameters
    ----------
    name, source : str
        ``source`` says where weights come from, and what was done to them.
    config : AcceleratorConfig
    layers : tuple of LayerCost
    on_chip : bool
        All tensors stay in the activation buffer: one network program.
    regions : tuple of Region
        What each layer uses of the activation buffer.
    memories : tuple of ChipMemory
    timing : MemoryTiming or None
        Of the system memory that the program uses by itself; None if the host loads and stores.
    system : tuple of SystemRange
        What the program's region of system memory holds.
    """

    name: str
    source: str
    config: AcceleratorConfig
    layers: tuple[LayerCost, ...]
    on_chip: bool
    regions: tuple[Region, ...] = ()
    memories: tuple[ChipMemory, ...] = ()
    timing: MemoryTiming | None = None
    system: tuple[SystemRange, ...] = ()

    @cached_property
    def events(self) -> Events:
        """Events of all layers."""
        return sum((layer.events for layer in self.layers), Events())

    @cached_property
    def cycles(self) -> int:
        """Cycles of an image, loading and storing included."""
        return sum(layer.total_cycles for layer in self.layers)

    @cached_property
    def compute_cycles(self) -> int:
        """Cycles of an image without loading and storing."""
        return sum(layer.cycles.total for layer in self.layers)

    @cached_property
    def traffic(self) -> Traffic:
        """Bytes from and to external memory."""
        return Traffic(**{name: sum(getattr(layer.traffic, name) for layer in self.layers)
                          for name in ("weights", "reads", "writes")})

    def energy(self, technology: Technology) -> dict[str, float]:
        """Return the energy of an image in pJ, by component."""
        return price(self.events, self.cycles, self.traffic.total, self.config, technology)

    def sensitivity(self, technology: Technology, factor: float = 2.0) -> dict[
            str, tuple[float, float]]:
        """Return the total energy, in pJ, with each constant divided and multiplied by a factor."""
        return {name: tuple(sum(self.energy(technology.scaled(name, by)).values())  # type: ignore[misc]
                            for by in (1 / factor, factor))
                for name in technology.constants if name != "clock"}
