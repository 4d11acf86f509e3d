"""The serial protocol's host side, without hardware."""

import os
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartdeal.boards.errors import LinkError
from smartdeal.boards.faults import FaultyPort
from smartdeal.boards.link import Link, open_serial
from smartdeal.boards.protocol import (
    ESCAPE,
    FLAG,
    HELLO,
    MAX_PAYLOAD,
    NAK,
    PROTOCOL_VERSION,
    REPLY_BIT,
    Deframer,
    Operation,
    Status,
    frame,
)

BODIES = st.binary(min_size=2, max_size=60) | st.lists(
    st.sampled_from([FLAG, ESCAPE, 0x5E, 0x5D, 0]), min_size=2, max_size=20).map(bytes)


@given(st.lists(BODIES, max_size=4), st.integers(1, 7))
def test_frames_come_back(bodies, size):
    data = b"".join(map(frame, bodies))
    deframer, found = Deframer(), []
    for at in range(0, len(data), size):
        found += deframer.feed(data[at:at + size])
    assert found == bodies
    assert deframer.damaged == 0


@given(st.binary(max_size=30).filter(lambda data: FLAG not in data), BODIES)
def test_resynchronises_after_garbage(garbage, body):
    assert Deframer().feed(garbage + frame(body)) == [body]


@given(BODIES, st.data())
def test_damage_is_seen(body, data):
    spoilt = bytearray(frame(body))
    place = data.draw(st.integers(1, len(spoilt) - 2))
    kind = data.draw(st.sampled_from(["lost", "doubled", "changed"]))
    if kind == "lost":
        del spoilt[place]
    elif kind == "doubled":
        spoilt.insert(place, spoilt[place])
    else:
        spoilt[place] ^= 1 << data.draw(st.integers(0, 7))
    assert body not in Deframer().feed(bytes(spoilt)) or bytes(spoilt) == frame(body)


class ModelBoard:
    """The board's side as its documentation says it: registers and a queue."""

    def __init__(self, version: int = PROTOCOL_VERSION) -> None:
        self.name, self.patience = "model", 0.0
        self.version = version
        self.registers: dict[int, int] = {}
        self.loaded = b""
        self.executed = 0
        self._deframer = Deframer()
        self._expected: int | None = None
        self._reply = b""
        self._out = b""

    def write(self, data: bytes) -> None:
        for byte in data:
            damaged = self._deframer.damaged
            for body in self._deframer.feed(bytes([byte])):
                self._out += frame(self._answer(body))
            if self._deframer.damaged > damaged:
                self._out += frame(bytes([0, NAK, 0]))

    def read(self, seconds: float) -> bytes:
        data, self._out = self._out[:5], self._out[5:]
        return data

    def set_baud(self, baud: int) -> None:
        pass

    def pause(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass

    def _answer(self, body: bytes) -> bytes:
        sequence, operation = body[0], body[1]
        if operation != Operation.HELLO:
            if self._expected is not None and (sequence + 1) & 0xFF == self._expected:
                return self._reply
            if sequence != self._expected:
                return bytes([sequence, operation | REPLY_BIT, Status.SEQUENCE])
        self._expected = (sequence + 1) & 0xFF
        self._reply = bytes([sequence, operation | REPLY_BIT]) + self._execute(operation, body[2:])
        return self._reply

    def _execute(self, operation: int, payload: bytes) -> bytes:
        self.executed += operation != Operation.HELLO
        if operation == Operation.HELLO:
            return bytes([Status.OK]) + HELLO.pack(self.version, 4, MAX_PAYLOAD, 1_000_000, 9)
        if operation == Operation.WRITE:
            self.registers[payload[0]] = int.from_bytes(payload[1:], "little")
            return bytes([Status.OK])
        if operation == Operation.READ:
            return bytes([Status.OK]) + self.registers.get(payload[0], 0).to_bytes(4, "little")
        if operation == Operation.LOAD:
            self.loaded += payload
            return bytes([Status.OK]) + len(payload).to_bytes(2, "little")
        return bytes([Status.MALFORMED])


@given(st.integers(0, 10_000), st.floats(0, 0.02))
def test_every_request_is_executed_once(seed, rate):
    board = ModelBoard()
    link = Link(FaultyPort(board, rate=rate, seed=seed))
    try:
        link.connect()
    except LinkError:  # so bad a line may not even say hello; nothing was executed then
        assert board.executed == 0
        return
    pieces = [bytes([number]) * 8 for number in range(20)]
    for number, piece in enumerate(pieces):
        link.load(piece)
        link.write(number, zlib.crc32(piece))
    assert board.loaded == b"".join(pieces)
    assert [link.read(n) for n in range(20)] == [zlib.crc32(p) for p in pieces]
    assert board.executed == 60


class Echo(ModelBoard):
    """Some other device: a modem that sends back what it gets."""

    def write(self, data: bytes) -> None:
        self._out += data


class Silence(ModelBoard):
    """Nothing there."""

    def write(self, data: bytes) -> None:
        pass


@pytest.mark.parametrize(("board", "message"), [
    (Echo(), "model: something answers, but not as a smartdeal board"),
    (Silence(), "model: nothing answers; is the board powered"),
    (ModelBoard(version=9), "model: the board speaks version 9 of the protocol, not 1"),
])
def test_not_a_board(board, message):
    with pytest.raises(LinkError, match=message):
        Link(board).connect()


def test_missing_port():
    with pytest.raises(LinkError, match=r"no serial port /dev/ttyNONE; ports of this machine: "):
        open_serial("/dev/ttyNONE")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_busy_port():
    controller, terminal = os.openpty()
    name = os.ttyname(terminal)
    first = open_serial(name)
    try:
        with pytest.raises(LinkError, match=f"serial port {name} is busy; close the program"):
            open_serial(name)
    finally:
        first.close()
        os.close(controller)
        os.close(terminal)
