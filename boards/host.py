"""The host program: loads a compiled network over a link, runs images, reads classes and cycles."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartdeal.boards.catalogue import board
from smartdeal.boards.errors import LinkError
from smartdeal.boards.link import Hello, Link, Port, open_serial
from smartdeal.boards.protocol import MAX_PAYLOAD
from smartdeal.compiler import NetworkProgram
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import ErrorCode, SectionKind, section_format
from smartdeal.hw.registers import (
    COUNTERS,
    HARDWARE_ID,
    HARDWARE_VERSION,
    Control,
    Register,
    Status,
)

__all__ = ["BoardResult", "BoardSession", "check_program", "open_port", "run_on_board"]

#: What a simulated board's name begins with.
_SIMULATED = "sim:"

_POLL_SECONDS = 0.001
#: A program that takes longer has stopped: networks of a board's size take less than a second.
_LIMIT_SECONDS = 60.0


@dataclass(frozen=True, eq=False)
class BoardResult:
    """What came out for one image.

    Parameters
    ----------
    output : int8 array, (C, H, W)
    cycles : int
        By the accelerator's own counter, all segments.
    busy_cycles : int
        Of these, those in which the array took a step.
    seconds : float
        Cycles by the board's clock; loading is not in it.
    """

    output: NDArray[np.int8]
    cycles: int
    busy_cycles: int
    seconds: float


class BoardSession:
    """An accelerator at the other end of a link.

    Parameters
    ----------
    port : Port

    Raises
    ------
    LinkError
        If there is no such board at the port.
    """

    def __init__(self, port: Port) -> None:
        self.link = Link(port)
        try:
            self.hello: Hello = self.link.connect()
            self.link.speed_up(self.hello)
            found = self.link.read(Register.ID)
            if found != HARDWARE_ID:
                raise LinkError(f"{port.name}: the board has no smartdeal accelerator: its "
                                f"identification is {found:#010x}, not {HARDWARE_ID:#010x}")
            version = self.link.read(Register.VERSION)
            if version >> 16 != HARDWARE_VERSION >> 16:
                raise LinkError(f"{port.name}: the accelerator has version {version >> 16}, this "
                                f"program needs {HARDWARE_VERSION >> 16}; build and flash it anew")
            self._settle()
        except BaseException:
            self.link.close()
            raise

    def _settle(self) -> None:
        """Stop whatever an earlier session left: a program, half an image, words on their way."""
        self._clear()
        while self.link.read(Register.STATUS) & Status.READING:
            self.link.store(MAX_PAYLOAD)
        self._clear()

    def _clear(self) -> None:
        self.link.write(Register.CONTROL, Control.CLEAR)
        self._idle()

    def _idle(self) -> int:
        """Wait until no program runs; return the status."""
        began = time.monotonic()
        while (status := self.link.read(Register.STATUS)) & Status.BUSY:
            if time.monotonic() - began > _LIMIT_SECONDS:
                raise LinkError(f"a program is still running after {_LIMIT_SECONDS:g} s; reset "
                                "the board")
            self.link.pause(_POLL_SECONDS)
        return status

    def check(self, config: AcceleratorConfig) -> None:
        """Raise :exc:`LinkError` unless the board has this configuration."""
        found = self.link.read(Register.FINGERPRINT)
        if found == config.fingerprint:
            return
        geometry = self.link.read(Register.GEOMETRY)
        rows, cols = geometry & 0xFF, geometry >> 8 & 0xFF
        raise LinkError(
            f"the program is for a {config.rows}×{config.cols} array, configuration "
            f"{config.fingerprint:#010x}; the board has a {rows}×{cols} array, configuration "
            f"{found:#010x}: compile it with the config.toml beside the board's bitstream")

    def load(self, image: bytes, *, tell: Callable[[float], None] | None = None) -> None:
        """Stream an image.

        Raises
        ------
        LinkError
            If the accelerator refuses it.
        """
        beat = self.hello.beat_bytes
        image += bytes(-len(image) % beat)
        most = min(MAX_PAYLOAD, self.hello.max_payload) // beat
        beats, position = most, 0
        while position < len(image):
            retries = self.link.retries
            part = image[position:position + beats * beat]
            self.link.load(part)
            position += len(part)
            # On a bad line short frames come through where long ones do not.
            beats = max(1, beats // 2) if self.link.retries > retries else min(most, 2 * beats)
            if tell is not None:
                tell(position / len(image))
        if self.link.read(Register.STATUS) & Status.ERROR:
            raise LinkError("the accelerator refused an image: error "
                            f"{self._error()}; the program file is not for this board")

    def run(self) -> None:
        """Run the loaded program to its end.

        Raises
        ------
        LinkError
            If it ends with an error.
        """
        self.link.write(Register.CONTROL, Control.START)
        if self._idle() & Status.ERROR:
            raise LinkError(f"the program stopped with error {self._error()} at instruction "
                            f"{self.link.read(Register.INSTRUCTION)}")

    def _error(self) -> str:
        code = self.link.read(Register.ERROR)
        return ErrorCode(code).name if code in list(ErrorCode) else str(code)

    def counter(self, register: Register) -> int:
        """Return a counter of the last run."""
        if register not in COUNTERS:
            raise ValueError(f"Register must be a counter, not {register!r}")
        return self.link.read(register) | self.link.read(register + 4) << 32

    def words(self, config: AcceleratorConfig, word: int, count: int) -> bytes:
        """Return words of the activation buffer, ``cols`` bytes each."""
        unit = section_format(SectionKind.ACTIVATIONS, config).unit_bytes(config.host_bits)
        self.link.write(Register.READ_ADDRESS, word)
        self.link.write(Register.READ_COUNT, count)
        data = b""
        while len(data) < count * unit:
            part = self.link.store(min(count * unit - len(data), MAX_PAYLOAD // unit * unit))
            if not part:
                raise LinkError(f"the board sent {len(data)} of {count * unit} bytes")
            data += part
        return b"".join(data[at:at + config.cols] for at in range(0, len(data), unit))


def check_program(program: NetworkProgram) -> None:
    """Raise :exc:`LinkError` unless a board can run the program: boards have no system memory."""
    if program.memory_bytes:
        raise LinkError(f"the program of {program.name} needs {program.memory_bytes:,} bytes of "
                        "system memory, which no board has; compile it without --memory")


def open_port(
    name: str, config: AcceleratorConfig, tell: Callable[[str, float], None],
) -> Port:
    """Open a serial port, or start a simulated board: ``sim:BOARD``.

    A simulated board has the given configuration and the board's clock, as a build for it would.

    Raises
    ------
    LinkError
        If the port cannot be used.
    BoardError
        If there is no such board.
    """
    if not name.startswith(_SIMULATED):
        return open_serial(name)
    from smartdeal.boards.simulated import open_simulated

    chosen = board(name.removeprefix(_SIMULATED))
    return open_simulated(name, config, chosen.clock_mhz, tell)


def run_on_board(
    program: NetworkProgram, images: Sequence[NDArray[np.int8]], port: Port, *,
    tell: Callable[[str, float], None] | None = None,
) -> tuple[list[BoardResult], BoardSession]:
    """Run a network on images, on a board.

    Parameters
    ----------
    program : NetworkProgram
    images : sequence of int8 array, (C, H, W)
    port : Port
        Is closed at the end.

    Returns
    -------
    list of BoardResult, BoardSession
        The session, closed, for its rate and number of retries.

    Raises
    ------
    LinkError
        If the program needs system memory, there is no board, another configuration, or the line
        is too bad.
    """
    tell = tell or (lambda stage, done: None)
    try:
        check_program(program)
    except LinkError:
        port.close()
        raise
    tell("connect", 0.0)
    session = BoardSession(port)
    try:
        session.check(program.config)
        tell("connect", 1.0)
        results = []
        for number, image in enumerate(images):
            stage = f"image {number + 1}"
            # A single segment stays loaded, with its tables, for the images that follow.
            segments = program.segments if number == 0 or len(program.segments) > 1 else ()
            results.append(_run_image(session, program, image, segments,
                                      lambda done, stage=stage: tell(stage, done)))
        return results, session
    finally:
        session.link.close()


def _run_image(
    session: BoardSession, program: NetworkProgram, image: NDArray[np.int8],
    segments: Sequence[bytes], tell: Callable[[float], None],
) -> BoardResult:
    parts = [program.input_image(image), *segments]
    total = sum(map(len, parts))
    done = cycles = busy = 0
    for part in parts:
        size = len(part)
        session.load(part, tell=lambda fraction, done=done, size=size: tell(
            (done + fraction * size) / total))
        done += size
        if part is parts[0] and segments:
            continue  # the image; what runs comes now
        session.run()
        cycles += session.counter(Register.CYCLES)
        busy += session.counter(Register.BUSY)
    region = session.words(program.config, *program.words(program.output))
    return BoardResult(program.tensor(program.output, region), cycles, busy,
                       cycles / session.hello.clock_hz)
