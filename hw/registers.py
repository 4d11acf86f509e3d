"""The register map: the one place that knows a register's address.

The register bus carries 32-bit words; addresses are in bytes. Counters have 48 bits, read as two
words while the accelerator is idle.
"""

import enum
from dataclasses import dataclass

__all__ = ["COUNTERS", "COUNTER_BITS", "HARDWARE_ID", "HARDWARE_VERSION", "Control", "DmaError",
           "DmaRegister", "DmaStatus", "Register", "RegisterInfo", "Status", "register_map"]

HARDWARE_ID = int.from_bytes(b"SDA1", "little")
HARDWARE_VERSION = 0x0001_0000  # major, minor: 16 bits each


class Register(enum.IntEnum):
    """Byte addresses."""

    ID             = 0x00  #: r: HARDWARE_ID
    VERSION        = 0x04  #: r: HARDWARE_VERSION
    FINGERPRINT    = 0x08  #: r: AcceleratorConfig.fingerprint
    GEOMETRY       = 0x0C  #: r: rows [7:0], cols [15:8], drain lanes [23:16], host bytes [31:24]
    CONTROL        = 0x10  #: w: Control bits, self-clearing
    STATUS         = 0x14  #: r: Status bits
    ERROR          = 0x18  #: r: ErrorCode of the last failure; 0 after a start that was accepted
    INSTRUCTION    = 0x1C  #: r: word address of the instruction being run, or that failed
    INTERRUPT      = 0x20  #: rw: bit 0 enables the interrupt on done or error
    READ_ADDRESS   = 0x24  #: rw: first word of the activation buffer to read
    READ_COUNT     = 0x28  #: rw: words to read; writing starts the store stream
    CYCLES         = 0x40  #: r: cycles from start to done
    BUSY           = 0x48  #: r: cycles in which the array took a step
    STALL_DRAIN    = 0x50  #: r: cycles in which a finished tile waited for the read-out
    STALL_RESIDUAL = 0x58  #: r: cycles in which a residual operand was fetched instead of a step
    OVERHEAD       = 0x60  #: r: all other cycles: decode, pipeline fill and flush
    MOVE           = 0x68  #: r: cycles in which a MOVE instruction read or filled
    STALL_MEMORY   = 0x70  #: r: cycles in which the program waited for system memory


class Control(enum.IntFlag):
    """Bits of CONTROL."""

    START = 1  #: run the program
    CLEAR = 2  #: stop whatever runs; abandon a half-loaded image; clear error, done and interrupt


class Status(enum.IntFlag):
    """Bits of STATUS."""

    BUSY = 1      #: a program is running
    DONE = 2      #: the last program ended without error
    ERROR = 4     #: ERROR holds a code
    PROGRAM = 8   #: a valid program is loaded
    LOADING = 16  #: in the middle of an image
    READING = 32  #: the store stream has words to deliver


class DmaRegister(enum.IntEnum):
    """Byte addresses of the registers that the AXI system adds."""

    LOAD_ADDRESS       = 0x80  #: rw: system memory address of an image, bits 31:0
    LOAD_ADDRESS_HIGH  = 0x84  #: rw: bits 63:32
    LOAD_BYTES         = 0x88  #: rw: bytes to load; writing starts the load
    STORE_ADDRESS      = 0x8C  #: rw: where words of the activation buffer go, bits 31:0
    STORE_ADDRESS_HIGH = 0x90  #: rw: bits 63:32
    DMA_STATUS         = 0x94  #: r: DmaStatus bits
    DMA_ERROR          = 0x98  #: r: DmaError of the last failure
    DMA_INTERRUPT      = 0x9C  #: rw: bit 0 enables the interrupt when a transfer ends
    MEMORY_BASE        = 0xA0  #: rw: where the program's region of system memory begins, 31:0
    MEMORY_BASE_HIGH   = 0xA4  #: rw: bits 63:32
    MEMORY_BYTES       = 0xA8  #: rw: bytes of that region; a program reaches nothing else


class DmaStatus(enum.IntFlag):
    """Bits of DMA_STATUS."""

    LOADING = 1     #: an image is being read
    STORING = 2     #: words are being written
    LOAD_DONE = 4   #: a load has ended since CONTROL.CLEAR or the last start
    STORE_DONE = 8  #: likewise for a store


