"""The Pareto front against its definition."""

from hypothesis import given
from hypothesis import strategies as st

from smartdeal.sim.explore.front import pareto

_POINTS = st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=25)


@given(_POINTS)
def test_front_is_what_nothing_dominates(points: list[tuple[int, int, int]]) -> None:
    front = pareto(points)
    assert front == sorted(set(front))
    for number, point in enumerate(points):
        beaten = any(other != point and all(a <= b for a, b in zip(other, point, strict=True))
                     for other in points)
        first = points.index(point) == number
        assert (number in front) == (not beaten and first)


def test_nothing_has_no_front() -> None:
    assert pareto([]) == []
