"""Programs for accelerators with system memory: what does not fit on chip lies there."""

from smartdeal.compiler.external.build import compile_external

__all__ = ["compile_external"]
