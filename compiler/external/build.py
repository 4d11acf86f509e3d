"""From a schedule to a program that works on a region of system memory.

The region holds, in this order: the pages of the program, the units of steps, requantisation,
basis and padding in the order in which they are first loaded, the views of the image, and what
EXTERNAL layers write.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from smartdeal.compiler.external.actions import Actions
from smartdeal.compiler.external.areas import Area, place_areas, unit_bytes
from smartdeal.compiler.external.order import order
from smartdeal.compiler.external.pages import Pages
from smartdeal.compiler.external.parts import append_layer
from smartdeal.compiler.external.proof import prove_external
from smartdeal.compiler.external.proof_reads import Claim
from smartdeal.compiler.external.residency import Residency, decide
from smartdeal.compiler.image import write_image
from smartdeal.compiler.instructions import program_section
from smartdeal.compiler.layer_infos import layer_infos, stored_steps
from smartdeal.compiler.network_program import NetworkProgram, SpilledBlock
from smartdeal.compiler.occupancy import occupancies
from smartdeal.compiler.schedule import Copy, Fill, Run, Schedule
from smartdeal.compiler.views import ViewKey
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind

__all__ = ["compile_external"]


def compile_external(
    network: IntegerNetwork, plan: Schedule, config: AcceleratorConfig, *, keep_all: bool,
    about: Mapping[str, Any],
) -> NetworkProgram:
    """Compile a scheduled network for an accelerator with the feature ``memory``.

    Raises
    ------
    CompileError
        If a layer does not fit the accelerator.
    """
    residency = decide(plan, config, keep_all=keep_all)
    image = _image_areas(residency, config)
    program = _actions(plan, residency, image, config)
    pages = Pages(order(program.actions, program.loads), config)
    constants = place_areas([*pages.areas, *_constants(program)], 0)
    views = place_areas(image.values(), constants)
    blocks = [block for written in program.blocks.values() for block in written]
    total = place_areas((block.area for block in blocks), views)
    words, layers, actions = pages.emit()
    memory = b"".join(area.data or b"" for area in (*pages.areas, *_constants(program)))
    kept = [stage.target for stage in (plan.stages if keep_all else plan.stages[-1:])]
    outputs = {key[0]: residency.views[key] for key in kept}
    table_bytes, executed = _totals(plan, program)
    used = [() if action is None else action.spans for action in actions]
    host = {view.span: len(used) for name, view in outputs.items()
            if name not in residency.spilled}
    compiled = NetworkProgram(
        name=network.name, config=config,
        segments=(write_image(config, [program_section(words[0], config)], program=True),),
        instructions=(tuple(layers),),
        inputs=tuple(residency.views[key] for key in image),
        outputs=outputs, occupancy=occupancies(used, host),
        layers=layer_infos(plan, table_bytes, executed),
        used_words=residency.used_words, memory=memory, memory_bytes=total,
        image_offsets=tuple(area.offset for area in image.values()),
        spilled={name: _spilled(program, name) for name in outputs if name in residency.spilled},
        scales={name: scale for name, scale in network.scales.items()
                if name == IntegerNetwork.IMAGE or name in outputs}, about=about)
    prove_external(compiled, plan.stages, [
        None if action is None or action.stage is None
        else Claim(action.stage, action.groups, action.tile) for action in actions])
    return compiled


def _image_areas(residency: Residency, config: AcceleratorConfig) -> dict[ViewKey, Area]:
    unit = unit_bytes(SectionKind.ACTIVATIONS, config)
    return {key: Area(f"view {key}", view.words * unit)
            for key, view in residency.views.items() if key[0] == IntegerNetwork.IMAGE}


def _actions(
    plan: Schedule, residency: Residency, image: dict[ViewKey, Area], config: AcceleratorConfig,
) -> Actions:
    program = Actions(plan, residency, config)
    for layer, operation in plan.operations:
        match operation:
            case Run(stage):
                append_layer(program, stage, image)
            case Fill(target) | Copy(target=target):
                if target[0] not in residency.spilled:
                    program.move(layer, operation)
    return program


def _constants(program: Actions) -> Iterator[Area]:
    """Yield the constants in the order in which they are first loaded."""
    seen: set[int] = set()
    for load in program.loads:
        if load.area.data is not None and id(load.area) not in seen:
            seen.add(id(load.area))
            yield load.area


def _totals(plan: Schedule, program: Actions) -> tuple[dict[str, int], dict[str, int]]:
    """Return bytes of tables and steps that run, by layer."""
    table_bytes = {stage.layer.name: 0 for stage in plan.stages}
    executed = dict(table_bytes)
    layers = {id(load.area): load.layer for load in program.loads}
    for area in program.tables.values():
        table_bytes[layers[id(area)]] += area.size
    for action in program.actions:
        if action.stage is not None:
            executed[action.layer] += (stored_steps(action.stage, action.groups)
                                       * action.fields["tiles"])
    return table_bytes, executed


def _spilled(program: Actions, name: str) -> tuple[SpilledBlock, ...]:
    return tuple(SpilledBlock(
        offset=block.area.offset, first=block.first, valid=block.valid, stop=block.stop,
        channel=block.channels.start, channels=len(block.channels), group=block.group)
        for block in program.blocks[name])
