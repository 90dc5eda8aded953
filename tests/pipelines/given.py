"""The input of a golden pipeline."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from queue import Queue
from typing import Any

import polars as pl

import streame as st
from streame.core.clock import ManualClock
from streame.core.deadletters import OnError
from streame.core.durations import duration_us

Event = tuple[str, pl.DataFrame] | str
"""Rows of a split; or a time that passes on the wall clock while nothing comes, such as `"30s"`."""


@dataclass(frozen=True)
class Given:
    """The rows of one source.

    Args:
        rows: a frame; Python rows of which some may be bad; or events, one after the other.
        schema: the columns of Python rows.
        on_error: what happens to bad rows.
        required: columns that may not be null.
        endless: whether the pipeline is built as if the source never ended.
        time: what is said of event time: `event_time`, `watermark` and `idle_timeout`.
    """

    rows: pl.DataFrame | Sequence[Any]
    schema: Mapping[str, Any] | None = None
    on_error: OnError = "fail"
    required: Sequence[str] = ()
    endless: bool = False
    time: Mapping[str, Any] = field(default_factory=dict)

    @property
    def splits(self) -> list[str]:
        """The names of the splits, where events say so."""
        return sorted({event[0] for event in self.rows if self.has_events and not isinstance(event, str)})

    @property
    def has_events(self) -> bool:
        """Whether the rows are events."""
        return not isinstance(self.rows, pl.DataFrame) and isinstance(self.rows[0], tuple | str)

    def scan(
        self, name: str, cuts: Sequence[int], clock: ManualClock, *, again: bool = False
    ) -> st.StreamDataFrame:
        """The source, with its rows cut into batches of these sizes in turn (Python rows come as they are).

        Args:
            name: of the source.
            cuts: the sizes.
            clock: what events move.
            again: whether it must be possible to read it from somewhere in the middle.
        """
        bad: dict[str, Any] = {"on_error": self.on_error, "required": self.required, "name": name}
        if self.has_events:
            return st.scan(
                Events(self.steps(cuts), self.splits, clock), name=name, on_error=self.on_error, **self.time
            )
        if self.endless:
            assert isinstance(self.rows, pl.DataFrame)
            if again:
                return st.scan(Endless(self.rows, cuts), name=name, on_error=self.on_error, **self.time)
            queue: Queue[Any] = Queue()
            for row in (*self.rows.rows(named=True), st.END):
                queue.put(row)
            return st.scan_queue(queue, self.rows.schema, **bad, **self.time)
        if isinstance(self.rows, pl.DataFrame):
            frames = [rows for _, rows in self.steps(cuts)]
            return st.scan_frames(frames, schema=self.rows.schema, **bad, **self.time)
        assert self.schema is not None
        return st.scan_rows(self.rows, self.schema, **bad, **self.time)

    def steps(self, cuts: Sequence[int]) -> list[Any]:
        """What comes, one after the other: the split or `None` and the rows, in batches of these sizes in turn."""
        if not self.has_events:
            return [(None, rows) for rows in _cut(self.rows, cuts)]
        steps: list[Any] = []
        for event in self.rows:
            steps += (
                [event] if isinstance(event, str) else [(event[0], rows) for rows in _cut(event[1], cuts)]
            )
        return steps


def _cut(rows: Any, cuts: Sequence[int]) -> list[Any]:
    batches: list[Any] = []
    at = 0
    while at < len(rows):
        size = cuts[len(batches) % len(cuts)]
        batches.append(rows[at : at + size])
        at += size
    return batches


class Endless(st.Source):
    """Rows that end, of a source that does not say so; an offset is the number of a row."""

    bounded = False
    one_split = True

    def __init__(self, rows: pl.DataFrame, cuts: Sequence[int]) -> None:
        self._rows = rows
        self._cuts = cuts

    def schema(self) -> pl.Schema:
        return self._rows.schema

    def splits(self) -> list[str]:
        return ["rows"]

    def read(self, split: str, offset: Any) -> Iterator[st.Chunk | None]:
        at = int(offset or 0)
        for frame in _cut(self._rows[at:], self._cuts):
            at += frame.height
            yield st.Chunk(frame, at)


class Events(st.Source):
    """Splits that give their rows in turn, as a script says, and a clock that moves when it says so."""

    bounded = True
    together = True

    def __init__(self, steps: Sequence[Event], splits: Sequence[str], clock: ManualClock) -> None:
        self._steps = steps
        self._splits = splits
        self._clock = clock
        self._schema = next(step[1].schema for step in steps if not isinstance(step, str))

    def schema(self) -> pl.Schema:
        return self._schema

    def splits(self) -> list[str]:
        self._done = self._asked = 0
        return list(self._splits)

    def read(self, split: str, offset: Any) -> Iterator[st.Chunk | None]:
        self._done = max(self._done, int(offset or 0))  # nobody is asked for rows before all have been opened
        return self._steps_of(split)

    def _steps_of(self, split: str) -> Iterator[st.Chunk | None]:
        while self._done < len(self._steps):
            step = self._steps[self._done]
            if isinstance(step, str):
                if not self._has_passed(step):
                    yield None
            elif step[0] == split:
                self._done += 1
                yield st.Chunk(step[1], self._done)
            else:
                yield None

    def _has_passed(self, duration: str) -> bool:
        """Let time pass after every split has been asked once, and go on after every one has been asked again."""
        self._asked += 1
        if self._asked == len(self._splits) + 1:
            self._clock.advance(timedelta(microseconds=duration_us(duration, where="given")))
        if self._asked <= 2 * len(self._splits):
            return False
        self._done, self._asked = self._done + 1, 0
        return True
