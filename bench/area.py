"""Synthesise a sweep of sizes for ECP5 and hold the area model against those it is not fitted to.

The numbers go to sim/area_ecp5.json, which the area model reads: run it after a change of hardware.
"""

import json
import sys
from pathlib import Path

from smartdeal.boards.synth import synthesise
from smartdeal.hw.config import AcceleratorConfig

#: rows, cols, drain lanes; the model is fitted to the first group only.
FITTED = ((9, 8, 2), (24, 32, 8), (24, 32, 16))
HELD_OUT = ((12, 16, 4), (6, 8, 1))
MEMORY = dict(weight_steps=2048, channel_entries=512, basis_entries=512, program_words=512)
#: Bytes of the activation buffer.
ACTIVATIONS = 32_768


def main() -> None:
    target = Path(__file__).parent.parent / "sim" / "area_ecp5.json"
    rows = []
    for group, sizes in (("fitted", FITTED), ("held out", HELD_OUT)):
        for r, c, lanes in sizes:
            config = AcceleratorConfig(rows=r, cols=c, drain_lanes=lanes,
                                       activation_words=ACTIVATIONS // c, **MEMORY)
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
