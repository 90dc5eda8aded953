"""Late rows are exactly those of the rule, whatever the cuts, the splits and the parallelism; the others count."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hst

import streame as st
from streame.core.config import Config
from streame.io.memory import MemorySink
from streame.plan.lower import lower
from streame.plan.nodes import Write
from streame.plan.optimizer import optimize
from streame.runtime.local import LocalRun
from tests.examples import examples
from tests.plans.prelude import Splits, asof, counted, difference, first_within, interval, numbered
from tests.plans.prelude import number as number_rows

pytestmark = pytest.mark.timeout(600)

SCHEMA = {"at": pl.Int64(), "k": pl.String(), "v": pl.Int64()}
Frame = st.StreamDataFrame


@dataclass(frozen=True)
class Given:
    """The rows of a source, split by split, and how late they may be."""

    splits: list[list[tuple[int, str | None]]]
    delay: int
    cuts: list[int]

    def rows(self) -> list[tuple[int, str | None, int, int | None]]:
        """All rows in the order that the oracle is given, each with the watermark that its split had reached."""
        found: list[tuple[int, str | None, int, int | None]] = []
        for split in self.splits:
            reached: int | None = None
            for at, key in split:
                found.append((at, key, len(found), None if reached is None else reached - self.delay))
                reached = at if reached is None else max(reached, at)
        return sorted(found, key=lambda row: row[0])

    def frame(self) -> pl.DataFrame:
        """The rows, with the watermark in a column `mark`."""
        return pl.DataFrame(self.rows(), {**SCHEMA, "mark": pl.Int64()}, orient="row")

    def scan(self, name: str) -> Frame:
        """The source."""
        count, splits = 0, []
        for split in self.splits:
            rows = [(at, key, count + place) for place, (at, key) in enumerate(split)]
            splits.append(pl.DataFrame(rows, SCHEMA, orient="row"))
            count += len(rows)
        return st.scan(Splits(splits, self.cuts, "plain"), name=name, event_time="at", watermark=self.delay)


ROWS = hst.lists(hst.tuples(hst.integers(0, 40), hst.sampled_from(["a", "b", None])), max_size=12)
GIVEN = hst.builds(
    Given,
    hst.lists(ROWS, min_size=1, max_size=3),
    hst.sampled_from([0, 3, 10]),
    hst.lists(hst.integers(1, 5), min_size=1, max_size=3),
)


def run(frame: Frame, parallelism: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What a verb gives, and its late rows; a negative parallelism is that of a cluster, with as many readers."""
    sinks = {"rows": MemorySink(folds=frame.node.is_changes), "late": MemorySink()}
    writes = [
        Write(frame.node, lambda: sinks["rows"], "rows"),
        Write(frame.late.node, lambda: sinks["late"], "late rows"),
    ]
    plan = [node for node in optimize(writes) if isinstance(node, Write)]
    job = LocalRun(lower(plan, Config(parallelism=abs(parallelism)), apart=parallelism < 0), Config())
    job.start()
    assert job.wait(20), "the job hangs"
    return sinks["rows"].frame(), sinks["late"].frame()


def same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    differs = difference(found, expected)
    assert not differs, differs


AGGS = {"n": pl.len(), "v": pl.col("v").sum(), "first": pl.col("v").first()}


