"""The accelerator for its user: Verilog with a header, and a JSON description of the interface."""

import json
from importlib import metadata
from typing import Any, Literal

from smartdeal.hw import verilog
from smartdeal.hw.accelerator import Accelerator
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import (
    BLOCK_BYTES,
    IMAGE_MAGIC,
    IMAGE_VERSION,
    INSTRUCTION,
    INSTRUCTION_WORDS,
    JUMP_INSTRUCTION,
    LOAD_INSTRUCTION,
    LOAD_QUEUE,
    MOVE_INSTRUCTION,
    WAIT_INSTRUCTION,
    ErrorCode,
    LayerFlag,
    MoveFlag,
    Opcode,
    SectionKind,
    WaitFlag,
    section_capacity,
    section_format,
)
from smartdeal.hw.packing import WordFormat
from smartdeal.hw.registers import (
    HARDWARE_ID,
    HARDWARE_VERSION,
    Control,
    DmaError,
    DmaStatus,
    Status,
    register_map,
)
from smartdeal.hw.system import AxiSystem

__all__ = ["INTERFACES", "Interface", "describe", "generate_verilog", "to_json"]

#: What the host is connected to: register bus and streams, or AXI4-Lite and AXI4.
Interface = Literal["stream", "axi"]
INTERFACES: tuple[Interface, ...] = ("stream", "axi")

_CLOCK = (
    {"name": "clk", "width": 1, "direction": "input", "meaning": "clock, rising edge"},
    {"name": "rst", "width": 1, "direction": "input", "meaning": "reset, synchronous, high"},
)

#: What each port is for. A transfer takes place in a cycle with valid and ready both high.
_MEANINGS = {
    "bus__valid": "register transfer wanted",
    "bus__write": "1 writes, 0 reads",
    "bus__address": "byte address of a register",
    "bus__write_data": "value to write",
    "bus__ready": "register transfer takes place; read data are valid in this cycle",
    "bus__read_data": "value read",
    "load__payload": "beat of an image, little-endian",
    "load__valid": "beat of an image offered by the host",
    "load__ready": "beat of an image taken",
    "store__payload": "beat of activation words that the host reads, little-endian",
    "store__valid": "beat of activation words offered",
    "store__ready": "beat of activation words taken by the host",
    "interrupt": "done or error, if enabled; until clear or the next start",
    "reading": "the store stream has words to deliver",
    "memory__fetch_request__payload": "range of the region to read: first byte [31:0], beats",
    "memory__fetch_request__valid": "range offered by the program",
    "memory__fetch_request__ready": "range taken",
    "memory__fetch__payload": "beat of a range that was asked for, in order",
    "memory__fetch__valid": "beat offered",
    "memory__fetch__ready": "beat taken by the program",
    "memory__fetch_busy": "beats that were asked for are still to come",
    "memory__fetch_failed": "pulse: a read failed",
    "memory__spill_start": "pulse: beats to come on the store stream go to spill_range",
    "memory__spill_range": "range of the region to write: first byte [31:0], beats",
    "memory__spill_sending": "beats of the range are still to be taken",
    "memory__spill_busy": "beats of the range are still to be acknowledged",
    "memory__spill_failed": "pulse: a write failed",
    "memory__size": "bytes of the region",
    "memory__refuse": "error code of a start now, which is refused; 0 where it is not",
    "memory__cancel": "end all transfers as soon as possible",
    "memory__running": "a program runs",
}

#: AXI ports are described by their channel.
_CHANNELS = {
    "control": "AXI4-Lite slave for the registers",
    "memory": "AXI4 master for images, activation words and a program's own transfers",
}


def _top(config: AcceleratorConfig, interface: Interface) -> Accelerator | AxiSystem:
    return AxiSystem(config) if interface == "axi" else Accelerator(config)


def _meaning(port: str) -> str:
    group, _, signal = port.partition("__")
    if port not in _MEANINGS and group in _CHANNELS:
        return f"{_CHANNELS[group]}: {signal.upper()}"
    return _MEANINGS[port]


