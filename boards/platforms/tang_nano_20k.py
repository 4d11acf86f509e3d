"""Sipeed Tang Nano 20K: Gowin GW2AR-18, USB serial through a BL616."""

from typing import Any, ClassVar

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import GowinPlatform
from amaranth_boards.resources import LEDResources, UARTResource

__all__ = ["TangNano20kPlatform"]

_LEVEL = Attrs(IO_TYPE="LVCMOS33")


class TangNano20kPlatform(GowinPlatform):
    """What the accelerator needs of the board: clock, LEDs and the serial line."""

    part        = "GW2AR-LV18QN88C8/I7"
    family      = "GW2AR-18C"
    default_clk = "clk27"
    resources: ClassVar[list[Any]] = [
        Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), _LEVEL),
        *LEDResources(pins="15 16 17 18 19 20", invert=True, attrs=_LEVEL),
        UARTResource(0, rx="70", tx="69", attrs=Attrs(PULL_MODE="UP", IO_TYPE="LVCMOS33")),
    ]
    connectors: ClassVar[list[Any]] = []

    @property
    def _chipdb_device(self):
        """The open tools know the GW2AR, a GW2A with memory in its package, by the GW2A's name."""
        return self.family.replace("GW2AR", "GW2A")
