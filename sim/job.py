"""What a bench is to do at the ports, as data: written by the caller, read inside the simulator."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

__all__ = ["Count", "Dump", "Fault", "Fill", "Job", "Load", "Memory", "Operation", "Pass", "Poll",
           "Read", "Reset", "Result", "Store", "Wait", "Write", "read_results"]


@dataclass(frozen=True)
class Load:
    """Stream an image into the accelerator."""

    image: bytes


@dataclass(frozen=True)
class Write:
    """Write a register."""

    address: int
    value: int


@dataclass(frozen=True)
class Read:
    """Read a register; the result is its value."""

    address: int


@dataclass(frozen=True)
class Wait:
    """Wait for the interrupt; the result is the cycles waited, or None after ``limit_cycles``."""

    limit_cycles: int


@dataclass(frozen=True)
class Store:
    """Take beats from the store stream; the result is their bytes."""

    beats: int


@dataclass(frozen=True)
class Poll:
    """Read a register now and then until no bit of a mask is set in it.

    The result is the number of reads, or None after ``limit_cycles``.
    """

    address: int
    mask: int
    limit_cycles: int


@dataclass(frozen=True)
class Pass:
    """Let cycles pass."""

    cycles: int


@dataclass(frozen=True)
class Reset:
    """Reset the device and all that is around it, but for what the memory holds."""


@dataclass(frozen=True)
class Fill:
    """Put bytes into system memory, past the accelerator."""

    address: int
    data: bytes


@dataclass(frozen=True)
class Dump:
    """Read bytes of system memory, past the accelerator; they are the result."""

    address: int
    bytes: int


@dataclass(frozen=True)
class Fault:
    """Let the beats that touch these bytes of system memory be answered with an error.

    The second such range answers with another error than the first, and so on in turn; a range of
    no bytes removes them all.
    """

    address: int
    bytes: int


@dataclass(frozen=True)
class Count:
    """Read one of the counters of :class:`smartdeal.sim.axi_storage.Traffic`, by its name."""

    name: str


Operation = (Load | Write | Read | Wait | Poll | Store | Pass | Reset | Fill | Dump | Fault
             | Count)
#: The result of an operation; None where there is none, or where a wait was in vain.
Result = int | bytes | None

_KINDS: dict[str, type[Operation]] = {kind.__name__.lower(): kind for kind in get_args(Operation)}


@dataclass(frozen=True)
class Memory:
    """System memory behind an AXI4 master.

    Parameters
    ----------
    base, bytes : int
        First address and size.
    latency_cycles, beat_cycles : int
        As :class:`smartdeal.sim.memory_timing.MemoryTiming` has them.
    pause : float
        If not 0, there is no regular timing: each channel does nothing in a cycle with this
        probability.
    """

    base: int
    bytes: int
    latency_cycles: int = 1
    beat_cycles: int = 1
    pause: float = 0.0


@dataclass(frozen=True)
class Job:
    """A sequence of operations at the ports of one accelerator.

    Parameters
    ----------
    operations : tuple of Operation
    host_bits : int
        Width of the load and store streams, or of the memory's data bus.
    idle : float
        Probability of a cycle in which the bench offers no beat, or takes none; 0 is full speed.
    seed : int
        Of the random idle cycles.
    stall_cycles : int
        Cycles after which a beat or a register that is not taken fails the job.
    memory : Memory or None
        The device is an AXI system with this memory; None for the bare core, whose operations are
        those with streams (``Load``, ``Store``) instead of those with memory.
    """

    operations: tuple[Operation, ...]
    host_bits: int
    idle: float = 0.0
    seed: int = 0
    stall_cycles: int = 10_000
    memory: Memory | None = None

    def save(self, folder: Path) -> None:
        """Write ``job.json`` and ``job.bin``, which holds all that is bytes."""
        with (folder / "job.bin").open("wb") as stored:
            operations = []
            for operation in self.operations:
                entry: dict[str, object] = {"kind": type(operation).__name__.lower()}
                for name, value in asdict(operation).items():
                    if isinstance(value, bytes):
                        entry[name] = [stored.tell(), len(value)]
                        stored.write(value)
                    else:
                        entry[name] = value
                operations.append(entry)
        (folder / "job.json").write_text(json.dumps({
            "operations": operations, "host_bits": self.host_bits, "idle": self.idle,
            "seed": self.seed, "stall_cycles": self.stall_cycles,
            "memory": asdict(self.memory) if self.memory is not None else None,
        }))

    @classmethod
    def open(cls, folder: Path) -> "Job":
        """Read what :meth:`save` wrote."""
        values = json.loads((folder / "job.json").read_text())
        stored = (folder / "job.bin").read_bytes()
        operations: list[Operation] = []
        for entry in values.pop("operations"):
            kind = _KINDS[entry.pop("kind")]
            fields: dict[str, Any] = {
                name: stored[value[0]:sum(value)] if isinstance(value, list) else value
                for name, value in entry.items()}
            operations.append(kind(**fields))
        memory = values.pop("memory")
        return cls(tuple(operations), **values,
                   memory=Memory(**memory) if memory is not None else None)


def read_results(lines: list[str], stored: bytes) -> list[Result]:
    """Return the results that the bench wrote, one per operation that it finished.

    Parameters
    ----------
    lines : list of str
        Lines of ``results.jsonl``: a value, or an offset and a size in ``results.bin``.
    stored : bytes
        Content of ``results.bin``.
    """
    results: list[Result] = []
    for line in lines:
        value = json.loads(line)["result"]
        if isinstance(value, list):
            offset, size = value
            value = stored[offset:offset + size]
        results.append(value)
    return results
