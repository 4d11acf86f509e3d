"""The serial protocol between host and board; ``docs/uart.md`` describes it for other drivers.

A frame is FLAG, body, FLAG. In the body, FLAG and ESCAPE are sent as ESCAPE and the byte xor
0x20. A request's body is sequence number, operation, payload and the CRC-32 of these
(little-endian, as zlib has it). A reply's body is the request's number, its operation with bit 7
set, a status, payload and CRC-32. The host sends the next request when it has the reply to the
last one.
"""

import enum
import struct
import zlib
from dataclasses import dataclass

__all__ = ["DEFAULT_BAUD", "ESCAPE", "ESCAPE_XOR", "FLAG", "FRAMING_LIMIT", "HELLO", "MAX_PAYLOAD",
           "MIN_DIVISOR", "NAK", "PROTOCOL_VERSION", "REPLY_BIT", "Deframer", "Operation", "Status",
           "frame"]

FLAG, ESCAPE, ESCAPE_XOR = 0x7E, 0x7D, 0x20
PROTOCOL_VERSION = 1
#: Rate after reset, and after the line made no sense for a while.
DEFAULT_BAUD = 115_200
#: Fewest clock cycles of a bit.
MIN_DIVISOR = 4
#: Bytes of a request's or a reply's payload: whole beats of any width of the host streams.
MAX_PAYLOAD = 480
#: Bytes without a stop bit, with no good frame among them, after which the board goes back to the
#: default rate: its host speaks another one.
FRAMING_LIMIT = 8
REPLY_BIT = 0x80
#: Operation of the frame that the board sends when it gets one that is damaged.
NAK = 0x7F
#: Payload of a reply to HELLO: version, bytes of a beat, longest payload, clock in Hz, divisor.
HELLO = struct.Struct("<BBHIH")


class Operation(enum.IntEnum):
    """What a request asks for."""

    HELLO = 1  #: start a session: the next request has the number after this one's
    READ = 2   #: read a register: address (1 byte); reply: value (4)
    WRITE = 3  #: write a register: address (1), value (4)
    LOAD = 4   #: send whole beats to the load stream; reply: bytes taken (2)
    STORE = 5  #: take bytes (2), whole beats, from the store stream; reply: those that came
    BAUD = 6   #: from the reply on, a bit is so many cycles (2)


class Status(enum.IntEnum):
    """How a request went."""

    OK = 0
    SEQUENCE = 1  #: not the number that follows; say HELLO
    MALFORMED = 2  #: unknown operation, or a payload of the wrong size
    STALLED = 3  #: a stream did not move for 65,536 cycles; what was done by then is told


def frame(body: bytes) -> bytes:
    """Return a frame with a body, to which the checksum is added."""
    body += zlib.crc32(body).to_bytes(4, "little")
    escaped = body.replace(bytes([ESCAPE]), bytes([ESCAPE, ESCAPE ^ ESCAPE_XOR])).replace(
        bytes([FLAG]), bytes([ESCAPE, FLAG ^ ESCAPE_XOR]))
    return bytes([FLAG]) + escaped + bytes([FLAG])


@dataclass
class Deframer:
    """Takes bytes as they come and gives the bodies of undamaged frames, without checksums."""

    #: Frames that were thrown away.
    damaged: int = 0
    _body: bytearray | None = None
    _escaped: bool = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bodies that these bytes complete."""
        bodies = []
        for byte in data:
            if byte == FLAG:
                if (body := self._end()) is not None:
                    bodies.append(body)
                self._body, self._escaped = bytearray(), False
            elif self._body is None:
                continue
            elif self._escaped:
                self._body.append(byte ^ ESCAPE_XOR)
                self._escaped = False
            elif byte == ESCAPE:
                self._escaped = True
            else:
                self._body.append(byte)
        return bodies

    def _end(self) -> bytes | None:
        if not self._body:
            return None
        body, checksum = bytes(self._body[:-4]), bytes(self._body[-4:])
        if not self._escaped and len(body) >= 2 and \
                zlib.crc32(body).to_bytes(4, "little") == checksum:
            return body
        self.damaged += 1
        return None
