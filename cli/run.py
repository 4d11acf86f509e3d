"""``smartdeal run``: a compiled network on images."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartdeal.cli.options import check_timing, memory_options
from smartdeal.cli.output import console, stages, write_text
from smartdeal.cli.simulate import WrongHardware
from smartdeal.golden.files import check_apart, check_target

if TYPE_CHECKING:  # what running needs takes seconds to import
    import numpy as np
    from numpy.typing import NDArray

    from smartdeal.compiler import NetworkProgram
    from smartdeal.golden.graph import FloatGraph
    from smartdeal.golden.pictures import Preprocessing
    from smartdeal.sim.memory_timing import MemoryTiming
    from smartdeal.sim.simulate_network import NetworkReport

__all__ = ["about", "float_network", "preprocessing_about", "run"]

_EPILOG = """\b
An IMAGE is a picture of the network's size, an .npy or .npz of pixels (bytes) or of inputs
(floating point), or a folder of these. --compare opens the model again that was compiled. The exit
code is 0 unless the hardware differs from the interpreter in a byte or a cycle (1), or something
cannot be run (2).
\b
Examples:
  smartdeal run net.sdp shoe.png
  smartdeal run net.sdp photos/ --compare --json classes.json
  smartdeal run net.sdp shoe.png --engine rtl
  smartdeal run net.sdp shoe.png --port /dev/ttyUSB0
  smartdeal run net.sdp shoe.png --port sim:ulx3s_85f
"""

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog=_EPILOG)
@click.argument("program", type=_FILE, metavar="FILE.sdp")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path),
                metavar="IMAGE...")
@click.option("--engine", type=click.Choice(("interpreter", "rtl")), default="interpreter",
              show_default=True, help="What runs the program.")
@click.option("--sim", "simulator", type=click.Choice(("verilator", "icarus")),
              default="verilator", show_default=True, help="Simulator of the Verilog.")
@click.option("--port", metavar="/dev/tty…|sim:BOARD",
              help="Run on a board at a serial port, or on a simulated one.")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True,
              help="Classes to print for each image.")
@click.option("--compare", is_flag=True, help="Print what the float network says, too.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write the classes as JSON.")
@memory_options
def run(
    program: Path, images: tuple[Path, ...], engine: Any, simulator: Any, top: int,
    compare: bool, json_file: Path | None, port: str | None, timing: "MemoryTiming",
) -> int:
    """Run a network that smartdeal compile made, on images, and print their classes."""
    check_apart({"--json": json_file}, {
        "the program": program, **{f"IMAGE {path}": path for path in images}})
    if json_file is not None:
        check_target(json_file)
    if port is not None:
        if engine != "interpreter":
            raise click.UsageError("--port and --engine exclude each other: a board is an engine")
        if compare:
            raise click.UsageError("--port and --compare exclude each other; leave out --port to "
                                   "compare the interpreter's classes")
        return _on_board(program, images, port, top, json_file)
    if engine == "rtl":
        from smartdeal.sim.runner import check_tools

        check_tools(simulator, None)
    with stages() as tell:
        from smartdeal.compiler import NetworkProgram
        from smartdeal.golden.pictures import read_pictures
        from smartdeal.sim.errors import SimulationError
        from smartdeal.sim.simulate_network import simulate_network

        loaded = NetworkProgram.load(program)
        if loaded.memory_bytes:
            check_timing(timing, loaded.config)
        pictures = read_pictures(images, loaded.input_shape, preprocessing_about(loaded, program))
        floats = _float_classes(loaded, program, pictures) if compare else None
        try:
            reports = simulate_network(
                loaded, [loaded.quantise(x) for _, x in pictures], engine=engine,
                simulator=simulator, timing=timing, progress=tell)
        except SimulationError as error:  # not the user's mistake but the hardware's
            raise WrongHardware(str(error)) from None
    out = console()
    results: list[dict[str, Any]] = []
    for number, ((name, _), report) in enumerate(zip(pictures, reports, strict=True)):
        classes = _classes(loaded, report.output, top)
        results.append({"image": name, "classes": [
            {"class": label, "probability": round(p, 6)} for label, p in classes]})
        said = "  ".join(f"{label} {p:.1%}" for label, p in classes)
        if floats is not None:
            label, p = floats[number]
            results[-1]["float"] = {"class": label, "probability": round(p, 6)}
            said += f"  (float: {label} {p:.1%})"
        out.print(f"{name}: {said}", soft_wrap=True, markup=False)
    good, verdict = _verdict(reports)
    if json_file is not None:
        write_text(json_file, json.dumps({
            "network": loaded.name, "program": str(program), "engine": engine, "equal": good,
            "images": results}, indent=2) + "\n")
    if compare:
        same = sum(r["classes"][0]["class"] == r["float"]["class"] for r in results)
        out.print(f"{same} of {len(results)} images in the same class as in floating point")
    if verdict:
        out.print(verdict, soft_wrap=True)
    return 0 if good else 1


def _on_board(
    program: Path, images: tuple[Path, ...], port: str, top: int, json_file: Path | None,
) -> int:
    """Run on a board and print classes and measured cycles."""
    from smartdeal.boards.host import check_program, open_port, run_on_board
    from smartdeal.compiler import NetworkProgram
    from smartdeal.golden.pictures import read_pictures

    loaded = NetworkProgram.load(program)
    check_program(loaded)
    pictures = read_pictures(images, loaded.input_shape, preprocessing_about(loaded, program))
    with stages() as tell:
        results, session = run_on_board(
            loaded, [loaded.quantise(x) for _, x in pictures],
            open_port(port, loaded.config, tell), tell=tell)
    out = console()
    written: list[dict[str, Any]] = []
    for (name, _), result in zip(pictures, results, strict=True):
        classes = _classes(loaded, result.output, top)
        written.append({"image": name, "cycles": result.cycles, "seconds": result.seconds,
                        "classes": [{"class": label, "probability": round(p, 6)}
                                    for label, p in classes]})
        said = "  ".join(f"{label} {p:.1%}" for label, p in classes)
        out.print(f"{name}: {said}  ({result.cycles:,} cycles, {result.seconds * 1e3:.2f} ms)",
                  soft_wrap=True, markup=False)
    out.print(f"{port}: {session.link.baud:,} bits/s, {session.link.retries} frames sent again",
              soft_wrap=True, markup=False)
    if json_file is not None:
        write_text(json_file, json.dumps({
            "network": loaded.name, "program": str(program), "port": port,
            "clock_hz": session.hello.clock_hz, "images": written}, indent=2) + "\n")
    return 0


def about(program: "NetworkProgram", path: Path, name: str) -> Any:
    """Return what ``smartdeal compile`` said about the network."""
    if name not in program.about:
        raise click.BadParameter(f"{path} does not say its {name!r}; compile it with smartdeal "
                                 "compile", param_hint="FILE.sdp")
    return program.about[name]


def preprocessing_about(program: "NetworkProgram", path: Path) -> "Preprocessing | None":
    """Return how pixels become the network's input; None if nobody said it."""
    from smartdeal.golden.pictures import Preprocessing

    mean, deviation = (about(program, path, name) for name in ("mean", "deviation"))
    return None if mean is None else Preprocessing(tuple(mean), tuple(deviation))


