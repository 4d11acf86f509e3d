"""``smartdeal build`` and ``smartdeal flash``: bitstreams, and how they get on a board."""

import functools
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from smartdeal.cli.options import CONFIGURATION_HELP
from smartdeal.cli.output import console, fitting, stages, write_text
from smartdeal.hw.config import AcceleratorConfig

if TYPE_CHECKING:
    from smartdeal.boards.build import BuildReport

__all__ = ["build", "flash"]

_EPILOG = """\b
Without sizes the board's default array is built; options change single parameters of it. The folder
then holds the bitstream, report.json and report.html, config.toml for smartdeal compile, and every
file in between: core.v and top.il, netlist.json, and seed_N.log of each run of place and route.
\b
The tools come with smartdeal[boards]. A tool of your own, such as a native place and route, which
is several times faster, is named by a variable, as for Amaranth: YOSYS, NEXTPNR_ECP5,
NEXTPNR_ICE40, NEXTPNR_HIMBAECHEL_GOWIN, ECPPACK, ICEPACK, ICEUNPACK or GOWIN_PACK.
\b
Examples:
  smartdeal build ulx3s_25f
  NEXTPNR_ECP5=/opt/oss-cad-suite/bin/nextpnr-ecp5 smartdeal build ulx3s_85f
  smartdeal build ulx3s_85f --rows 15 --cols 32 --seeds 3 -o bitstreams/ulx3s
  smartdeal build ecpix5_85f --clock 50
"""


def _parameters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option per parameter, as ``given``: those that were said."""
    names = [field.name for field in fields(AcceleratorConfig)]

    @functools.wraps(function)
    def wrapper(**arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in names}
        return function(given={n: v for n, v in given.items() if v is not None}, **arguments)

    decorated = wrapper
    for field in reversed(fields(AcceleratorConfig)):
        option = "--" + field.name.replace("_", "-")
        if field.type is int:
            decorate = click.option(option, type=int, default=None,
                                    help=CONFIGURATION_HELP[field.name])
        else:
            decorate = click.option(f"{option}/--no-{option[2:]}", default=None,
                                    help=CONFIGURATION_HELP[field.name])
        decorated = decorate(decorated)
    return decorated


@click.command(epilog=_EPILOG)
@click.argument("board")
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), default=None,
              help="Folder for every file.  [default: build/BOARD]")
@click.option("--clock", "clock_mhz", type=click.FloatRange(min=1, max=400), default=None,
              metavar="MHZ", help="Clock of the accelerator.  [default: the board's]")
@click.option("--seeds", type=click.IntRange(1, 64), default=1, show_default=True, metavar="K",
              help="Runs of place and route; the fastest goes in the bitstream.")
@click.option("--nice", type=click.IntRange(0, 19), default=0, show_default=True,
              help="Lower priority for place and route.")
@_parameters
def build(
    board: str, output: Path | None, clock_mhz: float | None, seeds: int, nice: int,
    given: dict[str, Any],
) -> None:
    """Build the bitstream of an accelerator for BOARD (see smartdeal boards)."""
    from smartdeal.boards import catalogue
    from smartdeal.boards.build import build_board
    from smartdeal.boards.choose import choose
    from smartdeal.boards.report import report_html

    chosen = catalogue.board(board)
    config, why = choose(chosen, given)
    folder = output or Path("build") / chosen.name
    out = console()
    out.print(f"{chosen.name}: {config.rows}×{config.cols}, {why}", soft_wrap=True, markup=False)
    with stages() as tell:
        report = build_board(chosen, config, folder, clock_mhz=clock_mhz,
                             seeds=range(1, seeds + 1), nice=nice, tell=tell)
    write_text(folder / "report.html", report_html(report))
    out.print(fitting(out, [_table(report)]))
    out.print(f"{report.bitstream}: {report.bitstream.stat().st_size:,} bytes, seed {report.best}",
              soft_wrap=True, markup=False)


def _table(report: "BuildReport") -> Table:
    table = Table(title=f"{report.config.rows} × {report.config.cols} on {report.board} "
                        f"({report.device})", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in report.rows():
        table.add_row(name, value)
    return table


_FLASH_EPILOG = """\b
Examples:
  smartdeal flash ulx3s_25f
  smartdeal flash ulx3s_85f bitstreams/ulx3s --permanent
"""


@click.command(epilog=_FLASH_EPILOG)
@click.argument("board")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--permanent", is_flag=True,
              help="Write the board's flash memory, not only the device.")
def flash(board: str, folder: Path | None, permanent: bool) -> None:
    """Program BOARD with the bitstream in FOLDER (build/BOARD unless said otherwise)."""
    from smartdeal.boards import catalogue
    from smartdeal.boards.flash import flash_board

    chosen = catalogue.board(board)
    flash_board(chosen, folder or Path("build") / chosen.name, permanent=permanent,
                tell=lambda line: click.echo(line, nl=False))
