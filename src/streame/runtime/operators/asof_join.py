"""As-of join: each row meets the row of the other stream that is nearest in time."""

from functools import partial
from typing import Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from streame.core.frames import picked
from streame.core.hidden import POSITION
from streame.core.joining import JoinColumns, JoinKeys
from streame.core.messages import Batch
from streame.core.metrics import StateSize
from streame.core.neighbours import first_of_slots, following, last_of_equals, previous
from streame.core.positions import POSITION_DTYPE, with_position_column
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, Mask, Ticks
from streame.runtime.joining import LEFT, RIGHT, Intake, JoinSide, rows_where, send, shared_keys, shifted
from streame.runtime.operator import Collector, Operator
from streame.state.index import Slots
from streame.state.keyed_rows import KeyedRows
from streame.state.latest import LatestRows
from streame.state.rows import RowNumbers, as_index, rows_at
from streame.state.snapshot import Mine
from streame.state.timeline import Timeline

Strategy = Literal["backward", "forward", "nearest"]
Gaps = npt.NDArray[np.uint64]

_NO_GAP = np.uint64(2**64 - 1)
"""The distance of a row from its match, where it has none."""


class _Rows(NamedTuple):
    """Rows of one side, in order of time."""

    times: Ticks
    slots: Slots
    rows: pl.DataFrame


