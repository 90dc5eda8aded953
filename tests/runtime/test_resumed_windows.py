"""Windows that are stopped and go on: whenever they are said, also for late rows and for rows that are taken back."""

from functools import partial
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

from streame.core.aggregate_arguments import parse_aggregates
from streame.core.aggregates import split_aggregates
from streame.core.time import EventTime
from streame.core.windows import window_rule
from streame.runtime.letters import RefusalPolicy
from streame.runtime.operators import window
from streame.runtime.operators.window import WindowOperator
from streame.runtime.window_results import WindowSetup
from streame.state import blocks
from tests.examples import examples
from tests.runtime.resuming import check_rescaled, check_resumed
from tests.runtime.streams import SCHEMA, stream

WINDOWS = {
    "tumbling": {"every": "10i"},
    "with gaps": {"every": "10i", "period": "4i"},
    "hopping": {"every": "5i", "period": "15i", "closed": "right", "label": "right"},
    "cumulating": {"every": "3i", "cumulate": "9i"},
}
AGGREGATES = {
    "n": pl.len(),
    "sum": pl.col("qty").cast(pl.Int128).sum(),
    "last": pl.col("item").last(),
    "prices": pl.col("price").n_unique(),
    "sorted": pl.col("qty").sort(),
}


@pytest.fixture(autouse=True)
def _little_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are in no window are forgotten at once, and panes rest."""
    monkeypatch.setattr(window, "_KEYS_PER_GROUP", 1)
    monkeypatch.setattr(window, "_SPARE_KEYS", 0)
    monkeypatch.setattr(blocks, "_TABLES_BYTES_MAX", 0)


def windows(
    windows: str, names: list[str], *, by: tuple[str, ...], emission: Any, lateness: int, retractable: bool
) -> WindowOperator:
    exprs = parse_aggregates([], {name: AGGREGATES[name] for name in names}, SCHEMA, (), where="agg")
    aggregation = split_aggregates(exprs, SCHEMA, where="agg", taken_back=retractable)
    setup = WindowSetup(
        rule=window_rule(EventTime("at", pl.Int64()), where="windows", **WINDOWS[windows]),
        key=pl.Schema({f"{name} of": SCHEMA[name] for name in by}),
        key_columns=by,
        aggregation=aggregation,
        emission=emission,
        lateness=lateness,
        retractable=retractable,
    )
    return WindowOperator(setup, RefusalPolicy("dead_letter", ["s"]))


@pytest.mark.parametrize("kind", WINDOWS)
@settings(max_examples=examples(10))
@given(
    seed=hs.integers(0, 2**32),
    by=hs.sampled_from([("user", "odd"), ("user",), ()]),
    names=hs.lists(hs.sampled_from(sorted(AGGREGATES)), min_size=1, max_size=3, unique=True),
    emission=hs.sampled_from(["on_close", "changes", 5_000_000]),
    lateness=hs.sampled_from([0, 12]),
    retractable=hs.booleans(),
)
def test_windows_go_on(
    kind: str,
    seed: int,
    by: tuple[str, ...],
    names: list[str],
    emission: Any,
    lateness: int,
    retractable: bool,
) -> None:
    make = partial(windows, kind, names, by=by, emission=emission, lateness=lateness, retractable=retractable)
    steps = stream(Random(seed), behind=True, positions=True, weights=retractable)
    check_resumed(make, steps, Random(seed))
    if by:
        check_rescaled(make, [pl.Schema({name: SCHEMA[name] for name in by})], steps, Random(seed))
