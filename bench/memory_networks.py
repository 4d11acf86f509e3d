"""Whole networks in system memory: what programs transfer, and by the model how long they take.

Run: ``python bench/memory_networks.py [NETWORK …]``. Networks are ResNets of
:mod:`smartdeal.golden.networks` with seeded weights in one power of two each (deepshift), on a
16 × 16 array with the default buffers, a memory of 8 bytes per cycle and 60 cycles latency.
"""

import argparse
import sys
import time
from collections import Counter

import torch

from smartdeal.compiler import compile_network
from smartdeal.golden.networks import build_network
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import LayerFlag, Opcode
from smartdeal.sim.latency_memory import predict_memory
from smartdeal.sim.memory_timing import MemoryTiming

_SIZES = {"resnet18": (3, 224, 224), "resnet34": (3, 224, 224), "resnet50": (3, 224, 224),
          "resnet20": (3, 32, 32)}
_COLUMNS = ("network", "tensors in memory", "LAYER", "MOVE", "LOAD", "WAIT", "JUMP",
            "constants, bytes", "loaded", "stored", "cycles", "busy", "waiting", "seconds")


def main() -> None:
    """Print one row per network."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("networks", nargs="*", default=list(_SIZES),
                        help=f"some of {', '.join(_SIZES)}")
    names = parser.parse_args().networks
    torch.set_num_threads(1)
    print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}")
    for name in names:
        if name not in _SIZES:
            sys.exit(f"error: network must be one of {', '.join(_SIZES)}, not {name!r}")
        print(f"| {' | '.join(_row(name))} |", flush=True)


def _row(name: str) -> list[str]:
    config = AcceleratorConfig(rows=16, cols=16, memory=True)
    torch.manual_seed(0)
    model = build_network(name).eval()
    network = quantise_network(model, torch.randn(2, *_SIZES[name]), "deepshift", FormOptions(),
                               config.sum_bits)
    began = time.process_time()
    program = compile_network(network, config)
    seconds = time.process_time() - began
    predicted = predict_memory(program.segments[0], program.memory, config, MemoryTiming())
    executed = predicted.instructions
    counts = Counter(one.opcode for one in executed)
    external = {layer for layer, one in zip(program.instructions[0], executed, strict=False)
                if one.opcode == Opcode.LAYER and one.fields["flags"] & LayerFlag.EXTERNAL}
    cycles = predicted.cycles
    return [name, str(1 + len(external)), *(f"{counts[opcode]:,}" for opcode in (
        Opcode.LAYER, Opcode.MOVE, Opcode.LOAD, Opcode.WAIT, Opcode.JUMP)),
        f"{len(program.memory):,}", f"{predicted.bytes_loaded:,}", f"{predicted.bytes_stored:,}",
        f"{cycles.total:,}", f"{cycles.busy / cycles.total:.1%}",
        f"{cycles.stall_memory / cycles.total:.1%}", f"{seconds:.0f}"]


if __name__ == "__main__":
    main()
