"""Explorations: the same for every engine, after every interruption, and refusals."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smartdeal.sim.explore import exploration
from smartdeal.sim.explore.engine import compute
from smartdeal.sim.explore.errors import ExploreError
from smartdeal.sim.explore.exploration import Plan, explore, points_csv
from smartdeal.sim.explore.space import Space, draw
from smartdeal.sim.explore.target import Budget, Target

_SMALL = ("rows=6,12", "cols=8,16", "exponents=8", "acc_bits=24", "activation_kib=32,64",
          "weight_steps=2048", "drain_lanes=2,4", "form=deepshift,smartdeal")


def _plan(points: int = 10, budget: str = "lut=40000", target: str = "ulx3s_85f",
          network: str = "resnet8", dimensions: tuple[str, ...] = _SMALL) -> Plan:
    where = Target.find(target)
    return Plan(network=network, target=where, budget=Budget.parse([budget], where),
                space=Space.parse(dimensions), points=points)


@pytest.fixture(scope="module")
def sequential() -> dict[str, Any]:
    return explore(_plan()).as_dict()


def test_front_and_points(sequential: dict[str, Any]) -> None:
    counts = sequential["counts"]
    assert counts["computed"] == 10
    assert len(sequential["points"]) == 10 - counts["refused"] > 0
    assert 0 < len(sequential["front"]) <= len(sequential["points"])
    for point in sequential["points"]:
        assert point["lut"] <= 40000
        assert point["latency_ms"] == pytest.approx(point["cycles"] / 50e3)
        assert point["mw"] == pytest.approx(point["energy_uj"] / point["latency_ms"])
        assert 0 <= point["loss"] < 1


def test_points_are_what_the_models_say(sequential: dict[str, Any]) -> None:
    from smartdeal.compiler import compile_network
    from smartdeal.golden.options import FormOptions
    from smartdeal.golden.quantise import quantise_network
    from smartdeal.hw.config import AcceleratorConfig
    from smartdeal.sim.area import estimate
    from smartdeal.sim.network_latency import predict_network
    from smartdeal.sim.workload import default_images, load_model

    point = sequential["front"][0]
    model, _ = load_model("resnet8", None, 0)
    network = quantise_network(model, default_images(model, 0), point["form"],
                               FormOptions(exponents=point["exponents"], restarts=0), 40)
    config = AcceleratorConfig(
        rows=point["rows"], cols=point["cols"], drain_lanes=point["drain_lanes"],
        weight_steps=point["weight_steps"], channel_entries=1024, basis_entries=1024,
        activation_words=point["activation_kib"] * 1024 // point["cols"])
    predicted = predict_network(compile_network(network, config))
    assert predicted.cycles.total == point["compute_cycles"]
    assert estimate(config).lut == point["lut"]


def test_interrupted_goes_on(
    sequential: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "run.jsonl"
    asked: list[int] = []

    def stopping(work: Any, task: Any, **engine: Any) -> Iterator[Any]:
        for count, item in enumerate(compute(work, task, **engine)):
            if count == 5:
                raise KeyboardInterrupt
            yield item

    def counting(work: Any, task: Any, **engine: Any) -> Iterator[Any]:
        asked.extend(number for number, _ in work)
        yield from compute(work, task, **engine)

    monkeypatch.setattr(exploration, "compute", stopping)
    with pytest.raises(KeyboardInterrupt):
        explore(_plan(), path)
    with path.open("ab") as file:
        file.write(b'{"point":')  # what the interruption cut
    monkeypatch.setattr(exploration, "compute", counting)
    assert explore(_plan(), path).as_dict() == sequential
    assert len(asked) == 10 - 5


@pytest.mark.slow
def test_processes_find_the_same(sequential: dict[str, Any]) -> None:
    assert explore(_plan(), jobs=2).as_dict() == sequential


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # a killed worker: Dask tells of it by warnings
def test_cluster_loses_no_point(tmp_path: Path) -> None:
    """One of three worker processes is killed after the first job: all points come, the same."""
    distributed = pytest.importorskip("distributed")
    plan = _plan(points=32)
    path = tmp_path / "run.jsonl"
    killed: list[int] = []
    with distributed.LocalCluster(
        n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None,
    ) as cluster:
        workers = [worker.process.process.pid for worker in cluster.workers.values()]
        assert len(set(workers)) == 3

        def tell(done: float) -> None:
            if 0 < done < 1 and not killed:
                busy = _busiest(cluster)
                killed.append(busy)
                os.kill(busy, signal.SIGKILL)

        found = explore(plan, path, scheduler=cluster.scheduler_address, tell=tell)
    assert killed
    assert killed[0] in workers
    assert found.as_dict() == explore(plan).as_dict()
    assert len(path.read_text().splitlines()) == 1 + 32


def _busiest(cluster: Any) -> int:
    """Return the process of a worker that has a job under way."""
    states = cluster.scheduler.workers.values()
    name = next(state.name for state in states if state.processing)
    return cluster.workers[name].process.process.pid


def test_unreachable_scheduler() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(ExploreError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1"):
        explore(_plan(), scheduler=f"tcp://127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["nowhere", "tcp://host", "tcp://host:port"])
def test_no_address(address: str) -> None:
    with pytest.raises(ExploreError, match="must be an address as tcp://host:8786"):
        explore(_plan(), scheduler=address)


def test_no_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ExploreError, match=r"pip install 'smartdeal\[cluster\]'"):
        explore(_plan(), scheduler="tcp://127.0.0.1:1")


@pytest.mark.parametrize(("budget", "target", "message"), [
    ("lut=900", "ulx3s_85f", r"no point fits the budget; the nearest is 6×8.*lut of 900"),
    ("mm2=0.01", "28nm", r"nearest is 6×8.*mm2 of 0\.01"),
    ("mw=0.001", "28nm", r"no point fits the budget; the nearest is .*mw of 0\.001"),
])
def test_empty_budget(budget: str, target: str, message: str) -> None:
    with pytest.raises(ExploreError, match=message):
        explore(_plan(points=2, budget=budget, target=target,
                      dimensions=(*_SMALL, "activation_kib=64")))


@pytest.mark.parametrize("budget", ["lut=x", "lut=-3", "lut=0", "lut=nan", "lut=inf", "lut"])
def test_bad_numbers(budget: str) -> None:
    with pytest.raises(ExploreError, match="lut must be a positive number"):
        _plan(budget=budget)


def test_bad_names() -> None:
    with pytest.raises(ExploreError, match="unknown budget 'area' in 'area=3'"):
        _plan(budget="area=3")
    with pytest.raises(ExploreError, match="does not suit target 28nm, whose area is mm2=N"):
        _plan(target="28nm")
    with pytest.raises(ExploreError, match="unknown target 'ulx3s_58f'; did you mean ulx3s_85f"):
        _plan(target="ulx3s_58f")
    with pytest.raises(ExploreError, match="no area model: it is fitted to ECP5 only"):
        _plan(target="icebreaker")
    with pytest.raises(ExploreError, match="no network is called 'resnet9'"):
        explore(_plan(network="resnet9"))
    with pytest.raises(ExploreError, match="unknown dimension 'row'"):
        Space.parse(["row=3"])
    with pytest.raises(ExploreError, match="rows must be whole numbers"):
        Space.parse(["rows=3,x"])
    with pytest.raises(ExploreError, match="form must be one of"):
        Space.parse(["form=float"])


def test_network_that_fits_nothing() -> None:
    with pytest.raises(ExploreError, match="resnet8 fits none of the 2 accelerators"):
        explore(_plan(points=2, dimensions=(*_SMALL, "activation_kib=8")))


def test_draw_is_fixed() -> None:
    candidates = list(Space.parse(_SMALL).candidates())
    assert draw(candidates, 5, 1) == draw(candidates, 5, 1) != draw(candidates, 5, 2)
    assert draw(candidates, 10**6, 1) == candidates


def test_csv() -> None:
    found = explore(_plan(points=3, dimensions=(*_SMALL, "activation_kib=64")))
    lines = points_csv(found).splitlines()
    assert len(lines) == 1 + len(found.points)
    assert sum(line.endswith(",1") for line in lines) == len(found.front)


def test_silicon_grows_with_every_part() -> None:
    target = Target.find("28nm")
    base = next(Space.parse(_SMALL).candidates()).config(memory=False)
    area = target.area(base)["mm2"]
    for change in ({"rows": 12, "drain_lanes": 2, "activation_words": base.activation_words},
                   {"acc_bits": 32}, {"exponents": 16}, {"weight_steps": 4096},
                   {"activation_words": 2 * base.activation_words}, {"drain_lanes": 4}):
        assert target.area(base.replace(**change))["mm2"] > area