class AsofJoinOperator(Operator):
    """Joins each left row with one right row of its key: the last before it, the first after it, or the nearer one.

    Rows of both sides wait until the watermark has passed them, and are then matched in the order of their times.
    A left row that looks ahead waits on, until no nearer right row can come. Of the right side the latest row of
    each key is kept, where a strategy looks back.

    Args:
        left: the left side, of which all columns are kept.
        right: the right side, the same.
        keys: the `by` columns.
        columns: what comes out; the columns of the left side under their own names.
        strategy: where to look.
        tolerance: how far away the right row may be, in the join's unit; `None` for any distance.
        exact: whether a right row of the same time counts.
        by_position: whether the positions of right rows tell the order of those of equal time; otherwise it is
            the order in which they come.
    """

    SAVED = ("_intake", "_watermark", "_reached", "_right_ended", "_passing", "_latest", "_waiting", "_keys")

    def __init__(
        self,
        left: JoinSide,
        right: JoinSide,
        *,
        keys: JoinKeys,
        columns: JoinColumns,
        strategy: Strategy,
        tolerance: int | None = None,
        exact: bool = True,
        by_position: bool = False,
    ) -> None:
        self._sides = (left, right)
        self._intake = Intake(self._sides, keys)
        self._columns = columns
        self._has_keys = bool(keys.left)
        self._looks_back = strategy != "forward"
        self._looks_ahead = strategy != "backward"
        self._tolerance = tolerance
        self._exact = exact
        self._unit = left.unit
        self._by_position = by_position
        self._watermark = self._reached = WATERMARK_MIN
        self._right_ended = False
        self._passing = (Timeline(left.kept_schema), Timeline(right.kept_schema))
        # What is only compared, as keys and times are, need not be kept or copied.
        self._given = [name for name in right.kept if name in columns.read()[1]] or list(right.kept[:1])
        self._latest = LatestRows(pl.Schema({name: right.schema[name] for name in self._given}))
        self._waiting = KeyedRows(columns.schema, by_time=True)
        self._keys = shared_keys(keys, [self._latest, self._waiting])

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Keep the rows until the watermark has passed them; those that can match nothing go out at once."""
        by_position = port == RIGHT and self._by_position
        frame = _with_positions(batch) if by_position else batch.frame
        arrived = self._intake.take(port, frame, out)
        if port == LEFT and arrived.alone.height:
            send(self._columns.frame(arrived.alone, None), out)
        rows = self._intake.rows(port, arrived.frame)
        if by_position:
            rows = rows.hstack([arrived.frame.get_column(POSITION)])
        self._passing[port].add(shifted(arrived.times, 0), rows)

    def on_watermark(self, time: int, out: Collector) -> None:
        """Match the rows that the watermark has passed."""
        if time > self._reached:  # else it is told again, after an idle time or a restart
            self._reached = time
            self._watermark = self._intake.watermark = time if time == WATERMARK_MAX else time // self._unit
            self._pass(out)
        self._say(out)

    def _pass(self, out: Collector) -> None:
        """Match the rows that the watermark has passed, and let go those that wait no longer."""
        left, right = self._passed(LEFT), self._passed(RIGHT)
        if len(self._waiting) and len(right.times):
            self._meet(right, out)
        if len(left.times):
            self._match(left, right, out)
        if self._looks_back:
            # Without keys all but the last would be replaced at once.
            last = slice(None) if self._has_keys else slice(-1, None)
            self._latest.put(right.slots[last], right.rows[last], right.times[last])
            if self._tolerance is not None:
                self._latest.expire(max(WATERMARK_MIN, self._watermark - self._tolerance))
        self._let_go(out)

    def on_end(self, port: int, out: Collector) -> None:
        """After the last right row none can be nearer."""
        if port == RIGHT and not self._right_ended:
            self._right_ended = True
            self._let_go(out)
            self._say(out)

    def absorb(self, other: Self, mine: Mine) -> None:
        """See `Operator`."""
        self._keys.absorb(other._keys, mine)
        for port, passing in enumerate(self._passing):
            passing.absorb(other._passing[port], partial(self._are_owned, port, mine))
        self._reached = other._reached
        self._watermark = self._intake.watermark = other._watermark
        self._right_ended = other._right_ended

    def _are_owned(self, port: int, mine: Mine, rows: pl.DataFrame) -> Mask:
        """Which rows of a side have keys that are owned here."""
        return mine(self._intake.keys(port, rows))

    def state_size(self) -> StateSize:
        """The rows of both sides that wait, and the latest right rows."""
        sizes = [self._keys.size, *(each.size for each in self._passing)]
        return StateSize(sum(size.rows for size in sizes), sum(size.bytes for size in sizes))

    def _say(self, out: Collector) -> None:
        """Say what the earliest event time is that may still come out."""
        if self._reached == WATERMARK_MAX:
            out.watermark(WATERMARK_MAX)
        elif self._reached > WATERMARK_MIN:
            least = self._waiting.least_time
            out.watermark(self._unit * (self._watermark if least is None else min(self._watermark, least)))

    def _let_go(self, out: Collector) -> None:
        """Put out the left rows that wait for what cannot come any more."""
        is_over = self._right_ended and not len(self._passing[RIGHT])
        send(self._waiting.gather(self._waiting.expire(WATERMARK_MAX if is_over else self._watermark)), out)
        self._keys.settle()

    def _passed(self, port: int) -> _Rows:
        """The rows of a side that the watermark has passed."""
        times, rows = self._passing[port].take(self._watermark)
        if POSITION in rows.columns:
            rows = _in_order_of_positions(times, rows)
        slots = self._keys.slots(self._intake.keys(port, rows))
        return _Rows(times, slots, rows if port == LEFT else picked(rows, self._given))

    def _meet(self, right: _Rows, out: Collector) -> None:
        """The waiting rows of these keys get the first right row of their key, if it is near enough."""
        slots, first = first_of_slots(right.slots)
        if self._looks_back:
            first = last_of_equals(right.slots, right.times)[first]
        everything = np.full(len(slots), WATERMARK_MIN), np.full(len(slots), WATERMARK_MAX)
        for probes, numbers in self._waiting.find(slots, *everything):
            rows, met = self._waiting.gather(numbers), first[probes]
            near = right.times[met] <= self._waiting.deadlines[numbers]
            send(rows_where(rows, ~near), out)
            send(self._columns.frame(rows_where(rows, near), rows_at(right.rows, met[near])), out)
            self._waiting.remove(numbers)

    def _match(self, left: _Rows, right: _Rows, out: Collector) -> None:
        """Put out the left rows that no later right row can matter to; the others begin to wait."""
        chosen = ahead = np.full(len(left.times), -1)
        gaps = np.full(len(left.times), _NO_GAP)
        pool = right.rows
        if self._looks_back:
            chosen, gaps, pool = self._look_back(left, right)
        if self._looks_ahead:
            ahead = following(left.slots, left.times, right.slots, right.times, exact=self._exact)
            if self._looks_back and len(right.times):
                ahead = np.where(ahead >= 0, last_of_equals(right.slots, right.times)[ahead], -1)
            later = _gaps(left.times, _at(right.times, ahead), ahead)
            # Of two rows equally far the later one, unless both are of this very time.
            nearer = (ahead >= 0) & ((later < gaps) | ((later == gaps) & (later > 0)))
            chosen, gaps = np.where(nearer, ahead, chosen), np.where(nearer, later, gaps)
        if self._tolerance is not None:
            far = gaps > np.uint64(self._tolerance)
            chosen, gaps = np.where(far, -1, chosen), np.minimum(gaps, np.uint64(self._tolerance))
        matched = self._columns.frame(left.rows, rows_at(pool, chosen))
        if self._looks_ahead:
            deadlines = _later(left.times, gaps)
            waits = (ahead < 0) & (deadlines >= self._watermark)
            self._waiting.add(
                left.slots[waits], left.times[waits], rows_where(matched, waits), deadlines[waits]
            )
            matched = rows_where(matched, ~waits)
        send(matched, out)

    def _look_back(self, left: _Rows, right: _Rows) -> tuple[RowNumbers, Gaps, pl.DataFrame]:
        """For each left row the last right row before it: its number in a frame, its distance, and the frame."""
        found = previous(left.slots, left.times, right.slots, right.times, exact=self._exact)
        gaps = _gaps(_at(right.times, found), left.times, found)
        missing = np.flatnonzero(found < 0)
        numbers, times = self._latest.lookup(left.slots[missing])
        known = numbers >= 0
        if not known.any():
            return found, gaps, right.rows
        missing, numbers, times = missing[known], numbers[known], times[known]
        found[missing] = right.rows.height + np.arange(len(missing))
        gaps[missing] = _gaps(times, left.times[missing], numbers)
        return found, gaps, pl.concat([right.rows, self._latest.gather(numbers)])


def _at(times: Ticks, numbers: RowNumbers) -> Ticks:
    """The times of the rows of these numbers; of -1 any time."""
    return times[numbers] if len(times) else np.zeros(len(numbers), np.int64)


def _gaps(earlier: Ticks, later: Ticks, found: RowNumbers) -> Gaps:
    """How far apart times are, where a row was found."""
    # The difference of two times may need all 64 bits.
    return np.where(found >= 0, later.view(np.uint64) - earlier.view(np.uint64), _NO_GAP)


def _later(times: Ticks, gaps: Gaps) -> Ticks:
    """Times moved by distances; those beyond 64 bits stay at the end, still before the end of the stream."""
    room = (WATERMARK_MAX - 1 - times).view(np.uint64)
    return times + np.minimum(gaps, room).view(np.int64)


def _with_positions(batch: Batch) -> pl.DataFrame:
    """The rows with their positions, as far as these are known."""
    rows = with_position_column(batch)
    return (
        rows if POSITION in rows.columns else rows.with_columns(pl.lit(None, POSITION_DTYPE).alias(POSITION))
    )


def _in_order_of_positions(times: Ticks, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in order of time, those of equal time in the order of their positions."""
    same = times[1:] == times[:-1]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if not len(tied):
        return rows
    positions = rows[POSITION][as_index(tied)].struct.unnest()
    keys = positions.with_columns(time=pl.Series(times[tied]), row=pl.Series(tied))
    order = np.arange(rows.height)
    order[tied] = keys.sort("time", "source", "split", "offset", "row")["row"].to_numpy()
    return rows_at(rows, order)
