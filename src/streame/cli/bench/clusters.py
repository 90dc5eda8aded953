"""Several nodes on this machine: how fast they are together, and how soon they go on when one of them dies."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from streame.cli.bench.case import Bar, Case, Work

NEEDS = "etcd"
"""The command without which there is no cluster."""


def _runs() -> Any:
    """Only here, since gRPC is an extra and takes memory that the other benchmarks should not count."""
    return import_module("streame.cli.bench.cluster_runs")


def _together(kind: str) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        work: Work = _runs().throughput(kind, rows, folder, 2, 1)
        return work

    return prepare


def _embedded(kind: str) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        work: Work = _runs().embedded(kind, rows, folder)
        return work

    return prepare


def _faults(rows: int, folder: Path) -> Work:
    work: Work = _runs().faults(rows, folder)
    return work


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
)
