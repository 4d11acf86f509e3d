"""What the synthesis targets are: their Yosys script, and what their cells count as."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smartdeal.hw.config import AcceleratorConfig

__all__ = ["FPGA_TARGETS", "TARGETS", "Resources", "Technology", "memory_styles"]


@dataclass(frozen=True)
class Resources:
    """What a design takes of a device.

    Parameters
    ----------
    lut : int
        Four-input look-up tables (six-input ones on Xilinx), those of carry cells included. What
        a place-and-route report calls logic cells.
    carry : int
        Of these, tables that a carry chain uses.
    ff : int
        Flip-flops.
    bram : int
        Block RAMs.
    dsp : int
        Multiplier blocks.
    lutram : int
        Tables used as memory, included in ``lut``.
    area : float
        Cell area in µm², for a Liberty file.
    memory_bits : int
        Bits of memories that stay macros, for a Liberty file.
    """

    lut: int = 0
    carry: int = 0
    ff: int = 0
    bram: int = 0
    dsp: int = 0
    lutram: int = 0
    area: float = 0.0
    memory_bits: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(*(a + b for a, b in zip(self._values(), other._values(), strict=True)))

    def times(self, count: int) -> "Resources":
        """Return the resources of ``count`` copies."""
        return Resources(*(value * count for value in self._values()))

    def _values(self) -> tuple[Any, ...]:
        return (self.lut, self.carry, self.ff, self.bram, self.dsp, self.lutram, self.area,
                self.memory_bits)


@dataclass(frozen=True)
class Technology:
    """A synthesis target.

    Parameters
    ----------
    name : str
    script : str
        Yosys commands after reading; ``{top}`` and ``{liberty}`` are filled in.
    luts, carries, ffs, brams, dsps, lutrams : dict
        By cell type (a regular expression), how many of that resource it is.
    """

    name: str
    script: str
    luts: Mapping[str, float]
    carries: Mapping[str, float]
    ffs: Mapping[str, float]
    brams: Mapping[str, float]
    dsps: Mapping[str, float]
    lutrams: Mapping[str, float]

    def count(self, cells: Mapping[str, int]) -> Resources:
        """Return what cells, by type, take."""
        carry = _sum(self.carries, cells)
        lutram = _sum(self.lutrams, cells)
        return Resources(
            lut=_sum(self.luts, cells) + carry + lutram, carry=carry, ff=_sum(self.ffs, cells),
            bram=_sum(self.brams, cells), dsp=_sum(self.dsps, cells), lutram=lutram)


def _sum(weights: Mapping[str, float], cells: Mapping[str, int]) -> int:
    total: Counter[str] = Counter()
    for pattern, weight in weights.items():
        for name, count in cells.items():
            if re.fullmatch(pattern, name):
                total[name] = round(weight * count)
    return total.total()


#: ``-noflatten`` synthesises each distinct module once, which is what makes a sweep fast.
#: ``-no-rw-check``: no program depends on what a memory reads of a word that is written in the same
#: cycle (partial sums are forwarded; a layer or a move must not read where it writes), and hardware
#: that gives the old word is large. ``-nowidelut``: wide multiplexers are built by hand, and
#: elsewhere they make a design quicker by making it twice as large.
TARGETS = {
    "ecp5": Technology(
        "ecp5", "synth_lattice -family ecp5 -nowidelut -no-rw-check -noflatten -top {top}",
        luts={"LUT4": 1}, carries={"CCU2C": 2}, ffs={"TRELLIS_FF": 1},
        brams={"DP16KD|PDPW16KD": 1}, dsps={"MULT18X18D": 1, "MULT9X9D": 0.5},
        lutrams={"TRELLIS_DPR16X4": 6}),  # four tables of memory, two that write them
    "ice40": Technology(
        "ice40", "synth_ice40 -device u -dsp -spram -no-rw-check -noflatten -top {top}",
        luts={"SB_LUT4": 1}, carries={}, ffs={"SB_DFF.*": 1},
        brams={"SB_RAM40_4K.*": 1, "SB_SPRAM256KA": 1}, dsps={"SB_MAC16": 1}, lutrams={}),
    "gowin": Technology(
        "gowin", "synth_gowin -family gw1n -nowidelut -noiopads -no-rw-check -noflatten -top {top}",
        luts={"LUT[1-4]": 1}, carries={"ALU": 1}, ffs={"DFF.*": 1},
        brams={"(S|SD|D|DP)[A-Z]*(B|X9B|X9)|pROM.*|rROM.*": 1},
        dsps={"MULT18X18": 1, "MULT9X9": 0.5, "MULT36X36": 4},
        lutrams={"RAM16SDP4": 4, "RAM16SDP2": 2, "RAM16SDP1": 1}),
    "xilinx": Technology(
        "xilinx", "synth_xilinx -family xc7 -noiopad -noclkbuf -top {top}",
        luts={"LUT[1-6]": 1, "INV": 1}, carries={}, ffs={"FD[RSCP]E(_1)?": 1},
        brams={"RAMB36E1": 1, "RAMB18E1": 0.5}, dsps={"DSP48E1": 1},
        lutrams={"RAM32M": 4, "RAM64M": 4, "RAM(32|64)X1D": 2, "RAM128X1D": 4, "SRL.*": 1}),
    "asic": Technology(
        "asic", "synth -run begin:fine -top {top}; memory_collect; opt -full; techmap; opt -fast; "
                "dfflibmap -liberty {liberty}; abc -liberty {liberty}; opt_clean",
        luts={}, carries={}, ffs={}, brams={}, dsps={}, lutrams={}),
}
FPGA_TARGETS = tuple(name for name in TARGETS if name != "asic")


def memory_styles(script: str, config: AcceleratorConfig) -> list[str]:
    """Return Yosys commands that choose memories of which synthesis would count the cost only.

    Weights go to SPRAM where the script allows that and they have one port: it is slower than
    block RAM and far larger, and the activations need the block RAMs.
    """
    if config.single_port_weights and "-spram" in script:
        return ['setattr -set ram_style "huge" */m:weight_buffer']
    return []
