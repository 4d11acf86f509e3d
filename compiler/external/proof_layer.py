"""The proof for one LAYER: that it reads the pixels and weights that the layer is made of.

Where an output pixel stands in the stream is claimed by the compiler; here every byte that goes
into it must be the right pixel of the input, or padding, so a wrong claim does not pass.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from smartdeal.compiler.external.proof_memories import UNKNOWN, Memories, Refusal, fill_token
from smartdeal.compiler.external.proof_reads import Claim, Reads
from smartdeal.compiler.external.proof_tables import Tables
from smartdeal.golden.formats import ACT_MAX, ACT_MIN
from smartdeal.hw.isa import LayerFlag

__all__ = ["LayerProof"]


class LayerProof:
    """One LAYER.

    Parameters
    ----------
    claim : Claim
    fields : dict of int
    numbers : mapping of str to int
        The token of each tensor's first pixel.
    shapes : mapping of str to (channels, height, width)
    memories : Memories
    tables : Tables
    """

    def __init__(
        self, claim: Claim, fields: dict[str, int], numbers: Mapping[str, int],
        shapes: Mapping[str, tuple[int, int, int]], memories: Memories, tables: Tables,
    ) -> None:
        self.claim, self.stage, self.fields = claim, claim.stage, fields
        self.numbers, self.shapes = numbers, shapes
        self.memories, self.tables = memories, tables
        self.reads = Reads(claim, fields, numbers, shapes, memories)
        self.name, self.config = self.reads.name, self.reads.config

    def run(self) -> None:
        """Check what it reads, and write the tokens of its output.

        Raises
        ------
        CompileError
            If something is wrong.
        """
        self._check_fields()
        taps, flats, furthest = self.tables.steps(
            self.stage, self.claim.groups, self.fields["steps_base"])
        read = self.reads.check_source(taps, flats, furthest)
        self.tables.check_parameters(self.stage, self.claim.groups, self.fields)
        self.reads.check_residual()
        self._store(read)

    def _check_fields(self) -> None:
        layer, stage, fields = self.stage.layer, self.stage, self.fields
        pool = layer.kind == "max_pool"
        expected = {
            "flags": stage.lowering.flags | (LayerFlag.RESIDUAL if stage.residual else 0)
            | (fields["flags"] & LayerFlag.EXTERNAL),
            "slices": len(stage.lowering.blocks[0]), "channels": len(self.reads.channels),
            "column_step": self.config.drain_lanes % fields["pitch"], "zp_out": stage.target[2],
            "lo": ACT_MIN if pool else layer.lo, "hi": ACT_MAX if pool else layer.hi,
            "zp_res": layer.residual_zero_point if stage.residual else fields["zp_res"],
        }
        for name, value in expected.items():
            if fields[name] != value:
                raise Refusal(self.name, f"{name} must be {int(value)}, not {fields[name]}")

    def _store(self, read: NDArray[np.bool_]) -> None:
        """Write the tokens of the output."""
        stage, fields, cols = self.stage, self.fields, self.config.cols
        tensor = stage.target[0]
        _, height, width = self.shapes[tensor]
        row, column = self.reads.pixels
        number = np.arange(len(self.reads.channels))[:, None]
        if stage.reduce:
            if len(self.reads.right) != stage.size[0] * stage.size[1]:
                raise Refusal(self.name, "it adds up only a part of its input")
            words = fields["output_base"] + number[:, 0] * fields["output_stride"]
            if words.max() >= len(read) or np.any(read[words]):
                raise Refusal(self.name, "it stores where it reads")
            tokens = self.memories.activations[words]
            tokens[:, 0] = self.numbers[tensor] + self.reads.channels
            self.memories.write(self.name, words, tokens)
            return
        reads, channels = self.reads, self.reads.channels
        tokens = np.full((len(channels), reads.length), fill_token(fields["zp_out"]), np.int32)
        tokens[:, reads.inside] = UNKNOWN
        tokens[:, reads.right] = (self.numbers[tensor] + channels[:, None] * height * width
                                  + row * width + column)
        tokens = tokens.reshape(len(channels), -1, cols)
        if fields["flags"] & LayerFlag.EXTERNAL:
            size = stage.lowering.group
            order = [tokens[first:first + size].transpose(1, 0, 2).reshape(-1, cols)
                     for first in range(0, len(tokens), size)]
            self.memories.store(self.name, fields["output_base"], np.concatenate(order))
            return
        words = (fields["output_base"] + number * fields["output_stride"]
                 + np.arange(fields["tiles"]))
        if words.max() >= len(read) or np.any(read[words]):
            raise Refusal(self.name, "it stores where it reads")
        self._check_in_place(words)
        self.memories.write(self.name, words.ravel(), tokens.reshape(-1, cols))

    def _check_in_place(self, words: NDArray[np.int64]) -> None:
        """Refuse an output over the residual operand, unless it is word for word the same place."""
        fields = self.fields
        if self.stage.residual is None:
            return
        owner = np.full(len(self.memories.activations) + 1, UNKNOWN)
        owner[words] = np.arange(words.size).reshape(words.shape)
        operand = (fields["residual_base"] + np.arange(len(words))[:, None]
                   * fields["residual_stride"] + np.arange(words.shape[1]))
        own = np.arange(words.size).reshape(words.shape)
        there = owner[np.minimum(operand, len(owner) - 1)]
        wrong = (there != UNKNOWN) & (there != own)
        if fields["residual_lane"]:
            wrong = (there != UNKNOWN) | (owner[np.minimum(operand + 1, len(owner) - 1)]
                                          != UNKNOWN)
        if np.any(wrong):
            raise Refusal(self.name, "it stores over its residual operand before that is read")
