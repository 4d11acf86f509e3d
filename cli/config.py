"""``smartdeal config``: show a configuration."""

import json

import click

from smartdeal.cli.options import configuration_options
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["config"]

_EPILOG = """\b
Examples:
  smartdeal config --rows 24 --cols 32 > large.toml
  smartdeal config --config large.toml --host-bits 128
"""


@click.command(epilog=_EPILOG)
@configuration_options
def config(config: AcceleratorConfig) -> None:
    """Print a configuration as TOML, every choice resolved."""
    # A TOML number or truth value is written as in JSON.
    for name, value in config.as_dict().items():
        click.echo(f"{name} = {json.dumps(value)}")
