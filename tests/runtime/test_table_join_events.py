"""The table join under any order of rows, ends and time, against the join row by row."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.runtime.operators.table_join import STREAM, TABLE
from tests.examples import examples
from tests.runtime.joining import SCHEMA, SECOND_US, Bench, How, two_key_operator


class Model:
    """The join row by row, with a dictionary and a list."""

    def __init__(self, how: How, wait_us: int | None, *, nulls_equal: bool) -> None:
        self.how = how
        self.wait_us = wait_us
        self.nulls_equal = nulls_equal
        self.current: dict[Any, int] = {}
        self.waiting: list[tuple[Any, int, float]] = []
        self.out: list[tuple[Any, int, int | None]] = []
        self.table_ended = self.stream_ended = False

    def matches(self, key: tuple[Any, ...]) -> bool:
        return self.nulls_equal or None not in key

    def let_go(self, key: Any, number: int) -> None:
        if self.how == "left":
            self.out.append((key, number, None))

    def stream(self, now_us: int, rows: list[tuple[Any, int]]) -> None:
        for key, number in rows:
            if self.matches(key) and key in self.current:
                self.out.append((key, number, self.current[key]))
            elif self.matches(key) and self.wait_us != 0 and not self.table_ended:
                deadline = math.inf if self.wait_us is None else now_us + self.wait_us
                self.waiting.append((key, number, deadline))
            else:
                self.let_go(key, number)

    def table(self, now_us: int, rows: list[tuple[Any, int]]) -> None:
        self.expire(now_us)
        for key, value in rows:
            if self.matches(key):
                self.out += [(key, number, value) for other, number, _ in self.waiting if other == key]
                self.waiting = [row for row in self.waiting if row[0] != key]
                self.current[key] = value

    def expire(self, now_us: int) -> None:
        for key, number, deadline in self.waiting:
            if deadline <= now_us:
                self.let_go(key, number)
        self.waiting = [row for row in self.waiting if row[2] > now_us]

    def end(self, port: int) -> None:
        if port == STREAM:
            self.stream_ended = True
        else:
            self.table_ended = True
            self.expire(2**63)
            for key, number, _ in self.waiting:
                self.let_go(key, number)
            self.waiting = []


TWO_KEYS = st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([0, 1, None]))
ROWS = st.lists(TWO_KEYS, max_size=6)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("stream"), ROWS),
        st.tuples(st.just("table"), ROWS),
        st.tuples(st.just("advance"), st.integers(0, 4)),
        st.tuples(st.just("fire"), st.none()),
        st.tuples(st.just("end"), st.sampled_from([STREAM, TABLE])),
    ),
    max_size=25,
)


def by_key(rows: Sequence[tuple[Any, int, int | None]]) -> dict[Any, list[tuple[int, int | None]]]:
    found = defaultdict(list)
    for key, number, value in rows:
        found[key].append((number, value))
    return dict(found)


@settings(max_examples=examples(300))
@given(
    actions=ACTIONS,
    how=st.sampled_from(["inner", "left"]),
    wait_us=st.sampled_from([0, SECOND_US, 3 * SECOND_US, None]),
    nulls_equal=st.booleans(),
    last=st.sampled_from([STREAM, TABLE]),
)
def test_any_order_of_events(
    actions: list[tuple[str, Any]], how: How, wait_us: int | None, nulls_equal: bool, last: int
) -> None:
    bench = Bench(two_key_operator(how, wait_us, nulls_equal=nulls_equal))
    model = Model(how, wait_us, nulls_equal=nulls_equal)
    count = 0
    for word, argument in [*actions, ("end", 1 - last), ("end", last)]:
        ended = {"stream": model.stream_ended, "table": model.table_ended}
        ended["end"] = (model.stream_ended, model.table_ended)[argument] if word == "end" else False
        if bench.operator.finished or ended.get(word):
            continue
        match word:
            case "stream" | "table":
                rows = [(*key, count + place) for place, key in enumerate(argument)]
                count += len(rows)
                getattr(bench, word)(pl.DataFrame(rows, schema=SCHEMA, orient="row"))
                getattr(model, word)(bench.clock.now_us(), [((a, b), n) for a, b, n in rows])
            case "advance":
                bench.advance(argument)
            case "fire":
                bench.fire()
                model.expire(bench.clock.now_us())
            case _:
                bench.end(argument)
                model.end(argument)
        assert by_key([((a, b), n, value) for a, b, n, value in bench.out.rows]) == by_key(model.out)
        assert bench.operator.finished == (model.stream_ended and not model.waiting)
        if model.waiting and wait_us is not None:
            assert bench.timer_us == min(deadline for _, _, deadline in model.waiting)
        if not model.waiting:
            assert bench.timer_us is None
    assert bench.operator.finished
