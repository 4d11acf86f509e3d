"""``smartdeal boards``: the boards that bitstreams can be built for."""

import json
from pathlib import Path

import click
from rich.table import Table

from smartdeal.cli.output import console, fitting, write_text

__all__ = ["boards"]

_EPILOG = """\b
Examples:
  smartdeal boards
  smartdeal boards --json boards.json
  smartdeal boards --config ulx3s_85f > ulx3s.toml && smartdeal compile resnet8 --config ulx3s.toml
"""


@click.command(epilog=_EPILOG)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path),
              metavar="FILE", help="Write the table as JSON.")
@click.option("--config", "config_of", metavar="BOARD",
              help="Print the board's default configuration as TOML instead.")
def boards(json_file: Path | None, config_of: str | None) -> None:
    """List the boards: device, capacity, clock, and the array that is built by default."""
    from smartdeal.boards.catalogue import BOARDS, board
    from smartdeal.boards.choose import choose

    if config_of is not None:
        for name, value in choose(board(config_of), {})[0].as_dict().items():
            click.echo(f"{name} = {json.dumps(value)}")
        return
    table = Table()
    columns = ("board", "device", "LUTs", "block RAMs", "multipliers", "MHz", "array",
               "activations", "steps")
    for name in columns:
        table.add_column(name, justify="left" if name in ("board", "device") else "right")
    values = []
    for item in BOARDS.values():
        (config, _), capacity = choose(item, {}), item.capacity
        table.add_row(item.name, item.device, f"{capacity.lut:,}", f"{capacity.bram}",
                      f"{capacity.dsp}", f"{item.clock_mhz:g}", f"{config.rows}×{config.cols}",
                      f"{config.activation_bytes // 1024} KiB", f"{config.weight_steps:,}")
        values.append({
            "board": item.name, "title": item.title, "device": item.device,
            "target": item.target, "luts": capacity.lut, "flip_flops": capacity.ff,
            "block_rams": capacity.bram, "multipliers": capacity.dsp,
            "clock_mhz": item.clock_mhz, "configuration": config.as_dict(),
        })
    out = console()
    out.print(fitting(out, [table]))
    if json_file is not None:
        write_text(json_file, json.dumps(values, indent=2) + "\n")
