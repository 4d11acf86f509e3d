"""What dead filters cost on an array: a network with them, and without."""

from dataclasses import dataclass

from torch import Tensor

from smartdeal.compiler import compile_network
from smartdeal.golden.graph import FloatGraph
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.golden.options import FormOptions
from smartdeal.golden.quantise import Form, quantise_network
from smartdeal.golden.sparsity import Removal, remove_dead_filters
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.sim.latency import predict_layers

__all__ = ["Fading", "measure_fading"]


@dataclass(frozen=True, eq=False)
class Fading:
    """A network before and after its dead filters left.

    Parameters
    ----------
    removals : dict of Removal
        By the layers that have dead filters.
    before, after : IntegerNetwork
    cycles_before, cycles_after : dict of int
        By layer, from the latency model.
    """

    removals: dict[str, Removal]
    before: IntegerNetwork
    after: IntegerNetwork
    cycles_before: dict[str, int]
    cycles_after: dict[str, int]


def measure_fading(
    graph: FloatGraph, images: Tensor, form: Form, config: AcceleratorConfig,
) -> Fading:
    """Compile a network with and without its dead filters, and predict the cycles.

    Parameters
    ----------
    images : float32 tensor, (B, C, H, W)
        For calibration.

    Raises
    ------
    CompileError
        If the network does not fit the accelerator.
    """
    options = FormOptions(exponents=config.exponents, group=max(1, config.filters_per_group))
    smaller, removals = remove_dead_filters(graph)
    networks = [quantise_network(g, images, form, options, config.sum_bits)
                for g in (graph, smaller)]
    cycles = [{name: c.total for name, c in predict_layers(compile_network(n, config)).items()}
              for n in networks]
    return Fading(dict(removals), networks[0], networks[1], cycles[0], cycles[1])
