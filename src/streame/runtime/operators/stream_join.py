"""Stream join: every row of one stream meets all rows of its key of the other, whenever they come."""

from typing import NamedTuple, Self

import numpy as np
import polars as pl

from streame.core.hidden import WEIGHT
from streame.core.joining import JoinColumns, JoinHow, JoinKeys
from streame.core.messages import Batch
from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MAX, Mask, Ticks
from streame.runtime.joining import LEFT, RIGHT, Intake, JoinSide, rows_where, send, shared_keys, shifted
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.state.index import KeyIndex, Slots
from streame.state.keyed_rows import KeyedRows
from streame.state.multimap import Matches
from streame.state.rows import RowNumbers, rows_at
from streame.state.snapshot import Mine


class _Delta(NamedTuple):
    """How the rows of one side change.

    Args:
        slots: the slot of each row's key.
        times: the time of each row; 0 where times do not count.
        rows: the rows.
        weights: how many more of each row there are, or how many fewer.
        numbers: where each row is kept already; -1 where it is new.
    """

    slots: Slots
    times: Ticks
    rows: pl.DataFrame
    weights: RowNumbers
    numbers: RowNumbers

    def where(self, mask: Mask) -> "_Delta":
        """The rows for which a mask is true."""
        if mask.all():
            return self
        rows = rows_where(self.rows, mask)
        return _Delta(self.slots[mask], self.times[mask], rows, self.weights[mask], self.numbers[mask])


