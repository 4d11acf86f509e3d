"""The command group, and what becomes of errors."""

import errno
import os
import sys
import traceback
from importlib import metadata
from typing import Any

import click

from smartdeal.cli.accuracy import accuracy
from smartdeal.cli.boards import boards
from smartdeal.cli.build import build, flash
from smartdeal.cli.compare import compare
from smartdeal.cli.compile import compile_command
from smartdeal.cli.compress import compress
from smartdeal.cli.config import config
from smartdeal.cli.disasm import disasm
from smartdeal.cli.explore import explore
from smartdeal.cli.generate import generate
from smartdeal.cli.report import report
from smartdeal.cli.run import run
from smartdeal.cli.shootout import shootout
from smartdeal.cli.simulate import WrongHardware, simulate
from smartdeal.cli.synth import synth
from smartdeal.cli.train import train

__all__ = ["cli", "main"]

#: Exit codes besides 0.
_DIFFERENT, _USER_ERROR, _BUG, _INTERRUPTED, _CLOSED_PIPE = 1, 2, 3, 130, 141
#: No place left, or none for writing: what a user can do something about.
_NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)

_EPILOG = """\b
Examples:
  smartdeal generate --rows 16 --cols 32 -o build/
  smartdeal simulate resnet8
  smartdeal simulate resnet18 --layer layer1.0.conv1 --rows 9 --cols 8
  smartdeal train resnet8 --data digits --form smartdeal -o net.safetensors
  smartdeal compile resnet8 -o net.sdp && smartdeal run net.sdp shoe.png
  smartdeal accuracy net.sdp --data fashion-mnist/
  smartdeal report resnet18 -o report.html
"""


class ClosedPipe(Exception):
    """Whoever read the output wants no more of it, as ``head``."""


class _Group(click.Group):
    """A group that tells of a closed pipe: click would exit with 1, which means a wrong byte."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # here an error can still be reported
            return result
        except BrokenPipeError:
            raise ClosedPipe from None


@click.group(cls=_Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metadata.version("smartdeal"), package_name="smartdeal")
@click.option("--debug", is_flag=True, expose_value=False,  # main looks for it
              help="Show the traceback of an unexpected error.")
def cli() -> None:
    """Generate multiplier-free DNN accelerators, and prove them on real layers."""


COMMANDS = (
    generate,
    simulate,
    compile_command,
    run,
    accuracy,
    train,
    compress,
    shootout,
    report,
    compare,
    explore,
    synth,
    boards,
    build,
    flash,
    disasm,
    config,
)
for command in COMMANDS:
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit.

    0 is good, 1 a byte or a cycle that differs, 2 bad input, 3 a bug of this program.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        sys.exit(cli.main(arguments, prog_name="smartdeal", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(_USER_ERROR)
    except click.ClickException as error:
        _fail(error.format_message(), _USER_ERROR)
    except WrongHardware as error:
        _fail(str(error), _DIFFERENT)
    except ClosedPipe:
        _abandon_output()
        sys.exit(_CLOSED_PIPE)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", _INTERRUPTED)
    except Exception as error:
        _report(error, debug="--debug" in arguments)


def _report(error: Exception, *, debug: bool) -> None:
    # Every exception class of this package is one that a user can do something about.
    if type(error).__module__.startswith("smartdeal."):
        _fail(str(error), _USER_ERROR, lines=hasattr(error, "problems"))
    if isinstance(error, OSError) and error.filename is not None:
        _fail(f"{error.filename}: {error.strerror}", _USER_ERROR)
    if isinstance(error, OSError) and error.errno in _NO_PLACE:
        _abandon_output()
        _fail(f"cannot write the output: {error.strerror}; write it elsewhere or make room",
              _USER_ERROR)
    if isinstance(error, ModuleNotFoundError) and error.name is not None \
            and not error.name.startswith("smartdeal"):
        _fail(f"this needs the package {error.name}; install it with pip install "
              "'smartdeal[sim]'", _USER_ERROR)
    if debug:
        traceback.print_exception(error)
    _fail(f"this is a bug in smartdeal: {type(error).__name__}: {error}"
          + ("" if debug else " (smartdeal --debug … shows where)"), _BUG)


def _abandon_output() -> None:
    """Send standard output nowhere, or Python would try again at its exit, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int, *, lines: bool = False) -> None:
    """Print one line, or with ``lines`` one for each of several problems, and exit."""
    shown = message if lines else " ".join(message.split())
    click.echo(f"error: {shown}", err=True)
    sys.exit(code)
