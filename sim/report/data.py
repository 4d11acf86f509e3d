"""The report as data: everything that the page shows, for JSON and CSV."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from typing import Any

from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.area import estimate
from smartdeal.sim.energy.events import EVENT_MEANINGS
from smartdeal.sim.energy.model import LayerCost, NetworkCost
from smartdeal.sim.energy.price import COMPONENTS
from smartdeal.sim.energy.technology import CERTAINTIES, CONSTANTS, Technology
from smartdeal.sim.explore.silicon import area_mm2

__all__ = ["WHERE_CYCLES", "report_csv", "report_data"]

#: Where cycles go, and what that is.
WHERE_CYCLES: dict[str, str] = {
    "step": "the array takes a step",
    "wait for read-out": "a unit's last step waits until the unit before is read out",
    "residual": "a residual operand is fetched instead of a step",
    "move": "tensors are laid out anew, or padding is filled",
    "fill and drain": "fetching instructions, filling and emptying pipelines",
    "load": "programs and activations come in: the host's stream, or waiting for LOADs",
    "store": "activations go out: the host's stream, or waiting for EXTERNAL layers' words",
}
_FLOAT_BYTES = 4


def report_data(cost: NetworkCost, technology: Technology, form: str) -> dict[str, Any]:
    """Return a report as JSON values; every energy is in pJ of the technology table it names.

    Parameters
    ----------
    form : str
        What was asked for; each layer has its own.
    """
    energy = cost.energy(technology)
    total = sum(energy.values())
    seconds = cost.cycles / technology["clock"] / 1e6
    macs = sum(layer.macs for layer in cost.layers)
    where = {name: sum(layer.where()[name] for layer in cost.layers) for name in WHERE_CYCLES}
    config = cost.config
    return {
        "version": metadata.version("smartdeal"), "network": cost.name, "source": cost.source,
        "form": form, "configuration": config.as_dict(), "on_chip": cost.on_chip,
        "mode": _mode(cost),
        "technology": {
            "name": technology.name, "title": technology.title,
            "constants": {name: {
                "value": constant.value, "unit": CONSTANTS[name][0], "what": CONSTANTS[name][1],
                "bytes": constant.bytes or None, "source": constant.source,
                "certainty": constant.certainty, "means": CERTAINTIES[constant.certainty],
            } for name, constant in technology.constants.items()},
        },
        "totals": {
            "cycles": cost.cycles, "compute_cycles": cost.compute_cycles, "seconds": seconds,
            "macs": macs, "energy_pj": total, "average_watts": total / 1e12 / seconds,
            "busy": where["step"] / cost.compute_cycles,
            "macs_per_cycle": macs / cost.compute_cycles,
            "macs_per_step_pe": macs / (where["step"] * config.rows * config.cols),
            "dram_bytes": cost.traffic.total, "weights": sum(x.weights for x in cost.layers),
        },
        "cycles": where, "energy_pj": energy,
        "dram_bytes": {"weights": cost.traffic.weights, "activations in": cost.traffic.reads,
                       "activations out": cost.traffic.writes},
        "sensitivity": {name: {"halved_pj": low, "doubled_pj": high}
                        for name, (low, high) in cost.sensitivity(technology).items()},
        "storage": _storage(cost), "area": _area(config),
        "events": {name: {"count": count, "what": EVENT_MEANINGS[name]}
                   for name, count in cost.events.as_dict().items()},
        "memory": [asdict(region) for region in cost.regions],
        "memories": [asdict(memory) for memory in cost.memories],
        "system_memory": [asdict(found) for found in cost.system],
        "memory_timing": None if cost.timing is None else asdict(cost.timing),
        "meanings": {"components": COMPONENTS, "cycles": WHERE_CYCLES},
        "layers": [_layer(layer, cost, technology) for layer in cost.layers],
    }


def _mode(cost: NetworkCost) -> str:
    """Return who moves tensors, in a few words."""
    if cost.timing is not None:
        return (f"one program with system memory of {cost.timing.bytes_per_cycle} bytes per cycle "
                f"and {cost.timing.latency_cycles} cycles latency")
    return ("one program, all tensors on chip" if cost.on_chip
            else "each layer a program of its own, the host loads and stores")


def _layer(layer: LayerCost, cost: NetworkCost, technology: Technology) -> dict[str, Any]:
    energy = layer.energy(cost.config, technology)
    return {
        "name": layer.name, "kind": layer.kind, "form": layer.form,
        "input_shape": list(layer.input_shape), "output_shape": list(layer.output_shape),
        "macs": layer.macs, "weights": layer.weights, "nonzero_terms": layer.nonzero_terms,
        "parts": layer.parts, "cycles": layer.where(), "total_cycles": layer.total_cycles,
        "compute_cycles": layer.cycles.total,
        "seconds": layer.total_cycles / technology["clock"] / 1e6,
        "energy_pj": energy, "total_pj": sum(energy.values()),
        "dram_bytes": {"weights": layer.traffic.weights, "activations in": layer.traffic.reads,
                       "activations out": layer.traffic.writes},
        "activation_bytes": layer.activation_bytes,
        "events": layer.events.as_dict(),
    }


def _area(config: AcceleratorConfig) -> dict[str, Any] | None:
    """Return what the accelerator takes, by the models; None where there is none of its kind."""
    try:
        ecp5 = estimate(config)
    except ValueError:  # a single exponent
        return None
    return {"ecp5": {"lut": ecp5.lut, "array_lut": ecp5.array, "bram": ecp5.bram,
                     "dsp": ecp5.dsp}, "mm2_28nm": area_mm2(config)}


def _storage(cost: NetworkCost) -> list[dict[str, Any]]:
    """Return weights by form: as float32, as int8, and as the program holds them."""
    rows: dict[str, dict[str, Any]] = {}
    for layer in cost.layers:
        if not layer.weights:
            continue
        row = rows.setdefault(layer.form, {
            "form": layer.form, "layers": 0, "weights": 0, "nonzero_terms": 0,
            "program_bytes": 0})
        row["layers"] += 1
        row["weights"] += layer.weights
        row["nonzero_terms"] += layer.nonzero_terms
        # A layer in strips may load its weights once per strip; they are stored once.
        row["program_bytes"] += layer.stored_bytes
    for row in rows.values():
        row |= {"float32_bytes": row["weights"] * _FLOAT_BYTES, "int8_bytes": row["weights"],
                "bits_per_weight": 8 * row["program_bytes"] / row["weights"]}
    return sorted(rows.values(), key=lambda row: -row["weights"])


def report_csv(data: Mapping[str, Any]) -> str:
    """Return the layers of a report as CSV, one line each; units stand in the header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    components, where = data["energy_pj"], data["cycles"]
    table = data["technology"]["name"]
    writer.writerow([
        "layer", "kind", "form", "input", "output", "macs", "weights", "nonzero_terms", "parts",
        "cycles", *(f"cycles {name}" for name in where), "seconds", f"energy pJ ({table})",
        *(f"{name} pJ" for name in components),
        *(f"DRAM bytes {name}" for name in data["dram_bytes"]), *data["events"]])
    for layer in data["layers"]:
        writer.writerow([
            layer["name"], layer["kind"], layer["form"], *("x".join(map(str, layer[shape])) for
                                                           shape in ("input_shape",
                                                                     "output_shape")),
            layer["macs"], layer["weights"], layer["nonzero_terms"], layer["parts"],
            layer["total_cycles"], *layer["cycles"].values(), layer["seconds"],
            layer["total_pj"], *layer["energy_pj"].values(), *layer["dram_bytes"].values(),
            *layer["events"].values()])
    return out.getvalue()
