"""``smartdeal generate``: write the Verilog of an accelerator."""

from pathlib import Path

import click

from smartdeal.cli.options import configuration_options
from smartdeal.cli.output import stages, write_text
from smartdeal.hw.config import DRAIN_TARGET_CYCLES, AcceleratorConfig

__all__ = ["generate"]

_EPILOG = """\b
Examples:
  smartdeal generate --rows 16 --cols 32 -o build/
  smartdeal generate --config large.toml --name large
"""


@click.command(epilog=_EPILOG)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path),
              default=Path("build"), show_default=True, help="Folder for the two files.")
@click.option("--name", default="smartdeal", show_default=True,
              help="Name of the top module and of the files.")
@configuration_options
def generate(config: AcceleratorConfig, output: Path, name: str) -> None:
    """Write NAME.v, the whole accelerator, and NAME.json, which describes it."""
    from smartdeal.hw.description import describe, generate_verilog, to_json

    with stages() as tell:
        tell("generate", 0.0)
        verilog = generate_verilog(config, name)
    description = to_json(describe(config, name))
    for path, text in ((output / f"{name}.v", verilog), (output / f"{name}.json", description)):
        write_text(path, text)
        click.echo(f"{path}: {text.count(chr(10)):,} lines")
    click.echo(_lanes(config))


def _lanes(config: AcceleratorConfig) -> str:
    """Return how the array is read out: every lane is hardware of its own."""
    text = f"{config.drain_lanes} read-out lane{'s' if config.drain_lanes > 1 else ''}"
    if config.drain_lanes == config.cols == config.replace(drain_lanes=0).drain_lanes:
        text += (f": cols = {config.cols} has no smaller divisor that drains in "
                 f"{DRAIN_TARGET_CYCLES} cycles")
    return text
