"""Compiled simulators, kept by content in the user's cache folder."""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from smartdeal.sim.errors import BuildError

__all__ = ["cache_folder", "cached", "content_key"]

#: Builds kept; the least recently used go first. A build takes a few megabytes.
_KEPT = 200


def cache_folder() -> Path:
    """Return the folder for compiled simulators, by the platform's convention."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "smartdeal"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "smartdeal"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "smartdeal" / "cache"
    return Path.home() / ".cache" / "smartdeal"


def content_key(parts: Iterable[str]) -> str:
    """Return a key that differs if any of the texts differs."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


def cached(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """Return the folder of a build, made by ``build`` if it is not there.

    ``build`` gets an empty folder. Only when it returns does the folder appear under its key, so
    an interrupted build leaves nothing behind, and of two builders at a time one wins. What
    ``build`` raises goes through; only after a :exc:`BuildError` the folder stays, for its log.
    """
    folder = cache_folder()
    target = folder / f"{kind}-{key}"
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _prune(folder)
        work = Path(tempfile.mkdtemp(prefix="building-", dir=folder))
        try:
            build(work)
            _publish(work, target)
        except BuildError:
            raise
        except BaseException:  # Ctrl-C, a full disk
            shutil.rmtree(work, ignore_errors=True)
            raise
    os.utime(target)
    return target


def _publish(work: Path, target: Path) -> None:
    try:
        work.rename(target)
    except OSError:  # someone else was faster
        if not target.is_dir():
            raise
        shutil.rmtree(work, ignore_errors=True)


def _prune(folder: Path) -> None:
    """Remove the builds that were not used for longest."""
    def age(entry: Path) -> float:
        try:
            return -entry.stat().st_mtime
        except OSError:  # removed by another process just now
            return 0.0

    for entry in sorted(folder.iterdir(), key=age)[_KEPT:]:
        shutil.rmtree(entry, ignore_errors=True)
