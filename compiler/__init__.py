"""The compiler: from an integer layer or network to the images that every engine runs."""

from smartdeal.compiler.errors import CompileError, ImageError, ProgramFormatError
from smartdeal.compiler.layer import compile_layer
from smartdeal.compiler.network import compile_network
from smartdeal.compiler.network_program import NetworkProgram
from smartdeal.compiler.program import Part, Program

__all__ = ["CompileError", "ImageError", "NetworkProgram", "Part", "Program",
           "ProgramFormatError", "compile_layer", "compile_network"]
