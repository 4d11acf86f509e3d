"""The compiler: from an integer layer to the program image that every engine runs."""

from smartdeal.compiler.errors import CompileError, ImageError, ProgramFormatError
from smartdeal.compiler.layer import compile_layer
from smartdeal.compiler.program import Part, Program

__all__ = ["CompileError", "ImageError", "Part", "Program", "ProgramFormatError",
           "compile_layer"]
