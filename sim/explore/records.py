"""The results file: one line per point, appended as it is found, so that nothing is lost."""

import json
import os
from pathlib import Path
from typing import IO, Any

from smartdeal.golden.files import write_whole
from smartdeal.sim.explore.errors import ExploreError

__all__ = ["Records"]


class Records:
    """Points that are known, by their number; each new one is on disk before the next.

    The first line says which exploration the file is of. A last line that an interruption cut is
    dropped when the file is opened.

    Parameters
    ----------
    path : Path or None
        None keeps the points in memory only.
    plan : dict
        JSON values that tell one exploration from another.

    Raises
    ------
    ExploreError
        If the file is of another exploration, or none at all.
    """

    def __init__(self, path: Path | None, plan: dict[str, Any]) -> None:
        self._path, self._file = path, None
        self.found: dict[int, dict[str, Any]] = {}
        if path is None:
            return
        if path.exists():
            self._read(path, plan)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, _line({"plan": plan}))
        self._file: IO[bytes] | None = path.open("ab")

    def _read(self, path: Path, plan: dict[str, Any]) -> None:
        content = path.read_bytes()
        whole = content[:content.rfind(b"\n") + 1]
        lines = whole.splitlines()
        try:
            known = json.loads(lines[0])["plan"]
            if not isinstance(known, dict):
                raise TypeError
        except (IndexError, KeyError, TypeError, ValueError):
            raise ExploreError(f"{path} is no results file of an exploration; name another file "
                               "or remove it") from None
        if known != plan:
            changed = [key for key in plan if known.get(key) != plan[key]]
            raise ExploreError(f"{path} holds another exploration: {', '.join(changed) or 'plan'} "
                               "differ; name another file or remove it")
        for number, line in enumerate(lines[1:], 2):
            try:
                record = json.loads(line)
                self.found[record["point"]] = record["result"]
            except (KeyError, TypeError, ValueError):
                raise ExploreError(f"{path}: line {number} is damaged; remove it, and its point "
                                   "is computed again") from None
        if len(whole) < len(content):
            write_whole(path, whole)

    def add(self, point: int, result: dict[str, Any]) -> None:
        """Keep a point; a second result of the same point is ignored."""
        if point in self.found:
            return
        self.found[point] = result
        if self._file is not None:
            self._file.write(_line({"point": point, "result": result}))
            self._file.flush()

    def close(self) -> None:
        """Write what is left to disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
