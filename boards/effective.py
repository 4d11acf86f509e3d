"""What an array makes of a real network: operations that count, and the power that they take."""

from dataclasses import dataclass
from functools import cache

from smartdeal.compiler import CompileError, NetworkProgram, compile_network
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import quantise_network
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.energy.model import cost_of_program
from smartdeal.sim.energy.technology import Technology
from smartdeal.sim.workload import default_images, load_model

__all__ = ["Effective", "measure_effective", "refusal"]

#: The network that fits every board that runs whole networks, trained, one term per weight.
_NETWORK, _FORM = "resnet8", "deepshift"
#: Energies of an FPGA; those of its static power are in no table.
_TECHNOLOGY = "zc706"


@dataclass(frozen=True, kw_only=True)
class Effective:
    """A network on an array, by the latency and energy models.

    Parameters
    ----------
    network, form : str
    macs : int
        Multiply-accumulates of the dense network, whether the array does them or not.
    cycles : int
        Of an image that is loaded already.
    clock_mhz : float
    energy_pj : float
        Of an image, external memory not counted.
    technology : str
        Table of energies.
    """

    network: str
    form: str
    macs: int
    cycles: int
    clock_mhz: float
    energy_pj: float
    technology: str

    @property
    def seconds(self) -> float:
        """Of an image."""
        return self.cycles / self.clock_mhz / 1e6

    @property
    def gops(self) -> float:
        """10⁹ operations a second, two for each multiply-accumulate of the dense network."""
        return 2 * self.macs / self.seconds / 1e9

    @property
    def watts(self) -> float:
        """Dynamic power while the network runs; static power and the board's are not in it."""
        return self.energy_pj / 1e12 / self.seconds


def refusal(network: str, config: AcceleratorConfig) -> str:
    """Return why an array cannot run a built-in network with one term per weight; "" if it can."""
    program = _compile(network, config)
    return program if isinstance(program, str) else ""


def _compile(network: str, config: AcceleratorConfig) -> NetworkProgram | str:
    options = FormOptions(exponents=config.exponents, group=max(1, config.filters_per_group))
    try:
        return compile_network(_quantised(network, options, config.sum_bits), config)
    except CompileError as error:
        return str(error)


@cache
def _quantised(name: str, options: FormOptions, sum_bits: int) -> IntegerNetwork:
    model, _ = load_model(name, None, 0)
    return quantise_network(model, default_images(model, 0), _FORM, options, sum_bits)


def measure_effective(config: AcceleratorConfig, clock_mhz: float) -> Effective | str:
    """Return what an array makes of ResNet-8, or why it cannot run it.

    Parameters
    ----------
    config : AcceleratorConfig
    clock_mhz : float
    """
    program = _compile(_NETWORK, config)
    if isinstance(program, str):
        return program
    cost = cost_of_program(program)
    energy = cost.energy(Technology.load(_TECHNOLOGY))
    return Effective(
        network=_NETWORK, form=_FORM, macs=sum(layer.macs for layer in cost.layers),
        cycles=cost.compute_cycles, clock_mhz=clock_mhz, technology=_TECHNOLOGY,
        energy_pj=sum(pj for name, pj in energy.items() if name != "DRAM"))
