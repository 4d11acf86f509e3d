"""ResNet-8 on a real image over the serial line of a simulated board, with bytes lost, doubled and
changed on the way; the output is compared with the interpreter's.

    smartdeal boards --config ulx3s_85f > ulx3s.toml
    smartdeal compile resnet8 --config ulx3s.toml -o resnet8.sdp
    python bench/board_resnet8.py resnet8.sdp ulx3s_85f --rate 0.0005
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from smartdeal.boards.catalogue import board
from smartdeal.boards.faults import FaultyPort
from smartdeal.boards.host import run_on_board
from smartdeal.boards.simulated import open_simulated
from smartdeal.compiler import NetworkProgram
from smartdeal.golden.fashion import sample_images
from smartdeal.sim.simulate_network import simulate_network


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("board")
    parser.add_argument("--rate", type=float, default=0.0005, help="spoilt bytes, a share")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    program = NetworkProgram.load(options.program)
    image = program.quantise(sample_images()[0][0].numpy())
    began = time.monotonic()
    port = FaultyPort(open_simulated("sim", program.config, board(options.board).clock_mhz,
                                     lambda stage, done: None),
                      rate=options.rate, seed=options.seed)
    results, session = run_on_board(program, [image], port)
    report, = simulate_network(program, [image], engine="interpreter")
    same = bool(np.array_equal(results[0].output, report.output)
                and results[0].cycles == report.predicted.total)
    print(f"{port.faults} bytes spoilt, {session.link.retries} frames sent again, "
          f"{results[0].cycles:,} cycles (predicted {report.predicted.total:,}), "
          f"{results[0].seconds * 1e3:.2f} ms at {session.hello.clock_hz / 1e6:g} MHz, "
          f"{time.monotonic() - began:.0f} s; {'equal' if same else 'DIFFERENT'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
