"""LAYER as the reference interpreter executes it (docs/execution.md)."""

import numpy as np
from numpy.typing import NDArray

from smartdeal.golden.formats import ACT_MIN, BASIS_SIZE, PACKED, wrap
from smartdeal.golden.layer_instruction import Layer
from smartdeal.golden.memories import Memories, ProgramError
from smartdeal.hw.isa import MIN_STEPS, ErrorCode, LayerFlag

__all__ = ["LayerMachine"]

#: Activation operands that are gathered at a time.
_CHUNK = 1 << 22


class LayerMachine(Memories):
    """The memories, and the array that works on them.

    Parameters
    ----------
    config : AcceleratorConfig
    region : bytearray, optional
        As for :class:`smartdeal.golden.memories.Memories`.
    """

    def run_layer(self, layer: Layer) -> None:
        """Run a layer, all its groups one after the other.

        Raises
        ------
        ProgramError
            If it is stopped by an error; what it stored before stays.
        """
        if layer.external:
            words = layer["tiles"] * layer["channels"]
            if layer["output_base"] + words * self.word_bytes > len(self.region):
                raise ProgramError(ErrorCode.MEMORY_RANGE, layer.address)
        pointer = layer["steps_base"]
        for first in range(0, layer["channels"], layer.group):
            count = min(layer.group, layer["channels"] - first)
            pointer = self._group(layer, first, count, pointer)

    def store_external(self, offset: int, data: bytes) -> None:
        """Write to the region what a group of an EXTERNAL layer gave."""
        self.region[offset:offset + len(data)] = data

    def _group(self, layer: Layer, first: int, count: int, pointer: int) -> int:
        """Run one group of output channels and return the address of the next group's steps."""
        units: list[slice] = []
        for _ in range(layer["slices"]):
            units.append(self._unit(layer, pointer))
            pointer = units[-1].stop
        self._check_tables(layer, first, count)
        for unit in units:
            self._check_steps(layer, unit, layer["tiles"] - 1)
        self._check_stream(layer, first + count - 1)
        total = np.zeros((count, layer.positions), np.int64)
        for index, unit in enumerate(units):
            sums = self._accumulate(layer, unit, count)
            if LayerFlag.BASIS in layer.flags:
                entry = (layer["basis_base"]
                         + (first // layer.group * layer["slices"] + index) * layer.group)
                sums = _apply_basis(sums, self._basis, entry)
            total = wrap(total + sums, self.config.sum_bits)
        self._write(layer, first, total)
        return pointer

    def _unit(self, layer: Layer, start: int) -> slice:
        """Find the unit of work that starts at a step."""
        depth = self.config.weight_steps
        announced = np.flatnonzero(self._step["next_last"][start:])
        stop = start + int(announced[0]) + MIN_STEPS if len(announced) else depth + 1
        self._check_steps(layer, slice(start, min(stop, depth)), 0)
        if stop > depth:
            raise ProgramError(ErrorCode.STEP_RANGE, layer.address)
        return slice(start, stop)

    def _check_steps(self, layer: Layer, unit: slice, tile: int) -> None:
        """Raise ACTIVATION_RANGE if a vector of a unit is not inside the activation buffer."""
        lane = self._step["lane"][unit]
        last = (layer["input_base"] + tile + self._step["word"][unit]
                + (lane > 0))
        if np.any(last >= self.config.activation_words) or np.any(lane >= self.config.cols):
            raise ProgramError(ErrorCode.ACTIVATION_RANGE, layer.address)

    def _check_tables(self, layer: Layer, first: int, count: int) -> None:
        """Raise TABLE_RANGE if an entry of the group is outside its memory."""
        config, group = self.config, first // layer.group
        last = layer["basis_base"] + ((group + 1) * layer["slices"] - 1) * layer.group + count - 1
        if (layer["channel_base"] + first + count > config.channel_entries
                or (LayerFlag.BASIS in layer.flags and last >= config.basis_entries)):
            raise ProgramError(ErrorCode.TABLE_RANGE, layer.address)

    def _check_stream(self, layer: Layer, channel: int) -> None:
        """Raise ACTIVATION_RANGE if a channel's residual or output leaves the buffer."""
        depth, tile = self.config.activation_words, layer["tiles"] - 1
        residual = (layer["residual_base"] + channel * layer["residual_stride"] + tile
                    + (layer["residual_lane"] > 0))
        stored = (layer["output_base"]
                  + (channel // PACKED if layer.packed else channel) * layer["output_stride"])
        if LayerFlag.REDUCE not in layer.flags:
            stored += tile
        if ((not layer.external and stored >= depth)
                or (LayerFlag.RESIDUAL in layer.flags and residual >= depth)):
            raise ProgramError(ErrorCode.ACTIVATION_RANGE, layer.address)

    def _accumulate(self, layer: Layer, unit: slice, count: int) -> NDArray[np.int64]:
        """Return the accumulators of the group's rows, (rows, positions)."""
        rows = count * (BASIS_SIZE if LayerFlag.BASIS in layer.flags else 1)
        binary = LayerFlag.BINARY in layer.flags
        matrix = (_signs(self._codes[unit, :rows].T) if binary
                  else self._coefficients[unit, :rows].T)
        flat = ((layer["input_base"] + self._step["word"][unit]) * self.config.cols
                + self._step["lane"][unit])
        result = np.zeros((rows, layer.positions), np.int64)
        length = max(1, _CHUNK // len(flat))
        for start in range(0, layer.positions, length):
            stop = min(start + length, layer.positions)
            windows = np.lib.stride_tricks.sliding_window_view(self.activations, stop - start)
            operands = windows[flat + start]
            if binary:
                operands = _signs(operands.T.view(np.uint8)).T
            if LayerFlag.MAX_POOL in layer.flags:
                for row, used in enumerate(matrix != 0):
                    result[row, start:stop] = np.max(
                        operands[used].astype(np.int64) - ACT_MIN, axis=0, initial=0)
            else:
                # Products and sums stay far below 2^53, so floating point is exact here.
                result[:, start:stop] = matrix.astype(np.float64) @ operands.astype(np.float64)
        return wrap(result, self.config.acc_bits)

    def _write(self, layer: Layer, first: int, total: NDArray[np.int64]) -> None:
        """Requantise and store the sums of a group, (channels, positions)."""
        cols, count = self.config.cols, len(total)
        position, inside = np.arange(layer.positions), layer.inside()
        channels = first + np.arange(count)
        if layer.packed:
            channels = channels[::PACKED] // PACKED
        word = layer["output_base"] + channels * layer["output_stride"]
        if LayerFlag.REDUCE in layer.flags:
            total = wrap(total[:, inside].sum(axis=1, keepdims=True), self.config.sum_bits)
            self.activations[word * cols] = self._requantise(layer, first, total, None)[:, 0]
            return
        residual = None
        if LayerFlag.RESIDUAL in layer.flags:
            added = first + np.arange(count)
            origin = (layer["residual_base"] + added * layer["residual_stride"]) * cols
            residual = self.activations[origin[:, None] + layer["residual_lane"] + position]
        result = (self._signs_of(layer, first, total, residual) if layer.packed
                  else self._requantise(layer, first, total, residual))
        out = np.where(inside, result, layer["zp_out"])
        if layer.external:
            units = np.zeros((layer["tiles"], count, self.word_bytes), np.int8)
            units[:, :, :cols] = out.reshape(count, -1, cols).swapaxes(0, 1)
            offset = layer["output_base"] + first * layer["tiles"] * self.word_bytes
            self.store_external(offset, units.tobytes())
        else:
            self.activations[word[:, None] * cols + position] = out

    def _requantise(
        self, layer: Layer, first: int, total: NDArray[np.int64],
        residual: NDArray[np.int8] | None,
    ) -> NDArray[np.int64]:
        """Return the output bytes of exact sums, (channels, positions)."""
        t, shift = self._scaled(layer, first, total, residual)
        rounding = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
        q = ((t + rounding) >> shift) + layer["zp_out"]
        return np.minimum(np.maximum(q, layer["lo"]), layer["hi"])

    def _signs_of(
        self, layer: Layer, first: int, total: NDArray[np.int64],
        residual: NDArray[np.int8] | None,
    ) -> NDArray[np.int8]:
        """Return the output bytes of a packed layer, (channels / 8, positions)."""
        t, _ = self._scaled(layer, first, total, residual)
        bits = (t >= 0).reshape(-1, PACKED, t.shape[1])
        return np.packbits(bits, axis=1, bitorder="little")[:, 0].view(np.int8)

    def _scaled(
        self, layer: Layer, first: int, total: NDArray[np.int64],
        residual: NDArray[np.int8] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return scaled sums before the shift, (channels, positions), and the shift."""
        start = layer["channel_base"] + first
        entry = {name: column[start:start + len(total), None]
                 for name, column in self._channels.items()}
        t = (total + entry["bias"]) * entry["multiplier"]
        if residual is not None:
            operand = residual.astype(np.int64) - layer["zp_res"]
            t += operand * entry["residual_multiplier"] << entry["residual_shift"]
        return t, entry["shift"]


def _signs(codes: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return the ±1 that bytes stand for, eight times as many along the last axis."""
    bits = np.unpackbits(np.ascontiguousarray(codes), axis=-1, bitorder="little")
    return bits.astype(np.int8) * 2 - 1


def _apply_basis(
    z: NDArray[np.int64], basis: dict[str, NDArray[np.int64]], entry: int,
) -> NDArray[np.int64]:
    """Return Σ_k Σ_lag taps[k][lag] · z_k[i - lag] << align, (filters, positions)."""
    filters = len(z) // BASIS_SIZE
    z = z.reshape(filters, BASIS_SIZE, -1)
    entries = slice(entry, entry + filters)
    taps = basis["taps"][entries].reshape(filters, BASIS_SIZE, BASIS_SIZE)
    total = np.zeros((filters, z.shape[2]), np.int64)
    for lag in range(min(BASIS_SIZE, z.shape[2])):
        total[:, lag:] += np.einsum("fk,fki->fi", taps[:, :, lag],
                                    z[:, :, :z.shape[2] - lag])
    return total << basis["align"][entries, None]
