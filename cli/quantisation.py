"""Options of the way from a model to integers, and the objects that they become."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartdeal.cli.options import check_timing, configuration_options, memory_options
from smartdeal.hw.config import AcceleratorConfig

if TYPE_CHECKING:  # what compilation needs takes seconds to import
    import torch

    from smartdeal.compiler.models import Model
    from smartdeal.golden.pictures import Preprocessing
    from smartdeal.sim.compilation import Recipe
    from smartdeal.sim.memory_timing import MemoryTiming

__all__ = ["ModelChoice", "model_options", "recipe_options"]

_FILE = click.Path(dir_okay=False, path_type=Path)
#: Names of the ranges on the command line.
_RANGES = {"minmax": "min_max", "percentile": "percentile", "mse": "mse"}


def _numbers(
    context: click.Context, parameter: click.Parameter, value: str | None,
) -> tuple[float, ...] | None:
    """Read numbers with commas between them."""
    if value is None:
        return None
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"must be numbers with commas between them, not {value!r}",
                                 context, parameter) from None


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """What the command line says about the model and its images."""

    model: str
    weights: Path | None
    calibration: Path | None
    most_images: int
    preset: str | None
    mean: tuple[float, ...] | None
    deviation: tuple[float, ...] | None
    labels: Path | None
    seed: int

    @property
    def files(self) -> dict[str, Path | None]:
        """What is read, by its name in messages."""
        return {"MODEL": Path(self.model) if Path(self.model).suffix else None,
                "--weights": self.weights, "--calibration": self.calibration,
                "--labels": self.labels}

    def open(self) -> "tuple[Model, Preprocessing | None, tuple[str, ...]]":
        """Return the model, how pixels become its input, and what its outputs mean."""
        from smartdeal.compiler.models import open_model, read_labels
        from smartdeal.golden.pictures import preprocessing_of

        model = open_model(self.model, self.weights, self.seed)
        graph = model.graph
        preprocessing = preprocessing_of(self.preset, self.mean, self.deviation,
                                         graph.input_shape[0]) or model.preprocessing
        classes = model.classes
        if self.labels is not None:
            classes = read_labels(self.labels, graph.shapes[graph.nodes[-1].name][0])
        return model, preprocessing, classes

    def images(
        self, model: "Model", preprocessing: "Preprocessing | None",
    ) -> "tuple[torch.Tensor, str]":
        """Return calibration images, and what they are."""
        import numpy as np
        import torch

        from smartdeal.golden.pictures import Pictures
        from smartdeal.sim.workload import default_images

        if self.calibration is None:
            if model.network is model.graph:
                raise click.UsageError(f"{self.model} needs --calibration: images like those that "
                                       "it will see")
            images = default_images(model.network, self.seed)
            return images, f"calibrated with {len(images)} built-in images"
        pictures = Pictures([self.calibration], model.graph.input_shape, preprocessing)
        chosen = pictures.spread(self.most_images)
        count = (f"{len(chosen)} of {len(pictures)}" if len(chosen) < len(pictures)
                 else str(len(pictures)))
        return (torch.from_numpy(np.stack([image for _, image in chosen])),
                f"calibrated with {count} images of {self.calibration}")


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument MODEL and the options about it; the function gets ``choice``."""
    @functools.wraps(function)
    def wrapper(
        model: str, weights: Path | None, calibration: Path | None, calibration_images: int,
        preprocessing: str | None, mean: tuple[float, ...] | None,
        deviation: tuple[float, ...] | None, labels: Path | None, seed: int, **arguments: Any,
    ) -> Any:
        choice = ModelChoice(
            model=model, weights=weights, calibration=calibration, most_images=calibration_images,
            preset=preprocessing, mean=mean, deviation=deviation, labels=labels, seed=seed)
        return function(choice=choice, **arguments)

    decorated: Any = wrapper
    for decorate in reversed((
        click.argument("model"),
        click.option("--weights", type=_FILE, metavar="FILE",
                     help="Checkpoint of a built-in network with torchvision's parameter names, "
                          ".pt, .pth, .npz or .safetensors."),
        click.option("--calibration", type=click.Path(path_type=Path), metavar="DATA",
                     help="Folder of images, a picture, .npy, .npz, IDX, or a pattern in quotes, "
                          "to choose scales with."),
        click.option("--calibration-images", type=click.IntRange(min=1), default=64,
                     show_default=True, metavar="N",
                     help="Most images of DATA, evenly spaced over all."),
        click.option("--preprocessing", metavar="NAME",
                     help="How pixels become the input: unit (0…1), signed (-1…1), raw (0…255), "
                          "imagenet, cifar10 or fashion."),
        click.option("--mean", callback=_numbers, metavar="X[,X,X]",
                     help="Subtracted from pixel / 255."),
        click.option("--deviation", callback=_numbers, metavar="X[,X,X]",
                     help="Divides what is left."),
        click.option("--labels", type=_FILE, metavar="FILE",
                     help="Names of the classes, one a line, or a JSON list."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
                     help="Of seeded weights and noise."),
    )):
        decorated = decorate(decorated)
    return decorated


