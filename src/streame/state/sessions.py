"""Sessions: the values of an aggregation for each open stretch of time of each key."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from streame.core.aggregates import Aggregation
from streame.core.emission import says_changes
from streame.core.frames import frame_of
from streame.core.metrics import StateSize
from streame.core.ordering import Slots, distinct
from streame.core.sessions import END, START, SessionRule
from streame.core.stretches import stretches_of
from streame.core.time import WATERMARK_MAX, EventTime, Mask, Ticks
from streame.state.aggregates import AggregateState
from streame.state.open_stretches import OpenStretches
from streame.state.rows import RowNumbers, with_room
from streame.state.said import Said
from streame.state.snapshot import Savable

_SLACK_SESSIONS = 1024


@dataclass(frozen=True, slots=True)
class Changed:
    """Sessions of which something else is to be said than what was said.

    Args:
        slots: the slots of their keys.
        old: what was said of each.
        new: what is to be said of each.
        was: of which something was said.
        now: of which something is to be said.
    """

    slots: Slots
    old: pl.DataFrame
    new: pl.DataFrame
    was: Mask
    now: Mask


class Sessions(Savable):
    """Open sessions of key slots, and what was said of them.

    A session has a number, which is valid until the next `settle`.

    Args:
        rule: what they are.
        aggregation: what is computed for each session.
    """

    SAVED = ("_open", "_state", "_said", "_changed")
    DERIVED = ("_is_changed", "_said_ends")

    def __init__(self, rule: SessionRule, aggregation: Aggregation) -> None:
        self._rule = rule
        self._aggregation = aggregation
        self._open = OpenStretches(rule.gap, rule.lateness)
        self._state = AggregateState(aggregation)
        self._schema = pl.Schema({START: rule.time.dtype, END: rule.time.dtype, **aggregation.outputs})
        self._said = Said(self._schema)
        # The sessions that have changed since something was said of them; by number, with room for more.
        self._changed: list[RowNumbers] = []
        self._is_changed: Mask = np.empty(0, np.bool_)
        # The end that was said of each, `WATERMARK_MAX` where nothing was; by number, with room for more.
        self._said_ends: Ticks = np.empty(0, np.int64)

    def saved(self) -> dict[str, Any]:
        """See `Savable`."""
        return super().saved() | {"_changed": [np.concatenate(self._changed)] if self._changed else []}

    def restored(self) -> None:
        """See `Savable`."""
        self._is_changed = np.zeros(len(self._open), np.bool_)
        for numbers in self._changed:
            self._is_changed[numbers] = True
        self._know_ends()

    @property
    def size(self) -> StateSize:
        """How many sessions or rows are there, and about how much memory they take."""
        values = self._state.size()
        memory = self._open.memory_bytes + values.bytes + self._said.memory_bytes + self._is_changed.nbytes
        return StateSize(values.rows if self._aggregation.kept else self._open.live, memory)

    def add(self, slots: Slots, times: Ticks, seen: Ticks, rows: pl.DataFrame) -> None:
        """Take rows.

        Args:
            slots: the slot of each row's key.
            times: the time of each row.
            seen: when each row was seen, see `core/stretches.py`.
            rows: what `Aggregation.prepare` gave for them.
        """
        stretches, stretch_of = stretches_of(slots, times, seen, self._rule.gap)
        merge = self._open.add(stretches, self._open.near(stretches))
        self._merge(merge.gone, merge.into)
        self._state.add(merge.numbers[stretch_of], rows)
        if self._rule.is_changes:
            self._note(np.concatenate([merge.numbers, merge.gone]))

    def close(self, watermark: int) -> RowNumbers:
        """The sessions that close when event time has come to `watermark`, in ticks."""
        closed = self._open.close(watermark)
        if self._rule.is_changes and self._rule.emission != "changes":
            self._note(closed)
        return closed

    def expire(self, watermark: int) -> None:
        """Let the closed sessions go whose lateness is over."""
        self._said.forget(self._open.expire(watermark))

    def results(self, numbers: RowNumbers) -> tuple[Slots, pl.DataFrame]:
        """The slots of some sessions, and what is to be said of them."""
        stretches = self._open.stretches(numbers)
        times = [self._rule.time.series(START, stretches.starts), self._rule.time.series(END, stretches.ends)]
        return stretches.slots, frame_of([*times, *self._state.results(numbers).get_columns()])

    def take_changed(self, said_before: int | None = None) -> Changed:
        """The sessions that have changed; from now on it counts as said what they are.

        Args:
            said_before: only those that have closed, are part of another one, or of which an end before this one was
                said; `None` for all.
        """
        numbers = np.concatenate([np.empty(0, np.int64), *self._changed])
        live, closed = self._open.is_live(numbers), self._open.is_closed(numbers)
        self._changed = []
        self._said_ends = with_room(self._said_ends, len(self._open), WATERMARK_MAX)
        if said_before is not None:
            over = closed | ~live | (self._said_ends[numbers] < said_before)
            self._changed = [numbers[~over]]
            numbers, live, closed = numbers[over], live[over], closed[over]
        self._is_changed[numbers] = False
        now = live if says_changes(self._rule.emission) else live & closed
        old, was = self._said.last(numbers)
        if not (was | now).all():
            chosen = was | now
            numbers, was, now, old = numbers[chosen], was[chosen], now[chosen], old.filter(pl.Series(chosen))
        slots, new = self.results(numbers)
        self._said.forget(numbers[was & ~now])
        self._said.say(numbers[now], new.filter(pl.Series(now)))
        self._said_ends[numbers] = np.where(now, self._open.stretches(numbers).ends, WATERMARK_MAX)
        return Changed(slots, old, new, was, now)

    def settle(self) -> None:
        """Free the sessions that are gone, if there are many; the others get new numbers."""
        if len(self._open) <= 2 * self._open.live + _SLACK_SESSIONS or self._changed:
            return
        number = np.full(len(self._open), -1, np.int64)
        kept = self._open.compact()
        number[kept] = np.arange(len(kept))
        state, said = AggregateState(self._aggregation), Said(self._schema)
        state.absorb(self._state, number)
        rows, was = self._said.last(kept)
        said.say(number[kept[was]], rows.filter(pl.Series(was)))
        self._state, self._said = state, said
        self._know_ends()

    def absorb(self, other: Self, slots: Slots) -> None:
        """Take other sessions: by slot there the slot here, which has none yet; -1 to leave them out."""
        noted = np.concatenate([np.empty(0, np.int64), *other._changed])
        number = self._open.absorb(other._open, slots, noted)
        self._state.absorb(other._state, number)
        self._said.absorb(other._said, number)
        noted = number[noted]
        self._note(noted[noted >= 0])
        self._know_ends()

    def live_slots(self) -> Slots:
        """The slots that have a session."""
        return self._open.live_slots()

    def move(self, slots: Slots) -> None:
        """Give the keys new slots: by old slot the new one, for the slots that have a session."""
        self._open.move(slots)

    def _merge(self, gone: RowNumbers, into: RowNumbers) -> None:
        """Put the values of sessions to those of others."""
        if not len(gone):
            return
        if self._state.has_partials:
            self._state.add_partials(into, self._state.partials(gone))
            return
        apart = AggregateState(self._aggregation)
        place = np.full(len(self._open), -1, np.int64)
        place[gone] = np.arange(len(gone))
        apart.absorb(self._state, place)
        self._state.absorb(apart, into)

    def _know_ends(self) -> None:
        """Find the ends that were said."""
        rows, was = self._said.last(np.arange(len(self._open)))
        self._said_ends = np.full(len(self._open), WATERMARK_MAX)
        if was.any():
            time = EventTime(END, self._rule.time.dtype)
            self._said_ends[was] = time.ticks(rows.filter(pl.Series(was)))

    def _note(self, numbers: RowNumbers) -> None:
        """Remember that sessions have changed."""
        self._is_changed = with_room(self._is_changed, len(self._open), False)
        new = distinct(numbers[~self._is_changed[numbers]])
        if len(new):
            self._is_changed[new] = True
            self._changed.append(new)
