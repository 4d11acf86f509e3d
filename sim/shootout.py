"""One network in every form, side by side: accuracy against storage and cycles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

from smartdeal.golden.accuracy import integer_accuracy
from smartdeal.golden.checkpoints import load_weights
from smartdeal.golden.datasets import DataSet
from smartdeal.golden.fashion import CHECKPOINTS, FASHION, RETRAINED
from smartdeal.golden.networks import ResNet, build_network
from smartdeal.golden.options import FormOptions
from smartdeal.golden.recipes import forms_of, recipe
from smartdeal.golden.train_network import PACKAGE, Job, Watcher, integer_network, run_job
from smartdeal.golden.train_options import EpochReport, TrainOptions
from smartdeal.golden.training import accuracy
from smartdeal.hw.config import AcceleratorConfig, ConfigError
from smartdeal.sim.costs import network_costs

__all__ = ["CONTESTANTS", "Contestant", "Entry", "Plan", "shootout"]

#: Called with a contestant's label and what is done with it.
Tell = Callable[[str, str], None]


@dataclass(frozen=True)
class Contestant:
    """A form, and whether vectors are zeroed in it."""

    label: str
    form: str
    sparse: bool = False


CONTESTANTS = (
    Contestant("float, run as int8", "float"),
    Contestant("two terms", "shift2"),
    Contestant("SmartDeal, dense", "smartdeal"),
    Contestant("SmartDeal, sparse", "smartdeal", sparse=True),
    Contestant("DeepShift-Q", "deepshift-q"),
    Contestant("DeepShift-PS", "deepshift-ps"),
    Contestant("binary weights", "binary"),
    Contestant("binary, activations too", "bnn"),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is compared, and how.

    Parameters
    ----------
    network : str
    config : AcceleratorConfig
        Of the cycles; its filters per group share their zero vectors.
    zero_fraction : float
        Of the sparse contestant.
    epochs : int
        To train the float network where the package has none for the data.
    retrain : int
        Epochs in each form that the package has no weights in; 0 only brings weights into form.
    seed : int
    half : bool
        Activations in bfloat16 while training.
    folder : Path
        Trained networks are written to it, and found there again.
    """

    network: str
    config: AcceleratorConfig
    zero_fraction: float = 0.52
    epochs: int = 10
    retrain: int = 0
    seed: int = 1
    half: bool = False
    folder: Path

    @property
    def options(self) -> FormOptions:
        """Options of the dense forms."""
        return FormOptions(exponents=self.config.exponents,
                           group=max(1, self.config.filters_per_group))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one contestant reached.

    Parameters
    ----------
    label, form : str
    source : str
        Where its weights come from.
    float_accuracy, accuracy : float
        Of its weights in floating point, and of the integer network: the hardware's.
    stored_bytes : int
        Of the weights, :mod:`smartdeal.golden.storage`.
    ratio : float
        How many times less than float32.
    zero_vectors : float
        Share that a group of filters does not need.
    cycles, program_bytes : int or None
        None if the network does not fit the accelerator.
    energy_pj : float or None
        Of an image (:mod:`smartdeal.sim.costs`).
    """

    label: str
    form: str
    source: str
    float_accuracy: float
    accuracy: float
    stored_bytes: int
    ratio: float
    zero_vectors: float
    cycles: int | None
    program_bytes: int | None
    energy_pj: float | None = None


class _Quiet:
    """A watcher that only tells of epochs."""

    def __init__(self, label: str, tell: Tell) -> None:
        self._label, self._tell = label, tell

    def progress(self, epoch: int, share: float, loss: float) -> None:
        """Ignore it."""

    def epoch(self, report: EpochReport) -> None:
        """Tell of it."""
        self._tell(self._label, f"epoch {report.epoch} of {report.epochs}, "
                                f"loss {report.loss:.3f}")


def _array(config: AcceleratorConfig, contestant: Contestant) -> AcceleratorConfig:
    """Return the array that runs a contestant: with the XNOR mode where activations are binary."""
    if contestant.form != "bnn":
        return config
    try:
        return config.replace(binary=True)
    except ConfigError:  # sizes or features that do not go with it: no cycles
        return config


def _options(plan: Plan, data: DataSet, form: str, epochs: int, retraining: bool) -> TrainOptions:
    usual = recipe(form)
    return TrainOptions(
        epochs=epochs, seed=plan.seed, optimiser=usual.optimiser, weight_decay=usual.weight_decay,
        rate=usual.retraining_rate if retraining else usual.rate, mirror=data.mirror,
        half=plan.half, batch=min(128, max(16, len(data.train) // 32)))


def _packaged(plan: Plan, data: DataSet, contestant: Contestant) -> str | None:
    """Return the package's file of weights in this form; None if there is none."""
    if data.name != FASHION or plan.options != FormOptions():
        return None
    kind = "sparse" if contestant.sparse else contestant.form
    return RETRAINED.get(plan.network, {}).get(kind)


