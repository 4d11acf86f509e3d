"""The synthesised netlist as something to simulate: what the device would be configured with."""

import shutil
import tempfile
from pathlib import Path

from amaranth.lib import wiring

from smartdeal.boards.cells import ECP5_MODELS, ICE40_MODELS
from smartdeal.boards.errors import BoardError
from smartdeal.boards.technology import TARGETS, memory_styles
from smartdeal.boards.tools import run_tool, yosys_command
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.technology import TECHNOLOGIES
from smartdeal.hw.verilog import emit

__all__ = ["NETLIST_TARGETS", "gate_level", "with_models"]

#: By technology, options and name of Yosys' file of simulation models of its cells.
_MODELS = {"ecp5": "-D NO_INCLUDES +/lattice/cells_sim_ecp5.v",
           "ice40": "-defer -D ICE40_U +/ice40/cells_sim.v"}
#: Models of the blocks that Yosys knows only by their ports, or models in a way that takes hours to
#: read: 16,384 assignments for an SPRAM's loss of power.
_OWN_MODELS = {"ecp5": ECP5_MODELS, "ice40": ICE40_MODELS}
NETLIST_TARGETS = tuple(_MODELS)


def gate_level(
    component: wiring.Component, config: AcceleratorConfig, name: str, target: str,
) -> str:
    """Synthesise a component and return its netlist as Verilog, with models for the cells.

    The netlist is that of a bitstream: tables, carry cells, flip-flops, block RAMs, multipliers.

    Parameters
    ----------
    component : wiring.Component
        Not elaborated before.
    config : AcceleratorConfig
        Of the component; it chooses kinds of memory.
    name : str
        Of the top module.
    target : str
        One of :data:`NETLIST_TARGETS`.

    Raises
    ------
    BoardError
        If there are no models for the target.
    ToolMissing, BuildStepError
        If Yosys is missing, or fails.
    """
    if target not in _MODELS:
        raise BoardError(f"target must be one of {', '.join(NETLIST_TARGETS)} to simulate its "
                         f"netlist, not {target!r}")
    folder = Path(tempfile.mkdtemp(prefix=".smartdeal-netlist-", dir=Path.cwd()))
    try:
        (folder / "design.v").write_text(emit(component, name,
                                              technology=TECHNOLOGIES.get(target)))
        script = TARGETS[target].script.format(top=name, liberty="")
        (folder / "netlist.ys").write_text("\n".join([
            "read_verilog design.v", *memory_styles(script, config), *script.split("; "),
            "flatten", "opt_clean", f"select {name}", "write_verilog -noattr -selected cells.v",
            ""]))
        run_tool(yosys_command("netlist.ys"), what="synthesis", folder=folder,
                 log=folder / "netlist.log")
        return with_models((folder / "cells.v").read_text(), name, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def with_models(cells: str, name: str, target: str, *, more: str = "") -> str:
    """Return a netlist of cells as Verilog without cells: each is its simulation model.

    Parameters
    ----------
    cells : str
        Verilog of the netlist.
    name : str
        Of its top module.
    target : str
        One of :data:`NETLIST_TARGETS`.
    more : str
        Models of further cells, or other ones.

    Raises
    ------
    ToolMissing, BuildStepError
        If Yosys is missing, or fails.
    """
    folder = Path(tempfile.mkdtemp(prefix=".smartdeal-models-", dir=Path.cwd()))
    try:
        (folder / "cells.v").write_text(cells)
        (folder / "models.v").write_text(_OWN_MODELS[target] + more)
        # A design of models, in which nothing is optimised; names of wires are dropped.
        (folder / "models.ys").write_text("\n".join([
            f"read_verilog {_MODELS[target]}", "delete =A:blackbox",
            "read_verilog -overwrite models.v", "read_verilog cells.v",
            f"hierarchy -check -top {name}", "proc", "flatten", "opt_clean -purge",
            f"select {name}", "write_verilog -noattr -selected netlist.v", ""]))
        run_tool(yosys_command("models.ys"), what="reading the netlist", folder=folder,
                 log=folder / "models.log")
        return (folder / "netlist.v").read_text()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
