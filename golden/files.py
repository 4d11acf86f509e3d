"""Whole files or none."""

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["TargetError", "check_apart", "check_target", "write_whole"]


class TargetError(ValueError):
    """A file that must not be written; the message says why and what to do."""


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an :exc:`OSError` name the file that was asked for, not the one beside it."""
    try:
        yield
    except FileExistsError:  # what stands where a folder should be
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def check_target(path: Path) -> None:
    """Raise before the work what writing the file would raise after it; make its folder.

    Raises
    ------
    OSError
        If the file cannot be written; the error names it.
    """
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        os.unlink(temporary)


def check_apart(targets: Mapping[str, Path | None], sources: Mapping[str, Path | None]) -> None:
    """Raise if a file that will be written is one that is read, or is written twice.

    Parameters
    ----------
    targets, sources : mapping of Path or None
        By what messages call them; None is no file.

    Raises
    ------
    TargetError
        If two are the same file.
    """
    seen = {path.resolve(): name for name, path in sources.items() if path is not None}
    for name, path in targets.items():
        if path is None:
            continue
        other = seen.setdefault(path.resolve(), name)
        if other != name:
            raise TargetError(f"{name} and {other} must be different files, not both {path}; give "
                              f"{name} another name")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name beside its own, then rename it: nobody ever sees half of it.

    Raises
    ------
    OSError
        If the file cannot be written; the error names it, and what was there before is still
        there.
    """
    with _naming(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            # mkstemp makes private files; this is an ordinary one.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
