"""CPU flame graphs and memory profiles of the Streame side of a benchmark."""

import shutil
import subprocess
import sys
from pathlib import Path

from streame.cli.bench.case import Case
from streame.cli.bench.child import arguments
from streame.cli.bench.runner import BenchmarkError

SAMPLES_PER_S = 200
TOOLS = ("py-spy", "memray")


def missing_tools() -> list[str]:
    """The profilers that are not installed."""
    return [tool for tool in TOOLS if _find(tool) is None]


def write_profiles(case: Case, rows: int, files: Path, folder: Path) -> list[Path]:
    """Run the Streame side twice more, under each profiler.

    Args:
        case: the benchmark.
        rows: with how many rows.
        files: where its files are.
        folder: where the profiles go.

    Returns:
        An SVG flame graph of the processor time, and an HTML flame graph of the memory at its peak.

    Raises:
        BenchmarkError: when a profiler fails.
    """
    child = arguments(case, "streame", rows, files)
    flames, memory = folder / f"{case.name}-cpu.svg", folder / f"{case.name}-memory.html"
    capture = folder / f"{case.name}-memory.bin"
    record = ["record", "--rate", str(SAMPLES_PER_S), "--format", "flamegraph", "--output", str(flames)]
    _profiler("py-spy", [*record, "--", sys.executable, *child])
    _profiler("memray", ["run", "--quiet", "--force", "--output", str(capture), *child])
    _profiler("memray", ["flamegraph", "--force", "--output", str(memory), str(capture)])
    capture.unlink()
    return [flames, memory]


def _profiler(tool: str, options: list[str]) -> None:
    path = _find(tool)
    assert path is not None, tool
    done = subprocess.run([path, *options], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchmarkError(f"{tool} ended with exit code {done.returncode}: {done.stderr.strip()[-800:]}")


def _find(tool: str) -> str | None:
    """Beside this Python first: its environment need not be on the path."""
    return shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)
