"""Options of the test run."""

import os

import pytest
from hypothesis import settings

# Before torch is loaded, here and in the commands that tests call: each core has a test process of
# its own, and threads that wait for a busy core are slower than none.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no reason to fail.
settings.register_profile("smartdeal", deadline=None)
settings.load_profile("smartdeal")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the caller draw other arrays and layers than the usual ones."""
    parser.addoption("--draw-seed", type=int, default=1, metavar="N",
                     help="seed of the arrays and layers that are drawn for RTL simulation")


@pytest.fixture
def draw_seed(pytestconfig: pytest.Config) -> int:
    """Return the seed of drawn cases; what a failing test has printed says how to repeat it."""
    seed = int(pytestconfig.getoption("--draw-seed") or 0)
    print(f"to draw the same again: pytest --draw-seed {seed}")
    return seed
