"""Several nodes on this machine: how fast they are together, and how soon they go on when one of them dies."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from streame.cli.bench.case import Bar, Case, Work
from streame.cli.bench.repeated import BATCH_ROWS

NEEDS = "etcd"
"""The command without which there is no cluster."""


def _runs() -> Any:
    """Only here, since gRPC is an extra and takes memory that the other benchmarks should not count."""
    return import_module("streame.cli.bench.cluster_runs")


def _together(
    kind: str, parallelism: int = 2, followers: int = 1, batch_rows: int = BATCH_ROWS
) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        work: Work = _runs().throughput(kind, rows, folder, parallelism, followers, batch_rows)
        return work

    return prepare


def _embedded(kind: str, batch_rows: int = BATCH_ROWS) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        work: Work = _runs().embedded(kind, rows, folder, batch_rows)
        return work

    return prepare


def _faults(rows: int, folder: Path) -> Work:
    work: Work = _runs().faults(rows, folder)
    return work


def _slow_follower(rows: int, folder: Path) -> Work:
    work: Work = _runs().slow_follower(rows, folder)
    return work


def _scaling(kind: str, parallelism: int, followers: int, batch_rows: int) -> Case:
    """One point of how speed depends on instances, nodes and batches; only in a full run."""
    what = {
        "windows": "windows put together on the way",
        "raw": "medians, for which all rows go to the other nodes",
    }[kind]
    nodes = "one node" if not followers else f"a leader and {followers} follower{'s' * (followers > 1)}"
    return Case(
        f"cluster-scaling-{kind}-{1 + followers}n-{parallelism}i-{batch_rows // 1024}k",
        f"{what}: {nodes}, {parallelism} instances, batches of {batch_rows:,}",
        streame=_together(kind, parallelism, followers, batch_rows),
        rows=20_000_000 if kind == "windows" else 8_000_000,
        smoke_rows=0,
        rounds=1,
        program=NEEDS,
    )


CASES = (
    Case(
        "cluster-windows",
        "10 s windows on a leader and one follower, put together before they go there",
        streame=_together("windows"),
        peer=_embedded("windows"),
        peer_name="one process",
        rows=60_000_000,
        smoke_rows=2_000_000,
        bars=(Bar("ratio", 0.5),),
        rounds=3,
        program=NEEDS,
    ),
    Case(
        "cluster-keyed",
        "four columns on a leader and one follower, shared out by key row by row, of which it keeps the first ones",
        streame=_together("keyed"),
        rows=40_000_000,
        smoke_rows=2_000_000,
        bars=(Bar("rows_per_s", 5_000_000),),
        rounds=3,
        program=NEEDS,
    ),
    Case(
        "cluster-faults",
        "seconds until there is output again, of three nodes with leases of 2 s",
        streame=_faults,
        rows=10,
        smoke_rows=1,
        bars=(
            Bar("leader_p50_s", 3.5, "at most"),
            Bar("leader_p99_s", 5.0, "at most"),
            Bar("handover_s", 1.5, "at most"),
            Bar("follower_s", 3.0, "at most"),
        ),
        rounds=1,
        program=NEEDS,
    ),
    Case(
        "cluster-slow-follower",
        "memory of a leader and of a follower that is slow",
        streame=_slow_follower,
        rows=2_000,
        smoke_rows=200,
        bars=(Bar("leader_growth_mb", 200, "at most"), Bar("follower_growth_mb", 200, "at most")),
        rounds=1,
        program=NEEDS,
    ),
    *(
        _scaling(kind, parallelism, followers, batch_rows)
        for kind in ("windows", "raw")
        for parallelism, followers, batch_rows in (
            (2, 0, BATCH_ROWS),
            (2, 1, BATCH_ROWS),
            (2, 2, BATCH_ROWS),
            (8, 1, BATCH_ROWS),
            (32, 1, BATCH_ROWS),
            (2, 1, 8_192),
            (8, 2, 8_192),
        )
    ),
)
