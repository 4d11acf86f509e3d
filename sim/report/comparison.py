"""The comparison of accelerators as one HTML page."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from smartdeal.sim.report import numbers

__all__ = ["render_comparison"]

_ENERGY = {"DRAM": "c0", "buffers": "c1", "computing": "c2", "registers": "c5"}
_DRAM = {"weights": "c0", "activations in": "c1", "activations out": "c2"}
_OURS, _OTHERS = "c3", "c4"


def render_comparison(data: Mapping[str, Any]) -> str:
    """Return the page for what :func:`smartdeal.sim.baselines.compare.compare_data` gives."""
    environment = Environment(loader=PackageLoader("smartdeal.sim.report", "."), autoescape=True,
                              undefined=StrictUndefined)
    return environment.get_template("compare.html").render(
        d=data, style=Markup((files("smartdeal.sim.report") / "style.css").read_text()),
        networks=[_network(net) for net in data["networks"]]) + "\n"


def _network(net: Mapping[str, Any]) -> dict[str, Any]:
    results = net["results"]
    return {
        "title": net["title"], "macs": numbers.count(net["macs"]),
        "weights": numbers.count(net["weights"]),
        "zero_weights": numbers.percent(net["zero_weights"]), "zeros_from": net["zeros_from"],
        "zero_activations": numbers.percent(net["zero_activations"]),
        "charts": [
            _stacked("Energy per image; efficiency against DianNao", results,
                     "energy_by_component_pj", _ENERGY, "energy_efficiency", numbers.energy),
            _plain("Speed-up against DianNao, data on chip", results, "speedup"),
            _plain("Speed-up against DianNao, external memory overlapped", results,
                   "bound_speedup"),
            _stacked("External memory per image; how much less than DianNao", results,
                     "dram_bytes", _DRAM, "fewer_dram_bytes", numbers.data_size),
        ],
    }


def _stacked(
    title: str, results: Sequence[Mapping[str, Any]], key: str, colours: Mapping[str, str],
    ratio: str, text: Any,
) -> dict[str, Any]:
    most = max(sum(result[key].values()) for result in results)
    return {"title": title, "legend": [{"name": name, "colour": colour}
                                       for name, colour in colours.items()],
            "rows": [{"name": result["title"],
                      "text": f"{text(sum(result[key].values()))}, {result[ratio]:.2f} ×",
                      "segments": [{"name": name, "colour": colours[name], "text": text(value),
                                    "percent": 100 * value / most}
                                   for name, value in result[key].items()]}
                     for result in results]}


def _plain(title: str, results: Sequence[Mapping[str, Any]], key: str) -> dict[str, Any]:
    most = max(result[key] for result in results)
    return {"title": title, "legend": [], "rows": [{
        "name": result["title"], "text": f"{result[key]:.2f} ×",
        "segments": [{"name": result["title"], "text": f"{result[key]:.2f} ×",
                      "colour": _OURS if result["design"] == "smartdeal" else _OTHERS,
                      "percent": 100 * result[key] / most}]} for result in results]}
