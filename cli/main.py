"""The command group, and what becomes of errors."""

import sys
import traceback
from importlib import metadata

import click

from smartdeal.cli.compile import compile_command
from smartdeal.cli.config import config
from smartdeal.cli.disasm import disasm
from smartdeal.cli.generate import generate
from smartdeal.cli.run import run
from smartdeal.cli.simulate import WrongHardware, simulate

__all__ = ["cli", "main"]

#: Exit codes besides 0.
_DIFFERENT, _USER_ERROR, _BUG, _INTERRUPTED = 1, 2, 3, 130

_EPILOG = """\b
Examples:
  smartdeal generate --rows 16 --cols 32 -o build/
  smartdeal simulate resnet8
  smartdeal simulate resnet18 --layer layer1.0.conv1 --rows 9 --cols 8
  smartdeal compile resnet8 -o net.sdp && smartdeal run net.sdp shoe.png
"""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metadata.version("smartdeal"), package_name="smartdeal")
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Generate multiplier-free DNN accelerators, and prove them on real layers."""
    context.obj = {"debug": debug}


for command in (generate, simulate, compile_command, run, disasm, config):
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
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", _INTERRUPTED)
    except Exception as error:
        _report(error, debug="--debug" in arguments)


def _report(error: Exception, *, debug: bool) -> None:
    # Every exception class of this package is one that a user can do something about.
    if type(error).__module__.startswith("smartdeal."):
        _fail(str(error), _USER_ERROR)
    if isinstance(error, OSError) and error.filename is not None:
        _fail(f"{error.filename}: {error.strerror}", _USER_ERROR)
    if isinstance(error, ModuleNotFoundError) and error.name is not None \
            and not error.name.startswith("smartdeal"):
        _fail(f"this needs the package {error.name}; install it with pip install "
              "'smartdeal[sim]'", _USER_ERROR)
    if debug:
        traceback.print_exception(error)
    _fail(f"this is a bug in smartdeal: {type(error).__name__}: {error}"
          + ("" if debug else " (smartdeal --debug … shows where)"), _BUG)


def _fail(message: str, code: int) -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(code)