def generate_verilog(
    config: AcceleratorConfig, name: str = "smartdeal", interface: Interface = "stream",
) -> str:
    """Return the Verilog of the whole accelerator: the same bytes for equal arguments.

    Raises
    ------
    EmissionError
        If ``name`` is not an identifier.
    """
    parameters = config.as_dict()
    width = max(map(len, parameters))
    lines = [f"{config.rows} × {config.cols} array, configuration "
             f"{config.fingerprint:#010x}:"]
    lines += [f"  {key:<{width}} = {json.dumps(value)}" for key, value in parameters.items()]
    return verilog.emit(_top(config, interface), name, header="\n".join(lines))


def describe(
    config: AcceleratorConfig, name: str = "smartdeal", interface: Interface = "stream",
) -> dict[str, Any]:
    """Return what a host's driver, and whoever wires the top module, must know."""
    ports = [{"name": port.name, "width": port.width, "direction": port.direction,
              "meaning": _meaning(port.name)} for port in verilog.ports(_top(config, interface))]
    dma = interface == "axi"
    description = {
        "generator": "smartdeal",
        "version": metadata.version("smartdeal"),
        "top": name,
        "interface": interface,
        "configuration": config.as_dict(),
        "derived": {
            "fingerprint": config.fingerprint,
            "processing_elements": config.rows * config.cols,
            "filters_per_group": config.filters_per_group,
            "cycles_per_row_read_out": config.chunks,
            "coefficient_bits": config.code_bits,
            "activation_bytes": config.activation_bytes,
        },
        "ports": [*_CLOCK, *ports],
        "registers": {
            "id": HARDWARE_ID,
            "version": HARDWARE_VERSION,
            "map": [{"name": row.name, "address": row.address, "bits": row.bits,
                     "access": row.access, "description": row.description}
                    for row in register_map(dma=dma)],
            "control_bits": {bit.name: bit.value for bit in Control},
            "status_bits": {bit.name: bit.value for bit in Status},
        },
        "errors": {code.name: code.value for code in ErrorCode},
        "image": {
            "magic": IMAGE_MAGIC,
            "version": IMAGE_VERSION,
            "block_bytes": max(BLOCK_BYTES, config.host_bits // 8),
            "sections": [_section(kind, config) for kind in SectionKind
                         if kind is not SectionKind.END],
        },
        "instruction": {
            "words": INSTRUCTION_WORDS,
            "opcodes": {opcode.name: opcode.value for opcode in Opcode},
            "flags": {flag.name: flag.value for flag in LayerFlag},
            "fields": _fields(INSTRUCTION),
            "move_flags": {flag.name: flag.value for flag in MoveFlag},
            "move_fields": _fields(MOVE_INSTRUCTION),
            "load_queue": LOAD_QUEUE,
            "load_fields": _fields(LOAD_INSTRUCTION),
            "wait_flags": {flag.name: flag.value for flag in WaitFlag},
            "wait_fields": _fields(WAIT_INSTRUCTION),
            "jump_fields": _fields(JUMP_INSTRUCTION),
        },
    }
    if dma:
        description["registers"]["dma_status_bits"] = {bit.name: bit.value for bit in DmaStatus}
        description["dma_errors"] = {code.name: code.value for code in DmaError}
    return description


def to_json(description: dict[str, Any]) -> str:
    """Return a description as JSON text."""
    return json.dumps(description, indent=2) + "\n"


def _section(kind: SectionKind, config: AcceleratorConfig) -> dict[str, Any]:
    layout = section_format(kind, config)
    return {
        "name": kind.name,
        "kind": kind.value,
        "capacity_words": section_capacity(kind, config),
        "bits": layout.bits,
        "bytes_in_image": layout.unit_bytes(config.host_bits),
        "fields": _fields(layout),
    }


def _fields(layout: WordFormat) -> list[dict[str, Any]]:
    return [{"name": field.name, "offset": layout.offset(field.name), "bits": field.bits,
             "signed": field.signed, "count": field.count} for field in layout.fields]
