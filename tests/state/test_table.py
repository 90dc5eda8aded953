"""The table against a dictionary, and its memory."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.state.table import Table
from tests.examples import examples

KEY = pl.Schema({"k": pl.String()})
ROW = pl.Schema({"v": pl.Int64(), "text": pl.String()})


def rows_of(numbers: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"v": numbers, "text": [f"text of {n}" for n in numbers]}, schema=ROW)


def keys_of(keys: list[str | None]) -> pl.DataFrame:
    return pl.DataFrame({"k": keys}, schema=KEY)


KEYS = st.lists(st.sampled_from(["a", "b", "c", "d", None]), max_size=12)


@settings(max_examples=examples(80))
@given(st.lists(st.tuples(KEYS, KEYS), max_size=8))
def test_the_last_row_of_a_key_wins(steps: list[tuple[list[str | None], list[str | None]]]) -> None:
    table, model, count = Table(KEY, ROW), dict[str | None, int](), 0
    for upserted, asked in steps:
        numbers = list(range(count, count + len(upserted)))
        count += len(upserted)
        table.upsert(keys_of(upserted), rows_of(numbers))
        model.update(zip(upserted, numbers, strict=True))
        got = table.gather(table.lookup(keys_of(asked)))
        assert got["v"].to_list() == [model.get(key) for key in asked]
        assert got["text"].to_list() == [f"text of {model[key]}" if key in model else None for key in asked]
        assert len(table) == len(model)


def test_replaced_rows_are_freed() -> None:
    table = Table(pl.Schema({"k": pl.Int64()}), ROW)
    keys = pl.DataFrame({"k": range(5000)})
    sizes = []
    for start in range(0, 200_000, 5000):
        table.upsert(keys, rows_of(list(range(start, start + 5000))))
        sizes.append(table.size.bytes)
        newest = table.gather(table.lookup(keys[:2]))
        assert newest["v"].to_list() == [start, start + 1]
    assert max(sizes) < 4 * sizes[0]


def test_before_the_first_row() -> None:
    table = Table(KEY, ROW)
    found = table.lookup(keys_of(["a", None]))
    assert found.tolist() == [-1, -1]
    assert table.gather(found).rows() == [(None, None)] * 2
    table.upsert(keys_of([]), rows_of([]))
    assert table.lookup(keys_of([])).tolist() == []
    assert table.gather(np.empty(0, np.int64)).schema == ROW
