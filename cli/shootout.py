"""``smartdeal shootout``: one network in every form, side by side."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table

from smartdeal.cli.cost_tables import micro
from smartdeal.cli.output import console, fitting, write_text
from smartdeal.cli.training_options import DATA_HELP
from smartdeal.golden.files import check_target
from smartdeal.hw.config import AcceleratorConfig

if TYPE_CHECKING:  # what measuring needs takes seconds to import
    from smartdeal.sim.shootout import Entry

__all__ = ["shootout"]

_EPILOG = """\b
The package has weights of resnet8 and resnet20_fashion for Fashion-MNIST, retrained in several
forms. Other data train the float network first, --epochs, and with --retrain each form. Networks
that are trained here are kept in --folder, and found there the next time.
\b
Examples:
  smartdeal shootout --data fashion-mnist
  smartdeal shootout --data fashion-mnist --picture frontier.svg --json frontier.json
  smartdeal shootout --data digits --epochs 6 --retrain 3 --folder runs/
"""

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog=_EPILOG)
@click.argument("net", default="resnet8")
@click.option("--data", "source", required=True, metavar="DATA", help=DATA_HELP)
@click.option("--form", "labels", multiple=True, metavar="FORM",
              help="Only this form; may be repeated.")
@click.option("--zero-fraction", type=click.FloatRange(0, 1, max_open=True), default=0.52,
              show_default=True, help="Zeroed vectors of the sparse SmartDeal network.")
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True,
              help="Of the float network, where the package has none.")
@click.option("--retrain", type=click.IntRange(min=0), default=0, show_default=True,
              metavar="EPOCHS", help="In each form that the package has no weights in.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--bf16", "half", is_flag=True, help="Train with activations in bfloat16.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Keep trained networks here.  [default: nowhere]")
@click.option("--config", "config_file", type=_FILE, metavar="FILE.toml",
              help="Array for the cycles.  [default: 12×16]  It gets the feature binary "
                   "for binary activations.")
@click.option("--picture", type=_FILE, metavar="FILE",
              help="Draw the frontier: .png, .svg or .pdf (needs matplotlib).")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write the table as JSON.")
def shootout(
    net: str, source: str, labels: tuple[str, ...], zero_fraction: float, epochs: int,
    retrain: int, seed: int, half: bool, folder: Path | None, config_file: Path | None,
    picture: Path | None, json_file: Path | None,
) -> None:
    """Compare the network NET (resnet8) in every form: accuracy, storage, cycles, energy."""
    import torch

    from smartdeal.golden.datasets import load_data
    from smartdeal.sim.picture import check_picture
    from smartdeal.sim.shootout import CONTESTANTS, Plan
    from smartdeal.sim.shootout import shootout as run_shootout
    from smartdeal.sim.shootout_picture import draw_shootout

    torch.set_num_threads(1)
    for target in (json_file, picture):  # before the work, not after it
        if target is not None:
            check_target(target)
    if picture is not None:
        check_picture(picture)
    wanted = [c for c in CONTESTANTS if not labels or c.form in labels]
    unknown = [label for label in labels if label not in {c.form for c in CONTESTANTS}]
    if unknown:
        raise click.BadParameter(f"must be one of {', '.join({c.form: 0 for c in CONTESTANTS})}, "
                                 f"not {unknown[0]!r}", param_hint="--form")
    config = (AcceleratorConfig() if config_file is None
              else AcceleratorConfig.from_toml(config_file))
    data = load_data(source)
    terminal, out = Console(stderr=True), console()
    with tempfile.TemporaryDirectory() as temporary, \
            terminal.status("starting") if terminal.is_terminal else _Nothing() as status:
        plan = Plan(network=net, config=config, zero_fraction=zero_fraction, epochs=epochs,
                    retrain=retrain, seed=seed, half=half, folder=folder or Path(temporary))

        def tell(label: str, what: str) -> None:
            if not isinstance(status, _Nothing):
                status.update(f"{label}: {what}")

        entries = run_shootout(plan, data, wanted, tell)
    title = (f"{net} on {data.name}, {len(data.test):,} test images; "
             f"{config.rows}×{config.cols} array")
    out.print(title, soft_wrap=True)
    out.print(fitting(out, [_table(entries)]))
    if json_file is not None:
        write_text(json_file, json.dumps({
            "network": net, "data": data.name, "test_images": len(data.test),
            "configuration": config.as_dict(), "entries": [asdict(entry) for entry in entries],
        }, indent=2) + "\n")
    if picture is not None:
        draw_shootout(entries, title, picture)
        out.print(f"{picture} drawn", soft_wrap=True)


class _Nothing:
    """No status line: standard error is not a terminal."""

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


def _table(entries: "list[Entry]") -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    columns = ("", "weights from", "float", "integers", "bytes", "times\nless", "zero\nvectors",
               "cycles", "energy\nµJ")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < 2 else "right", no_wrap=True)
    for entry in entries:
        table.add_row(entry.label, entry.source, f"{entry.float_accuracy:.2%}",
                      f"{entry.accuracy:.2%}", f"{entry.stored_bytes:,}", f"{entry.ratio:.1f}",
                      f"{entry.zero_vectors:.1%}",
                      "–" if entry.cycles is None else f"{entry.cycles:,}",
                      micro(entry.energy_pj))
    return table
