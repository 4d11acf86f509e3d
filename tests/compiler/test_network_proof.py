"""The compiler's own proof catches networks that are laid out or addressed wrongly."""

from dataclasses import replace
from typing import Any

import pytest

from smartdeal.compiler import CompileError, compile_network, segments
from smartdeal.compiler import network as compilation
from smartdeal.compiler.emit import Instruction
from smartdeal.compiler.schedule import Schedule
from smartdeal.compiler.views import View, ViewKey
from smartdeal.golden.layers import IntegerNetwork
from smartdeal.hw.config import AcceleratorConfig

CONFIG = AcceleratorConfig()


@pytest.mark.parametrize("moved", range(11))
def test_proof_catches_overlap(
    network: IntegerNetwork, monkeypatch: pytest.MonkeyPatch, moved: int,
) -> None:
    """Each tensor in turn is put where its layer's input stands."""
    honest = compilation.place

    def broken(plan: Schedule, *arguments: object, **options: bool) -> dict[ViewKey, View]:
        views = honest(plan, CONFIG, keep_all=True)
        stage = plan.stages[moved]
        target = views[stage.target]
        source = views[stage.source]
        return {**views, stage.target: replace(target, base=source.stop - 1)}

    monkeypatch.setattr(compilation, "place", broken)
    with pytest.raises(CompileError, match=(
            r"^layer '.*': words \d+ to \d+ of \('.*', 1, -?\d+\) are not free but hold \('.*', "
            r"\d, -?\d+\); this is a mistake of the compiler$")):
        compile_network(network, CONFIG)


@pytest.mark.parametrize(("field", "change"), [
    ("input_base", -1), ("input_base", 1), ("output_base", -9), ("output_base", 1 << 15),
    ("output_stride", 1)])
def test_proof_catches_wrong_addresses(
    network: IntegerNetwork, monkeypatch: pytest.MonkeyPatch, field: str, change: int,
) -> None:
    """Views that lie apart do not help an instruction that misses them."""
    honest = segments.layer_instruction

    def broken(*arguments: Any) -> Instruction:
        instruction = honest(*arguments)
        fields = {**instruction.fields, field: instruction.fields[field] + change}
        return replace(instruction, fields=fields)

    monkeypatch.setattr(segments, "layer_instruction", broken)
    with pytest.raises(CompileError, match=r"^layer '.*': words -?\d+ to \d+ do not hold "
                                           r"\('.*', 1, -?\d+\); this is a mistake"):
        compile_network(network, CONFIG)


def test_proof_catches_the_end_of_the_buffer(
    network: IntegerNetwork, monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = compilation.place

    def broken(plan: Schedule, *arguments: object, **options: bool) -> dict[ViewKey, View]:
        views = honest(plan, CONFIG)
        key = plan.stages[3].target
        return {**views, key: replace(views[key], base=CONFIG.activation_words - 5)}

    monkeypatch.setattr(compilation, "place", broken)
    with pytest.raises(CompileError, match=r"are not in the activation buffer; this is a mistake"):
        compile_network(network, CONFIG)
