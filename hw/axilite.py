"""AXI4-Lite to the register bus."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from smartdeal.hw.axi import AxiLite, AxiLiteInterface, Response
from smartdeal.hw.registerfile import ADDRESS_BITS, RegisterBus, RegisterBusInterface

__all__ = ["CONTROL_ADDRESS_BITS", "AxiLiteBridge"]

#: The control slave decodes 4 KiB, the least that a system's interconnect assigns.
CONTROL_ADDRESS_BITS = 12


class AxiLiteBridge(wiring.Component):
    """Answer AXI4-Lite transfers with register transfers, one at a time, writes first.

    A write of less than a whole word, or any transfer to an address that is not of a word in the
    first 256 bytes, is answered with SLVERR and reaches no register.

    Timing: a transfer takes five cycles if the master does not wait.

    Members
    -------
    axi : In(AxiLite)
    bus : Out(RegisterBus)
    """

    axi: AxiLiteInterface
    bus: RegisterBusInterface

    def __init__(self):
        super().__init__({
            "axi": In(AxiLite(address_bits=CONTROL_ADDRESS_BITS)),
            "bus": Out(RegisterBus()),
        })

    def elaborate(self, platform):
        m = Module()
        axi, bus = self.axi, self.bus

        def outside(address):
            return (address[:2] != 0) | (address[ADDRESS_BITS:] != 0)

        with m.FSM(name="bridge"):
            with m.State("IDLE"):
                with m.If(axi.awvalid & axi.wvalid):
                    m.d.comb += [axi.awready.eq(1), axi.wready.eq(1)]
                    m.d.sync += [
                        bus.address.eq(axi.awaddr), bus.write.eq(1), bus.write_data.eq(axi.wdata),
                        axi.bresp.eq(Response.OKAY),
                    ]
                    m.next = "TRANSFER"
                    with m.If((axi.wstrb != 0b1111) | outside(axi.awaddr)):
                        m.d.sync += axi.bresp.eq(Response.SLVERR)
                        m.next = "ANSWER"
                with m.Elif(axi.arvalid):
                    m.d.comb += axi.arready.eq(1)
                    m.d.sync += [
                        bus.address.eq(axi.araddr), bus.write.eq(0),
                        axi.rresp.eq(Response.OKAY),
                    ]
                    m.next = "TRANSFER"
                    with m.If(outside(axi.araddr)):
                        m.d.sync += [axi.rresp.eq(Response.SLVERR), axi.rdata.eq(0)]
                        m.next = "ANSWER"

            with m.State("TRANSFER"):
                m.d.comb += bus.valid.eq(1)
                with m.If(bus.ready):
                    m.d.sync += axi.rdata.eq(bus.read_data)
                    m.next = "ANSWER"

            with m.State("ANSWER"):
                m.d.comb += [axi.bvalid.eq(bus.write), axi.rvalid.eq(~bus.write)]
                with m.If(Mux(bus.write, axi.bready, axi.rready)):
                    m.next = "IDLE"
        return m
