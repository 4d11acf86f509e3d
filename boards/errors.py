"""What can go wrong between Verilog and a board, each with a line that says what to do."""

__all__ = ["BoardError", "BuildStepError", "FitError", "LinkError", "TimingError", "ToolMissing"]


class BoardError(ValueError):
    """A board, or a configuration for one, that is not possible."""


class ToolMissing(RuntimeError):
    """A tool that is not installed; the message says how to get it."""


class BuildStepError(RuntimeError):
    """A tool that failed; the message has its last words and its log."""


class FitError(BoardError):
    """A configuration that does not fit the device; the message says what is short."""


class TimingError(RuntimeError):
    """A design that is slower than the clock that it was built for."""


class LinkError(RuntimeError):
    """A serial port that cannot be used, or something at its other end that is not ours."""
