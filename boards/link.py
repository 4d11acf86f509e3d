"""The host's end of the serial protocol: requests that are repeated until they are answered."""

import time
from typing import Protocol

from smartdeal.boards.errors import LinkError
from smartdeal.boards.protocol import (
    DEFAULT_BAUD,
    FLAG,
    HELLO,
    MIN_DIVISOR,
    NAK,
    PROTOCOL_VERSION,
    REPLY_BIT,
    Deframer,
    Operation,
    Status,
    frame,
)

__all__ = ["Hello", "Link", "Port", "open_serial"]

#: Rates that are tried, the fastest first, if the board's clock makes them nearly enough.
_RATES = (3_000_000, 2_000_000, 1_500_000, 1_000_000, 921_600, 460_800, 230_400)
#: A bit may be off by half of itself at the end of ten.
_RATE_ERROR = 0.02
#: As many as it takes on a line that spoils most of the frames; a board that is gone costs seconds.
_TRIES = 30
#: From a change of rate to the next byte: the board changes when its stop bit has gone.
_SETTLE_SECONDS = 0.001
#: Bytes of a reply's frame besides those that were asked for.
_FRAME_BYTES = 32
_CONNECT_TRIES = 6
_HELLO_TRIES = 3


class Port(Protocol):
    """A serial line. :class:`serial.Serial` behind :func:`open_serial`, or a simulated board.

    ``patience`` is how many seconds a reply may take beyond the time of its bytes.
    """

    name: str
    patience: float

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def read(self, seconds: float) -> bytes:
        """Return what has come, waiting for at least a byte; nothing after so many seconds."""
        ...

    def set_baud(self, baud: int) -> None:
        """Change the rate, after what was written is sent."""
        ...

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def close(self) -> None:
        """Give the line back."""
        ...


class Hello:
    """What the board says of itself.

    Parameters
    ----------
    payload : bytes
    """

    def __init__(self, payload: bytes) -> None:
        (self.version, self.beat_bytes, self.max_payload, self.clock_hz,
         self.divisor) = HELLO.unpack(payload)


