"""Map with state: a user's function gets the new rows of one group and its state, and gives rows and the new state."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import polars as pl

from streame.core.group import NO_TIMER, Fired, Group, Moment
from streame.core.hidden import BEHIND, POSITION
from streame.core.messages import BATCH_ROWS_MAX, Batch
from streame.core.metrics import StateSize
from streame.core.ordering import by_slot, by_slot_and_time
from streame.core.positions import POSITION_DTYPE, with_position_column
from streame.core.time import WATERMARK_MAX, WATERMARK_MIN, EventTime, Ticks
from streame.runtime.admission import Admission
from streame.runtime.keyed_function import KeyedFunction
from streame.runtime.letters import RefusalPolicy, refuse_rows
from streame.runtime.operator import Collector, Operator, OperatorContext
from streame.runtime.salvage import FAILURES
from streame.runtime.steps import MapContractError
from streame.state.index import Slots
from streame.state.keyed_objects import KeyedObjects
from streame.state.rows import RowNumbers, as_index, rows_at
from streame.state.snapshot import Mine
from streame.state.timeline import Timeline

KINDS: tuple[Fired, ...] = ("time", "clock")


class MapWithStateOperator(Operator):
    """Calls a function once for each group of rows that are handed over together, and once for each timer.

    Args:
        work: what is called, and with what.
        time: event time, where there is one.
        in_order: whether rows wait until the watermark has passed them, so that they come in the order of their
            times, and timers in their place among them.
        ttl: how long after its last row the state of a key is freed, in ticks or, without event time, microseconds;
            `None` for never.
        policy: what becomes of the rows of a group for which the function raises.
    """

    SAVED = ("_waiting", "_states", "_watermark", "_reached")
    DERIVED = ("_made",)

    def __init__(
        self,
        work: KeyedFunction,
        time: EventTime | None,
        policy: RefusalPolicy,
        *,
        in_order: bool,
        ttl: int | None,
    ) -> None:
        self._work = work
        self._time = time
        self._policy = policy
        self._ttl = ttl
        self._in_order = in_order and time is not None
        self._admission = None if time is None else Admission(time, policy, work.columns.names())
        keys = dict(zip(work.key_columns, work.key_schema.dtypes(), strict=True))
        self._kept = pl.Schema({**keys, **work.columns, POSITION: POSITION_DTYPE})
        self._waiting = Timeline(self._kept)
        self._states = KeyedObjects(work.key_schema, ttl)
        self._no_rows = pl.DataFrame(schema=work.columns)
        self._watermark = self._reached = WATERMARK_MIN
        self._made: list[pl.DataFrame] = []

    def open(self, context: OperatorContext) -> None:
        """Remember the clock, for timers and dead letters."""
        self._context = context

    def on_batch(self, port: int, batch: Batch, out: Collector) -> None:
        """Keep the rows until the watermark has passed them, or hand them over at once."""
        frame, times = self._admitted(batch, out)
        if self._in_order:
            self._waiting.add(times, frame)
        else:
            self._hand_over(frame, times, out)
            self._go_on(self._watermark, out)

    def on_watermark(self, time: int, out: Collector) -> None:
        """Hand over the rows that the watermark has passed, and fire timers; all of them fire at the end."""
        if time <= self._reached:  # the end is told again after a restart, and timers may have been set at it
            out.watermark(time)
            return
        self._reached = time
        reached = time if self._time is None else self._time.to_ticks(time)
        times, frame = self._waiting.take(reached)
        self._hand_over(frame, times, out)
        if time == WATERMARK_MAX:
            for kind in KINDS:
                self._fire(kind, self._states.take_due(kind, NO_TIMER), out)
            self._flush(out)
        elif self._time is not None:
            self._go_on(reached, out)
            self._watermark = reached
        out.watermark(time)

    def on_timer(self, time_us: int, out: Collector) -> None:
        """Call the function where a timer of the wall clock is due."""
        self._fire("clock", self._states.take_due("clock", time_us), out)
        self._go_on(self._watermark, out)

    def absorb(self, other: Self, mine: Mine) -> None:
        """See `Operator`."""
        self._states.absorb(other._states, mine)
        self._waiting.absorb(other._waiting, lambda rows: mine(rows.select(self._work.key_columns)))
        self._watermark, self._reached = other._watermark, other._reached
        self._set_timer()

    def state_size(self) -> StateSize:
        """How many keys have a state and how many rows wait, and how large these are."""
        states, waiting = self._states.size(), self._waiting.size
        return StateSize(states.rows + waiting.rows, states.bytes + waiting.bytes)

    def _moment(self) -> Moment:
        return Moment(self._time, self._watermark, self._context.clock.now_us())

    def _admitted(self, batch: Batch, out: Collector) -> tuple[pl.DataFrame, Ticks]:
        """The rows that are handed over, now or later, with their positions; and their times."""
        frame = with_position_column(batch)
        if self._admission is not None and self._in_order:
            frame = self._admission.run(Batch(frame), self._watermark, self._context, out).frame
        elif self._admission is not None:  # no row is late, then
            known = Batch(frame.drop(BEHIND, strict=False))
            frame = self._admission.run(known, WATERMARK_MIN, self._context, out).frame
        if POSITION not in frame.columns:
            frame = frame.with_columns(pl.lit(None, POSITION_DTYPE).alias(POSITION))
        frame = frame.select(self._kept.names())
        if self._time is not None:
            return frame, self._time.ticks(frame)
        return frame, np.full(frame.height, self._context.clock.now_us())

    def _go_on(self, reached: int, out: Collector) -> None:
        """Fire the timers that event time has passed, send on what was made, and forget keys that were quiet."""
        while due := self._states.take_due("time", reached - 1):
            self._fire("time", due, out)
        self._flush(out)
        self._states.expire(self._context.clock.now_us() if self._time is None else reached)
        self._states.compact()
        self._set_timer()

    def _set_timer(self) -> None:
        """Be called at the next timer of the wall clock, or when a state expires by it."""
        wake_us = self._states.next_timer("clock")
        if self._time is None:
            wake_us = min(wake_us, self._states.expires)
        self._context.set_timer(None if wake_us == NO_TIMER else wake_us)

    def _hand_over(self, frame: pl.DataFrame, times: Ticks, out: Collector) -> None:
        """Call the function for each group; again where a key was quiet for so long that it begins anew."""
        if not frame.height:
            return
        slots = self._states.slots(frame.select(self._work.key_columns))
        order = by_slot(slots) if self._time is None else _order(slots, times, frame)
        frame, slots, times = rows_at(frame, order), slots[order], times[order]
        begins = np.diff(slots, prepend=-1) != 0
        if self._ttl is not None:
            begins[1:] |= times[1:] - times[:-1] >= self._ttl
        starts = np.flatnonzero(begins)
        keys = self._states.keys(slots[starts]).rows()
        ends = pairwise([*starts.tolist(), frame.height])
        shown = frame.select(self._work.columns.names())
        listed, moment = times.tolist(), self._moment()
        for key, slot, (start, end) in zip(keys, slots[starts].tolist(), ends, strict=True):
            at = start
            while at < end:
                stop = self._next_call(key, slot, listed, at, end, moment, out)
                rows, whole = shown.slice(at, stop - at), frame.slice(at, stop - at)
                self._call(Group(key, moment), slot, rows, whole, out)
                at = stop

    def _next_call(
        self,
        key: tuple[Any, ...],
        slot: int,
        times: list[int],
        at: int,
        end: int,
        moment: Moment,
        out: Collector,
    ) -> int:
        """Do what comes before the row `at` of a key: older timers; say how many rows come before the next timer."""
        states, first, stop = self._states, times[at], end
        if self._in_order:
            while (timer := states.timer("time", slot)) < first:
                states.set_timer("time", slot, NO_TIMER)
                self._call(Group(key, moment, "time", timer), slot, self._no_rows, None, out)
            stop = bisect_right(times, timer, at, end)
        states.saw(slot, first, times[stop - 1])
        return stop

    def _fire(self, kind: Fired, due: Sequence[tuple[int, int]], out: Collector) -> None:
        """Call the function without rows for timers: pairs of time and slot."""
        if not due:
            return
        moment = self._moment()
        keys = self._states.keys(np.array([slot for _, slot in due])).rows()
        for key, (at, slot) in zip(keys, due, strict=True):
            self._call(Group(key, moment, kind, at), slot, self._no_rows, None, out)

    def _call(
        self, group: Group, slot: int, rows: pl.DataFrame, whole: pl.DataFrame | None, out: Collector
    ) -> None:
        """Call the function for one key; when it raises, its rows are refused and all stays as it was.

        Args:
            group: the key.
            slot: where its state is.
            rows: the rows as the user knows them.
            whole: the same with all columns; `None` for a timer, in the place of which the key is refused.
            out: where refused rows go.
        """
        states = self._states
        try:
            made, state = self._work.call(rows, states.value(slot), group)
        except MapContractError:
            raise
        except FAILURES as error:
            self._refuse(states.keys(np.array([slot])) if whole is None else whole, error, out)
            return
        states.put(slot, state)
        for kind, at in group.asked.items():
            states.set_timer(kind, slot, at)
        if made is not None and made.height:
            self._made.append(made)

    def _flush(self, out: Collector) -> None:
        """Send on what the function has made."""
        if self._made:
            made, self._made = pl.concat(self._made, rechunk=True), []
            for part in made.iter_slices(BATCH_ROWS_MAX):
                out.emit(Batch(part))

    def _refuse(self, rows: pl.DataFrame, error: BaseException, out: Collector) -> None:
        """Refuse the rows of a group for which the function raises; of a timer, the key."""
        computed = [name for name in self._work.key_columns if name not in self._work.columns]
        refuse_rows(
            rows.drop(computed, strict=False),
            lambda _: error,
            operator=self._context.name,
            policy=self._policy,
            clock=self._context.clock,
            out=out,
            remedy="Mend the row or the function",
        )


def _order(slots: Slots, times: Ticks, frame: pl.DataFrame) -> RowNumbers:
    """The rows group by group, within a group by time, then by position, then as they came."""
    order = by_slot_and_time(slots, times)
    tied = (np.diff(slots[order]) == 0) & (np.diff(times[order]) == 0)
    if not tied.any():
        return order
    # Sorting by positions is dear, so only the rows of a group are sorted that have one time.
    places = np.flatnonzero(np.append(tied, False) | np.append(False, tied))
    runs = np.cumsum(np.append(True, ~tied))[places]
    positions = frame.get_column(POSITION).gather(as_index(order[places])).struct.unnest()
    keys = positions.insert_column(0, pl.Series("run", runs)).with_columns(number=order[places])
    order[places] = keys.sort("run", "source", "split", "offset", maintain_order=True)["number"].to_numpy()
    return order
