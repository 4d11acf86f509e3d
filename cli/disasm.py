"""``smartdeal disasm``: list a compiled layer or network."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from smartdeal.compiler import NetworkProgram, Program

__all__ = ["disasm"]

_EPILOG = """\b
Examples:
  smartdeal simulate resnet8 --layer fc --engine interpreter --program fc.sdp
  smartdeal disasm fc.sdp
  smartdeal compile resnet8 -o net.sdp
  smartdeal disasm net.sdp --part 0 | head -40
"""


@click.command(epilog=_EPILOG)
@click.argument("program", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.sdp")
@click.option("--part", type=click.IntRange(min=0),
              help="Only this part of a layer, or segment of a network.")
def disasm(program: Path, part: int | None) -> None:
    """List a program file: instructions, steps and tables of each part or segment."""
    from smartdeal.compiler.disasm import disassemble
    from smartdeal.compiler.disasm_memory import disassemble_network
    from smartdeal.compiler.files import load_program
    from smartdeal.compiler.program import Program

    loaded = load_program(program)
    if isinstance(loaded, Program):
        kind, what, pieces = "layer", "part", list(_parts(loaded))
    else:
        kind, what, pieces = "network", "segment", list(_segments(loaded))
    count = f"{len(pieces)} {what}{'s' if len(pieces) > 1 else ''}"
    if part is not None and part >= len(pieces):
        raise click.BadParameter(f"{program} has {count}, numbered from 0", param_hint="--part")
    click.echo(f"{kind} {loaded.name}, {count}, rows {loaded.config.rows}, "
               f"cols {loaded.config.cols}")
    for number, (title, image) in enumerate(pieces):
        if part in (None, number):
            click.echo(f"\n{what} {number}: {title}")
            if isinstance(loaded, Program) or not loaded.memory_bytes:
                click.echo(disassemble(image, loaded.config), nl=False)
            else:
                click.echo(disassemble_network(loaded), nl=False)


def _parts(program: "Program") -> Iterator[tuple[str, bytes]]:
    for piece in program.parts:
        yield (f"output channels from {piece.first_channel}, rows from {piece.first_row}",
               piece.image)


def _segments(program: "NetworkProgram") -> Iterator[tuple[str, bytes]]:
    for names, image in zip(program.instructions, program.segments, strict=True):
        yield f"layers {names[0]} to {names[-1]}, {len(names)} instructions", image
