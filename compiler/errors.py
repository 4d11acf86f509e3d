"""What the compiler refuses, and what it cannot read."""

from smartdeal.hw.config import AcceleratorConfig, ConfigError
from smartdeal.hw.isa import ErrorCode

__all__ = ["CompileError", "ImageError", "ProgramFormatError", "advice"]


class CompileError(ValueError):
    """A layer that does not fit the accelerator.

    The message is one line: the layer, what it needs, and what to change.

    Parameters
    ----------
    layer : str
        The layer's name.
    problem : str
    """

    def __init__(self, layer: str, problem: str) -> None:
        super().__init__(f"layer {layer!r}: {problem}")


def advice(config: AcceleratorConfig, parameter: str, value: int) -> str:
    """Return what to do about a parameter that is too small: set it, if it may have the value."""
    try:
        config.replace(**{parameter: value})
    except ConfigError:
        return f"no accelerator has {parameter} = {value}: make the layer smaller"
    return f"set {parameter} = {value}"


class ImageError(ValueError):
    """An image that the accelerator would refuse.

    Parameters
    ----------
    code : ErrorCode
        What the accelerator reports.
    offset : int
        Byte of the image at which the problem stands.
    problem : str
    """

    def __init__(self, code: ErrorCode, offset: int, problem: str) -> None:
        super().__init__(f"image offset {offset}: {problem}")
        self.code = code
        self.offset = offset
        self.problem = problem


class ProgramFormatError(ValueError):
    """A program file that cannot be read; the message names what is wrong and what to do."""
