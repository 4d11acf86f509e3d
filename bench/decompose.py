"""Time the decomposition of a whole network, and print the weight error of each form.

Run: ``python bench/decompose.py [NETWORK]`` (default: resnet18). One thread.
"""

import sys
import time

import numpy as np
import torch

from smartdeal.golden.checkpoints import load_trained, seeded_weights
from smartdeal.golden.decompose import FORMS, decompose, relative_error
from smartdeal.golden.graph import float_graph
from smartdeal.golden.networks import build_network
from smartdeal.golden.quantise import folded

_SEED = 1


def _main() -> None:
    torch.set_num_threads(1)
    model = build_network(sys.argv[1] if len(sys.argv) > 1 else "resnet18")
    if model.name == "resnet8":
        load_trained(model)
    else:
        seeded_weights(model, _SEED)
    nodes = [node for node in float_graph(model).nodes if node.kind in ("conv", "linear")]
    weights = {node.name: folded(node)[0] for node in nodes}
    seconds = dict.fromkeys(FORMS, 0.0)
    print(f"{'relative weight error':28}", *(f"{form:>10}" for form in FORMS))
    for name, values in weights.items():
        errors = []
        for form in FORMS:
            start = time.process_time()
            formed = decompose(form, values, layer=name)
            seconds[form] += time.process_time() - start
            errors.append(relative_error(values, formed))
        shape = "×".join(map(str, values.shape))
        print(f"{name:20} {shape:>12}", *(f"{error:10.4f}" for error in errors))
    print(f"{'seconds of processor time':33}", *(f"{s:10.2f}" for s in seconds.values()))
    print(f"{'weights':33} {sum(int(np.prod(w.shape)) for w in weights.values()):10,}")


if __name__ == "__main__":
    _main()
