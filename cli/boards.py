"""``smartdeal boards``: the boards that bitstreams can be built for."""

import json
from pathlib import Path

import click
from rich.table import Table

from smartdeal.cli.output import console, fitting, stages, write_text
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["boards"]

#: That are tried on request.
_NETWORKS = ("resnet8", "resnet20")

_EPILOG = """\b
Examples:
  smartdeal boards
  smartdeal boards --networks
  smartdeal boards --json boards.json
  smartdeal boards --config ulx3s_85f > ulx3s.toml && smartdeal compile resnet8 --config ulx3s.toml
"""


@click.command(epilog=_EPILOG)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path),
              metavar="FILE", help="Write the table as JSON.")
@click.option("--config", "config_of", metavar="BOARD",
              help="Print the board's default configuration as TOML instead.")
@click.option("--networks", is_flag=True,
              help="Try which networks fit the default arrays, whole and on chip; takes a while.")
def boards(json_file: Path | None, config_of: str | None, networks: bool) -> None:
    """List the boards: device, capacity, clock, and the array that is built by default."""
    from smartdeal.boards.catalogue import BOARDS, board
    from smartdeal.boards.choose import choose

    if config_of is not None:
        for name, value in choose(board(config_of), {})[0].as_dict().items():
            click.echo(f"{name} = {json.dumps(value)}")
        return
    chosen = {name: choose(item, {})[0] for name, item in BOARDS.items()}
    refusals = _refusals(chosen) if networks else {}
    table = Table()
    columns = ("board", "device", "LUTs", "block RAMs", "multipliers", "MHz", "array",
               "activations", "steps", *(_NETWORKS if networks else ()))
    for name in columns:
        table.add_column(name, justify="left" if name in ("board", "device") else "right")
    values = []
    for item in BOARDS.values():
        config, capacity = chosen[item.name], item.capacity
        table.add_row(item.name, item.device, f"{capacity.lut:,}", f"{capacity.bram}",
                      f"{capacity.dsp}", f"{item.clock_mhz:g}", f"{config.rows}×{config.cols}",
                      f"{config.activation_bytes // 1024} KiB", f"{config.weight_steps:,}",
                      *("no" if reason else "yes" for reason in refusals.get(item.name,
                                                                             {}).values()))
        values.append({
            "board": item.name, "title": item.title, "device": item.device,
            "target": item.target, "luts": capacity.lut, "flip_flops": capacity.ff,
            "block_rams": capacity.bram, "multipliers": capacity.dsp,
            "clock_mhz": item.clock_mhz, "configuration": config.as_dict(),
            **({"refusals": refusals[item.name]} if networks else {}),
        })
    out = console()
    out.print(fitting(out, [table]))
    if json_file is not None:
        write_text(json_file, json.dumps(values, indent=2) + "\n")


def _refusals(chosen: dict[str, AcceleratorConfig]) -> dict[str, dict[str, str]]:
    """Return by board and network why it cannot run it, "" where it can."""
    from smartdeal.boards.effective import refusal

    found: dict[AcceleratorConfig, dict[str, str]] = {}
    with stages() as tell:
        for name, config in chosen.items():
            tell(name, 0.0)
            if config not in found:
                found[config] = {network: refusal(network, config) for network in _NETWORKS}
            tell(name, 1.0)
    return {name: found[config] for name, config in chosen.items()}
