"""Rows that wait for their table row: whatever comes in which order and when, the rule of `wait` holds row by row."""

from collections import Counter
from dataclasses import dataclass, field
from queue import Queue
from typing import Any

import polars as pl
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as hst

import streame as st
from streame.testing import Driver
from tests.examples import examples

pytestmark = pytest.mark.timeout(600)

Event = tuple[str, Any]
"""Rows for `stream` or `table`, or seconds to `advance`."""

KEYS = hst.sampled_from([None, 1, 2, 3])
ROWS = hst.lists(hst.tuples(KEYS, hst.integers(0, 99)), max_size=4)
EVENTS: hst.SearchStrategy[list[Event]] = hst.lists(
    hst.one_of(
        hst.tuples(hst.just("stream"), ROWS),
        hst.tuples(hst.just("table"), ROWS),
        hst.tuples(hst.just("advance"), hst.integers(0, 8)),
    ),
    max_size=12,
)


@dataclass
class Model:
    """The rule, one row at a time."""

    wait_s: int | None
    left: bool
    now_s: int = 0
    table: dict[int, int] = field(default_factory=dict)
    waiting: list[tuple[int, int, int | None]] = field(default_factory=list)
    out: Counter[tuple[Any, ...]] = field(default_factory=Counter)

    def take(self, event: Event) -> None:
        match event:
            case ("advance", seconds):
                self.now_s += seconds
                self._expire()
            case ("stream", rows):
                for key, value in rows:
                    self._stream_row(key, value)
            case ("table", rows):
                for key, value in rows:
                    self._table_row(key, value)

    def end(self) -> None:
        """The table ends: nothing waits any more."""
        for key, value, _ in self.waiting:
            self._alone(key, value)

    def _stream_row(self, key: int | None, value: int) -> None:
        if key is not None and key in self.table:
            self.out[key, value, self.table[key]] += 1
        elif key is None or self.wait_s == 0:
            self._alone(key, value)
        else:
            self.waiting.append((key, value, None if self.wait_s is None else self.now_s + self.wait_s))

    def _table_row(self, key: int | None, value: int) -> None:
        if key is None:
            return
        for waiting in [each for each in self.waiting if each[0] == key]:
            self.waiting.remove(waiting)
            self.out[key, waiting[1], value] += 1
        self.table[key] = value

    def _expire(self) -> None:
        for waiting in [each for each in self.waiting if each[2] is not None and each[2] <= self.now_s]:
            self.waiting.remove(waiting)
            self._alone(waiting[0], waiting[1])

    def _alone(self, key: int | None, value: int) -> None:
        if self.left:
            self.out[key, value, None] += 1


@given(EVENTS, hst.sampled_from([0, 1, 5, None]), hst.booleans(), hst.sampled_from([1, 3]))
@settings(max_examples=examples(60))
def test_every_row_waits_as_the_rule_says(
    events: list[Event], wait_s: int | None, left: bool, parallelism: int
) -> None:
    schema = {"k": pl.Int64, "v": pl.Int64}
    table = st.scan_queue(Queue(), schema, name="table").as_table("k")
    stream = st.scan_queue(Queue(), schema, name="stream")
    wait = None if wait_s is None else f"{wait_s}s"
    model = Model(wait_s, left)
    found: Counter[tuple[Any, ...]] = Counter()
    driver = Driver(
        stream.join(table, on="k", how="left" if left else "inner", wait=wait), parallelism=parallelism
    )
    for event in events:
        model.take(event)
        match event:
            case ("advance", seconds):
                driver.advance(f"{seconds}s")
            case (name, rows):
                driver.push(pl.DataFrame(rows, schema=schema, orient="row"), to=name)
        found += _rows(driver)
        note(f"after {event}")
        assert found == model.out
    driver.end("table")
    model.end()
    found += _rows(driver)
    assert found == model.out
    driver.close()
    assert driver.take() == []


def _rows(driver: Driver) -> Counter[tuple[Any, ...]]:
    return Counter(row for frame in driver.take() for row in frame.rows())
