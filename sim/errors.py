"""What can go wrong around a simulation, as errors of one readable line."""

from pathlib import Path

__all__ = ["BuildError", "PortError", "SimulationError", "ToolError", "WaveformError"]


class ToolError(RuntimeError):
    """A tool that is not there; the message says what to install."""


class WaveformError(ValueError):
    """A waveform file of a kind that no simulator writes, or in a place where none can be."""


class BuildError(RuntimeError):
    """A simulator that could not be built; the message names the log."""

    def __init__(self, what: str, log: Path) -> None:
        super().__init__(f"{what}; see {log}")
        self.log = log


class SimulationError(RuntimeError):
    """A simulation that failed: a rule of the ports was broken, or something never came."""

    def __init__(self, reason: str, *, seed: int, log: Path) -> None:
        super().__init__(f"{reason} (seed {seed}, log {log})")
        self.reason = reason
        self.log = log


class PortError(Exception):
    """The device broke a rule of its ports; the message says which and where."""
