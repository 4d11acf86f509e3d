"""The report as one HTML page that needs nothing else."""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from smartdeal.sim.report import numbers
from smartdeal.sim.report.roofline import roofline

__all__ = ["render"]

#: Colours by place, of a palette that colour-blind readers tell apart.
_COLOURS = tuple(f"c{index}" for index in range(10))


def render(data: Mapping[str, Any]) -> str:
    """Return the page for what :func:`smartdeal.sim.report.data.report_data` gives."""
    environment = Environment(loader=PackageLoader("smartdeal.sim.report", "."), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=False)
    totals = data["totals"]
    centre, tornado = _tornado(data)
    return environment.get_template("report.html").render(
        d=data, title=f"{data['network']}: {numbers.energy(totals['energy_pj'])}, "
                      f"{numbers.seconds(totals['seconds'])} ({data['technology']['name']})",
        style=Markup((files("smartdeal.sim.report") / "style.css").read_text()),
        tiles=_tiles(data), total_energy=numbers.energy(totals["energy_pj"]),
        cycles=_chart(data, "cycles", data["meanings"]["cycles"], numbers.cycles),
        energy=_chart(data, "energy_pj", data["meanings"]["components"], numbers.energy),
        bytes=_chart(data, "dram_bytes", {}, numbers.data_size), roofline=roofline(data),
        memory=_memory(data), storage=_storage(data), tornado=tornado, centre=centre,
        layers=_layers(data)) + "\n"


def _tiles(data: Mapping[str, Any]) -> list[dict[str, str]]:
    totals, table = data["totals"], data["technology"]
    clock = table["constants"]["clock"]["value"]
    return [
        {"value": numbers.seconds(totals["seconds"]),
         "what": f"per image, {numbers.count(totals['cycles'])} cycles at {clock:,.0f} MHz"},
        {"value": numbers.energy(totals["energy_pj"]), "what": f"per image, by {table['name']}"},
        {"value": f"{totals['average_watts'] * 1e3:,.0f} mW",
         "what": f"on average, by {table['name']}"},
        {"value": numbers.data_size(totals["dram_bytes"]), "what": "external memory per image"},
        {"value": numbers.percent(totals["busy"]), "what": "of the computing cycles step"},
        {"value": f"{totals['macs_per_cycle']:,.0f}",
         "what": f"MACs per computing cycle of {numbers.count(totals['macs'])}"},
    ]


def _segments(values: Mapping[str, float], scale: float, text: Callable[[float], str],
              ) -> list[dict[str, Any]]:
    return [{"name": name, "colour": _COLOURS[place % len(_COLOURS)], "text": text(value),
             "percent": 100 * value / scale}
            for place, (name, value) in enumerate(values.items()) if value > 0]


def _chart(
    data: Mapping[str, Any], key: str, meanings: Mapping[str, str], text: Callable[[float], str],
) -> dict[str, Any]:
    """Return a total, its legend, and a bar per layer on one scale."""
    total = data[key]
    everything = sum(total.values()) or 1
    most = max(sum(layer[key].values()) for layer in data["layers"]) or 1
    return {
        "total": _segments(total, everything, text),
        "legend": [{"name": name, "colour": _COLOURS[place % len(_COLOURS)],
                    "means": meanings.get(name, name),
                    "text": f"{text(value)}, {numbers.percent(value / everything)}"}
                   for place, (name, value) in enumerate(total.items()) if value > 0],
        "rows": [{"name": layer["name"], "segments": _segments(layer[key], most, text),
                  "text": text(sum(layer[key].values()))} for layer in data["layers"]],
    }


