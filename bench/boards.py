"""Build bitstreams for boards, one after the other, and print a row of each as Markdown.

``python bench/boards.py`` builds every board below with its array; ``python bench/boards.py
icebreaker ulx3s_85f:15x32`` those that are named, with another size. Everything that a build makes
stays in ``build/boards/BOARD``, and the rows with every number in ``build/boards/rows.json``,
where those of earlier runs stay too.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from smartdeal.boards.build import build_board
from smartdeal.boards.catalogue import board
from smartdeal.boards.choose import choose
from smartdeal.boards.errors import BoardError, BuildStepError, TimingError
from smartdeal.boards.report import report_html

#: Arrays smaller than the default ones where those take hours of place and route on one core.
BOARDS = ("icebreaker", "hx8k_breakout", "tang_nano_9k", "tang_nano_20k", "ulx3s_25f:3x8",
          "colorlight_5a75b_r7.0:3x8", "ulx3s_85f:6x8", "ecpix5_85f:6x8",
          "orangecrab_r0.2_85f:6x8")
COLUMNS = ("board", "array", "LUT", "FF", "BRAM", "DSP", "clock: built for, reached", "peak GOPS",
           "peak GOPS/kLUT", "ResNet-8: images/s, effective GOPS, mW", "synthesis, place and "
           "route, s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("boards", nargs="*", default=BOARDS, metavar="BOARD[:RxC]")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("build/boards"))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    kept = arguments.folder / "rows.json"
    rows: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
    for name in arguments.boards:
        rows[name] = build(name, arguments.folder, arguments.seeds, arguments.nice)
        kept.write_text(json.dumps(rows, indent=1) + "\n")
        print(f"| {' | '.join(cells(rows[name]))} |", flush=True)
    for name in arguments.boards:
        if refusal := rows[name].get("effective", {}).get("refusal"):
            print(f"\n{name} has no room for ResNet-8: {refusal}")
    print("\n" + ", ".join(sorted({tool for row in rows.values()
                                   for tool in row.get("tools", ())})))


def build(name: str, folder: Path, seeds: int, nice: int) -> dict[str, Any]:
    """Return the report of a build, or why there is none."""
    title, _, size = name.partition(":")
    given: dict[str, Any] = {}
    if size:
        given = dict(zip(("rows", "cols"), map(int, size.split("x")), strict=True))
    chosen = board(title)
    began = time.monotonic()
    try:
        config, why = choose(chosen, given)
        report = build_board(chosen, config, folder / title, seeds=range(1, seeds + 1), nice=nice)
    except (BoardError, BuildStepError, TimingError) as error:
        return {"board": name, "failed": str(error), "seconds": time.monotonic() - began}
    (folder / title / "report.html").write_text(report_html(report))
    return {**report.as_dict(), "why": why}


def cells(row: dict[str, Any]) -> list[str]:
    """Return what stands in a row of the table."""
    if "failed" in row:
        return [row["board"], row["failed"], *[""] * (len(COLUMNS) - 2)]
    used, found = row["resources"], row["effective"]
    resnet = ("no room" if "refusal" in found else
              f"{found['images_per_second']:,}, {found['gops']:.2f}, {found['watts'] * 1e3:.0f}")
    reached = [f"{seed['mhz']:.1f}" for seed in row["seeds"]]
    route = sum(seconds for step, seconds in row["seconds"].items() if step.startswith("route"))
    return [row["board"], f"{row['rows']} × {row['cols']}", f"{used['lut']:,}", f"{used['ff']:,}",
            str(used["bram"]), str(used["dsp"]), f"{row['clock_mhz']:g}, {', '.join(reached)}",
            f"{row['peak_gops']:.2f}", f"{row['gops_per_klut']:.3f}", resnet,
            f"{row['seconds']['synthesis']:.0f}, {route:.0f}"]


if __name__ == "__main__":
    sys.exit(main())
