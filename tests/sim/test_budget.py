"""Forms under a budget: what is promised is measured again, from the outside."""

import functools
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from smartdeal.compiler import compile_network
from smartdeal.compiler.importers.exported import import_module
from smartdeal.compiler.models import Model
from smartdeal.golden.graph import FloatGraph
from smartdeal.golden.quantise import quantise_network
from smartdeal.golden.sensitivity import agreement
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.budget import Budget, BudgetError, TradeOff
from smartdeal.sim.compilation import CANDIDATES, Compiled, Recipe, compile_model
from smartdeal.sim.curve import draw_curve
from smartdeal.sim.memory_timing import MemoryTiming
from smartdeal.sim.picture import DrawingError
from smartdeal.sim.summary import network_cycles

CONFIG = AcceleratorConfig(rows=6, cols=8)


class Small(nn.Module):
    """A network with a 5×5 convolution, a shortcut, and a 1×1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.stem = nn.Conv2d(3, 8, 5, padding=2)
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 12, 1)
        self.fc = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = (self.conv1(x) + x).relu()
        return self.fc(self.conv2(x).relu().mean((2, 3))) * 4


@pytest.fixture(scope="module")
def model() -> Model:
    graph = import_module(Small().eval(), (3, 9, 9))
    return Model(name="small", network=graph, graph=graph, source="", preprocessing=None,
                 classes=(), origin={})


IMAGES = torch.randn(12, 3, 9, 9, generator=torch.Generator().manual_seed(1))


@functools.cache
def compiled(model: Model, budget: str) -> Compiled:
    return compile_model(model, IMAGES, Recipe(config=CONFIG, budget=Budget.parse(budget)), {})


def trade_off(model: Model, budget: str = "cycles=1e9") -> TradeOff:
    found = compiled(model, budget).trade_off
    assert found is not None
    return found


def measured(graph: FloatGraph, made: Compiled) -> tuple[int, float]:
    """Return cycles and loss of a network that is quantised anew in the forms of the program."""
    network = quantise_network(graph, IMAGES, dict(made.program.about["form"]))
    return (network_cycles(compile_network(network, CONFIG)),
            agreement(graph, network, IMAGES).loss)


def test_a_budget_of_cycles_is_kept(model: Model) -> None:
    reference = trade_off(model)
    fastest, slowest = reference.curve[0].cycles, reference.curve[-1].cycles
    losses: list[float] = []
    for limit in (fastest, (fastest + slowest) // 2, slowest):
        made = compiled(model, f"cycles={limit}")
        assert made.trade_off is not None
        cycles, loss = measured(model.graph, made)
        assert cycles == network_cycles(made.program) == made.trade_off.chosen.cycles <= limit
        assert loss == pytest.approx(made.trade_off.chosen.loss, rel=1e-9)
        losses.append(loss)
    assert losses == sorted(losses, reverse=True)


def test_a_budget_of_loss_is_kept(model: Model) -> None:
    reference = [p for p in trade_off(model).curve if p.loss is not None]
    for point in (reference[0], reference[len(reference) // 2]):
        assert point.loss is not None
        made = compiled(model, f"loss={point.loss * 1.01}")
        cycles, loss = measured(model.graph, made)
        assert loss <= point.loss * 1.01
        assert cycles <= point.cycles


def test_mixes_beat_one_form_for_all(model: Model) -> None:
    """At the cycles of each form for all layers there is a mix that loses no more."""
    uniform = trade_off(model).uniform
    assert [point.label for point in uniform] == list(CANDIDATES)
    for point in (uniform[0], uniform[2]):
        chosen = trade_off(model, f"cycles={point.cycles}").chosen
        assert chosen.loss is not None
        assert point.loss is not None
        assert chosen.loss <= point.loss


def test_options_are_only_what_a_layer_may_have(model: Model) -> None:
    made = compile_model(model, IMAGES, Recipe(
        config=CONFIG, budget=Budget.parse("cycles=1e9"), layer_forms={"fc": "int8"},
        candidates=("smartdeal", "deepshift", "int8")), {})
    assert made.trade_off is not None
    options = {layer: [option.form for option in options]
               for layer, options in made.trade_off.options.items()}
    assert options == {"stem": ["deepshift", "int8"], "conv1": ["smartdeal", "deepshift", "int8"],
                       "conv2": ["smartdeal", "deepshift", "int8"], "fc": ["int8"]}
    costs = {layer: {option.form: option.cycles for option in options}
             for layer, options in made.trade_off.options.items()}
    for row in made.layers:
        if row.form:
            assert costs[row.name][row.form] == row.cycles.total


def test_candidates_that_cannot_run_are_dropped(model: Model) -> None:
    recipe = Recipe(config=CONFIG.replace(basis=False, exponents=6),
                    budget=Budget.parse("cycles=1e9"))
    made = compile_model(model, IMAGES, recipe, {}).trade_off
    assert made is not None
    assert {point.label for point in made.uniform} == {"deepshift", "shift2", "shift3"}
    assert set(made.dropped) == {"smartdeal", "int8"}
    assert "at least 8 exponents" in made.dropped["int8"]


def test_system_memory(model: Model) -> None:
    """Transfers overlap with other layers' work; the budget is kept all the same."""
    config = AcceleratorConfig(rows=6, cols=16, memory=True)
    timing = MemoryTiming(latency_cycles=200, bytes_per_cycle=4)
    limit = int(trade_off(model).curve[0].cycles * 2)
    made = compile_model(model, IMAGES, Recipe(
        config=config, budget=Budget.parse(f"cycles={limit}"), timing=timing), {})
    assert made.trade_off is not None
    assert made.program.memory_bytes > 0
    assert network_cycles(made.program, timing) == made.trade_off.chosen.cycles <= limit


