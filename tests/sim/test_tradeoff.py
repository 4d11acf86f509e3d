"""Mixes along the convex hulls, against all mixes there are."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartdeal.sim.tradeoff import Mix, Option, fill, hull, trim, walk

OPTIONS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), min_size=1, max_size=4)
LAYERS = st.lists(OPTIONS, min_size=1, max_size=4).map(lambda layers: {
    f"layer{i}": [Option(f"form{j}", cycles, float(loss)) for j, (cycles, loss) in enumerate(pairs)]
    for i, pairs in enumerate(layers)})


def every(layers: dict[str, list[Option]]) -> list[Mix]:
    """Return all mixes."""
    return [Mix({layer: o.form for layer, o in zip(layers, chosen, strict=True)},
                sum(o.cycles for o in chosen), sum(o.loss for o in chosen))
            for chosen in itertools.product(*layers.values())]


def test_hull() -> None:
    options = [Option("a", 10, 8.0), Option("b", 20, 7.9), Option("c", 30, 2.0),
               Option("d", 40, 1.0), Option("e", 35, 3.0), Option("f", 10, 9.0)]
    assert [option.form for option in hull(options)] == ["a", "c", "d"]


@given(LAYERS)
def test_no_mix_is_better_than_one_of_the_walk(layers: dict[str, list[Option]]) -> None:
    mixes, all_mixes = walk(layers), every(layers)
    assert mixes[0].cycles == min(mix.cycles for mix in all_mixes)
    assert mixes[-1].loss == min(mix.loss for mix in all_mixes)
    for mix in mixes:
        assert any(mix.forms == other.forms and mix.cycles == other.cycles
                   and mix.loss == other.loss for other in all_mixes)
        assert not any(other.cycles <= mix.cycles and other.loss < mix.loss for other in all_mixes)
    assert all(b.cycles > a.cycles and b.loss < a.loss for a, b in itertools.pairwise(mixes))


@given(LAYERS, st.integers(1, 250))
def test_what_is_left_is_spent(layers: dict[str, list[Option]], limit: int) -> None:
    mixes = walk(layers)
    fitting = [mix for mix in mixes if mix.cycles <= limit]
    if not fitting:
        return
    filled = fill(layers, fitting[-1], limit)
    assert filled.cycles <= limit
    assert filled.loss <= fitting[-1].loss
    by_form = {layer: {o.form: o for o in options} for layer, options in layers.items()}
    for layer, form in filled.forms.items():  # no change of one layer fits any more
        now = by_form[layer][form]
        assert not any(o.loss < now.loss and filled.cycles + o.cycles - now.cycles <= limit
                       for o in layers[layer])
    # Between a mix of the walk and the next one lies the best that there can be.
    best = min(mix.loss for mix in every(layers) if mix.cycles <= limit)
    index = mixes.index(fitting[-1])
    if index + 1 < len(mixes):
        assert mixes[index + 1].loss <= best <= filled.loss


@given(LAYERS, st.integers(0, 250))
def test_what_is_left_of_a_loss_is_given_back(
    layers: dict[str, list[Option]], limit: int,
) -> None:
    fitting = [mix for mix in walk(layers) if mix.loss <= limit]
    if not fitting:
        return
    trimmed = trim(layers, fitting[0], float(limit))
    assert trimmed.loss <= limit
    assert trimmed.cycles <= fitting[0].cycles


def test_one_option_is_no_choice() -> None:
    mixes = walk({"a": [Option("x", 3, 1.0)], "b": [Option("y", 4, 2.0)]})
    assert mixes == [Mix({"a": "x", "b": "y"}, 7, 3.0)]


@pytest.mark.parametrize("form", ["x", "y"])
def test_equal_options(form: str) -> None:
    other = {"x": "y", "y": "x"}[form]
    assert hull([Option(form, 5, 1.0), Option(other, 5, 1.0)]) == [Option(form, 5, 1.0)]