@dataclass(frozen=True)
class Windows:
    """Some windows and their definition."""

    every: int
    period: int
    offset: int
    closed: Any
    lateness: int
    emit: str

    def stream(self, frame: Frame) -> Frame:
        return frame.group_by_dynamic(
            "at",
            every=f"{self.every}i",
            period=f"{self.period}i",
            offset=f"{self.offset}i",
            closed=self.closed,
            group_by="k",
            lateness=self.lateness,
            emit=self.emit,
        ).agg(**AGGS)

    def definition(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Every row in each of its windows that had not ended; and the rows that had windows, but none of these."""
        pairs, late = [], []
        for at, key, v, mark in rows.rows():
            starts = range(
                (at - self.offset) // self.every * self.every + self.offset, at - self.period - 1, -self.every
            )
            windows = [start for start in starts if self._holds(start, at)]
            still = [start for start in windows if mark is None or not self._ended(start, mark)]
            pairs += [(key, start, at, v) for start in still]
            late += [(at, key, v)] if windows and not still else []
        frame = pl.DataFrame(
            pairs, {"k": pl.String(), "at": pl.Int64(), "__time": pl.Int64(), "v": pl.Int64()}, orient="row"
        )
        groups = frame.sort("__time", maintain_order=True).group_by("k", "at")
        return groups.agg(**AGGS), pl.DataFrame(late, SCHEMA, orient="row")

    def _holds(self, start: int, at: int) -> bool:
        after = at >= start if self.closed in {"left", "both"} else at > start
        end = start + self.period
        return after and (at <= end if self.closed in {"right", "both"} else at < end)

    def _ended(self, start: int, mark: int) -> bool:
        end = start + self.period + self.lateness
        return mark > end if self.closed in {"right", "both"} else mark >= end


WINDOWS = hst.builds(
    Windows,
    every=hst.sampled_from([4, 10]),
    period=hst.sampled_from([3, 4, 10, 17]),
    offset=hst.sampled_from([0, 1]),
    closed=hst.sampled_from(["left", "right", "both", "none"]),
    lateness=hst.sampled_from([0, 0, 6]),
    emit=hst.sampled_from(["on_close", "on_close", "changes", "1s"]),
)


@given(GIVEN, WINDOWS, hst.sampled_from([1, 2, 3, -2, -3]))
@settings(max_examples=examples(60))
def test_windows(source: Given, windows: Windows, parallelism: int) -> None:
    expected, expected_late = windows.definition(source.frame())
    found, late = run(windows.stream(source.scan("s")), parallelism)
    same(late, expected_late)
    same(found, expected)


def by_time(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that are not behind the watermark of their split, and those that are."""
    behind = (pl.col("at") < pl.col("mark")).fill_null(value=False)
    return rows.filter(~behind).drop("mark"), rows.filter(behind).drop("mark")


Verb = tuple[Callable[[Frame], Frame], Callable[[pl.DataFrame], pl.DataFrame]]

LISTED = [value.alias(name) for name, value in AGGS.items()]
NUMBERED = {"number": pl.Int64(), **SCHEMA}

VERBS: dict[str, Verb] = {
    "counts": (
        lambda frame: frame.group_by_count(2, group_by="k").agg(**AGGS),
        lambda rows: counted(rows, 2, "at", ["k"], LISTED),
    ),
    "unique": (
        lambda frame: frame.unique("k"),
        lambda rows: rows.unique("k", keep="first", maintain_order=True),
    ),
    "unique within": (
        lambda frame: frame.unique("k", within=5),
        lambda rows: first_within(rows, "at", ["k"], "5i"),
    ),
    "map_with_state": (
        lambda frame: frame.group_by("k").map_with_state(number_rows, state=0, schema=NUMBERED, ttl=None),
        lambda rows: numbered(rows, ["k"]),
    ),
}


@pytest.mark.parametrize("name", VERBS)
@given(GIVEN, hst.sampled_from([1, 2, 3, -2, -3]))
@settings(max_examples=examples(16))
def test_verbs_of_one_input(name: str, source: Given, parallelism: int) -> None:
    stream, polars = VERBS[name]
    on_time, expected_late = by_time(source.frame())
    found, late = run(stream(source.scan("s")), parallelism)
    same(late, expected_late)
    same(found, polars(on_time))


@given(GIVEN, GIVEN, hst.sampled_from(["inner", "left", "full"]), hst.sampled_from([1, 3, -3]))
@settings(max_examples=examples(24))
def test_interval_joins(one: Given, other: Given, how: Any, parallelism: int) -> None:
    joined = one.scan("one").join_interval(
        other.scan("other"), on="k", how=how, lower="-3i", upper="6i", suffix="_0"
    )
    left, late_left = by_time(one.frame())
    right, late_right = by_time(other.frame())
    found, late = run(joined, parallelism)
    sides = late.select(*SCHEMA), late.select(pl.col(f"{name}_right").alias(name) for name in SCHEMA)
    for side, expected in zip(sides, (late_left, late_right), strict=True):
        same(side.drop_nulls("v"), expected)  # beside nulls of the other side
    same(found, interval(left, right, ("at", "at"), ["k"], how, "-3i", "6i", suffix="_0"))


@given(GIVEN, GIVEN, hst.sampled_from(["backward", "forward", "nearest"]), hst.sampled_from([1, 3, -3]))
@settings(max_examples=examples(24))
def test_asof_joins(one: Given, other: Given, strategy: Any, parallelism: int) -> None:
    joined = one.scan("one").join_asof(
        other.scan("other"), on="at", by="k", strategy=strategy, tolerance=8, suffix="_0"
    )
    left, _ = by_time(one.frame())
    right, _ = by_time(other.frame())
    found, _ = run(joined, parallelism)
    same(
        found,
        asof(left, right, ("at", "at"), on="at", by="k", strategy=strategy, tolerance="8i", suffix="_0"),
    )