@pytest.mark.parametrize(("budget", "message"), [
    ("cycles", "budget must be cycles=N or loss=X with a positive number, not 'cycles'"),
    ("cycles=x", "budget must be cycles=N or loss=X with a positive number, not 'cycles=x'"),
    ("loss=0", "budget must be cycles=N or loss=X with a positive number, not 'loss=0'"),
    ("loss=nan", "budget must be cycles=N or loss=X with a positive number, not 'loss=nan'"),
    ("area=3", "budget must be cycles=N or loss=X with a positive number, not 'area=3'"),
])
def test_wrong_budgets(budget: str, message: str) -> None:
    with pytest.raises(BudgetError, match=f"^{re.escape(message)}$"):
        Budget.parse(budget)


def test_what_cannot_be_met_names_the_nearest(model: Model) -> None:
    with pytest.raises(BudgetError, match=(
            r"^no mix of .* runs in 10 cycles on this array; the fastest takes [0-9,]+: give at "
            r"least cycles=\d+, or a larger array$")) as caught:
        compiled(model, "cycles=10")
    nearest = int(re.findall(r"cycles=(\d+)", str(caught.value))[0])
    assert compiled(model, f"cycles={nearest}").trade_off is not None
    with pytest.raises(BudgetError, match=(
            r"^no mix of .* has a loss of 1e-12 nats on the 12 calibration images; the most exact "
            r"one has [0-9.e-]+: give at least loss=[0-9.e-]+$")) as caught:
        compiled(model, "loss=1e-12")
    nearest = re.findall(r"loss=([0-9.e-]+)$", str(caught.value))[0]
    assert compiled(model, f"loss={nearest}").trade_off is not None


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_picture(model: Model, suffix: str, tmp_path: Path) -> None:
    folder = tmp_path
    for name in ("a", "b"):
        draw_curve(trade_off(model), folder / f"{name}.{suffix}", "small")
    content = (folder / f"a.{suffix}").read_bytes()
    assert content == (folder / f"b.{suffix}").read_bytes()
    if suffix == "svg":
        assert all(word in content.decode() for word in (*CANDIDATES, "chosen", "budget cycles="))
    else:
        assert content.startswith(b"\x89PNG")
    with pytest.raises(DrawingError, match=r"^picture must be a file .*, not 'c\.gif'$"):
        draw_curve(trade_off(model), Path("c.gif"), "small")
