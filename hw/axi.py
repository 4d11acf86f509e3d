"""AXI4 and AXI4-Lite interfaces (AMBA IHI 0022), in the subset that this design drives.

Names of the members are AXI's; :func:`smartdeal.hw.verilog.ports` joins path and name, as
``memory__arvalid``.
"""

import enum

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["BOUNDARY_BYTES", "MAX_BURST_BEATS", "Axi4", "Axi4Interface", "AxiLite",
           "AxiLiteInterface", "Response"]

#: A burst must not cross a multiple of this (AXI4, A3.4.1).
BOUNDARY_BYTES = 4096
MAX_BURST_BEATS = 256


class Response(enum.IntEnum):
    """RRESP and BRESP."""

    OKAY   = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


class Axi4(wiring.Signature):
    """AXI4 from the master's side: incrementing bursts of whole beats, one ID.

    Parameters
    ----------
    address_bits : int
    data_bits : int
        32…256.
    """

    def __init__(self, *, address_bits: int, data_bits: int):
        self.address_bits = address_bits
        self.data_bits    = data_bits
        address = {"addr": Out(address_bits), "len": Out(8), "size": Out(3), "burst": Out(2),
                   "cache": Out(4), "prot": Out(3), "valid": Out(1), "ready": In(1)}
        super().__init__({
            **{f"ar{name}": member for name, member in address.items()},
            "rdata":  In(data_bits),
            "rresp":  In(2),
            "rlast":  In(1),
            "rvalid": In(1),
            "rready": Out(1),
            **{f"aw{name}": member for name, member in address.items()},
            "wdata":  Out(data_bits),
            "wstrb":  Out(data_bits // 8),
            "wlast":  Out(1),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp":  In(2),
            "bvalid": In(1),
            "bready": Out(1),
        })

    def __eq__(self, other):
        return (isinstance(other, Axi4) and self.address_bits == other.address_bits
                and self.data_bits == other.data_bits)

    def __repr__(self):
        return f"Axi4(address_bits={self.address_bits!r}, data_bits={self.data_bits!r})"

    def create(self, *, path=None, src_loc_at=0):
        return Axi4Interface(self, path=path, src_loc_at=1 + src_loc_at)


class Axi4Interface(wiring.PureInterface):
    """The signals of :class:`Axi4`."""

    araddr:  Signal
    arlen:   Signal
    arsize:  Signal
    arburst: Signal
    arcache: Signal
    arprot:  Signal
    arvalid: Signal
    arready: Signal
    rdata:   Signal
    rresp:   Signal
    rlast:   Signal
    rvalid:  Signal
    rready:  Signal
    awaddr:  Signal
    awlen:   Signal
    awsize:  Signal
    awburst: Signal
    awcache: Signal
    awprot:  Signal
    awvalid: Signal
    awready: Signal
    wdata:   Signal
    wstrb:   Signal
    wlast:   Signal
    wvalid:  Signal
    wready:  Signal
    bresp:   Signal
    bvalid:  Signal
    bready:  Signal


class AxiLite(wiring.Signature):
    """AXI4-Lite with 32-bit data, from the master's side.

    Parameters
    ----------
    address_bits : int
    """

    def __init__(self, *, address_bits: int):
        self.address_bits = address_bits
        super().__init__({
            "awaddr":  Out(address_bits),
            "awprot":  Out(3),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata":   Out(32),
            "wstrb":   Out(4),
            "wvalid":  Out(1),
            "wready":  In(1),
            "bresp":   In(2),
            "bvalid":  In(1),
            "bready":  Out(1),
            "araddr":  Out(address_bits),
            "arprot":  Out(3),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata":   In(32),
            "rresp":   In(2),
            "rvalid":  In(1),
            "rready":  Out(1),
        })

    def __eq__(self, other):
        return isinstance(other, AxiLite) and self.address_bits == other.address_bits

    def __repr__(self):
        return f"AxiLite(address_bits={self.address_bits!r})"

    def create(self, *, path=None, src_loc_at=0):
        return AxiLiteInterface(self, path=path, src_loc_at=1 + src_loc_at)


class AxiLiteInterface(wiring.PureInterface):
    """The signals of :class:`AxiLite`."""

    awaddr:  Signal
    awprot:  Signal
    awvalid: Signal
    awready: Signal
    wdata:   Signal
    wstrb:   Signal
    wvalid:  Signal
    wready:  Signal
    bresp:   Signal
    bvalid:  Signal
    bready:  Signal
    araddr:  Signal
    arprot:  Signal
    arvalid: Signal
    arready: Signal
    rdata:   Signal
    rresp:   Signal
    rvalid:  Signal
    rready:  Signal
