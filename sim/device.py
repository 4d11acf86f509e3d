"""The accelerator as the simulators take it: its Verilog, its ports, its name."""

from pathlib import Path

from amaranth.lib import wiring

from smartdeal.hw import verilog
from smartdeal.hw.accelerator import Accelerator
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.system import AxiSystem
from smartdeal.sim.runner import Simulator, SimulatorName, build_simulator

__all__ = ["TOP", "accelerator_simulator", "system_simulator"]

TOP = "smartdeal"


def accelerator_simulator(
    config: AcceleratorConfig, *, name: SimulatorName = "verilator", waves: Path | None = None,
) -> Simulator:
    """Generate the accelerator and compile it for a simulator, or take it from the cache.

    Raises
    ------
    ToolError, BuildError, WaveformError
        As :func:`smartdeal.sim.runner.build_simulator`.
    """
    return _built(Accelerator(config), name, waves)


def system_simulator(
    config: AcceleratorConfig, *, name: SimulatorName = "verilator", waves: Path | None = None,
    **parameters: int,
) -> Simulator:
    """Generate the accelerator behind AXI and compile it, or take it from the cache.

    Parameters
    ----------
    parameters
        ``address_bits``, ``burst_beats`` and ``outstanding`` of
        :class:`smartdeal.hw.system.AxiSystem`.

    Raises
    ------
    ToolError, BuildError, WaveformError
        As :func:`smartdeal.sim.runner.build_simulator`.
    """
    return _built(AxiSystem(config, **parameters), name, waves)


def _built(component: wiring.Component, name: SimulatorName, waves: Path | None) -> Simulator:
    ports = [port.name for port in verilog.ports(component)]
    text = verilog.emit(component, TOP)
    return build_simulator(text, TOP, ["clk", "rst", *ports], name=name, waves=waves)
