"""A simulated board behind the same interface as a serial port: ``--port sim:BOARD``."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from amaranth.lib import wiring

from smartdeal.boards.bench import COMMAND
from smartdeal.boards.bitstream import RecoveredBoard, recover_netlist
from smartdeal.boards.core import BoardCore, SimulatedBoard
from smartdeal.boards.errors import LinkError
from smartdeal.boards.protocol import DEFAULT_BAUD, MIN_DIVISOR
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.technology import Technology
from smartdeal.hw.verilog import emit, ports
from smartdeal.sim.runner import Simulator, build_simulator, cocotb_environment

__all__ = ["SimulatedPort", "build_bitstream_simulator", "build_board_simulator",
           "open_simulated"]

_TOP = "smartdeal_board"
_BENCH = "smartdeal.boards.bench"
_END_SECONDS = 10


def build_board_simulator(
    config: AcceleratorConfig, clock_hz: int, *, technology: Technology | None = None,
) -> Simulator:
    """Compile a board's serial bridge and accelerator for simulation, or take it from the cache.

    Raises
    ------
    ToolError, BuildError
        As :func:`smartdeal.sim.runner.build_simulator`.
    """
    return _build(BoardCore(config, clock_hz=clock_hz),
                  BoardCore(config, clock_hz=clock_hz), technology, "")


def build_bitstream_simulator(bitstream: Path, core: BoardCore, constraints: Path) -> Simulator:
    """Compile what is in an iCE40 bitstream for simulation, or take it from the cache.

    Parameters
    ----------
    bitstream : Path
    core : BoardCore
        Not elaborated; for the ports.
    constraints : Path
        ``top.pcf`` of the build: the pins' names.

    Raises
    ------
    ToolMissing, BuildStepError
        As :func:`smartdeal.boards.bitstream.recover_netlist`.
    ToolError, BuildError
        As :func:`smartdeal.sim.runner.build_simulator`.
    """
    clock = next(words[1] for words in map(str.split, constraints.read_text().splitlines())
                 if words[:1] == ["set_io"] and words[1].startswith("clk"))
    return _build(RecoveredBoard(core, clock), RecoveredBoard(core, clock), None,
                  recover_netlist(bitstream, constraints))


def _build(board: wiring.Component, again: wiring.Component, technology: Technology | None,
           more: str) -> Simulator:
    """Build a simulator; a component can be elaborated once, and its ports are asked for too."""
    names = ["clk", "rst", *(port.name for port in ports(SimulatedBoard(again)))]
    text = emit(SimulatedBoard(board), _TOP, technology=technology)
    return build_simulator(text + more, _TOP, names, quick=bool(more))


class SimulatedPort:
    """The serial line of a board that runs in a simulator. Time is the simulated board's.

    Parameters
    ----------
    simulator : Simulator
        From :func:`build_board_simulator`.
    clock_hz : int
    name : str
    """

    #: Half as much again as the board waits for a stream.
    patience: float

    def __init__(self, simulator: Simulator, clock_hz: int, name: str = "sim") -> None:
        self.name = name
        self.patience = 1.5 * 65_536 / clock_hz
        self._clock_hz = clock_hz
        self._folder = Path(tempfile.mkdtemp(prefix="smartdeal-board-"))
        self._socket, theirs = socket.socketpair()
        divisor = max(MIN_DIVISOR, round(clock_hz / DEFAULT_BAUD))
        with (self._folder / "simulation.log").open("w") as log:
            self._process = subprocess.Popen(
                [str(simulator.path), f"+socket={theirs.fileno()}", f"+divisor={divisor}"],
                cwd=self._folder, stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
                env=cocotb_environment(simulator, self._folder, 0, _BENCH))
        theirs.close()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._tell(b"W", len(data), data)

    def read(self, seconds: float) -> bytes:
        """Return what has come."""
        self._tell(b"R", round(seconds * self._clock_hz))
        return self._exactly(int.from_bytes(self._exactly(4), "little"))

    def set_baud(self, baud: int) -> None:
        """Change the rate of this end."""
        self._tell(b"B", max(MIN_DIVISOR, round(self._clock_hz / baud)))

    def pause(self, seconds: float) -> None:
        """Let simulated time pass."""
        self._tell(b"P", round(seconds * self._clock_hz))

    def close(self) -> None:
        """End the simulation."""
        if self._socket.fileno() == -1:
            return
        try:
            self._socket.sendall(COMMAND.pack(b"Q", 0))
        except OSError:  # it has ended by itself
            pass
        self._socket.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tell(self, command: bytes, number: int, data: bytes = b"") -> None:
        try:
            self._socket.sendall(COMMAND.pack(command, number) + data)
        except OSError:
            raise LinkError(self._ended()) from None

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            if not part:
                raise LinkError(self._ended())
            data += part
        return data

    def _ended(self) -> str:
        log = (self._folder / "simulation.log").read_text().splitlines()
        return f"{self.name}: the simulator has ended: {' / '.join(log[-3:])}"


def open_simulated(name: str, config: AcceleratorConfig, clock_mhz: float,
                   tell: Callable[[str, float], None]) -> SimulatedPort:
    """Build and start a simulated board."""
    clock_hz = round(clock_mhz * 1e6)
    tell("build", 0.0)
    simulator = build_board_simulator(config, clock_hz)
    tell("build", 1.0)
    return SimulatedPort(simulator, clock_hz, name)
