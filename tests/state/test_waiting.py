"""Waiting rows against a list, and their memory."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.state.waiting import WaitingRows
from tests.examples import examples

KEY = pl.Schema({"k": pl.Int64()})
ROW = pl.Schema({"n": pl.Int64(), "k": pl.Int64()})

KEYS = st.lists(st.one_of(st.none(), st.integers(0, 6)), max_size=10)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS),
        st.tuples(st.just("take"), KEYS),
        st.tuples(st.just("expire"), st.integers(0, 4)),
        st.tuples(st.just("drain"), st.just(0)),
    ),
    max_size=20,
)


def keys_of(keys: list[int | None]) -> pl.DataFrame:
    return pl.DataFrame({"k": keys}, schema=KEY)


@settings(max_examples=examples(150))
@given(STEPS, st.one_of(st.none(), st.integers(1, 5)))
def test_like_a_list(steps: list[tuple[str, list[int | None] | int]], wait: int | None) -> None:
    waiting = WaitingRows(KEY, ROW)
    model: list[tuple[int, int | None, int | None]] = []
    now = count = 0
    for word, argument in steps:
        match word, argument:
            case "add", list(keys):
                deadline = None if wait is None else now + wait
                deadlines = None if deadline is None else np.full(len(keys), deadline)
                rows = pl.DataFrame({"n": range(count, count + len(keys)), "k": keys}, schema=ROW)
                waiting.add(keys_of(keys), rows, deadlines)
                model += [(count + place, key, deadline) for place, key in enumerate(keys)]
                count += len(keys)
            case "take", list(keys):
                taken, met = waiting.take(keys_of(keys))
                expected = [(n, key) for n, key, _ in model if key in keys]
                assert taken.rows() == expected
                assert met.tolist() == [keys.index(key) for _, key in expected]
                model = [row for row in model if row[1] not in keys]
            case "expire", int(step):
                now += step
                over = [row for row in model if row[2] is not None and row[2] < now]
                assert waiting.expire(now).rows() == [(n, key) for n, key, _ in over]
                model = [row for row in model if row not in over]
            case _:
                assert waiting.drain().rows() == [(n, key) for n, key, _ in model]
                model = []
        assert len(waiting) == len(model)
        assert waiting.least_deadline == min((row[2] for row in model if row[2] is not None), default=None)


def test_memory_is_freed_while_one_old_row_waits_on() -> None:
    waiting = WaitingRows(KEY, ROW)
    waiting.add(keys_of([-1]), pl.DataFrame({"n": [-1], "k": [-1]}), np.array([1_000_000]))
    sizes = []
    for start in range(0, 200_000, 2000):
        keys = pl.DataFrame({"k": range(start, start + 2000)})
        waiting.add(keys, keys.select(n="k", k="k"), np.full(2000, 1_000_000 + start))
        taken, met = waiting.take(keys[::-1])
        assert taken["k"].to_list() == list(range(start, start + 2000))
        assert met.tolist() == list(range(2000))[::-1]
        sizes.append(waiting.size.bytes)
    assert len(waiting) == 1
    assert max(sizes) < 500_000
    assert waiting.least_deadline == 1_000_000
    assert waiting.expire(1_000_000).height == 0
    assert waiting.expire(1_000_001)["k"].to_list() == [-1]


def test_deadlines_survive_compaction() -> None:
    waiting = WaitingRows(KEY, ROW)
    for deadline in (10, 20, 30):
        keys = pl.DataFrame({"k": range(deadline * 1000, deadline * 1000 + 1000)})
        waiting.add(keys, keys.select(n="k", k="k"), np.full(1000, deadline))
    waiting.take(
        pl.DataFrame({"k": [*range(10_001, 11_000), *range(20_002, 21_000), *range(30_001, 31_000)]})
    )
    assert len(waiting) == 4
    assert waiting.expire(10).height == 0
    assert waiting.expire(11)["k"].to_list() == [10_000]
    assert waiting.least_deadline == 20
    assert waiting.expire(31)["k"].to_list() == [20_000, 20_001, 30_000]
