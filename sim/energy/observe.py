"""Counts the same events as the walk, but from the signals of the simulated hardware.

The accelerator's Verilog runs under Verilator with a waveform, and every event is counted at the
signal that causes it, clock edge by clock edge. Nothing here knows the program.
"""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from smartdeal.golden.formats import BASIS_SIZE
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import SectionKind
from smartdeal.hw.loader import LOADED_KINDS
from smartdeal.sim.device import TOP, accelerator_simulator, system_simulator
from smartdeal.sim.energy.events import Events
from smartdeal.sim.energy.waveform import Variable, WaveformFormatError, edges, header
from smartdeal.sim.host import Host
from smartdeal.sim.runner import Simulator, run_job
from smartdeal.sim.system_host import SystemHost

__all__ = ["Observation", "observe", "observe_memory"]

#: Signals that a design without the feature does not have.
_OPTIONAL = {
    "array.binary": "binary", "readout.pack_mode": "binary",
    "array.maximum": "max_pool", "issue.fetch": "residual", "readout.residual_mode": "residual",
    "issue.move_read": "move", "mover.write_mask": "move",
    "readout.sum_stage.reduce": "reduce",
    "readout.basis_write__en": "basis", "readout.entry__en": "basis",
    "readout.basis_stage.enable": "basis", "readout.basis_stage.emit": "basis",
    "readout.basis_stage.first_chunk": "basis", "readout.basis_stage.first_tile": "basis",
    "readout.basis_stage.save__en": "basis",
    "control.load__valid": "memory", "control.load__ready": "memory", "fetch.write": "memory",
    "fetch.i__valid": "memory", "fetch.i__ready": "memory", "readout.spill": "memory",
}
#: The accelerator within a system.
_INNER = "accelerator."
_SIGNALS = (
    "issue.taken", "issue.read__en", "issue.host_read", "array.coefficients", "array.last",
    "array.read", "readout.write_mask", "activations.write_mask", "readout.sum_stage.valid",
    "readout.sum_stage.first", "readout.sum_stage.last", "readout.sum_stage.save__en",
    "control.fetched", "control.busy", "control.program_write__en", "issue.step_write__en",
    "readout.channel_write__en", "readout.channel__en", "loader.write", "reader.o__valid",
    "reader.o__ready", *_OPTIONAL,
)


