"""Rows that are shared out by key and go to another process over a link: with mutual TLS, and without."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from streame.cli.bench.case import Bar, Case, Work


def _link(*, secure: bool) -> Callable[[int, Path], Work]:
    def prepare(rows: int, folder: Path) -> Work:
        # Only here, since gRPC is an extra and takes memory that the other benchmarks should not count.
        nodes: Any = import_module("streame.cli.bench.wire_nodes")
        work: Work = nodes.receiving(rows, folder, secure=secure)
        return work

    return prepare


CASES = (
    Case(
        "wire-raw",
        "four columns, shared out by key for two instances in another process, batches of 65,536",
        streame=_link(secure=True),
        peer=_link(secure=False),
        peer_name="without TLS",
        rows=40_000_000,
        smoke_rows=400_000,
        bars=(Bar("rows_per_s", 5_000_000), Bar("ratio", 0.7)),
    ),
)
"""Its ratio is the speed with mutual TLS by that without."""
