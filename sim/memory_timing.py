"""The memory that the latency model knows and the bench plays: latency and bandwidth."""

from dataclasses import dataclass

from smartdeal.hw.config import AcceleratorConfig

__all__ = ["MemoryTiming"]


@dataclass(frozen=True, kw_only=True)
class MemoryTiming:
    """System memory behind AXI, as regular as a memory can be.

    Addresses are taken at once. The first beat of a read burst is offered ``latency_cycles`` after
    its address was taken, and not before all beats of the burst before; the write response comes
    so many cycles after the last beat. In each direction ``bytes_per_cycle`` pass; reads and
    writes, which have channels of their own, do not disturb each other.

    Parameters
    ----------
    latency_cycles : int
        At least 1.
    bytes_per_cycle : int
        Divides the bytes of a beat.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    latency_cycles: int = 60
    bytes_per_cycle: int = 8

    def __post_init__(self) -> None:
        if self.latency_cycles < 1:
            raise ValueError(f"Memory latency must be at least 1 cycle, not {self.latency_cycles}")
        if self.bytes_per_cycle < 1:
            raise ValueError("Memory bandwidth must be at least 1 byte per cycle, not "
                             f"{self.bytes_per_cycle}")

    def beat_cycles(self, config: AcceleratorConfig) -> int:
        """Return the cycles from one beat to the next.

        Raises
        ------
        ValueError
            If beats of the accelerator do not come at whole cycles.
        """
        beat = config.host_bits // 8
        if self.bytes_per_cycle >= beat:
            return 1
        if beat % self.bytes_per_cycle:
            raise ValueError(f"Memory bandwidth must divide the {beat} bytes of a beat, not be "
                             f"{self.bytes_per_cycle} bytes per cycle")
        return beat // self.bytes_per_cycle