class Observation:
    """What was counted.

    Attributes
    ----------
    events : dict of int
        By the names of :class:`~smartdeal.sim.energy.events.Events`.
    bank_writes : int
        Bytes written to the activation buffer's banks, whoever wrote them.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.events = dict.fromkeys(Events().as_dict(), 0)
        self.bank_writes = 0
        self._valid = sum(1 << row * config.code_bits for row in range(config.rows))
        self._loads = 1 << LOADED_KINDS.index(SectionKind.ACTIVATIONS)
        self._fetched = 0

    def counted(self) -> Events:
        """Return the counts."""
        return Events(**self.events)

    def take(self, now: dict[str, int]) -> None:
        """Count the events of one cycle, given the value of each signal."""
        self._array(now)
        self._buffers(now)
        if now["array.read"]:
            self._basis(now)
        if now["readout.sum_stage.valid"]:
            self._sums(now)
        self._stage(now)
        self._instructions(now)
        self._transfers(now)

    def _add(self, **counts: int) -> None:
        for name, count in counts.items():
            self.events[name] += count

    def _array(self, now: dict[str, int]) -> None:
        config = self.config
        valid = now["array.coefficients"] & self._valid
        pes = config.rows * config.cols
        if now["array.binary"]:
            self._add(xnor_counts=pes, accumulator_writes=0 if now["array.last"] else pes)
        elif valid:
            pooled = valid & 1 if now["array.maximum"] else 0
            self._add(shift_adds=(valid.bit_count() - pooled) * config.cols,
                      maximums=pooled * config.cols)
            if not now["array.last"]:
                self._add(accumulator_writes=valid.bit_count() * config.cols)
        if now["array.last"]:
            self._add(accumulator_writes=pes, result_writes=pes)
        self._add(steps=now["issue.taken"], vector_reads=now["issue.taken"],
                  weight_reads=now["issue.read__en"])

    def _buffers(self, now: dict[str, int]) -> None:
        stored, moved = now["readout.write_mask"], now["mover.write_mask"]
        self._add(
            residual_reads=now["issue.fetch"], move_reads=now["issue.move_read"],
            host_reads=now["issue.host_read"], stored_words=int(stored > 0),
            stored_bytes=stored.bit_count(), moved_words=int(moved > 0),
            moved_bytes=moved.bit_count(),
            program_loads=now["control.program_write__en"],
            weight_loads=now["issue.step_write__en"],
            channel_loads=now["readout.channel_write__en"],
            basis_loads=now["readout.basis_write__en"],
            basis_reads=now["readout.entry__en"], channel_reads=now["readout.channel__en"],
            activation_loads=int((now["loader.write"] | now["fetch.write"]) & self._loads > 0))
        self.bank_writes += now["activations.write_mask"].bit_count()

    def _instructions(self, now: dict[str, int]) -> None:
        """Count the words that are fetched: ``fetched`` numbers them, from 1, as they arrive."""
        before, fetched = self._fetched, now["control.fetched"]
        # An instruction of one word is known when the second arrives, which is left.
        self._add(instruction_words=int(before >= 1 and fetched == before + 1))
        self._fetched = fetched

    def _transfers(self, now: dict[str, int]) -> None:
        self._add(
            load_commands=now["control.load__valid"] & now["control.load__ready"],
            fetched_beats=now["fetch.i__valid"] & now["fetch.i__ready"],
            spilled_words=now["readout.spill"],
            spilled_beats=now["control.busy"] & now["reader.o__valid"] & now["reader.o__ready"])

    def _basis(self, now: dict[str, int]) -> None:
        lanes = self.config.drain_lanes
        self._add(result_reads=lanes)
        if now["readout.basis_stage.enable"]:
            self._add(basis_multiplies=lanes * BASIS_SIZE, basis_adds=lanes * BASIS_SIZE)

    def _stage(self, now: dict[str, int]) -> None:
        self._add(state_writes=now["readout.basis_stage.save__en"])
        if now["readout.basis_stage.enable"] and now["readout.basis_stage.emit"]:
            first = now["readout.basis_stage.first_chunk"]
            self._add(basis_adds=self.config.drain_lanes * (BASIS_SIZE - 1),
                      state_reads=int(first and not now["readout.basis_stage.first_tile"]))

    def _sums(self, now: dict[str, int]) -> None:
        lanes = self.config.drain_lanes
        if not now["readout.sum_stage.first"]:
            self._add(partial_reads=1, sum_adds=lanes)
        self._add(partial_writes=now["readout.sum_stage.save__en"])
        if now["readout.sum_stage.last"]:
            self._add(requantise_multiplies=lanes)
            if now["readout.residual_mode"]:
                self._add(residual_multiplies=lanes)
            if now["readout.pack_mode"]:
                self._add(packed_signs=lanes)
            if now["readout.sum_stage.reduce"]:
                self._add(sum_adds=lanes - 1)


def observe(
    images: Sequence[Sequence[bytes]], config: AcceleratorConfig, *, limit_cycles: int = 1_000_000,
) -> Observation:
    """Run programs on the simulated accelerator and count what its signals do.

    Parameters
    ----------
    images : sequence of sequences of bytes
        For each run, what is loaded before it: program and data images.
    limit_cycles : int
        Cycles after which a run counts as hung.

    Raises
    ------
    ToolError, BuildError, SimulationError
        As :func:`smartdeal.sim.runner.run_job`.
    WaveformFormatError
        If the design lacks a signal that is watched.
    """
    host = Host(config)
    for run in images:
        for image in run:
            host.load(image)
        host.start()
        host.finish(limit_cycles)
    return _observe(host, accelerator_simulator, config)


def observe_memory(
    runs: Sequence[tuple[bytes, bytes | bytearray]], config: AcceleratorConfig, *,
    limit_cycles: int = 1_000_000,
) -> Observation:
    """Run programs with system memory behind AXI, and count what the accelerator's signals do.

    Parameters
    ----------
    runs : sequence of (image, region)
        The program image, and what the region holds when it starts.
    limit_cycles : int
        Cycles after which a run counts as hung.

    Raises
    ------
    ToolError, BuildError, SimulationError, WaveformFormatError
        As :func:`observe`.
    """
    host = SystemHost(config, latency_cycles=20)
    for image, region in runs:
        host.work_on(bytes(region))
        host.load(image)
        host.start()
        host.finish(limit_cycles)
    return _observe(host, system_simulator, config)


def _observe(
    host: Host, build: Callable[..., Simulator], config: AcceleratorConfig,
) -> Observation:
    with tempfile.TemporaryDirectory(prefix="smartdeal-") as folder:
        waves = Path(folder) / "run.vcd"
        results = run_job(build(config, waves=waves), host.job())
        problem = host.problem(results)
        if problem or not all(outcome.finished and not outcome.error
                              for outcome in host.outcomes(results)):
            raise WaveformFormatError("a run did not finish: there is nothing to count"
                                      + (f" ({problem})" if problem else ""))
        return _count(waves, config)


def _count(waves: Path, config: AcceleratorConfig) -> Observation:
    found = _named(header(waves))
    keys: dict[str, str] = {}
    for name in _SIGNALS:
        key = found.get(name)
        feature = _OPTIONAL.get(name)
        if key is None and not (feature and not getattr(config, feature)):
            if name == "readout.sum_stage.save__en" and not _keeps_partial_sums(config):
                continue
            raise WaveformFormatError(f"the design has no signal {name}; the counting and the "
                                      "hardware do not belong together")
        if key is not None:
            keys[name] = key
    observation = Observation(config)
    absent = dict.fromkeys(set(_SIGNALS) - set(keys), 0)
    clock = found.get("clk")
    assert clock is not None
    for values in edges(waves, clock, keys.values()):
        observation.take({**absent, **{name: values[key] for name, key in keys.items()}})
    return observation


def _named(variables: Sequence[Variable]) -> dict[str, str]:
    """Return the keys of the accelerator's signals by name, behind AXI or not.

    Amaranth numbers a submodule that is named like a signal beside it.
    """
    found = {re.sub(r"\$\d+(?=\.)", "", variable.path.removeprefix(f"{TOP}.")): variable.key
             for variable in reversed(variables)}
    inner = {name.removeprefix(_INNER): key for name, key in found.items()
             if name.startswith(_INNER)}
    return inner or found


def _keeps_partial_sums(config: AcceleratorConfig) -> bool:
    return config.max_slices > 1 or config.reduce