def _memory(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return how full each layer makes the activation buffer, or where it writes in it."""
    config = data["configuration"]
    capacity = config["activation_words"] * config["cols"]
    written = data["memory"]
    if written:
        used = max(region["end"] for region in written)
        rows = [{"name": region["layer"], "text": f"{region['first']:,}–{region['end']:,}",
                 "segments": [
                     {"name": "before", "colour": "paper", "text": "",
                      "percent": 100 * region["first"] / used},
                     {"name": "output", "colour": "c0", "text": numbers.data_size(
                         (region["end"] - region["first"]) * config["cols"]),
                      "percent": 100 * (region["end"] - region["first"]) / used}]}
                for region in written]
        return {"title": "Memory map", "rows": rows, "text":
                f"Words of the activation buffer that each layer writes, of {used:,} "
                f"in use; the buffer has {config['activation_words']:,}."}
    rows = [{"name": layer["name"], "text": numbers.data_size(layer["activation_bytes"]),
             "segments": _segments({"in use": layer["activation_bytes"]}, capacity,
                                   numbers.data_size)} for layer in data["layers"]]
    return {"title": "Activation buffer", "rows": rows, "text":
            f"Bytes that the largest part of each layer holds, of {numbers.data_size(capacity)}: "
            "input window, residual operand and output."}


def _storage(data: Mapping[str, Any]) -> list[dict[str, str]]:
    rows: Sequence[Mapping[str, Any]] = data["storage"]
    if len(rows) > 1:
        total: dict[str, Any] = {name: sum(row[name] for row in rows) for name in (
            "layers", "weights", "program_bytes", "float32_bytes", "int8_bytes")}
        total |= {"form": "total",
                  "bits_per_weight": 8 * total["program_bytes"] / total["weights"]}
        rows = [*rows, total]
    return [{
        "form": row["form"], "layers": str(row["layers"]), "weights": f"{row['weights']:,}",
        "float32": numbers.data_size(row["float32_bytes"]),
        "int8": numbers.data_size(row["int8_bytes"]),
        "program": numbers.data_size(row["program_bytes"]),
        "bits": f"{row['bits_per_weight']:.2f}",
        "ratio": f"{row['float32_bytes'] / row['program_bytes']:.1f} ×"} for row in rows]


def _tornado(data: Mapping[str, Any]) -> tuple[float, list[dict[str, Any]]]:
    """Return where the total stands, in percent of the width, and a row per constant."""
    total = data["totals"]["energy_pj"]
    found = data["sensitivity"]
    low = min(entry["halved_pj"] for entry in found.values())
    high = max(entry["doubled_pj"] for entry in found.values())
    scale = 100 / ((high - low) or 1)
    rows = [{
        "name": name.replace("_", " "), "what": data["technology"]["constants"][name]["what"],
        "low": (entry["halved_pj"] - low) * scale, "below": (total - entry["halved_pj"]) * scale,
        "above": (entry["doubled_pj"] - total) * scale,
        "text": f"{numbers.energy(entry['halved_pj'])} – {numbers.energy(entry['doubled_pj'])}",
        "width": entry["doubled_pj"] - entry["halved_pj"],
    } for name, entry in found.items()]
    return (total - low) * scale, sorted(rows, key=lambda row: -row["width"])


def _layers(data: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = [{
        "name": layer["name"], "form": layer["form"] or layer["kind"].replace("_", " "),
        "output": "×".join(map(str, layer["output_shape"])), "macs": numbers.count(layer["macs"]),
        "parts": str(layer["parts"]), "cycles": numbers.cycles(layer["total_cycles"]),
        "busy": numbers.percent(layer["cycles"]["step"] / layer["compute_cycles"]),
        "time": numbers.seconds(layer["seconds"]), "energy": numbers.energy(layer["total_pj"]),
        "dram": numbers.data_size(sum(layer["dram_bytes"].values())),
    } for layer in data["layers"]]
    totals = data["totals"]
    return [*rows, {
        "name": "total", "form": "", "output": "", "macs": numbers.count(totals["macs"]),
        "parts": str(sum(layer["parts"] for layer in data["layers"])),
        "cycles": numbers.cycles(totals["cycles"]), "busy": numbers.percent(totals["busy"]),
        "time": numbers.seconds(totals["seconds"]), "energy": numbers.energy(
            totals["energy_pj"]), "dram": numbers.data_size(totals["dram_bytes"])}]
