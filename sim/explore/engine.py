"""Where points are computed: here, in processes of this machine, or on a Dask cluster."""

import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from typing import Any
from urllib.parse import urlsplit

from smartdeal.sim.explore.errors import ExploreError
from smartdeal.sim.explore.evaluate import Task, evaluate
from smartdeal.sim.explore.space import Candidate

__all__ = ["Numbered", "compute"]

Numbered = tuple[int, Candidate]
#: Points of a job: neighbours share a network in integers.
_CHUNK = 8
_TIMEOUT_SECONDS = 5.0
#: A job whose worker died is done elsewhere, so many times.
_RETRIES = 10


def compute(
    work: Sequence[Numbered], task: Task, *, jobs: int = 1, scheduler: str | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the result of each point, in any order.

    Raises
    ------
    ExploreError
        If the scheduler cannot be reached, Dask is missing, or a process of this machine died.
    """
    if scheduler is not None:
        yield from _cluster(work, task, scheduler)
    elif jobs == 1:
        for number, candidate in work:
            yield number, evaluate(candidate, task)
    else:
        yield from _processes(work, task, jobs)


def _run(chunk: Sequence[Numbered], task: Task) -> list[tuple[int, dict[str, Any]]]:
    return [(number, evaluate(candidate, task)) for number, candidate in chunk]


def _chunks(work: Sequence[Numbered]) -> list[Sequence[Numbered]]:
    return [work[at:at + _CHUNK] for at in range(0, len(work), _CHUNK)]


def _processes(
    work: Sequence[Numbered], task: Task, jobs: int,
) -> Iterator[tuple[int, dict[str, Any]]]:
    # Not forked: torch's threads do not survive that.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        for future in as_completed([pool.submit(_run, chunk, task) for chunk in _chunks(work)]):
            yield from future.result()
    except BrokenProcessPool:
        raise ExploreError("a process of the exploration was killed, perhaps for want of memory; "
                           "start it again with the same --results, or fewer --jobs") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _cluster(
    work: Sequence[Numbered], task: Task, address: str,
) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        from distributed import Client
        from distributed import as_completed as completed
    except ModuleNotFoundError:
        raise ExploreError("--scheduler needs Dask; install it with pip install "
                           "'smartdeal[cluster]'") from None
    _check_reachable(address)
    try:
        client = Client(address, timeout=_TIMEOUT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ExploreError(f"no Dask scheduler answers at {address}: {error}") from None
    try:
        futures = [client.submit(_run, chunk, task, pure=False, retries=_RETRIES)
                   for chunk in _chunks(work)]
        for future in completed(futures, loop=client.loop):
            yield from future.result()
            future.release()
    finally:
        with suppress(OSError, TimeoutError):
            client.close(timeout=_TIMEOUT_SECONDS)


def _check_reachable(address: str) -> None:
    """Refuse at once what Dask would try again for a long time, with many lines."""
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise ExploreError(f"scheduler must be an address as tcp://host:8786, not {address!r}")
    try:
        socket.create_connection((host, port), timeout=_TIMEOUT_SECONDS).close()
    except OSError as error:
        raise ExploreError(f"no Dask scheduler answers at {address}: "
                           f"{error.strerror or error}; start one with dask scheduler") from None
