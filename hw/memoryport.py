"""The core's port to system memory: two requests, a stream in and a stream out."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from smartdeal.hw.isa import ERROR_BITS

__all__ = ["MemoryPort", "MemoryPortInterface", "request_layout"]

request_layout = data.StructLayout({"offset": 32, "beats": 32})
"""A range of the program's region of system memory: first byte and length."""


class MemoryPort(wiring.Signature):
    """What a program's transfers need, from the core's side. The core knows no bus.

    Parameters
    ----------
    host_bits : int
        Width of the streams.

    Members
    -------
    fetch_request : Out(stream.Signature(request_layout))
        Ranges to read; their beats come on ``fetch``, in order.
    fetch : In(stream.Signature(host_bits))
    fetch_busy : In(1)
        Beats that were asked for are still to come, wanted or not.
    fetch_failed : In(1)
        Pulse: an error response.
    spill_start : Out(1)
        Pulse: the words to come on the core's ``store`` stream go to ``spill_range``.
    spill_range : Out(request_layout)
    spill_sending : In(1)
        Not all beats of the last range were taken.
    spill_busy : In(1)
        Not all of them were acknowledged.
    spill_failed : In(1)
        Pulse: an error response.
    size : In(32)
        Bytes of the region.
    refuse : In(ErrorCode)
        The error of a program that would be started now; NONE if it may be.
    cancel : Out(1)
        End all transfers as soon as the bus allows; what is asked for is dropped.
    running : Out(1)
        A program runs: beats that come are the program's.
    """

    def __init__(self, *, host_bits: int):
        self.host_bits = host_bits
        super().__init__({
            "fetch_request": Out(stream.Signature(request_layout)),
            "fetch":         In(stream.Signature(host_bits)),
            "fetch_busy":    In(1),
            "fetch_failed":  In(1),
            "spill_start":   Out(1),
            "spill_range":   Out(request_layout),
            "spill_sending": In(1),
            "spill_busy":    In(1),
            "spill_failed":  In(1),
            "size":          In(32),
            "refuse":        In(ERROR_BITS),
            "cancel":        Out(1),
            "running":       Out(1),
        })

    def __eq__(self, other):
        return isinstance(other, MemoryPort) and self.host_bits == other.host_bits

    def __repr__(self):
        return f"MemoryPort(host_bits={self.host_bits!r})"

    def create(self, *, path=None, src_loc_at=0):
        return MemoryPortInterface(self, path=path, src_loc_at=1 + src_loc_at)


class MemoryPortInterface(wiring.PureInterface):
    """The signals of a :class:`MemoryPort`."""

    fetch_request: stream.Interface
    fetch:         stream.Interface
    fetch_busy:    Signal
    fetch_failed:  Signal
    spill_start:   Signal
    spill_range:   data.View
    spill_sending: Signal
    spill_busy:    Signal
    spill_failed:  Signal
    size:          Signal
    refuse:        Signal
    cancel:        Signal
    running:       Signal
