"""Growing rows: found by number, in few pieces, without the memory of their batches."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.state.rows import Rows, owned, rows_at
from tests.examples import examples

SCHEMA = pl.Schema({"n": pl.Int64(), "text": pl.String()})


def numbered(start: int, rows: int) -> pl.DataFrame:
    numbers = range(start, start + rows)
    return pl.DataFrame({"n": numbers, "text": [f"the text of row {n}" for n in numbers]}, schema=SCHEMA)


@settings(max_examples=examples(60))
@given(st.lists(st.tuples(st.integers(0, 40), st.lists(st.integers(0, 200), max_size=10)), max_size=12))
def test_rows_are_found_by_number(steps: list[tuple[int, list[int]]]) -> None:
    rows = Rows(SCHEMA)
    for height, asked in steps:
        rows.append(numbered(len(rows), height))
        numbers = [number if number < len(rows) else -1 for number in asked]
        got = rows.gather(np.array(numbers, np.int64))
        assert got.schema == SCHEMA
        assert got["n"].to_list() == [None if number < 0 else number for number in numbers]


def test_nothing_in_nothing() -> None:
    rows = Rows(SCHEMA)
    assert rows.gather(np.array([-1, -1])).rows() == [(None, None)] * 2
    assert len(rows) == 0


def test_keep_numbers_anew() -> None:
    rows = Rows(SCHEMA)
    for start in range(0, 100, 10):
        rows.append(numbered(start, 10))
    rows.keep(np.array([99, 3]))
    assert len(rows) == 2
    assert rows.gather(np.array([1, 0]))["n"].to_list() == [3, 99]


def test_few_pieces_however_small_the_batches() -> None:
    rows = Rows(SCHEMA)
    for start in range(3000):
        rows.append(numbered(start, 1))
    assert len(rows._pieces) <= 5
    assert rows.gather(np.arange(3000))["n"].to_list() == list(range(3000))


def test_an_owned_copy_is_equal() -> None:
    frame = pl.DataFrame(
        {
            "list": [[1], None],
            "struct": [{"a": "x"}, None],
            "category": pl.Series(["u", None], dtype=pl.Categorical),
            "enum": pl.Series(["u", None], dtype=pl.Enum(["u"])),
            "huge": pl.Series([1 << 100, None], dtype=pl.Int128),
            "null": [None, None],
        }
    )
    assert owned(frame).equals(frame, null_equal=True)
    assert owned(frame[:0]).schema == frame.schema


KINDS = {
    "n": pl.Series([1, None, 3, -4], dtype=pl.Int64),
    "text": pl.Series(["a", None, "a text that is longer than one in a view", ""]),
    "list": pl.Series([[1], None, [], [2, None]]),
    "struct": pl.Series([{"a": "x"}, {"a": None}, None, {"a": "y"}]),
    "category": pl.Series(["u", "v", None, "u"], dtype=pl.Categorical),
    "at": pl.Series([1, 2, None, 4], dtype=pl.Datetime("ns", "UTC")),
}


def picked_one_by_one(frame: pl.DataFrame, numbers: list[int]) -> list[tuple[Any, ...]]:
    """The rows of these numbers, found slowly."""
    rows = frame.rows()
    return [(None,) * frame.width if number < 0 else rows[number] for number in numbers]


@settings(max_examples=examples(60))
@given(
    columns=st.permutations(list(KINDS)),
    width=st.integers(1, len(KINDS)),
    pieces=st.integers(1, 3),
    asked=st.lists(st.integers(-1, 11), max_size=30),
)
def test_rows_at_gives_the_rows_of_these_numbers(
    columns: list[str], width: int, pieces: int, asked: list[int]
) -> None:
    piece = pl.DataFrame([KINDS[name].alias(name) for name in columns[:width]])
    frame = pl.concat([piece] * pieces, rechunk=False)
    numbers = [number if number < frame.height else -1 for number in asked]
    for dtype in (np.int64, np.int32):
        got = rows_at(frame, np.array(numbers, dtype))
        assert got.schema == frame.schema
        assert got.rows() == picked_one_by_one(frame, numbers)


@pytest.mark.parametrize("width", range(1, 7))
@pytest.mark.parametrize("height", [0, 1, 32_768, 32_769, 70_000])
def test_rows_at_gives_few_rows_as_it_gives_many(width: int, height: int) -> None:
    columns = {f"c{at}": pl.Series(range(at, 70_000 + at)) for at in range(width)}
    frame = pl.DataFrame(columns).with_columns(c0=pl.col("c0").cast(pl.String))
    numbers = np.random.default_rng(7).integers(-1, frame.height, height)
    got = rows_at(frame, numbers)
    assert got.schema == frame.schema
    assert got.height == height
    for at, column in enumerate(got.get_columns()):
        expected = pl.Series(np.where(numbers < 0, -1, numbers + at)).cast(pl.Int64)
        assert column.cast(pl.Int64).fill_null(-1).equals(expected)


def test_rows_at_keeps_the_height_where_there_are_no_columns() -> None:
    assert rows_at(pl.DataFrame(height=5), np.array([4, -1, 4])).shape == (3, 0)
    assert rows_at(pl.DataFrame(height=5), np.empty(0, np.int64)).shape == (0, 0)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="reads the size of the process from /proc")
@pytest.mark.parametrize("way", ["append", "keep"])
def test_a_kept_row_does_not_keep_its_batch(way: str) -> None:
    before = resident_mb()
    stores = []
    for number in range(40):
        texts = [f"the long text of row {row} in batch {number}, with padding" for row in range(65_536)]
        batch = pl.DataFrame({"n": range(len(texts)), "text": texts})
        rows = Rows(SCHEMA)
        if way == "append":
            rows.append(batch[[5, 7]])
        else:
            rows.append(batch)
            rows.keep(np.array([5, 7]))
        stores.append(rows)
    assert sum(len(rows) for rows in stores) == 80
    assert resident_mb() - before < 80
