"""The one configuration object: it feeds generator, compiler, models and benches."""

import tomllib
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from smartdeal.golden.formats import ACT_BITS, BASIS_SIZE, PACKED, CoefficientFormat

__all__ = ["DRAIN_TARGET_CYCLES", "AcceleratorConfig", "ConfigError"]


class ConfigError(ValueError):
    """A configuration that cannot be built; the message names the value and what is allowed."""


#: Inclusive range of every integer parameter, and why it ends there.
_RANGES: dict[str, tuple[int, int, str]] = {
    "rows":             (2, 128, "PE rows"),
    "cols":             (2, 128, "PE columns"),
    "exponents":        (1, 16, "exponents 0..E-1 of a power-of-two coefficient"),
    "acc_bits":         (16, 32, "bits of a PE accumulator"),
    "sum_bits":         (32, 44, "bits of a sum behind the basis stage, and of a bias"),
    "drain_lanes":      (0, 128, "columns read out per cycle; 0 chooses"),
    "max_slices":       (1, 64, "slices of one reduction"),
    "activation_words": (0, 1 << 20, "words of `cols` bytes; 0 chooses 512 KiB"),
    "weight_steps":     (16, 1 << 20, "steps in the weight buffer"),
    "channel_entries":  (16, 1 << 16, "requantisation entries, one per output channel"),
    "basis_entries":    (16, 1 << 16, "basis entries, one per filter and slice"),
    "program_words":    (32, 1 << 12, "32-bit words of instruction memory"),
    "field_bits":       (8, 32, "bits of the numbers in an instruction"),
    "checksum_bits":    (0, 256, "bits of an image that are checked per cycle; 0 for all"),
    "counter_bits":     (24, 48, "bits of a counter of cycles"),
}

