"""A split is idle when it was asked for long and gave nothing, and never because others took their time."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import polars as pl

import streame as st
from streame.core.clock import ManualClock
from streame.core.messages import SplitStatus
from streame.runtime.split_reader import DISCOVERY_INTERVAL_US, SplitReader

SECOND_US = 1_000_000
Item = int | None | Callable[[], int | None]


class Script(st.Source):
    """Gives per split what a test wrote down: rows, `None` for nothing, or what a call returns; then nothing more."""

    together = True

    def __init__(
        self, splits: dict[str, Sequence[Item]], *, bounded: bool = False, grows: bool = False
    ) -> None:
        self.bounded = bounded
        self.grows = grows
        self.items = {split: deque(items) for split, items in splits.items()}

    def schema(self) -> pl.Schema:
        return pl.Schema({"n": pl.Int64()})

    def splits(self) -> Sequence[str]:
        return list(self.items)

    def read(self, split: str, offset: object) -> Iterator[st.Chunk | None]:
        items = self.items[split]
        while items or not self.bounded:
            item = items.popleft() if items else None
            count = item() if callable(item) else item
            yield None if count is None else st.Chunk(pl.DataFrame({"n": range(count)}), None)


class Bench:
    """A reader and its user, on a clock of their own."""

    def __init__(
        self,
        splits: dict[str, Sequence[Item]],
        *timeouts_s: int,
        bounded: bool = False,
        grows: bool = False,
    ) -> None:
        self.clock = ManualClock()
        self.source = Script(splits, bounded=bounded, grows=grows)
        timeouts_us = [timeout * SECOND_US for timeout in timeouts_s]
        self.reader = SplitReader("s", self.source, self.clock, timeouts_us)

    def pause(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def round(self, *, busy_s: int = 0) -> list[str]:
        """What comes in one round, each thing keeping its user busy for a while."""
        said = []
        for item in self.reader.round():
            if isinstance(item, SplitStatus):
                after = "" if item.after_us is None else f" {item.after_us // SECOND_US}s"
                said.append(f"{item.split[1]} {item.state}{after}")
            else:
                said.append(f"{item[0]} {item[1].frame.height} rows")
            self.pause(busy_s)
        return said


def test_splits_are_said_before_their_rows() -> None:
    bench = Bench({"a": [2], "b": []}, 30, bounded=True)
    assert bench.round() == ["a open", "b open", "a 2 rows", "b ended"]
    assert bench.round() == ["a ended"]
    assert bench.reader.ended


def test_a_source_without_splits_says_so() -> None:
    assert Bench({}, 30, bounded=True).round() == [" ended"]
    bench = Bench({}, 30, grows=True)
    assert bench.round() == [" ended"]
    bench.clock.advance(timedelta(microseconds=DISCOVERY_INTERVAL_US))
    bench.source.items["a"] = deque([1])
    assert bench.round() == ["a open", "a 1 rows"]


def test_a_source_that_grows_is_idle_while_it_has_no_split() -> None:
    bench = Bench({}, 30, grows=True)
    assert bench.round() == [" ended"]
    bench.pause(29)
    assert bench.round() == []
    bench.pause(1)
    assert bench.round() == [" idle 30s"]
    assert bench.round() == []
    bench.source.items["a"] = deque([1])
    bench.source.bounded = True
    bench.pause(1)
    assert bench.round() == ["a open", "a 1 rows"]
    bench.pause(40)
    assert bench.round() == ["a ended"]
    bench.pause(29)
    assert bench.round() == []
    bench.pause(1)
    assert bench.round() == [" idle 30s"]


def test_a_split_that_is_asked_in_vain_becomes_idle_once() -> None:
    bench = Bench({"a": [1], "b": []}, 30)
    assert bench.round() == ["a open", "b open", "a 1 rows"]
    bench.pause(29)
    assert bench.round() == []
    bench.pause(1)
    assert bench.round() == ["b idle 30s"]
    bench.pause(29)
    assert bench.round() == ["a idle 30s"]
    bench.pause(100)
    assert bench.round() == []


def test_rows_begin_the_time_anew() -> None:
    bench = Bench({"a": [None, None, 3, None, None, 1]}, 30)
    bench.round()
    bench.pause(30)
    assert bench.round() == ["a idle 30s"]
    assert bench.round() == ["a 3 rows"]
    assert bench.round() == []
    bench.pause(30)
    assert bench.round() == ["a idle 30s"]
    assert bench.round() == ["a 1 rows"]


def test_each_who_asks_has_a_timeout_of_its_own() -> None:
    bench = Bench({"a": []}, 60, 10)
    bench.round()
    bench.pause(10)
    assert bench.round() == ["a idle 10s"]
    bench.pause(49)
    assert bench.round() == []
    bench.pause(1)
    assert bench.round() == ["a idle 60s"]
    late = Bench({"a": []}, 60, 10)
    late.round()
    late.pause(100)
    assert late.round() == ["a idle 10s", "a idle 60s"]


def test_nobody_asks_nothing_is_idle() -> None:
    bench = Bench({"a": []})
    bench.round()
    bench.pause(10_000)
    assert bench.round() == []


def test_back_pressure_is_no_silence() -> None:
    bench = Bench({"a": [1] * 50, "b": []}, 30)
    for _ in range(50):
        assert "b idle 30s" not in bench.round(busy_s=20)
    bench.pause(29)
    assert bench.round() == []
    bench.pause(1)
    assert bench.round() == ["b idle 30s"]


def test_reading_another_split_is_no_silence() -> None:
    bench = Bench({"b": []}, 30)

    def slow() -> int:
        bench.pause(40)
        return 1

    bench.source.items["a"] = deque([slow] * 5)
    for _ in range(5):
        assert not [said for said in bench.round() if "idle" in said]


def test_looking_for_splits_is_no_silence() -> None:
    bench = Bench({"a": []}, 30, grows=True)
    bench.round()
    listed = bench.source.splits

    def slow_splits() -> Sequence[str]:
        bench.pause(40)
        return listed()

    bench.source.splits = slow_splits  # type: ignore[method-assign]
    bench.pause(1)
    assert bench.round() == []


def test_waiting_for_a_split_is_silence() -> None:
    bench = Bench({"b": []}, 30)

    def nothing() -> None:
        bench.pause(10)

    bench.source.items["a"] = deque([nothing] * 9)
    assert [bench.round() for _ in range(5)] == [
        ["b open", "a open"],
        [],
        [],
        ["b idle 30s", "a idle 30s"],
        [],
    ]