def _float_start(plan: Plan, data: DataSet, tell: Tell) -> tuple[str, str]:
    """Return the weights that all forms start from, and what they are; train them if need be."""
    if data.name == FASHION and plan.network in CHECKPOINTS:
        return PACKAGE, "package"
    path = plan.folder / f"{plan.network}-float.safetensors"
    if not path.exists():
        run_job(Job(network=plan.network, form="float", output=path, held=0.0,
                    options=_options(plan, data, "float", plan.epochs, False)),
                data, _Quiet("float", tell))
    return str(path), f"trained here, {plan.epochs} epochs"


def _contestant(
    plan: Plan, data: DataSet, contestant: Contestant, start: tuple[str, str], watcher: Watcher,
) -> tuple[ResNet, str]:
    """Return a contestant's network, and where its weights come from."""
    model = build_network(plan.network)
    if packaged := _packaged(plan, data, contestant):
        with as_file(files("smartdeal.golden") / packaged) as path:
            load_weights(model, path)
        return model, "package, retrained"
    zero = plan.zero_fraction if contestant.sparse else 0.0
    retrain = plan.retrain if contestant.form != "float" else 0
    name = f"{plan.network}-{contestant.form}-{zero:g}-{retrain}.safetensors"
    path = plan.folder / name
    if not path.exists():
        run_job(Job(
            network=plan.network, form=forms_of(plan.network, contestant.form, {}),
            start=start[0], held=0.0,
            form_options=replace(plan.options, zero_fraction=zero), output=path,
            options=_options(plan, data, contestant.form, retrain, True) if retrain else None),
            data, watcher)
    load_weights(model, path)
    if contestant.form == "float":
        return model, start[1]
    return model, f"retrained here, {retrain} epochs" if retrain else "not retrained"


def shootout(
    plan: Plan, data: DataSet, contestants: Sequence[Contestant], tell: Tell,
) -> list[Entry]:
    """Train or load a network in several forms, and measure each.

    Parameters
    ----------
    data : DataSet
        Accuracy is that on all its test images.
    tell : callable
        Called with a contestant's label and what is done with it.

    Raises
    ------
    NetworkError, FormError, TrainingError
        If the network or a form cannot be used.
    """
    start = _float_start(plan, data, tell)
    calibration = data.train.images[:64]
    entries: list[Entry] = []
    for contestant in contestants:
        tell(contestant.label, "weights")
        model, source = _contestant(plan, data, contestant, start,
                                    _Quiet(contestant.label, tell))
        tell(contestant.label, "cycles")
        costs = network_costs(model, calibration, "int8",
                              _array(plan.config, contestant))
        tell(contestant.label, f"{len(data.test):,} test images")
        integer = integer_network(model, data)
        entries.append(Entry(
            label=contestant.label, form=contestant.form, source=source,
            float_accuracy=accuracy(model, data.test),
            accuracy=integer_accuracy(integer, data.test.images, data.test.labels),
            stored_bytes=-(-costs.stored_bits // 8), ratio=costs.ratio,
            zero_vectors=costs.zero_vectors, cycles=costs.cycles,
            program_bytes=costs.program_bytes, energy_pj=costs.energy_pj))
    return entries
