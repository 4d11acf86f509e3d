"""The accelerator as the simulators take it: its Verilog, its ports, its name."""

from pathlib import Path

from smartdeal.hw import verilog
from smartdeal.hw.accelerator import Accelerator
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.runner import Simulator, SimulatorName, build_simulator

__all__ = ["TOP", "accelerator_simulator"]

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
    accelerator = Accelerator(config)
    ports = [port.name for port in verilog.ports(accelerator)]
    text = verilog.emit(accelerator, TOP)
    return build_simulator(text, TOP, ["clk", "rst", *ports], name=name, waves=waves)
