"""From an integer network to one program: tensors on chip, or in system memory."""

from collections.abc import Mapping
from typing import Any

from smartdeal.compiler.allocate import place
from smartdeal.compiler.emit import move_instructions
from smartdeal.compiler.external import compile_external
from smartdeal.compiler.layer_infos import layer_infos, stored_steps
from smartdeal.compiler.network_program import NetworkProgram
from smartdeal.compiler.occupancy import occupancies
from smartdeal.compiler.proof import prove
from smartdeal.compiler.schedule import Run, schedule
from smartdeal.compiler.segments import SegmentBuilder
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.hw.config import AcceleratorConfig

__all__ = ["compile_network"]


def compile_network(
    network: IntegerNetwork, config: AcceleratorConfig, *, keep_all: bool = False,
    about: Mapping[str, Any] | None = None,
) -> NetworkProgram:
    """Compile a network for an accelerator.

    Parameters
    ----------
    network : IntegerNetwork
    config : AcceleratorConfig
    keep_all : bool
        Use no word of a tensor twice, so that every tensor can be read at the end.
    about : mapping, optional
        JSON values to be kept with the program.

    Returns
    -------
    NetworkProgram
        Depends on nothing but the arguments: the same bytes every time.

    Raises
    ------
    CompileError
        If a layer or its tensors do not fit the accelerator; one line that says what to change.
    """
    plan = schedule(network, config)
    if config.memory:
        return compile_external(network, plan, config, keep_all=keep_all, about=about or {})
    views = place(plan, config, keep_all=keep_all)
    builder = SegmentBuilder(views, config)
    for layer, operation in plan.operations:
        if isinstance(operation, Run):
            builder.layer(operation.stage)
            continue
        for instruction in move_instructions(layer, operation, views, config):
            builder.move(instruction)
    kept = [stage.target for stage in (plan.stages if keep_all else plan.stages[-1:])]
    prove((i for segment in builder.instructions for i in segment), views, kept, config)
    outputs = {key[0]: views[key] for key in kept}
    inputs = tuple(view for key, view in views.items() if key[0] == IntegerNetwork.IMAGE)
    used = [[views[key].span for key in (one.source, one.residual, one.target) if key is not None]
            for segment in builder.instructions for one in segment]
    host = {view.span: 0 for view in inputs} | {view.span: len(used) for view in outputs.values()}
    executed = {stage.layer.name: stage.tiles(views[stage.source].pitch, config)
                * stored_steps(stage, (0, len(stage.lowering.blocks))) for stage in plan.stages}
    scales = {name: scale for name, scale in network.scales.items()
              if name == IntegerNetwork.IMAGE or name in outputs}
    return NetworkProgram(
        name=network.name, config=config, segments=builder.images(),
        instructions=tuple(tuple(i.layer for i in segment) for segment in builder.instructions),
        inputs=inputs, outputs=outputs, occupancy=occupancies(used, host),
        layers=layer_infos(plan, builder.table_bytes, executed, builder.saved_bytes),
        used_words=max(view.stop for view in views.values()), scales=scales, about=about or {})
