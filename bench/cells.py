"""Where the cells of a build are: tables and flip-flops by module, from its flattened netlist.

    python bench/cells.py build/boards/icebreaker [--depth 3]

Synthesis names a table after the net that it drives or leads to, so tables between two modules may
count for either.
"""

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

_KINDS = {"tables": r"SB_LUT4|LUT[1-4]|MUX2_LUT.*", "carries": r"SB_CARRY|ALU|CCU2C",
          "flip-flops": r"SB_DFF.*|DFF.*|TRELLIS_FF",
          "memories": r"SB_RAM40_4K.*|DP16KD|PDPW16KD|(S|SD|D|DP)X?9?B|TRELLIS_DPR16X4|RAM16.*",
          "multipliers": r"SB_MAC16|MULT.*"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--depth", type=int, default=3)
    arguments = parser.parse_args()
    cells = json.loads((arguments.folder / "netlist.json").read_text())["modules"]["top"]["cells"]
    found: dict[str, Counter[str]] = {}
    for name, cell in cells.items():
        kind = next((kind for kind, pattern in _KINDS.items()
                     if re.fullmatch(pattern, cell["type"])), None)
        path = [word for word in name.split(".")[:-1] if not word.startswith("$")]
        if kind is not None:
            found.setdefault(".".join(path[:arguments.depth]) or "top", Counter())[kind] += 1
    print(f"| module | {' | '.join(_KINDS)} |\n{'|---' * (len(_KINDS) + 1)}|")
    for module, counts in sorted(found.items(), key=lambda item: -item[1].total()):
        print(f"| {module} | {' | '.join(f'{counts[kind]:,}' for kind in _KINDS)} |")


if __name__ == "__main__":
    sys.exit(main())
