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
_COLOURS = tuple(f"c{index}" for index in range(11))


_REGIONS = {"input": "c1", "loaded": "c1", "laid out": "c2", "residual": "c5", "output": "c0"}
_SYSTEM = {"instructions": "c8", "steps": "c0", "requantisation": "c2", "basis": "c5",
           "padding": "c9", "image": "c1", "tensor": "c3"}


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
        memory=_memory(data), system=_system(data), storage=_storage(data), tornado=tornado,
        centre=centre, layers=_layers(data), switching=_switching(data)) + "\n"


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
    return [{"name": name, "colour": _COLOURS[place], "text": text(value),
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
        "legend": [{"name": name, "colour": _COLOURS[place],
                    "means": meanings.get(name, name),
                    "text": f"{text(value)}, {numbers.percent(value / everything)}"}
                   for place, (name, value) in enumerate(total.items()) if value > 0],
        "rows": [{"name": layer["name"], "segments": _segments(layer[key], most, text),
                  "text": text(sum(layer[key].values()))} for layer in data["layers"]],
    }


def _memory(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each layer uses of the activation buffer."""
    config = data["configuration"]
    depth = config["activation_words"]
    colours = {kind: colour for kind, colour in _REGIONS.items()
               if any(region["kind"] == kind for region in data["memory"])}
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for region in data["memory"]:
        rows.setdefault(region["layer"], []).append(region)
    return {
        "text": f"Words of the activation buffer, {config['cols']} bytes each, that each layer "
                f"uses; gaps between channels count. The buffer has {depth:,} words, "
                f"{numbers.data_size(depth * config['cols'])}.",
        "legend": [{"name": kind, "colour": colour, "means": kind, "text": ""}
                   for kind, colour in colours.items()],
        "rows": [{
            "name": name,
            "text": numbers.data_size(sum(one["end"] - one["first"] for one in regions)
                                      * config["cols"]),
            "places": [{"left": 100 * one["first"] / depth, "colour": _REGIONS[one["kind"]],
                        "width": 100 * (one["end"] - one["first"]) / depth,
                        "text": f"{one['kind']}: words {one['first']:,}–{one['end'] - 1:,}"}
                       for one in regions]} for name, regions in rows.items()],
        "memories": [{
            "name": memory["name"], "word": f"{memory['word_bits']:,}",
            "used": f"{memory['used']:,}", "depth": f"{memory['depth']:,}",
            "size": numbers.data_size(memory["depth"] * memory["word_bits"] / 8),
            "share": numbers.percent(memory["used"] / memory["depth"]),
        } for memory in data["memories"]],
    }


def _system(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the program's region of system memory: one bar by address, and sizes by kind."""
    ranges = data["system_memory"]
    if not ranges:
        return None
    end = max(one["end"] for one in ranges)
    sizes: dict[str, int] = {}
    for one in ranges:
        sizes[one["kind"]] = sizes.get(one["kind"], 0) + one["end"] - one["first"]
    return {
        "end": numbers.data_size(end),
        "places": [{"left": 100 * one["first"] / end, "colour": _SYSTEM[one["kind"]],
                    "width": 100 * (one["end"] - one["first"]) / end,
                    "text": f"{one['name'] or one['kind']}: bytes {one['first']:,}–"
                            f"{one['end'] - 1:,}"} for one in ranges],
        "legend": [{"name": kind, "colour": _SYSTEM[kind], "means": kind,
                    "text": numbers.data_size(size)} for kind, size in sizes.items()],
    }


def _switching(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return one layer by gates that switch, beside the event model; None where it has not run."""
    found = data.get("switching")
    if found is None:
        return None
    return {**{name: found[name] for name in ("layer", "technology", "cells")},
            "cycles": numbers.cycles(found["cycles"]), "rows": [{
                "name": row["name"], "cells": f"{row['cells']:,}", "toggles": f"{row['toggles']:,}",
                "energies": [numbers.energy(row[name]) for name in (
                    "cells_pj", "clock_pj", "memory_pj", "switching_pj", "events_pj")],
                "ratio": "–" if row["ratio"] is None else f"{row['ratio']:.2f}",
            } for row in (*found["groups"], found["total"])]}


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
