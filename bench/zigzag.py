"""Cycles of ZigZag's model beside ours, for the same layers on the same array.

    python -m venv build/zigzag
    build/zigzag/bin/pip install zigzag-dse==3.9.1 six
    python bench/zigzag.py

ZigZag (Mei et al., IEEE TC 2021) has an environment of its own, as it pins other packages. It gets
an output-stationary array of rows (output channels) × cols (positions of an output row), an SRAM of
512 KiB for activations and one for weights, and an external memory too wide to stall. Ours are
dense layers of one term per weight, whose cycles equal the hardware's counters.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from smartdeal.compiler import compile_layer
from smartdeal.golden.forms import TermWeights
from smartdeal.golden.layers import IntegerLayer, Requantisation
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.latency import predict

_PYTHON = Path("build/zigzag/bin/python")
#: Name, filters, channels, output size, kernel, stride.
_LAYERS = (("layer1.0.conv1", 64, 64, 56, 3, 1), ("layer2.0.conv1", 128, 64, 28, 3, 2),
           ("layer2.0.conv2", 128, 128, 28, 3, 1), ("layer3.0.conv2", 256, 256, 14, 3, 1),
           ("layer4.1.conv2", 512, 512, 7, 3, 1))
_ARRAYS = ((8, 9), (12, 16), (16, 16))
_RUN = """
import json, sys, time
from zigzag.api import get_hardware_performance_zigzag as run
start = time.perf_counter()
found = run(sys.argv[1], sys.argv[2], sys.argv[3], opt="latency", dump_folder=sys.argv[4],
            loma_show_progress_bar=False)
evaluations = found[-1]
cme = evaluations[0][0]
print(json.dumps({"latency": found[1], "ideal": float(cme.ideal_cycle), "stall_free": float(
    cme.ideal_temporal_cycle), "seconds": time.perf_counter() - start}))
"""


def memory(name: str, bits: int, width: int, operands: str, served: str) -> str:
    """Return a memory of ZigZag's accelerator file: one read and one write port per operand."""
    ports = "".join(f"""
      - name: r_port_{number}
        type: read
        bandwidth_min: 8
        bandwidth_max: {width}
        allocation: [{', '.join(f'"{operand}, {way}"' for way in
                               (("tl", "th") if operand == "O" else ("tl",)))}]
      - name: w_port_{number}
        type: write
        bandwidth_min: 8
        bandwidth_max: {width}
        allocation: [{', '.join(f'"{operand}, {way}"' for way in
                               (("fh", "fl") if operand == "O" else ("fh",)))}]"""
                    for number, operand in enumerate(operands.split(), 1))
    return f"""
  {name}:
    size: {bits}
    r_cost: 1
    w_cost: 1
    area: 0
    latency: 1
    operands: [{', '.join(operands.split())}]
    ports:{ports}
    served_dimensions: [{served}]"""


def accelerator(rows: int, cols: int) -> str:
    """Return the accelerator file."""
    memories = "".join((
        memory("reg_o", 24, 24, "O", ""), memory("activations", 8 << 19, 1 << 14, "I1 O", "D1, D2"),
        memory("weights", 8 << 20, 1 << 14, "I2", "D1, D2"),
        memory("external", 1 << 40, 1 << 20, "I1 I2 O", "D1, D2")))
    return f"""name: array
memories:{memories}
operational_array:
  unit_energy: 0.1
  unit_area: 1
  dimensions: [D1, D2]
  sizes: [{rows}, {cols}]
"""


def workload(filters: int, channels: int, size: int, kernel: int, stride: int) -> str:
    """Return the workload file of one convolution."""
    pad = kernel // 2
    return f"""- id: 0
  name: conv
  operator_type: Conv
  equation: O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]
  dimension_relations: ["ix={stride}*ox+1*fx", "iy={stride}*oy+1*fy"]
  loop_dims: [B, K, C, OY, OX, FY, FX]
  loop_sizes: [1, {filters}, {channels}, {size}, {size}, {kernel}, {kernel}]
  operand_precision: {{O: 24, O_final: 8, W: 8, I: 8}}
  operand_source: {{I: 0, W: 0}}
  pr_loop_dims: [IX, IY]
  pr_loop_sizes: [{size * stride}, {size * stride}]
  padding: [[{pad}, {pad}], [{pad}, {pad}]]
"""


def mapping(rows: int, cols: int, size: int) -> str:
    """Return the mapping file: channels on rows, positions of an output row on columns."""
    return f"""- name: default
  spatial_mapping:
    D1: ["K, {rows}"]
    D2: ["OX, {min(cols, size)}"]
  memory_operand_links: {{O: O, W: I2, I: I1}}
"""


def zigzag(folder: Path, rows: int, cols: int, *layer: int) -> dict[str, float]:
    """Return what ZigZag says of a layer."""
    files = {"workload": workload(*layer), "accelerator": accelerator(rows, cols),
             "mapping": mapping(rows, cols, layer[2])}
    paths = []
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.write_text(text)
        paths.append(str(path))
    result = subprocess.run([str(_PYTHON.absolute()), "-c", _RUN, *paths, str(folder / "out")],
                            check=False, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"ZigZag fails: {result.stderr.strip().splitlines()[-1]}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def ours(rows: int, cols: int, filters: int, channels: int, size: int, kernel: int,
         stride: int) -> tuple[int, float]:
    """Return our cycles of the dense layer, one term per weight, and the model's seconds."""
    config = AcceleratorConfig(rows=rows, cols=cols)
    rng = np.random.default_rng(0)
    shape = (1, filters, channels, kernel, kernel)
    weights = TermWeights(rng.choice([-1, 1], shape).astype(np.int8),
                          rng.integers(0, 4, shape).astype(np.int8), np.ones(filters))
    one = np.ones(filters, np.int64)
    pad = kernel // 2
    reached = pad if stride == 1 else kernel - stride - pad
    layer = IntegerLayer(
        name="conv", kind="conv", weights=weights, kernel=(kernel, kernel), stride=stride,
        padding=(pad, pad, reached, reached), input_shape=(channels, size * stride, size * stride),
        output_shape=(filters, size, size),
        requantisation=Requantisation(0 * one, 20_000 * one, one, 24 * one, 0 * one))
    program = compile_layer(layer, config)
    start = time.perf_counter()
    return (sum(predict(part.image, config).total for part in program.parts),
            time.perf_counter() - start)


def main() -> None:
    """Print the table."""
    if not _PYTHON.exists():
        sys.exit(f"{_PYTHON} is missing; make it as this file's first lines say")
    folder = Path("build/zigzag/run")
    folder.mkdir(exist_ok=True)
    print("| array | layer | MACs / PEs | ours = RTL | ZigZag | ZigZag, no stalls | ours, s | "
          "ZigZag, s |\n|---|---|---|---|---|---|---|---|")
    for rows, cols in _ARRAYS:
        for name, *layer in _LAYERS:
            filters, channels, size, kernel, _ = layer
            ideal = filters * channels * size**2 * kernel**2 / rows / cols
            found = zigzag(folder, rows, cols, *layer)
            mine, seconds = ours(rows, cols, *layer)
            print(f"| {rows}×{cols} | {name} | {ideal:,.0f} | {mine:,} | {found['latency']:,.0f} | "
                  f"{found['stall_free']:,.0f} | {seconds:.3f} | {found['seconds']:.1f} |",
                  flush=True)


if __name__ == "__main__":
    main()