def float_network(program: "NetworkProgram", path: Path) -> "FloatGraph":
    """Return the network in floating point that a program was compiled from."""
    from smartdeal.compiler.models import reopen_model

    return reopen_model({name: about(program, path, name)
                         for name in ("network", "weights", "seed", "sha256")}).graph


def _float_classes(
    program: "NetworkProgram", path: Path, pictures: "list[tuple[str, NDArray[np.float32]]]",
) -> list[tuple[str, float]]:
    """Return the class that the network in floating point gives each image."""
    import numpy as np
    import torch

    model = float_network(program, path)
    logits = model(torch.from_numpy(np.stack([x for _, x in pictures]))).double().numpy()
    return [_ranked(program, row, 1)[0] for row in logits]


def _classes(
    program: "NetworkProgram", output: "NDArray[np.int8]", top: int,
) -> list[tuple[str, float]]:
    """Return the likeliest classes of an image."""
    return _ranked(program, program.scales[program.output].real(output).ravel(), top)


def _ranked(
    program: "NetworkProgram", logits: "NDArray[np.float64]", top: int,
) -> list[tuple[str, float]]:
    """Return class and probability in falling order; of equal ones the first counts."""
    import numpy as np

    probability = np.exp(logits - logits.max())
    probability /= probability.sum()
    labels = program.about.get("classes") or []
    order = np.argsort(-logits, kind="stable")[:top]
    return [(labels[i] if i < len(labels) else f"class {i}", float(probability[i])) for i in order]


def _verdict(reports: "list[NetworkReport]") -> tuple[bool, str]:
    """Return whether hardware and interpreter agree, and the line that says so."""
    for number, report in enumerate(reports):
        if report.failure:
            return False, f"FAILED: image {number}: {report.failure}"
        if report.bytes_wrong:
            return False, (f"FAILED: image {number} has {report.bytes_wrong:,} wrong bytes of "
                           f"{report.bytes_compared:,}")
        for index, segment in enumerate(report.segments):
            if not segment.cycle_exact:
                return False, (f"FAILED: image {number}, segment {index} counted "
                               f"{segment.measured}, overhead {segment.overhead}, but "
                               f"{segment.predicted} was predicted")
        if not report.cycle_exact:  # by its counters it was
            return False, (f"FAILED: image {number} loaded {report.bytes_loaded:,} bytes of "
                           f"system memory and stored {report.bytes_stored:,}, which is not what "
                           "was predicted")
    if reports[0].segments[0].measured is None:
        return True, ""
    total = sum(report.bytes_compared for report in reports)
    cycles = sum(report.predicted.total for report in reports)
    return True, (f"OK: all {total:,} bytes equal in interpreter and RTL, all {cycles:,} cycles "
                  "as predicted")