def _recipe(
    config: AcceleratorConfig, *, form: str | None, layer_forms: tuple[str, ...],
    zero_fraction: float, ranges: str, percentile: float, bias_correction: bool,
    keep_dead_filters: bool, dead_threshold: float, keep_all: bool, budget: str | None,
    candidates: str | None, timing: "MemoryTiming",
) -> "Recipe":
    from smartdeal.golden.options import QuantiseOptions
    from smartdeal.sim.budget import Budget
    from smartdeal.sim.compilation import CANDIDATES, Recipe

    if budget is not None and form is not None:
        raise click.UsageError("--form is for all layers, --budget chooses one for each: give only "
                               "one of them (--layer-form goes with either)")
    if candidates is not None and budget is None:
        raise click.UsageError("--candidates needs --budget")
    forms: dict[str, str] = {}
    for given in layer_forms:
        layer, separator, name = given.partition("=")
        if not (layer and separator and name):
            raise click.BadParameter(f"must be LAYER=FORM, not {given!r}",
                                     param_hint="--layer-form")
        forms[layer] = name
    chosen: Any = _RANGES[ranges]
    check_timing(timing, config)
    return Recipe(
        config=config, form=form or "smartdeal", layer_forms=forms, zero_fraction=zero_fraction,
        quantise=QuantiseOptions(ranges=chosen, percentile=percentile,
                                 bias_correction=bias_correction),
        dead_threshold=None if keep_dead_filters else dead_threshold, keep_all=keep_all,
        budget=None if budget is None else Budget.parse(budget),
        candidates=CANDIDATES if candidates is None else tuple(candidates.split(",")),
        timing=timing)


def recipe_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of quantisation and of the accelerator; the function gets ``recipe``."""
    names = ("form", "layer_forms", "zero_fraction", "ranges", "percentile", "bias_correction",
             "keep_dead_filters", "dead_threshold", "keep_all", "budget", "candidates", "timing")

    @functools.wraps(function)
    def wrapper(config: AcceleratorConfig, **arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in names}
        return function(recipe=_recipe(config, **given), **arguments)

    decorated: Any = memory_options(configuration_options(wrapper))  # their help comes last
    for decorate in reversed((
        click.option("--form", help="Weight form of all layers: smartdeal, deepshift, shift2, "
                                    "shift3 or int8. Layers that a checkpoint holds in a form "
                                    "keep it.  [default: smartdeal]"),
        click.option("--layer-form", "layer_forms", multiple=True, metavar="LAYER=FORM",
                     help="Another weight form for one layer; may be repeated."),
        click.option("--budget", metavar="cycles=N|loss=X",
                     help="Choose the form of each layer: the least loss in N cycles, or the "
                          "fewest cycles with a loss of at most X nats."),
        click.option("--candidates", metavar="FORM,…",
                     help="Forms that --budget chooses from.  [default: all]"),
        click.option("--zero-fraction", type=float, default=0.0, show_default=True,
                     help="Fraction of each layer's vectors that are zeroed."),
        click.option("--ranges", type=click.Choice(tuple(_RANGES)), default="minmax",
                     show_default=True,
                     help="Activation ranges: the extremes, a percentile at either end, or the "
                          "least squared error."),
        click.option("--percentile", type=float, default=99.99, show_default=True,
                     help="For --ranges percentile."),
        click.option("--bias-correction/--no-bias-correction", default=True, show_default=True,
                     help="Whether the bias makes up for the mean error of rounded weights."),
        click.option("--keep-dead-filters", is_flag=True,
                     help="Keep filters that only emit a constant, with their consumers' inputs."),
        click.option("--dead-threshold", type=float, default=1e-3, show_default=True,
                     help="Largest |gamma| of a dead filter."),
        click.option("--keep-all", is_flag=True,
                     help="Use no word of the activation buffer twice: every tensor stays."),
    )):
        decorated = decorate(decorated)
    return decorated