class Link:
    """A session with a board.

    Parameters
    ----------
    port : Port
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        self._deframer = Deframer()
        self._bodies: list[bytes] = []
        self._sequence = 0
        self._baud = DEFAULT_BAUD
        #: Requests that had to be sent again.
        self.retries = 0

    @property
    def baud(self) -> int:
        """Rate of the line in bits per second."""
        return self._baud

    def connect(self) -> Hello:
        """Start a session at the default rate.

        Raises
        ------
        LinkError
            If nothing answers, or something that speaks another protocol or version of it.
        """
        self._set_baud(DEFAULT_BAUD)
        # Whatever rate the board is at, and whatever half frame it holds, it gives up on.
        self._port.write(bytes([0, 0x55, 0] * 12 + [FLAG, FLAG]))
        heard = len(self._drain(self._port.patience / 4))
        try:
            hello = Hello(self.request(Operation.HELLO, tries=_CONNECT_TRIES))
        except LinkError:
            what = ("something answers, but not as a smartdeal board; is it another device, or a "
                    "board without the bitstream?" if heard or self._deframer.damaged else
                    "nothing answers; is the board powered, flashed and on this port?")
            raise LinkError(f"{self._port.name}: {what}") from None
        if hello.version != PROTOCOL_VERSION:
            raise LinkError(f"{self._port.name}: the board speaks version {hello.version} of the "
                            f"protocol, not {PROTOCOL_VERSION}; flash a bitstream of this version")
        return hello

    def speed_up(self, hello: Hello) -> None:
        """Agree on the fastest rate at which the board is understood."""
        for rate in _RATES:
            divisor = round(hello.clock_hz / rate)
            if divisor < MIN_DIVISOR or abs(hello.clock_hz / divisor / rate - 1) > _RATE_ERROR:
                continue
            if self._try_rate(rate, divisor):
                return
            self.connect()

    def _try_rate(self, rate: int, divisor: int) -> bool:
        try:
            self.request(Operation.BAUD, divisor.to_bytes(2, "little"))
            self._set_baud(rate)
            self.request(Operation.HELLO, tries=_HELLO_TRIES)
        except (LinkError, OSError):  # this host's port may not know the rate
            return False
        return True

    def read(self, address: int) -> int:
        """Return a register."""
        return int.from_bytes(self.request(Operation.READ, bytes([address])), "little")

    def write(self, address: int, value: int) -> None:
        """Write a register."""
        self.request(Operation.WRITE, bytes([address]) + value.to_bytes(4, "little"))

    def load(self, data: bytes) -> None:
        """Send whole beats to the load stream, at most ``MAX_PAYLOAD`` bytes."""
        taken = int.from_bytes(self.request(Operation.LOAD, data), "little")
        if taken != len(data):
            raise LinkError(f"{self._port.name}: the board took {taken} of {len(data)} bytes")

    def store(self, count: int) -> bytes:
        """Return up to ``count`` bytes of the store stream, whole beats, fewer if no more come."""
        return self.request(Operation.STORE, count.to_bytes(2, "little"),
                            accept=(Status.OK, Status.STALLED), expected=count)

    def request(
        self, operation: Operation, payload: bytes = b"", *, tries: int = _TRIES,
        accept: tuple[Status, ...] = (Status.OK,), expected: int = 0,
    ) -> bytes:
        """Send a request until it is answered, and return the reply's payload.

        Raises
        ------
        LinkError
            If no answer comes, or one that says that the request was wrong.
        """
        self._sequence = (self._sequence + 1) & 0xFF
        asked = frame(bytes([self._sequence, operation]) + payload)
        for trial in range(tries):
            self.retries += trial > 0
            self._port.write(asked)
            if (reply := self._reply(operation, len(asked) + expected)) is not None:
                status, answer = reply
                if status in accept:
                    return answer
                raise LinkError(f"{self._port.name}: the board refused {operation.name}: "
                                f"{_name(status)}")
        raise LinkError(f"{self._port.name}: no answer to {operation.name} in {tries} tries; check "
                        "the cable, and reset the board")

    def _reply(self, operation: Operation, size: int) -> tuple[int, bytes] | None:
        """Wait for the reply to the present request; None if it is to be sent again."""
        # Twice the bytes, as any of them may have to be escaped; ten bits each.
        patience = self._port.patience + 2 * (size + _FRAME_BYTES) * 10 / self._baud
        while True:
            while self._bodies:
                body = self._bodies.pop(0)
                if body[0] == self._sequence and body[1] == operation | REPLY_BIT:
                    return body[2], body[3:]
                if body[1] == NAK:
                    self._drain(0.0)
                    return None
            data = self._port.read(patience)
            if not data:
                return None
            self._bodies += [body for body in self._deframer.feed(data) if len(body) >= 3]

    def _drain(self, seconds: float) -> bytes:
        """Throw away what still comes."""
        result = b""
        while data := self._port.read(seconds):
            result += data
        self._bodies.clear()
        self._deframer = Deframer(damaged=self._deframer.damaged)
        return result

    def _set_baud(self, baud: int) -> None:
        self._port.set_baud(baud)
        self._port.pause(_SETTLE_SECONDS)
        self._baud = baud

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self._port.pause(seconds)

    def close(self) -> None:
        """Give the port back."""
        self._port.close()


def _name(status: int) -> str:
    return Status(status).name if status in list(Status) else f"status {status}"


class _SerialPort:
    """A serial port of this machine."""

    patience = 0.25  # USB, and what the board waits for

    def __init__(self, name: str) -> None:
        import serial

        self.name = name
        try:
            self._serial = serial.Serial(name, DEFAULT_BAUD, timeout=0, exclusive=True)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise LinkError(_unusable(name, error)) from None

    def write(self, data: bytes) -> None:
        """Send bytes."""
        with _Lost(self.name):
            self._serial.write(data)

    def read(self, seconds: float) -> bytes:
        """Return what has come."""
        with _Lost(self.name):
            self._serial.timeout = seconds
            first = self._serial.read(1)
            return first + self._serial.read(self._serial.in_waiting) if first else b""

    def set_baud(self, baud: int) -> None:
        """Change the rate."""
        with _Lost(self.name):
            self._serial.flush()
            self._serial.baudrate = baud

    def pause(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def close(self) -> None:
        """Close the port."""
        self._serial.close()


class _Lost:
    """Turns the error of a port that is gone into ours."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise LinkError(f"{self._name}: the port is gone ({error}); was the board "
                            "unplugged?") from None


def _unusable(name: str, error: Exception) -> str:
    from serial.tools import list_ports

    number = getattr(error, "errno", None)
    text = str(error).lower()
    if number == 2 or "no such file" in text or "filenotfound" in text:
        there = ", ".join(port.device for port in list_ports.comports()) or "none"
        return f"no serial port {name}; ports of this machine: {there}"
    if number in (11, 16) or "busy" in text or "lock" in text:
        return f"serial port {name} is busy; close the program that uses it"
    if number == 13 or "permission" in text:
        return f"serial port {name} may not be opened by you; join the group that owns it (dialout)"
    return f"serial port {name} cannot be opened: {error}"


def open_serial(name: str) -> Port:
    """Open a serial port.

    Raises
    ------
    LinkError
        If it is missing, busy, or not allowed.
    """
    return _SerialPort(name)
