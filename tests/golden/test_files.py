"""Whole files or none: what is on disk when writing is cut short at any moment."""

import errno
import os
from io import BufferedWriter
from pathlib import Path
from typing import Any

import pytest

from smartdeal.golden.files import write_whole

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    path.write_bytes(b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


class _CutShort:
    """A file whose writing ends in the middle."""

    def __init__(self, file: BufferedWriter, error: BaseException) -> None:
        self._file, self._error = file, error

    def __enter__(self) -> "_CutShort":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, content: bytes) -> None:
        self._file.write(content[:len(content) // 2])
        raise self._error


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fdopen", "chmod", "replace"])
def test_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException,
) -> None:
    """While bytes are written, before and at the renaming."""
    path = tmp_path / "net.npz"
    path.write_bytes(b"old")
    fdopen = os.fdopen

    def cut(handle: int, *arguments: Any) -> Any:
        if step == "fdopen":
            return _CutShort(fdopen(handle, "wb"), error)
        raise error

    monkeypatch.setattr(os, step, cut)
    with pytest.raises(type(error)) as caught:
        write_whole(path, b"new and longer")
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
