"""``smartdeal generate``: write the Verilog of an accelerator."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from smartdeal.cli.options import configuration_options
from smartdeal.cli.output import stages, write_text
from smartdeal.hw.config import DRAIN_TARGET_CYCLES, AcceleratorConfig

if TYPE_CHECKING:
    from smartdeal.hw.description import Interface

__all__ = ["generate"]

_EPILOG = """\b
Examples:
  smartdeal generate --rows 16 --cols 32 -o build/
  smartdeal generate --config large.toml --name large
  smartdeal generate --interface axi --memory --host-bits 64 -o build/
"""


@click.command(epilog=_EPILOG)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path),
              default=Path("build"), show_default=True, help="Folder for the four files.")
@click.option("--name", default="smartdeal", show_default=True,
              help="Name of the top module and of the files.")
@click.option("--interface", type=click.Choice(["stream", "axi"]), default="stream",
              show_default=True, help="Host side: a register bus and streams, or AXI4-Lite "
                                      "control and an AXI4 master.")
@configuration_options
def generate(config: AcceleratorConfig, output: Path, name: str, interface: "Interface") -> None:
    """Write an accelerator: NAME.v, its description NAME.json, and NAME.h and NAME.py for drivers.
    """
    from smartdeal.hw.description import describe, generate_verilog, to_json
    from smartdeal.hw.header import c_header, python_header

    with stages() as tell:
        tell("generate", 0.0)
        verilog = generate_verilog(config, name, interface)
    description = describe(config, name, interface)
    files = {"v": verilog, "json": to_json(description), "h": c_header(description),
             "py": python_header(description)}
    for suffix, text in files.items():
        path = output / f"{name}.{suffix}"
        write_text(path, text)
        click.echo(f"{path}: {text.count(chr(10)):,} lines")
    click.echo(_lanes(config))
    if interface == "axi" and not config.memory:
        click.echo("programs cannot use system memory by themselves; --memory adds that")


def _lanes(config: AcceleratorConfig) -> str:
    """Return how the array is read out: every lane is hardware of its own."""
    text = f"{config.drain_lanes} read-out lane{'s' if config.drain_lanes > 1 else ''}"
    if config.drain_lanes == config.cols == config.replace(drain_lanes=0).drain_lanes:
        text += (f": cols = {config.cols} has no smaller divisor that drains in "
                 f"{DRAIN_TARGET_CYCLES} cycles")
    return text
