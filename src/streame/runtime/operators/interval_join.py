"""Interval join: pair rows of two streams whose times lie within a bound."""

from typing import Self

import numpy as np
import polars as pl

from streame.core.joining import JoinColumns, JoinHow, JoinKeys
from streame.core.messages import Batch
from streame.core.metrics import StateSize
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, Mask
from streame.runtime.joining import (
    LEFT,
    RIGHT,
    Arrived,
    Intake,
    JoinSide,
    rows_where,
    send,
    shared_keys,
    shifted,
)
from streame.runtime.operator import Collector, Operator
from streame.state.keyed_rows import KeyedRows
from streame.state.multimap import Matches
from streame.state.rows import rows_at
from streame.state.snapshot import Mine


class IntervalJoinOperator(Operator):
    """Joins rows of equal keys whose times differ by no less than `lower` and no more than `upper`.

    A pair comes out as soon as both its rows are there. A row without a match, where such rows count, comes out
    when the watermark says that none can come. A row is forgotten as soon as it can match nothing more.

    Args:
        left: the left side.
        right: the right side.
        keys: what must be equal.
        columns: what comes out.
        how: which rows come out.
        lower: the least difference of the right row's time from the left row's, in the join's unit.
        upper: the largest difference.
    """

    SAVED = ("_stores", "_intake", "_keys", "_reached")

    def __init__(
        self,
        left: JoinSide,
        right: JoinSide,
        *,
        keys: JoinKeys,
        columns: JoinColumns,
        how: JoinHow,
        lower: int,
        upper: int,
    ) -> None:
        self._sides = (left, right)
        self._stores = (KeyedRows(left.kept_schema), KeyedRows(right.kept_schema))
        self._intake = Intake(self._sides, keys)
        self._keys = shared_keys(keys, self._stores)
        self._columns = columns
        self._how = how
        self._keeps_unmatched = (how in {"left", "full", "anti"}, how in {"right", "full"})
        # From the time of a row to the earliest and the latest time of its matches on the other side.
        self._bounds = ((lower, upper), (-upper, -lower))
        self._unit = left.unit
        self._reached = WATERMARK_MIN

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Put out the pairs that the rows complete, and keep them for those that come."""
        arrived = self._intake.take(port, batch.frame, out)
        if self._keeps_unmatched[port]:
            self._send_alone(port, arrived.alone, out)
        if arrived.frame.height:
            self._join(port, arrived, out)
            self._keys.settle()

    def on_watermark(self, time: int, out: Collector) -> None:
        """Let go the rows that can match nothing more."""
        watermark = time if time == WATERMARK_MAX else time // self._unit
        if time > self._reached:  # else it is told again, after an idle time or a restart
            self._reached, self._intake.watermark = time, watermark
            self._let_go(out)
        # A row that has yet to come may match one that is so much older.
        _, latest = self._bounds[RIGHT if self._how == "right" else LEFT]
        out.watermark(time if time == WATERMARK_MAX else (watermark - max(0, latest)) * self._unit)

    def _let_go(self, out: Collector) -> None:
        """Forget the rows that can match nothing more, and put out those that never did."""
        for port, store in enumerate(self._stores):
            over = store.expire(self._intake.watermark)
            if self._keeps_unmatched[port]:
                self._send_alone(port, store.gather(over[store.matches[over] == 0]), out)
        self._keys.settle()

    def absorb(self, other: Self, mine: Mine) -> None:
        """See `Operator`."""
        self._keys.absorb(other._keys, mine)
        self._reached, self._intake.watermark = other._reached, other._intake.watermark

    def state_size(self) -> StateSize:
        """The rows of both sides."""
        return self._keys.size

    def _join(self, port: int, arrived: Arrived, out: Collector) -> None:
        """Match rows with those of the other side, and keep them."""
        earliest, latest = self._bounds[port]
        times, rows = arrived.times, self._intake.rows(port, arrived.frame)
        slots, deadlines = self._keys.slots(arrived.keys), shifted(times, latest)
        found = self._stores[1 - port].find(slots, shifted(times, earliest), deadlines)
        store = self._stores[port]
        if self._how not in {"semi", "anti"}:
            matched = self._send_pairs(port, rows, found, out)
            numbers = store.add(slots, times, rows, deadlines)
            store.matches[numbers] = matched
        elif port == RIGHT:
            self._settle_left(found, out)
            store.add(slots, times, rows, deadlines)
        else:
            matched = _matched(rows.height, found)
            if self._how == "semi":
                self._send_alone(LEFT, rows_where(rows, matched), out)
            wait = ~matched
            store.add(slots[wait], times[wait], rows_where(rows, wait), deadlines[wait])

    def _send_pairs(self, port: int, rows: pl.DataFrame, found: Matches, out: Collector) -> Mask:
        """Put out the pairs; which of the rows are in one."""
        store = self._stores[1 - port]
        matched = np.zeros(rows.height, np.bool_)
        for probes, numbers in found:
            matched[probes] = True
            store.matches[numbers] = 1
            sides = rows_at(rows, probes), store.gather(numbers)
            left, right = sides if port == LEFT else sides[::-1]
            send(self._columns.frame(left, right), out)
        return matched

    def _settle_left(self, found: Matches, out: Collector) -> None:
        """The left rows of a semi or anti join for which a right row has come: there is no more to learn of them."""
        store = self._stores[LEFT]
        hits = np.unique(
            np.concatenate([np.empty(0, np.int64), *(np.unique(numbers) for _, numbers in found)])
        )
        if self._how == "semi":
            self._send_alone(LEFT, store.gather(hits), out)
        store.remove(hits)

    def _send_alone(self, port: int, rows: pl.DataFrame, out: Collector) -> None:
        """Put out rows of one side without a partner."""
        if rows.height:
            sides = (rows, None) if port == LEFT else (None, rows)
            send(self._columns.frame(*sides), out)


def _matched(rows: int, found: Matches) -> Mask:
    """Which of the probes have a match."""
    matched = np.zeros(rows, np.bool_)
    for probes, _ in found:
        matched[probes] = True
    return matched
