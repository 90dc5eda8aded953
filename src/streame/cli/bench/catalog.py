"""All benchmarks, in the order in which they run."""

from streame.cli.bench import (
    chain,
    checkpoints,
    clusters,
    groups,
    latency,
    ndjson,
    one_row,
    slow_sink,
    spill,
    stages,
    tables,
    time_joins,
    window_memory,
    windows,
    wire,
)
from streame.cli.bench.case import Case

CASES: tuple[Case, ...] = (
    *chain.CASES,
    *one_row.CASES,
    *ndjson.CASES,
    *tables.CASES,
    *windows.CASES,
    *window_memory.CASES,
    *groups.CASES,
    *time_joins.CASES,
    *stages.CASES,
    *latency.CASES,
    *slow_sink.CASES,
    *checkpoints.CASES,
    *spill.CASES,
    *wire.CASES,
    *clusters.CASES,
)


def find(name: str) -> Case:
    """The benchmark of that name."""
    return next(case for case in CASES if case.name == name)
