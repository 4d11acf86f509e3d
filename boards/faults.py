"""A serial line on which bytes are lost, doubled and changed: what a driver must live with."""

import random

from smartdeal.boards.link import Port

__all__ = ["FaultyPort"]


class FaultyPort:
    """A port in front of another one that spoils bytes, either way.

    Parameters
    ----------
    port : Port
    rate : float
        Probability that a byte is lost, doubled, or has a bit changed; each as likely.
    seed : int
    """

    def __init__(self, port: Port, *, rate: float, seed: int) -> None:
        self._port = port
        self._rate = rate
        self._random = random.Random(seed)
        self.name = port.name
        self.patience = port.patience
        #: Bytes that were spoilt.
        self.faults = 0

    def write(self, data: bytes) -> None:
        """Send bytes, some of them spoilt."""
        self._port.write(self._spoil(data))

    def read(self, seconds: float) -> bytes:
        """Return what has come, some of it spoilt."""
        while data := self._port.read(seconds):
            if spoilt := self._spoil(data):
                return spoilt
        return b""

    def set_baud(self, baud: int) -> None:
        """Change the rate."""
        self._port.set_baud(baud)

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self._port.pause(seconds)

    def close(self) -> None:
        """Close the port."""
        self._port.close()

    def _spoil(self, data: bytes) -> bytes:
        result = bytearray()
        for byte in data:
            if self._random.random() >= self._rate:
                result.append(byte)
                continue
            self.faults += 1
            kind = self._random.randrange(3)
            if kind == 1:
                result += bytes([byte, byte])
            elif kind == 2:
                result.append(byte ^ 1 << self._random.randrange(8))
        return bytes(result)
