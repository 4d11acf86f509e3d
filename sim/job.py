"""What a bench is to do at the ports, as data: written by the caller, read inside the simulator."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Job", "Load", "Operation", "Read", "Result", "Store", "Wait", "Write", "read_results"]


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


Operation = Load | Write | Read | Wait | Store
#: The result of an operation; None where there is none, or where a wait was in vain.
Result = int | bytes | None

_KINDS: dict[str, type[Operation]] = {
    "load": Load, "write": Write, "read": Read, "wait": Wait, "store": Store,
}


@dataclass(frozen=True)
class Job:
    """A sequence of operations at the ports of one accelerator.

    Parameters
    ----------
    operations : tuple of Operation
    host_bits : int
        Width of the load and store streams.
    idle : float
        Probability of a cycle in which the bench offers no beat, or takes none; 0 is full speed.
    seed : int
        Of the random idle cycles.
    stall_cycles : int
        Cycles after which a beat or a register that is not taken fails the job.
    """

    operations: tuple[Operation, ...]
    host_bits: int
    idle: float = 0.0
    seed: int = 0
    stall_cycles: int = 10_000

    def save(self, folder: Path) -> None:
        """Write ``job.json`` and ``job.bin``, which holds the images."""
        with (folder / "job.bin").open("wb") as images:
            operations = []
            for operation in self.operations:
                entry: dict[str, object] = {"kind": type(operation).__name__.lower()}
                if isinstance(operation, Load):
                    entry |= {"offset": images.tell(), "bytes": len(operation.image)}
                    images.write(operation.image)
                else:
                    entry |= asdict(operation)
                operations.append(entry)
        (folder / "job.json").write_text(json.dumps({
            "operations": operations, "host_bits": self.host_bits, "idle": self.idle,
            "seed": self.seed, "stall_cycles": self.stall_cycles,
        }))

    @classmethod
    def open(cls, folder: Path) -> "Job":
        """Read what :meth:`save` wrote."""
        values = json.loads((folder / "job.json").read_text())
        images = (folder / "job.bin").read_bytes()
        operations: list[Operation] = []
        for entry in values.pop("operations"):
            kind = entry.pop("kind")
            if kind == "load":
                offset = entry["offset"]
                operations.append(Load(images[offset:offset + entry["bytes"]]))
            else:
                operations.append(_KINDS[kind](**entry))
        return cls(tuple(operations), **values)


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
