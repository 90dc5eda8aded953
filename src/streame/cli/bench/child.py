"""One side of one benchmark, in a process of its own: `python -m streame.cli.bench.child NAME SIDE ROWS FOLDER`."""

import gc
import json
import sys
import time
from pathlib import Path

from streame.cli.bench.case import Case, Side
from streame.cli.bench.catalog import find
from streame.cli.bench.process import cpu_s, peak_rss_mb


def arguments(case: Case, side: str, rows: int, folder: Path) -> list[str]:
    """What to give to Python so that it runs one side; `side` is `streame`, `peer` or `files`."""
    return ["-m", "streame.cli.bench.child", case.name, side, str(rows), str(folder)]


def measure(side: Side, rows: int, folder: Path) -> dict[str, object]:
    """Run one side and say what it took."""
    work = side(rows, folder)
    gc.collect()
    cpu, began = cpu_s(), time.perf_counter()
    outcome = work()
    seconds = time.perf_counter() - began
    measures = {
        "seconds": seconds,
        "rows_per_s": outcome.rows / seconds,
        "cpu_s": cpu_s() - cpu,
        "peak_rss_mb": peak_rss_mb(),
        **(outcome.measures or {}),
    }
    return {"measures": measures, "digest": dict(outcome.digest())}


def _main(name: str, side: str, rows: str, folder: str) -> None:
    case = find(name)
    if side == "files":
        if case.files is not None:
            case.files(int(rows), Path(folder))
        return
    chosen = case.streame if side == "streame" else case.peer
    assert chosen is not None, f"{name} has no peer"
    print(json.dumps(measure(chosen, int(rows), Path(folder))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
