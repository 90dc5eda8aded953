"""How the property tests play a timed stream: dealt out to splits, in disorder, cut into batches, in any turn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

import polars as pl
from hypothesis import note
from hypothesis import strategies as hst

import streame as st
from streame.core.durations import duration_ticks
from streame.core.time import EventTime
from streame.plan.nodes import Stateful
from streame.testing import Driver, strategies

TIME = "at"


def duration(dtype: pl.DataType, steps: int) -> str:
    """Some steps of `timed_frames` as users write them: seconds, days, ticks."""
    return f"{steps}{'i' if dtype.is_integer() else 'd' if dtype == pl.Date else 's'}"


def ticks(dtype: pl.DataType, steps: int) -> int:
    """The same in ticks of the dtype."""
    return duration_ticks(duration(dtype, steps), EventTime(TIME, dtype), where="test")


@dataclass
class Split:
    """The rows of one split.

    Args:
        name: its name.
        cuts: the batches that are still to come.
        taken: the rows so far that are not late.
        late: the others.
        seen: for each row that is not late its time, or the watermark before it, in ticks.
        reached: the largest time so far, in ticks.
    """

    name: str
    cuts: list[pl.DataFrame]
    taken: pl.DataFrame
    late: pl.DataFrame
    seen: list[int] = field(default_factory=list)
    reached: int | None = None

    def take(self, delay: int, lateness: int) -> pl.DataFrame:
        """The next batch; a row is late that is more than `lateness` ticks older than the watermark before it."""
        cut = self.cuts.pop(0)
        is_late = []
        for tick in cut[TIME].to_physical():
            mark = tick if self.reached is None else self.reached - delay
            is_late.append(tick < mark - lateness)
            if not is_late[-1]:
                self.seen.append(max(tick, mark))
            self.reached = tick if self.reached is None else max(tick, self.reached)
        mask = pl.Series(is_late, dtype=pl.Boolean)
        self.taken = pl.concat([self.taken, cut.filter(~mask)])
        self.late = pl.concat([self.late, cut.filter(mask)])
        return cut


@dataclass
class Played:
    """What came of a stream.

    Args:
        splits: its splits.
        delay: how late rows may be, in ticks.
        said: what came out so far.
        late: late rows that came out so far.
        ended: whether all of it has been played.
    """

    splits: list[Split]
    delay: int
    said: list[pl.DataFrame] = field(default_factory=list)
    late: list[pl.DataFrame] = field(default_factory=list)
    ended: bool = False

    @property
    def taken(self) -> pl.DataFrame:
        """The rows so far, in the order that answers go by: splits by name, then by time."""
        return pl.concat([split.taken for split in self.splits]).sort(TIME, maintain_order=True)

    @property
    def seen(self) -> pl.Series:
        """For each of the rows so far when it was seen, in ticks."""
        moments = [moment for split in self.splits for moment in split.seen]
        times = pl.concat([split.taken for split in self.splits])[TIME]
        return pl.DataFrame([times, pl.Series("seen", moments, dtype=pl.Int64)]).sort(
            TIME, maintain_order=True
        )["seen"]

    @property
    def too_late(self) -> pl.DataFrame:
        """The rows so far that are late."""
        return pl.concat([split.late for split in self.splits])

    @property
    def watermark(self) -> int | None:
        """How far the stream has come, in ticks; `None` where that is not known."""
        reached = [split.reached for split in self.splits if split.cuts]
        known = [each - self.delay for each in reached if each is not None]
        return min(known) if known and len(known) == len(reached) else None

    def frame(self, schema: pl.Schema) -> pl.DataFrame:
        """All that came out."""
        return pl.concat([pl.DataFrame(schema=schema), *self.said])


def play(
    data: hst.DataObject,
    verb: Callable[[st.StreamDataFrame], st.StreamDataFrame],
    rows: pl.DataFrame,
    delay: int,
    *,
    disorder: int | None = None,
    lateness: int = 0,
    hands: Sequence[int] = (1, 1, 2),
) -> Iterator[Played]:
    """Play rows to a verb; yields after every batch, and at the end.

    Args:
        data: draws how.
        verb: makes the pipeline.
        rows: the rows; `TIME` is when they happened.
        delay: how late rows may be, in steps.
        disorder: how late they are at most, in steps; as late as they may be by default.
        lateness: how much later they still count, in ticks.
        hands: how many splits there may be.
    """
    dtype = rows.schema[TIME]
    most = duration(dtype, delay if disorder is None else disorder)
    parts = data.draw(strategies.dealt(rows, data.draw(hst.sampled_from(hands), label="splits")))
    splits = []
    for number, part in enumerate(parts):
        cuts = data.draw(strategies.batch_cuts(data.draw(strategies.disordered(part, TIME, most))))
        splits.append(Split(f"split{number}", cuts, part.clear(), part.clear()))
    turns = data.draw(hst.permutations([split for split in splits for _ in split.cuts]))
    late = duration(dtype, delay)
    source = st.scan_frames([], schema=rows.schema, name="rows", event_time=TIME, watermark=late)
    frame = verb(source)
    sinks = [frame.sink_queue(_queue(), name="out")]
    has_late = isinstance(frame.node, Stateful) and frame.node.late_schema is not None
    if has_late:
        sinks.append(frame.late.sink_queue(_queue(), name="late"))
    job = st.job(sinks)
    parallelism = data.draw(hst.sampled_from([1, 2, 3]), label="parallelism")
    played = Played(splits, ticks(dtype, delay))
    with Driver(job, parallelism=parallelism, splits={"rows": [split.name for split in splits]}) as driver:
        for split in turns:
            cut = split.take(ticks(dtype, delay), lateness)
            note(f"{split.name}: {cut.rows()}")
            driver.push(cut, split=split.name)
            if not split.cuts:
                driver.end("rows", split=split.name)
            played.said += driver.take("sink out")
            played.late += driver.take("sink late") if has_late else []
            yield played
    played.said += driver.take("sink out")
    played.late += driver.take("sink late") if has_late else []
    played.ended = True
    yield played


def _queue() -> "SimpleQueue[object]":
    return SimpleQueue()
