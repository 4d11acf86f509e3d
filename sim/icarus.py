"""Builds a simulator with Icarus Verilog: slow to run, quick to build, and knows unknown values."""

import subprocess
from pathlib import Path

from smartdeal.sim.cache import cached, content_key
from smartdeal.sim.errors import BuildError
from smartdeal.sim.toolchain import icarus

__all__ = ["build_icarus"]

#: Writes the waveform to the file that the simulator is told: +waves=FILE.
_WAVES = """
module smartdeal_waves;
  reg [8 * 4096 - 1:0] path;
  initial if ($value$plusargs("waves=%s", path)) begin
    $dumpfile(path);
    $dumpvars(0, {top});
  end
endmodule
"""


def build_icarus(verilog: str, top: str, *, waves: bool) -> Path:
    """Return the compiled design for ``vvp``, built or from the cache.

    Raises
    ------
    ToolError
        If Icarus Verilog is missing.
    BuildError
        If it does not accept the design.
    """
    version = subprocess.run([icarus(), "-V"], capture_output=True, text=True, check=False).stdout
    text = "`timescale 1ns/1ns\n" + verilog + (_WAVES.replace("{top}", top) if waves else "")
    key = content_key((version.partition("\n")[0], top, str(waves), text))

    def build(folder: Path) -> None:
        source, log = folder / f"{top}.v", folder / "build.log"
        source.write_text(text)
        tops = ["-s", top, *(["-s", "smartdeal_waves"] if waves else [])]
        result = subprocess.run(
            [icarus(), "-g2005", *tops, "-o", str(folder / "simulator.vvp"), str(source)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        log.write_text(result.stdout)
        if result.returncode:
            raise BuildError("Icarus Verilog does not accept the design", log)

    return cached("icarus", key, build) / "simulator.vvp"