class DmaError(enum.IntEnum):
    """Why a transfer failed, or the program's region or a START; cleared by CONTROL.CLEAR."""

    NONE = 0
    READ_RESPONSE = 1   #: the memory answered a read with an error
    WRITE_RESPONSE = 2  #: the memory answered a write with an error
    ADDRESS = 3         #: address or length is not a multiple of a beat's bytes, 0, or too wide
    BUSY = 4            #: asked for while a transfer of that direction or a program was going on


@dataclass(frozen=True)
class RegisterInfo:
    """One row of the register map, for descriptions and headers."""

    name: str
    address: int
    bits: int
    access: str
    description: str


_ACCESS = {
    Register.ID: ("r", "identification: 'SDA1'"),
    Register.VERSION: ("r", "hardware version: major [31:16], minor [15:0]"),
    Register.FINGERPRINT: ("r", "CRC-32 of the configuration"),
    Register.GEOMETRY: ("r", "rows [7:0], cols [15:8], drain lanes [23:16], host bytes [31:24]"),
    Register.CONTROL: ("w", "start [0], clear [1]; self-clearing"),
    Register.STATUS: ("r", "busy [0], done [1], error [2], program [3], loading [4], reading [5]"),
    Register.ERROR: ("r", "error code of the last failure"),
    Register.INSTRUCTION: ("r", "word address of the instruction being run, or that failed"),
    Register.INTERRUPT: ("rw", "interrupt enable [0]"),
    Register.READ_ADDRESS: ("rw", "first activation word to read"),
    Register.READ_COUNT: ("rw", "activation words to read; writing starts the store stream"),
    Register.CYCLES: ("r", "cycles from start to done"),
    Register.BUSY: ("r", "cycles in which the array took a step"),
    Register.STALL_DRAIN: ("r", "cycles in which a finished tile waited for the read-out"),
    Register.STALL_RESIDUAL: ("r", "cycles that fetched a residual operand instead of a step"),
    Register.OVERHEAD: ("r", "all other cycles of a program"),
    Register.MOVE: ("r", "cycles in which a MOVE instruction read or filled"),
    Register.STALL_MEMORY: ("r", "cycles in which the program waited for system memory"),
}

_DMA_ACCESS = {
    DmaRegister.LOAD_ADDRESS: ("rw", "system memory address of an image [31:0]"),
    DmaRegister.LOAD_ADDRESS_HIGH: ("rw", "system memory address of an image [63:32]"),
    DmaRegister.LOAD_BYTES: ("rw", "bytes of the image; writing starts the load"),
    DmaRegister.STORE_ADDRESS: ("rw", "system memory address for READ_COUNT's words [31:0]"),
    DmaRegister.STORE_ADDRESS_HIGH: ("rw", "system memory address for READ_COUNT's words [63:32]"),
    DmaRegister.DMA_STATUS: ("r", "loading [0], storing [1], load done [2], store done [3]"),
    DmaRegister.DMA_ERROR: ("r", "error code of the last failed transfer or refused start"),
    DmaRegister.DMA_INTERRUPT: ("rw", "interrupt enable for the end of a transfer [0]"),
    DmaRegister.MEMORY_BASE: ("rw", "program's region of system memory, first byte [31:0]"),
    DmaRegister.MEMORY_BASE_HIGH: ("rw", "program's region of system memory, first byte [63:32]"),
    DmaRegister.MEMORY_BYTES: ("rw", "program's region of system memory, bytes"),
}

#: Counters take two words, low first.
COUNTERS = (Register.CYCLES, Register.BUSY, Register.STALL_DRAIN, Register.STALL_RESIDUAL,
            Register.OVERHEAD, Register.MOVE, Register.STALL_MEMORY)
COUNTER_BITS = 48


def register_map(*, dma: bool = False) -> list[RegisterInfo]:
    """Return every register in the order of addresses, on request with those of the DMA."""
    registers = [
        RegisterInfo(register.name, int(register), COUNTER_BITS if register in COUNTERS else 32,
                     *_ACCESS[register])
        for register in sorted(Register)
    ]
    if dma:
        registers += [RegisterInfo(register.name, int(register), 32, *_DMA_ACCESS[register])
                      for register in sorted(DmaRegister)]
    return registers
