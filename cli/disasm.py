"""``smartdeal disasm``: list a compiled layer."""

from pathlib import Path

import click

__all__ = ["disasm"]

_EPILOG = """\b
Examples:
  smartdeal simulate resnet8 --layer fc --engine interpreter --program fc.sdp
  smartdeal disasm fc.sdp
  smartdeal disasm fc.sdp --part 0 | head -40
"""


@click.command(epilog=_EPILOG)
@click.argument("program", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.sdp")
@click.option("--part", type=click.IntRange(min=0), help="Only this part.")
def disasm(program: Path, part: int | None) -> None:
    """List a program file: instructions, steps and tables of each part."""
    from smartdeal.compiler.disasm import disassemble
    from smartdeal.compiler.program import Program

    loaded = Program.load(program)
    if part is not None and part >= len(loaded.parts):
        raise click.BadParameter(f"{program} has {len(loaded.parts)} parts, numbered from 0",
                                 param_hint="--part")
    click.echo(f"layer {loaded.name}, {len(loaded.parts)} parts, rows {loaded.config.rows}, "
               f"cols {loaded.config.cols}")
    for number, piece in enumerate(loaded.parts):
        if part in (None, number):
            click.echo(f"\npart {number}: output channels from {piece.first_channel}, "
                       f"rows from {piece.first_row}")
            click.echo(disassemble(piece.image, loaded.config), nl=False)
