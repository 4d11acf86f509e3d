"""The compiler: from a user's model to the images that every engine runs.

What needs torch is imported when it is asked for: generating hardware does not.
"""

from importlib import import_module as _import
from typing import TYPE_CHECKING, Any

from smartdeal.compiler.errors import CompileError, ImageError, ProgramFormatError
from smartdeal.compiler.layer import compile_layer
from smartdeal.compiler.network import compile_network
from smartdeal.compiler.network_program import NetworkProgram
from smartdeal.compiler.program import Part, Program

if TYPE_CHECKING:
    from smartdeal.compiler.importers.exported import import_module
    from smartdeal.compiler.importers.files import import_model
    from smartdeal.golden.quantise import quantise_network

__all__ = ["CompileError", "ImageError", "NetworkProgram", "Part", "Program",
           "ProgramFormatError", "compile_layer", "compile_network", "import_model",
           "import_module", "quantise_network"]

_LAZY = {"import_model": "smartdeal.compiler.importers.files",
         "import_module": "smartdeal.compiler.importers.exported",
         "quantise_network": "smartdeal.golden.quantise"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import(_LAZY[name]), name)
