"""What is behind an AXI4 memory's ports: its bytes, the rules of bursts, and what passed."""

from dataclasses import dataclass, field

from smartdeal.hw.axi import BOUNDARY_BYTES, Response
from smartdeal.sim.errors import PortError

__all__ = ["CANARY", "Burst", "Storage", "Traffic"]

#: What the memory holds before the host writes to it; the accelerator must leave it so.
CANARY = 0xA5
_INCREMENTING = 0b01


@dataclass(frozen=True)
class Burst:
    """An address that a master sent.

    Parameters
    ----------
    address : int
    beats : int
    """

    address: int
    beats: int


@dataclass
class Traffic:
    """What passed the ports since the simulation began.

    Parameters
    ----------
    bytes_read, bytes_written : int
        Whole beats; of those written, the ones with a strobe.
    read_bursts, write_bursts : int
    """

    bytes_read: int = 0
    bytes_written: int = 0
    read_bursts: int = 0
    write_bursts: int = 0


@dataclass
class Storage:
    """The memory's bytes; reads and writes are checked against the rules of AXI4 (IHI 0022).

    Parameters
    ----------
    base : int
        Its first address.
    content : bytearray
    beat_bytes : int
        Bytes of the data bus.
    faults : list of (int, int)
        First byte and end of address ranges that answer with an error.
    traffic : Traffic
    """

    base: int
    content: bytearray
    beat_bytes: int
    faults: list[tuple[int, int]] = field(default_factory=list)
    traffic: Traffic = field(default_factory=Traffic)

    def fill(self, address: int, data: bytes) -> None:
        """Write bytes, as the host does: not through the ports."""
        start = self._place(address, len(data), "Host's data")
        self.content[start:start + len(data)] = data

    def dump(self, address: int, size: int) -> bytes:
        """Return bytes, as the host reads them."""
        start = self._place(address, size, "Host's range")
        return bytes(self.content[start:start + size])

    def burst(self, channel: str, address: int, length: int, size: int, kind: int) -> Burst:
        """Return the burst that a master asks for.

        Parameters
        ----------
        channel : "ar" or "aw"
        address, length, size, kind : int
            AxADDR, AxLEN, AxSIZE and AxBURST.

        Raises
        ------
        PortError
            If it breaks a rule, leaves the memory, or is of a kind that this memory does not know.
        """
        what = f"memory: {channel}: burst at {address:#x}"
        beats = length + 1
        end = address + beats * self.beat_bytes
        if 1 << size != self.beat_bytes:
            raise PortError(f"{what} has beats of {1 << size} bytes, not {self.beat_bytes}")
        if kind != _INCREMENTING:
            raise PortError(f"{what} is of kind {kind}, not incrementing")
        if address % self.beat_bytes:
            raise PortError(f"{what} does not begin at a multiple of {self.beat_bytes}")
        if address // BOUNDARY_BYTES != (end - 1) // BOUNDARY_BYTES:
            raise PortError(f"{what} of {beats} beats crosses a boundary of {BOUNDARY_BYTES} "
                            "bytes")
        self._place(address, end - address, what)
        if channel == "ar":
            self.traffic.read_bursts += 1
        else:
            self.traffic.write_bursts += 1
        return Burst(address, beats)

    def read(self, burst: Burst) -> list[int]:
        """Return a burst's beats as numbers."""
        size, start = self.beat_bytes, burst.address - self.base
        data = self.content[start:start + burst.beats * size]
        self.traffic.bytes_read += len(data)
        return [int.from_bytes(data[i:i + size], "little") for i in range(0, len(data), size)]

    def write(self, address: int, data: int, strobe: int) -> None:
        """Write the bytes of a beat that have a strobe."""
        size, start = self.beat_bytes, address - self.base
        if strobe == (1 << size) - 1:
            self.content[start:start + size] = data.to_bytes(size, "little")
        elif strobe:
            for index in range(size):
                if strobe >> index & 1:
                    self.content[start + index] = data >> 8 * index & 0xFF
        self.traffic.bytes_written += size if strobe else 0

    def answer(self, address: int) -> Response:
        """Return the response to a beat: an error of either kind inside a fault."""
        for number, (first, end) in enumerate(self.faults):
            if first < address + self.beat_bytes and address < end:
                return Response.SLVERR if number % 2 == 0 else Response.DECERR
        return Response.OKAY

    def _place(self, address: int, size: int, what: str) -> int:
        start = address - self.base
        if start < 0 or start + size > len(self.content):
            end = self.base + len(self.content)
            raise PortError(f"{what} of {size} bytes from {address:#x} leaves the memory from "
                            f"{self.base:#x} to {end:#x}")
        return start