_HOST_BITS = (32, 64, 128, 256)
_DEFAULT_ACTIVATION_BYTES = 512 * 1024
#: Cycles of a read-out that the choice of ``drain_lanes`` aims at.
DRAIN_TARGET_CYCLES = 64


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig:
    """Parameters of one accelerator.

    Parameters
    ----------
    rows, cols : int
        PE-array size R × N, each 2…128. Rows hold output filters (or basis rows), columns pixels.
    exponents : int
        E: a coefficient is ±2^e with e in 0…E-1.
    acc_bits : int
        Width of a PE accumulator, two's complement.
    sum_bits : int
        Width of the exact sum behind the basis stage, and of a bias.
    drain_lanes : int
        D: accumulators read out per cycle; divides ``cols``. 0 takes the smallest divisor that
        drains the array in at most 64 cycles, or else ``cols``.
    max_slices : int
        Slices that one reduction may be cut into.
    activation_words : int
        Depth of the activation buffer in words of ``cols`` bytes. 0 means 512 KiB.
    weight_steps : int
        Depth of the weight buffer in steps.
    channel_entries, basis_entries, program_words : int
        Depths of the requantisation table, the basis memory and the instruction memory.
    host_bits : int
        Width of the load and store streams: 32, 64, 128 or 256.
    basis, max_pool, residual, reduce, move, memory, entropy, binary : bool
        Features. What is off is left out of the hardware, and a program that needs it is refused.
        ``basis`` is on unless said otherwise where there are three rows or more.
        ``reduce`` adds up an output map (global average pooling); ``move`` lays tensors out anew,
        for networks that stay in the activation buffer; ``memory`` lets a program load from system
        memory and store to it while it computes; ``entropy`` decodes Huffman-coded steps in images.
        ``binary`` adds the XNOR mode of binary weights and activations, eight channels to a byte
        (docs/binary.md); it takes eight rows or more.
    field_bits : int
        Longest address, distance or count that an instruction may hold; 32 leaves the format's own
        widths. The control logic and the pipelines of addresses are as wide as this says.
    counter_bits : int
        Width of the counters of cycles; they wrap.
    checksum_bits : int
        Bits of an image that the checksum takes per cycle: 8…``host_bits``, in which loading takes
        a beat every ``host_bits`` / ``checksum_bits`` + 1 cycles, or 0 for a beat per cycle. Not
        with ``entropy``.
    memory_delays : bool
        Long delay lines are block RAMs, not registers.
    single_port_weights : bool
        The weight buffer has one port for writing and reading, as large memories of some devices
        have (SPRAM of iCE40 UltraPlus). Not with ``memory``, which loads while layers run.

    Raises
    ------
    ConfigError
        If a value is out of range; the message names it.
    """

    rows: int = 12
    cols: int = 16
    exponents: int = 8
    acc_bits: int = 24
    sum_bits: int = 40
    drain_lanes: int = 0
    max_slices: int = 16
    activation_words: int = 0
    weight_steps: int = 20480
    channel_entries: int = 2048
    basis_entries: int = 4096
    program_words: int = 1024
    host_bits: int = 64
    basis: bool | None = None
    max_pool: bool = True
    residual: bool = True
    reduce: bool = True
    move: bool = True
    memory: bool = False
    entropy: bool = False
    binary: bool = False
    field_bits: int = 32
    counter_bits: int = 48
    checksum_bits: int = 0
    memory_delays: bool = False
    single_port_weights: bool = False

    def __post_init__(self) -> None:
        for name, (low, high, meaning) in _RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ConfigError(f"{name} ({meaning}) must be an integer from {low} to {high}, "
                                  f"not {value!r}")
        if self.host_bits not in _HOST_BITS:
            raise ConfigError(f"host_bits must be one of {_HOST_BITS}, not {self.host_bits!r}")
        # Resolve the choices here, so that equal hardware compares and fingerprints equal.
        if self.basis is None:
            object.__setattr__(self, "basis", self.rows >= BASIS_SIZE)
        for name in ("basis", "max_pool", "residual", "reduce", "move", "memory",
                     "entropy", "binary", "memory_delays", "single_port_weights"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be true or false, not {getattr(self, name)!r}")
        if self.basis and self.rows < BASIS_SIZE:
            raise ConfigError(f"rows must be at least {BASIS_SIZE} with the basis stage, not "
                              f"{self.rows!r}; set basis = false")
        if self.binary and self.rows < PACKED:
            raise ConfigError(f"rows must be at least {PACKED} with the feature binary, not "
                              f"{self.rows!r}: that many channels share a byte")
        if self.binary and self.exponents < 2:
            raise ConfigError("exponents must be at least 2 with the feature binary, not "
                              f"{self.exponents!r}: a bit counts 2")
        if self.drain_lanes == 0:
            object.__setattr__(self, "drain_lanes", self._chosen_lanes())
        if self.activation_words == 0:
            object.__setattr__(self, "activation_words", _DEFAULT_ACTIVATION_BYTES // self.cols)
        if self.cols % self.drain_lanes:
            divisors = [d for d in range(1, self.cols + 1) if self.cols % d == 0]
            raise ConfigError(f"drain_lanes must divide cols = {self.cols} "
                              f"(one of {divisors}), not {self.drain_lanes!r}")
        if self.memory:
            self._check_memory()
        self._check_fields()
        if self.activation_words < 16:
            raise ConfigError(f"activation_words must be at least 16, not "
                              f"{self.activation_words!r}")

    def _check_memory(self) -> None:
        """Refuse what does not go with memory: entropy, a port for two, no time to write words."""
        if self.entropy:
            raise ConfigError("entropy must be false with the feature memory: LOAD takes plain "
                              "steps only; set entropy = false, or memory = false")
        if self.single_port_weights:
            raise ConfigError("single_port_weights must be false with the feature memory, which "
                              "loads weights while layers run")
        if self.chunks < 2:
            raise ConfigError(f"drain_lanes must be at most cols / 2 = {self.cols // 2} with the "
                              f"feature memory, not {self.drain_lanes!r}: words from system memory "
                              "are written between those of the read-out")
        if ACT_BITS * self.cols <= self.host_bits:
            raise ConfigError(f"host_bits must be less than the {ACT_BITS * self.cols} bits of a "
                              f"word of {self.cols} columns with the feature memory, not "
                              f"{self.host_bits!r}")

    def _check_fields(self) -> None:
        """Refuse instructions that are too narrow for the memories that they address."""
        if self.memory and self.field_bits != 32:
            raise ConfigError(f"field_bits must be 32 with the feature memory, not "
                              f"{self.field_bits!r}")
        if self.entropy and self.checksum_bits:
            raise ConfigError(f"checksum_bits must be 0 with the feature entropy, not "
                              f"{self.checksum_bits!r}")
        if self.checksum_bits % 8 or (self.checksum_bits and self.host_bits % self.checksum_bits):
            raise ConfigError(f"checksum_bits must be a multiple of 8 that divides host_bits = "
                              f"{self.host_bits}, or 0, not {self.checksum_bits!r}")
        for name in ("activation_words", "weight_steps", "channel_entries", "basis_entries"):
            depth = getattr(self, name)
            if depth > 1 << self.field_bits:
                raise ConfigError(f"{name} must be at most {1 << self.field_bits} with field_bits "
                                  f"= {self.field_bits}, not {depth!r}")

    def _chosen_lanes(self) -> int:
        divisors = [lanes for lanes in range(1, self.cols + 1) if self.cols % lanes == 0]
        if self.memory:
            divisors.pop()
        enough = [lanes for lanes in divisors
                  if self.rows * self.cols // lanes <= DRAIN_TARGET_CYCLES]
        return (enough or divisors[-1:])[0]

    # Derived values: what more than one room needs.

    @property
    def coefficient(self) -> CoefficientFormat:
        """Number format of one coefficient."""
        return CoefficientFormat(self.exponents)

    @property
    def code_bits(self) -> int:
        """Bits of one row's coefficient in a step: with ``binary`` also eight binary weights."""
        return max(self.coefficient.bits, PACKED) if self.binary else self.coefficient.bits

    @property
    def chunks(self) -> int:
        """Cycles in which one array row is read out: ``cols / drain_lanes``."""
        return self.cols // self.drain_lanes

    @property
    def filters_per_group(self) -> int:
        """Filters that the array holds at once in basis form (three rows each)."""
        return self.rows // BASIS_SIZE

    @property
    def address_bits(self) -> int:
        """Bits in which addresses are computed: they are compared with a depth, then cut."""
        return self.field_bits + 1

    @property
    def count_bits(self) -> int:
        """Bits of tiles, channels and positions in a row."""
        return min(16, self.field_bits)

    @property
    def activation_bytes(self) -> int:
        """Size of the activation buffer in bytes."""
        return self.activation_words * self.cols

    @property
    def spill_words(self) -> int:
        """Depth of the queue of words that go to system memory: two whole units of work."""
        return 2 * self.rows

    @property
    def fingerprint(self) -> int:
        """CRC-32 of every parameter: a program image runs only on the configuration it names."""
        text = ",".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
        return zlib.crc32(text.encode())

    def as_dict(self) -> dict[str, Any]:
        """Return every parameter by name, choices resolved."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some parameters changed. Unknown names raise :exc:`ConfigError`.

        A new ``rows`` or ``cols`` makes the choices that depend on them anew (``drain_lanes``,
        ``activation_words``, ``basis``) unless they are given too. A basis that is off although
        there are rows for it stays off.
        """
        self._check_names(changes)
        return type(self)(**self._kept(self.as_dict(), changes), **changes)

    @classmethod
    def from_toml(cls, path: Path, **overrides: Any) -> Self:
        """Read a configuration file; ``overrides`` win over the file, as in :meth:`replace`.

        Raises
        ------
        ConfigError
            If the file is missing, is not TOML, or holds an unknown key or a bad value.
        """
        try:
            values = tomllib.loads(path.read_text())
        except OSError as error:
            raise ConfigError(f"cannot read configuration {path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not a TOML file: {error}") from None
        cls._check_names(values)
        cls._check_names(overrides)
        return cls(**cls._kept(values, overrides), **overrides)

    @classmethod
    def _kept(cls, values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        """Return the values that neither are changed nor followed from one that is."""
        gone = set(changes)
        if {"rows", "cols"} & changes.keys():
            gone |= {"drain_lanes", "activation_words"}
        if "memory" in changes:
            gone.add("drain_lanes")
        rows = values.get("rows", cls.rows)
        off_by_choice = (values.get("basis") is False
                         and not (isinstance(rows, int) and rows < BASIS_SIZE))
        if "rows" in changes and not off_by_choice:
            gone.add("basis")
        return {name: value for name, value in values.items() if name not in gone}

    @classmethod
    def _check_names(cls, values: dict[str, Any]) -> None:
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f"unknown parameter {name!r}; known: {', '.join(known)}")
