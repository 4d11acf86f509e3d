"""Synthesise a sweep of sizes for ECP5 and hold the area model against those it is not fitted to.

The numbers go to sim/area_ecp5.json, which the area model reads: run it after a change of hardware.
"""

import json
import sys
from pathlib import Path

from smartdeal.boards.synth import synthesise
from smartdeal.hw.config import AcceleratorConfig

#: rows, cols, drain lanes; the model is fitted to the first group only.
FITTED = ((3, 4, 1), (6, 4, 2), (6, 8, 1), (9, 8, 4), (12, 16, 4), (6, 16, 8))
HELD_OUT = ((8, 12, 3), (15, 16, 4), (12, 8, 2))
MEMORY = dict(activation_words=2048, weight_steps=1024, channel_entries=256, basis_entries=256,
              program_words=256)


def main() -> None:
    target = Path(__file__).parent.parent / "sim" / "area_ecp5.json"
    rows = []
    for group, sizes in (("fitted", FITTED), ("held out", HELD_OUT)):
        for r, c, lanes in sizes:
            config = AcceleratorConfig(rows=r, cols=c, drain_lanes=lanes, **MEMORY)
            report = synthesise(config, "ecp5")
            total, array = report.total, report.array
            rows.append({"group": group, "configuration": config.as_dict(), "tool": report.tool,
                         "array_lut": array.lut, "lut": total.lut, "ff": total.ff,
                         "bram": total.bram, "dsp": total.dsp})
            print(f"{r}×{c}, {lanes} lanes: {total.lut:,} LUT, PE array {array.lut / r / c:.1f} "
                  f"per PE, {report.seconds:.0f} s", flush=True)
            target.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
