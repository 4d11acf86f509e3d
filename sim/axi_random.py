"""An AXI4 memory that does what it wants as far as AXI allows, to run inside the simulator."""

import random
from collections.abc import Callable, Coroutine
from typing import Any

from cocotb.queue import Queue
from cocotb.triggers import RisingEdge

from smartdeal.hw.axi import Response
from smartdeal.sim.axi_memory import ADDRESS_FIELDS, AxiMemory
from smartdeal.sim.axi_storage import Burst, Storage
from smartdeal.sim.driver import number
from smartdeal.sim.errors import PortError

__all__ = ["RandomMemory"]


class RandomMemory(AxiMemory):
    """A memory that pauses at random on each channel, and checks that what waits does not change.

    Addresses and data of writes are taken independently: data may be taken long before their
    address. What a master shows must stay as it is until it is taken (A3.2.1).

    Parameters
    ----------
    dut, edge, storage, fail
        As for :class:`smartdeal.sim.axi_memory.AxiMemory`.
    pause : float
        Probability that a channel does nothing in a cycle, less than 1.
    seed : int
    """

    def __init__(self, dut: Any, edge: RisingEdge, storage: Storage,
                 fail: Callable[[PortError], None], *, pause: float, seed: int) -> None:
        self._pause, self._seed = pause, seed
        super().__init__(dut, edge, storage, fail)

    def reset(self) -> None:
        """Forget what is under way."""
        super().reset()
        self._reads: Queue[Burst] = Queue()
        self._writes: Queue[Burst] = Queue()
        self._beats: Queue[list[int]] = Queue()

    def processes(self) -> list[Coroutine[Any, Any, None]]:
        """Return the processes of the five channels, each with random numbers of its own."""
        draw = [random.Random(f"{self._seed}-{channel}").random for channel in range(5)]
        return [
            self._take("ar", ADDRESS_FIELDS, draw[0], lambda values: self._reads.put_nowait(
                self.storage.burst("ar", *values))),
            self._read_data(draw[1]),
            self._take("aw", ADDRESS_FIELDS, draw[2], lambda values: self._writes.put_nowait(
                self.storage.burst("aw", *values))),
            self._take("w", ("data", "strb", "last"), draw[3], self._beats.put_nowait),
            self._respond(draw[4]),
        ]

    async def _take(self, channel: str, names: tuple[str, ...], draw: Callable[[], float],
                    taken: Callable[[list[int]], None]) -> None:
        """Take what a channel offers, at random times."""
        edge, valid, ready = self._edge, self.port(f"{channel}valid"), self.port(f"{channel}ready")
        ports = [self.port(channel + name) for name in names]
        shown: list[int] | None = None
        taking = False
        while True:
            if shown is None and not valid.value:
                await RisingEdge(valid)
            await edge
            values = [number(port) for port in ports] if valid.value else None
            if shown is not None and values != shown:
                raise PortError(f"memory: {channel}: what was offered changed from {shown} to "
                                f"{values} before it was taken")
            shown = values
            if taking and values is not None:
                taken(values)
                shown = None
            taking = draw() >= self._pause
            ready.value = int(taking)

    async def _offer(self, channel: str, values: dict[str, int], draw: Callable[[], float]) -> None:
        """Offer something until it is taken, after a random pause."""
        valid, ready = self.port(f"{channel}valid"), self.port(f"{channel}ready")
        while draw() < self._pause:
            await self._edge
        for name, value in values.items():
            self.port(channel + name).value = value
        valid.value = 1
        await self._edge
        while not ready.value:
            await self._edge
        valid.value = 0

    async def _read_data(self, draw: Callable[[], float]) -> None:
        while True:
            burst = await self._reads.get()
            for index, value in enumerate(self.storage.read(burst)):
                place = burst.address + index * self.storage.beat_bytes
                await self._offer("r", {"data": value, "resp": self.storage.answer(place),
                                        "last": int(index == burst.beats - 1)}, draw)

    async def _respond(self, draw: Callable[[], float]) -> None:
        """Write the beats of each burst and answer it."""
        while True:
            burst = await self._writes.get()
            answer = Response.OKAY
            for index in range(burst.beats):
                data, strobe, last = await self._beats.get()
                place = burst.address + index * self.storage.beat_bytes
                if bool(last) != (index == burst.beats - 1):
                    raise PortError(f"memory: w: WLAST is {last} in beat {index} of {burst.beats} "
                                    f"at {burst.address:#x}")
                self.storage.write(place, data, strobe)
                answer = answer or self.storage.answer(place)
            await self._offer("b", {"resp": answer}, draw)
