"""Programs that use data before they are there: the rule of docs/execution.md, checked by running.

The reference interpreter carries out every transfer at once. :class:`LateInterpreter` carries out
each as late as the program's waiting allows, and spoils meanwhile what nobody may use. Hardware
is somewhere in between, so a program that gives the same in both gives the same in hardware.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.interpreter import Interpreter, Observer, ProgramError
from smartdeal.golden.transfers import Load, Wait
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import LOAD_QUEUE, WaitFlag

__all__ = ["LateInterpreter", "describe_race"]


@dataclass(frozen=True)
class _Store:
    """What a group of an EXTERNAL layer gave, on its way to the region."""

    offset: int
    data: bytes


class LateInterpreter(Interpreter):
    """An interpreter in which transfers are late.

    A LOAD is carried out when a WAIT, a full queue or END demands it; until then its words hold
    the complement of what they will hold. Output of EXTERNAL layers reaches the region at a WAIT
    with STORES or at END; until then its bytes are complemented too.

    Parameters
    ----------
    config : AcceleratorConfig
    region : bytearray, optional
    """

    def __init__(self, config: AcceleratorConfig, region: bytearray | None = None) -> None:
        super().__init__(config, region)
        self._loads: deque[Load] = deque()
        self._stores: list[_Store] = []

    def run(self, on_instruction: Observer | None = None) -> None:
        """Run as :meth:`Interpreter.run`; errors of transfers come late too."""
        self._loads.clear()
        self._stores.clear()
        super().run(on_instruction)

    def begin_load(self, load: Load) -> None:
        """Put a LOAD into the queue, and spoil the words that it will write."""
        self._finish_loads(LOAD_QUEUE - 1)
        load.run(self, spoil=True)
        self._loads.append(load)

    def store_external(self, offset: int, data: bytes) -> None:
        """Keep output back, and spoil its place."""
        super().store_external(offset, _complement(data))
        self._stores.append(_Store(offset, data))

    def wait(self, wait: Wait) -> None:
        """Carry out what a WAIT demands, and no more."""
        self._finish_loads(wait["loads"])
        if WaitFlag.STORES in wait.flags:
            self._finish_stores()

    def finish(self) -> None:
        """Carry out everything at END."""
        self._finish_loads(0)
        self._finish_stores()

    def _finish_loads(self, allowed: int) -> None:
        while len(self._loads) > allowed:
            self._loads.popleft().run(self)

    def _finish_stores(self) -> None:
        for store in self._stores:
            super().store_external(store.offset, store.data)
        self._stores.clear()



def describe_race(
    images: Sequence[bytes], region: bytes, config: AcceleratorConfig, data: bytes = b"",
) -> str:
    """Run programs at once and late, and say where the results differ; nothing if they do not.

    Parameters
    ----------
    images : sequence of bytes
        Program images, loaded and run one after the other.
    region : bytes
        At the start.
    config : AcceleratorConfig
    data : bytes
        What is loaded first.
    """
    ended = [_ended(machine(config, bytearray(region)), images, data)
             for machine in (Interpreter, LateInterpreter)]
    if isinstance(ended[0], str) or isinstance(ended[1], str):
        texts = [end if isinstance(end, str) else "no error" for end in ended]
        return "" if texts[0] == texts[1] else f"{texts[0]} at once, {texts[1]} late"
    for name, size, at_once, late in zip(
            ("activation word", "byte of the region"), (config.cols, 1), *ended, strict=True):
        different = np.flatnonzero(at_once != late)
        if len(different):
            return (f"{name} {different[0] // size} depends on when transfers end, and "
                    f"{len(different) - 1} other bytes")
    return ""


def _ended(
    interpreter: Interpreter, images: Sequence[bytes], data: bytes,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | str:
    """Return activations and region at the end, or the error that came before."""
    try:
        interpreter.load(data)
        for image in images:
            interpreter.load(image)
            interpreter.run()
    except ProgramError as error:
        return str(error)
    return interpreter.activations.view(np.uint8), np.frombuffer(interpreter.region, np.uint8)


def _complement(data: bytes) -> bytes:
    return np.invert(np.frombuffer(data, np.uint8)).tobytes()
