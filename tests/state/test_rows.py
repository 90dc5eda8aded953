"""Growing rows: found by number, in few pieces, without the memory of their batches."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streame.state.rows import Rows, owned

SCHEMA = pl.Schema({"n": pl.Int64(), "text": pl.String()})


def numbered(start: int, rows: int) -> pl.DataFrame:
    numbers = range(start, start + rows)
    return pl.DataFrame({"n": numbers, "text": [f"the text of row {n}" for n in numbers]}, schema=SCHEMA)


@settings(max_examples=60, deadline=None, print_blob=True)
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