class StreamJoinOperator(Operator):
    """Joins all rows of equal keys; what is said of a row that had no match is taken back when one comes.

    Weights multiply: a row that is taken back takes back what it was joined with. Of a changes stream equal rows
    are kept once, with their weight. With a time to live in event time, rows meet only if their times differ by no
    more than that, so that the answer does not depend on when they come; one by the wall clock counts from when a
    row came. What was said of a row that has been forgotten stands.

    Args:
        left: the left side; without event time where `ttl` does not go by it.
        right: the right side, the same.
        keys: what must be equal.
        columns: what comes out.
        how: which rows come out.
        changes: for each side whether it is a changes stream.
        ttl: how long a row is kept: in the join's unit of event time, or in microseconds; `None` for ever.
    """

    SAVED = ("_stores", "_intake", "_keys", "_ended")

    def __init__(
        self,
        left: JoinSide,
        right: JoinSide,
        *,
        keys: JoinKeys,
        columns: JoinColumns,
        how: JoinHow,
        changes: tuple[bool, bool] = (False, False),
        ttl: int | None,
    ) -> None:
        self._sides = (left, right)
        self._stores = (
            KeyedRows(left.kept_schema, by_content=changes[LEFT]),
            KeyedRows(right.kept_schema, by_content=changes[RIGHT]),
        )
        self._intake = Intake(self._sides, keys)
        self._keys = shared_keys(keys, self._stores)
        self._columns = columns
        self._how = how
        # Whether what is said of a side's rows depends on how many matches they have.
        self._counts_matches = (how in {"left", "full", "semi", "anti"}, how in {"right", "full"})
        self._changes = changes
        self._weighted = any(changes) or how != "inner"
        self._ttl = ttl
        self._by_event_time = left.time is not None
        self._unit = left.unit
        self._ended = [False, False]

    def open(self, context: OperatorContext) -> None:
        """Remember the clock and the timer."""
        self._context = context

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Put out what the rows change, and keep them for those that come."""
        arrived = self._intake.take(port, batch.frame, out)
        if self._counts_matches[port] and self._how != "semi":
            rows, weights = self._rows(port, arrived.alone)
            self._send_alone(port, rows, weights, out)
        if arrived.frame.height:
            rows, weights = self._rows(port, arrived.frame)
            delta = self._delta(port, self._keys.slots(arrived.keys), arrived.times, rows, weights)
            self._change(port, delta, out)
            self._keys.settle()
            self._set_timer()

    def on_watermark(self, time: int, out: Collector) -> None:
        """Forget the rows whose time is over."""
        if not self._by_event_time:
            # Without a bound in event time the oldest row may come out at any moment.
            if time == WATERMARK_MAX:
                out.watermark(time)
            return
        assert self._ttl is not None
        watermark = time if time == WATERMARK_MAX else time // self._unit
        self._intake.watermark = max(self._intake.watermark, watermark)
        self._expire(watermark)
        out.watermark(time if time == WATERMARK_MAX else (watermark - self._ttl) * self._unit)

    def on_timer(self, time_us: int, out: Collector) -> None:
        """Forget the rows whose time is over."""
        self._expire(time_us)
        self._set_timer()

    def on_end(self, port: int, out: Collector) -> None:
        """Rows of the other side are kept for nothing any more, except to be taken back."""
        self._ended[port] = True
        if not self._changes[1 - port]:
            self._stores[1 - port].clear()
            self._keys.settle()

    def absorb(self, other: Self, mine: Mine) -> None:
        """See `Operator`."""
        self._keys.absorb(other._keys, mine)
        self._intake.watermark, self._ended = other._intake.watermark, list(other._ended)
        self._set_timer()

    def state_size(self) -> StateSize:
        """The rows of both sides."""
        return self._keys.size

    def _rows(self, port: int, frame: pl.DataFrame) -> tuple[pl.DataFrame, RowNumbers]:
        """What is kept of rows, and their weights."""
        rows = self._intake.rows(port, frame)
        return rows, frame[WEIGHT].to_numpy() if self._changes[port] else np.ones(frame.height, np.int64)

    def _expire(self, now: int) -> None:
        for store in self._stores:
            store.expire(now)
        self._keys.settle()

    def _set_timer(self) -> None:
        """Be called when the time of a row is over by the wall clock."""
        if self._ttl is not None and not self._by_event_time:
            ends = [end for store in self._stores if (end := store.least_deadline) is not None]
            self._context.set_timer(min(ends) + 1 if ends else None)

    def _delta(
        self, port: int, slots: Slots, times: Ticks, rows: pl.DataFrame, weights: RowNumbers
    ) -> _Delta:
        """What the rows of a batch change, equal ones counted together."""
        if not self._changes[port]:
            return _Delta(slots, times, rows, weights, np.full(rows.height, -1))
        content = rows.with_columns(__slot=pl.Series(slots), __time=pl.Series(times))
        same = KeyIndex(content.schema).slots(content)
        _, first = np.unique(same, return_index=True)
        sums = np.zeros(len(first), np.int64)
        np.add.at(sums, same, weights)
        slots, times, rows = slots[first], times[first], rows_at(rows, first)
        store = self._stores[port]
        numbers = store.locate(slots, times, rows)
        before = np.where(numbers >= 0, store.weights[numbers] if len(store) else 0, 0)
        # What was forgotten cannot be taken back.
        change = np.maximum(before + sums, 0) - before
        return _Delta(slots, times, rows, change, numbers).where(change != 0)

    def _change(self, port: int, delta: _Delta, out: Collector) -> None:
        """Put out what the change of one side means, what is taken back first, and keep it."""
        fewer, more = delta.where(delta.weights < 0), delta.where(delta.weights > 0)
        found_fewer, found_more = self._find(port, fewer), self._find(port, more)
        gained, lost = self._count_matches_of_others(port, ((fewer, found_fewer), (more, found_more)))
        matches = self._matches(port, fewer, found_fewer), self._matches(port, more, found_more)
        if self._how == "semi":
            gained, lost = lost, gained
        self._send_stored(1 - port, gained, -1, out)
        for part, found, count in ((fewer, found_fewer, matches[0]), (more, found_more, matches[1])):
            if self._how not in {"semi", "anti"}:
                self._send_pairs(port, part, found, out)
            if self._counts_matches[port]:
                said = count > 0 if self._how == "semi" else count == 0
                self._send_alone(port, rows_where(part.rows, said), part.weights[said], out)
        self._send_stored(1 - port, lost, 1, out)
        self._keep(port, fewer, matches[0])
        self._keep(port, more, matches[1])

    def _find(self, port: int, delta: _Delta) -> Matches:
        """The rows of the other side that belong to these."""
        if self._by_event_time:
            assert self._ttl is not None
            bounds = shifted(delta.times, -self._ttl), shifted(delta.times, self._ttl)
        else:
            bounds = delta.times, delta.times
        return self._stores[1 - port].find(delta.slots, *bounds)

    def _matches(self, port: int, delta: _Delta, found: Matches) -> RowNumbers:
        """How many rows of the other side belong to each of these, if that counts."""
        matches = np.zeros(delta.rows.height, np.int64)
        if self._counts_matches[port]:
            store = self._stores[1 - port]
            for probes, numbers in found:
                np.add.at(matches, probes, store.weights[numbers])
        return matches

    def _count_matches_of_others(
        self, port: int, parts: tuple[tuple[_Delta, Matches], ...]
    ) -> tuple[RowNumbers, RowNumbers]:
        """The kept rows of the other side that have matches now and had none, and those that have lost them all."""
        nothing = np.empty(0, np.int64)
        if not self._counts_matches[1 - port]:
            return nothing, nothing
        store = self._stores[1 - port]
        touched = [np.unique(numbers) for _, found in parts for _, numbers in found]
        rows = np.unique(np.concatenate(touched)) if touched else nothing
        before = store.matches[rows]
        for delta, found in parts:
            for probes, numbers in found:
                np.add.at(store.matches, numbers, delta.weights[probes])
        now = store.matches[rows]
        return rows[(before == 0) & (now > 0)], rows[(before > 0) & (now == 0)]

    def _keep(self, port: int, delta: _Delta, matches: RowNumbers) -> None:
        """Change what is kept of a side."""
        store = self._stores[port]
        kept = delta.numbers >= 0
        if kept.any():
            store.reweigh(delta.numbers[kept], delta.weights[kept])
        if self._ended[1 - port] and not self._changes[port]:
            return
        new = delta.where(~kept)
        deadlines = None
        if self._by_event_time:
            assert self._ttl is not None
            deadlines = shifted(new.times, self._ttl)
        elif self._ttl is not None:
            deadlines = np.full(new.rows.height, self._context.clock.now_us() + self._ttl)
        numbers = store.add(new.slots, new.times, new.rows, deadlines, new.weights)
        store.matches[numbers] = matches[~kept]

    def _send_pairs(self, port: int, delta: _Delta, found: Matches, out: Collector) -> None:
        """Put out rows with those of the other side that they are joined with."""
        store = self._stores[1 - port]
        for probes, numbers in found:
            sides = rows_at(delta.rows, probes), store.gather(numbers)
            left, right = sides if port == LEFT else sides[::-1]
            self._send(self._columns.frame(left, right), delta.weights[probes] * store.weights[numbers], out)

    def _send_stored(self, port: int, numbers: RowNumbers, sign: int, out: Collector) -> None:
        """Say, or take back, kept rows by themselves."""
        if len(numbers):
            store = self._stores[port]
            self._send_alone(port, store.gather(numbers), sign * store.weights[numbers], out)

    def _send_alone(self, port: int, rows: pl.DataFrame, weights: RowNumbers, out: Collector) -> None:
        """Put out rows of one side without a partner."""
        if rows.height:
            sides = (rows, None) if port == LEFT else (None, rows)
            self._send(self._columns.frame(*sides), weights, out)

    def _send(self, frame: pl.DataFrame, weights: RowNumbers, out: Collector) -> None:
        """Put out rows as often as their weights say."""
        if not self._weighted:
            send(frame, out)
            return
        copies = np.abs(weights)
        if (copies != 1).any():
            frame = rows_at(frame, np.repeat(np.arange(frame.height), copies))
            weights = np.repeat(weights, copies)
        send(frame.with_columns(pl.Series(WEIGHT, np.sign(weights))), out)
