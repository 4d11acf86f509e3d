"""Options that several subcommands share."""

import functools
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartdeal.hw.config import AcceleratorConfig

if TYPE_CHECKING:
    from smartdeal.sim.memory_timing import MemoryTiming

__all__ = ["CONFIGURATION_HELP", "check_timing", "configuration_options", "memory_options"]

#: Help of every parameter of a configuration; a test holds it against the class.
CONFIGURATION_HELP = {
    "rows": "PE rows, 2…128: filters, or three rows per filter with a basis.",
    "cols": "PE columns, 2…128: pixels.",
    "exponents": "Exponents of a coefficient ±2^e.",
    "acc_bits": "Bits of a PE accumulator.",
    "sum_bits": "Bits of a sum behind the basis stage.",
    "drain_lanes": "Columns read out per cycle; 0 chooses.",
    "max_slices": "Slices of one reduction.",
    "activation_words": "Words of the activation buffer; 0 means 512 KiB.",
    "weight_steps": "Steps in the weight buffer.",
    "channel_entries": "Entries of the requantisation table.",
    "basis_entries": "Entries of the basis memory.",
    "program_words": "Words of instruction memory.",
    "host_bits": "Bits of the load and store streams: 32, 64, 128 or 256; with memory less than "
                 "the 8 · cols of a word, so 128 needs more than 16 columns and 256 more than 32.",
    "basis": "Basis stage, for the SmartDeal form.",
    "max_pool": "Max pooling.",
    "residual": "Residual addition.",
    "reduce": "Global average pooling.",
    "move": "Laying tensors out anew, for networks that stay on chip.",
    "memory": "Transfers that a program does by itself, for networks that do not fit on chip.",
    "entropy": "Decoding Huffman-coded steps in images; not with memory.",
    "binary": "XNOR mode for binary weights and activations.",
    "field_bits": "Bits of the longest number in an instruction, 8…32; narrower is smaller.",
    "counter_bits": "Bits of the counters of cycles, 24…48.",
    "checksum_bits": "Bits of an image checked per cycle; 0 means all of a beat.",
    "memory_delays": "Long delay lines are block RAMs.",
    "single_port_weights": "One port for weights, as SPRAM has; not with memory.",
}


def configuration_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--config`` and an option per parameter; it gets ``config``."""
    names = [field.name for field in fields(AcceleratorConfig)]

    @functools.wraps(function)
    def wrapper(config_file: Path | None, **arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in names}
        given = {name: value for name, value in given.items() if value is not None}
        config = (AcceleratorConfig.from_toml(config_file, **given) if config_file is not None
                  else AcceleratorConfig(**given))
        return function(config=config, **arguments)

    decorated = wrapper
    for field in reversed(fields(AcceleratorConfig)):
        option = "--" + field.name.replace("_", "-")
        text = CONFIGURATION_HELP[field.name]
        if field.type is int:
            shown = f"{text}  [default: {field.default}]"
            decorate = click.option(option, type=int, default=None, help=shown)
        else:
            decorate = click.option(f"{option}/--no-{option[2:]}", default=None, help=text)
        decorated = decorate(decorated)
    file_type = click.Path(dir_okay=False, path_type=Path)
    return click.option("--config", "config_file", type=file_type, metavar="FILE.toml",
                        help="Configuration file; options override it.")(decorated)


def memory_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of the system memory; it gets ``timing``, a MemoryTiming."""
    @functools.wraps(function)
    def wrapper(memory_latency: int, memory_bandwidth: int, **arguments: Any) -> Any:
        from smartdeal.sim.memory_timing import MemoryTiming

        return function(timing=MemoryTiming(latency_cycles=memory_latency,
                                            bytes_per_cycle=memory_bandwidth), **arguments)

    decorated: Any = wrapper
    for name, default, unit, text in (
        ("--memory-bandwidth", 8, "BYTES", "Bytes per cycle of system memory in each direction."),
        ("--memory-latency", 60, "CYCLES",
         "Latency of system memory, for programs that use it (--memory)."),
    ):
        decorated = click.option(name, type=click.IntRange(min=1), default=default,
                                 show_default=True, metavar=unit, help=text)(decorated)
    return decorated


def check_timing(timing: "MemoryTiming", config: AcceleratorConfig) -> None:
    """Refuse a bandwidth at which the accelerator's beats do not come at whole cycles."""
    try:
        timing.beat_cycles(config)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--memory-bandwidth") from None
