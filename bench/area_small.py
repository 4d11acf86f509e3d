"""Measure what the area model of iCE40 and Gowin boards is made of: sim/area_small.json.

Synthesises the PE array and the activation buffer by themselves in three sizes, and takes what a
whole build takes from the rows of ``bench/boards.py``. Run it after a change of hardware.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from smartdeal.boards import flow
from smartdeal.boards.catalogue import Board, board
from smartdeal.boards.technology import Resources
from smartdeal.hw.activation import ActivationBuffer
from smartdeal.hw.array import ProcessingArray
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.technology import TECHNOLOGIES
from smartdeal.hw.verilog import emit
from smartdeal.sim.area_small import KINDS, features

BOARDS = ("icebreaker", "hx8k_breakout", "tang_nano_9k", "tang_nano_20k")
#: Multiples of rows and columns of the default array.
SIZES = ((1, 1), (1, 2), (2, 2))
TARGET = Path(__file__).parent.parent / "sim" / "area_small.json"
BUILT = Path("build/boards/rows.json")


def main() -> None:
    rows: list[dict[str, Any]] = []
    known: set[tuple[Any, ...]] = set()
    built = json.loads(BUILT.read_text())
    for name in BOARDS:
        chosen, done = board(name), built.get(name, {})
        if "resources" not in done:
            print(f"{name}: not built, left out", flush=True)
            continue
        config = AcceleratorConfig(**done["configuration"])
        rows.append(row(name, config, Resources(**done["resources"])))
        key = (chosen.target, features(config))
        for more_rows, more_cols in SIZES if key not in known else ():
            larger = AcceleratorConfig(**{
                **config.as_dict(), "rows": config.rows * more_rows,
                "cols": config.cols * more_cols,
                "activation_words": config.activation_words // more_cols})
            rows.append(row(f"{chosen.target} parts", larger, parts(chosen, larger)))
        known.add(key)
        TARGET.write_text(json.dumps(rows, indent=1) + "\n")


def row(what: str, config: AcceleratorConfig, used: Resources) -> dict[str, Any]:
    numbers = {kind: getattr(used, kind) for kind in KINDS}
    print(f"{what}, {config.rows}×{config.cols}: {numbers}", flush=True)
    return {"what": what, "configuration": config.as_dict(), **numbers}


def parts(chosen: Board, config: AcceleratorConfig) -> Resources:
    """Return what the parts that grow with the array take."""
    total = Resources()
    for part in (ProcessingArray, ActivationBuffer):
        with tempfile.TemporaryDirectory(prefix=".smartdeal-parts-", dir=Path.cwd()) as name:
            folder = Path(name)
            sources = flow.generate(chosen, config, chosen.clock_mhz, folder)
            (folder / "core.v").write_text(emit(part(config), "top",
                                                technology=TECHNOLOGIES.get(chosen.target)))
            (folder / "top.il").write_text("")
            (folder / "top.pcf").write_text("")
            flow.synthesise(chosen, config, folder)
            if chosen.target == "ice40":  # there are more ports than pins
                sources = replace(sources, device_options=(*sources.device_options,
                                                           "--pcf-allow-unconstrained"))
            total += flow.count(chosen, sources, folder)
    return total


if __name__ == "__main__":
    sys.exit(main())
