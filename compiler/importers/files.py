"""A user's model file, whatever its format: :func:`import_model`."""

from pathlib import Path

from smartdeal.golden.graph import FloatGraph
from smartdeal.golden.networks import NetworkError

__all__ = ["SUFFIXES", "import_model"]

#: Model files that can be read.
SUFFIXES = (".onnx", ".pt2")


def import_model(path: Path) -> FloatGraph:
    """Read an ONNX file or an archive of ``torch.export``, told apart by the suffix.

    Raises
    ------
    UnsupportedModel
        If the accelerator cannot run it; the message lists every reason.
    NetworkError
        If the file cannot be read, the size of its input is not fixed, or a library is missing.
    """
    if path.suffix == ".pt2":
        from smartdeal.compiler.importers.exported import import_exported

        return import_exported(path)
    if path.suffix != ".onnx":
        raise NetworkError(f"a model must be a file {' or '.join(SUFFIXES)}, not {str(path)!r}")
    try:
        # An extra: whoever has torch models does not need it.
        from smartdeal.compiler.importers.onnx import import_onnx
    except ModuleNotFoundError as error:
        raise NetworkError(f"reading {path} needs the library {error.name}; install "
                           "smartdeal[onnx]") from None
    return import_onnx(path)
