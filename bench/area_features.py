"""Synthesise what system memory, entropy-coded steps and binary layers add to an accelerator.

Each feature is synthesised with and without, for ECP5, in a few small sizes; the difference goes to
sim/area_features.json, which the area models read. Run it after a change of hardware:

    python bench/area_features.py [FEATURE…]
"""

import json
import sys
from pathlib import Path
from typing import Any

from smartdeal.boards.synth import synthesise
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.area_features import FEATURES

TARGET = Path(__file__).parent.parent / "sim" / "area_features.json"
MEMORY: dict[str, Any] = {"weight_steps": 1024, "channel_entries": 256, "basis_entries": 256,
                          "program_words": 256, "activation_words": 512}
#: By feature: sizes that the model is fitted to, and that it is held against.
SIZES: dict[str, tuple[list[dict[str, int]], list[dict[str, int]]]] = {
    "entropy": ([{"rows": 3, "cols": 4}, {"rows": 12, "cols": 4}], [{"rows": 6, "cols": 4}]),
    "memory": ([{"rows": 3, "cols": 16, "drain_lanes": 2},
                {"rows": 3, "cols": 32, "drain_lanes": 2}],
               [{"rows": 6, "cols": 24, "drain_lanes": 2}]),
    "binary": ([{"rows": 8, "cols": 4, "drain_lanes": 1}, {"rows": 8, "cols": 8, "drain_lanes": 1},
                {"rows": 8, "cols": 8, "drain_lanes": 4}],
               [{"rows": 12, "cols": 6, "drain_lanes": 2}]),
}


def main() -> None:
    for feature in sys.argv[1:] or FEATURES:
        rows: list[dict[str, Any]] = []
        for group, sizes in zip(("fitted", "held out"), SIZES[feature], strict=True):
            for size in sizes:
                rows.append({"feature": feature, "group": group,
                             **difference(feature, AcceleratorConfig(**MEMORY, **size))})
                print(feature, size, rows[-1]["added"], flush=True)
                known = json.loads(TARGET.read_text()) if TARGET.exists() else []
                others = [row for row in known if row["feature"] != feature]
                TARGET.write_text(json.dumps([*others, *rows], indent=1) + "\n")


def difference(feature: str, config: AcceleratorConfig) -> dict[str, Any]:
    """Return the configuration with a feature, and what it takes more than without."""
    without, larger = (synthesise(one, "ecp5") for one in (
        config, config.replace(**{feature: True, "drain_lanes": config.drain_lanes})))
    totals = without.total, larger.total
    added = {name: getattr(totals[1], name) - getattr(totals[0], name)
             for name in ("lut", "ff", "bram", "dsp")}
    added["array_lut"] = larger.array.lut - without.array.lut
    return {"configuration": larger.config.as_dict(), "tool": larger.tool, "added": added}


if __name__ == "__main__":
    sys.exit(main())
